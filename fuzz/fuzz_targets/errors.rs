//! Reads any message of a failed turn: the provider's words and names are found in each of Codex's wrappings, and bounded.

#![no_main]

use arbitrary::Arbitrary;
use codex_gateway::codex::replay::provider_words;
use libfuzzer_sys::fuzz_target;
use serde_json::json;

#[derive(Debug, Arbitrary)]
enum Failure {
    Any(String),
    Provider {
        message: String,
        code: Option<String>,
        param: Option<String>,
        status: u16,
        reason: Reason,
        address: String,
    },
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Reason {
    BadRequest,
    Unprocessable,
    Odd,
}

fuzz_target!(|failure: Failure| {
    match failure {
        Failure::Any(message) => {
            let (words, named) = provider_words(&message);
            assert!(words.len() <= message.len().max(1) * 6, "{words}");
            for name in [named.code, named.param].into_iter().flatten() {
                assert!((1..=128).contains(&name.len()), "{name}");
                assert!(name.bytes().all(|byte| byte.is_ascii_graphic()), "{name}");
            }
        }
        Failure::Provider {
            message,
            code,
            param,
            status,
            reason,
            address,
        } => {
            let error = json!({"error": {"message": message, "code": code, "param": param}});
            let alone = provider_words(&error.to_string());
            assert_eq!(alone.0, message);
            let reason = match reason {
                Reason::BadRequest => "Bad Request",
                Reason::Unprocessable => "Unprocessable Entity",
                Reason::Odd => "",
            };
            for end in ["", ", url: ", ", cf-ray: ", ", request id: "] {
                let end = if end.is_empty() {
                    String::new()
                } else {
                    format!("{end}{address}")
                };
                let wrapped = format!("unexpected status {status} {reason}: {error}{end}");
                assert_eq!(provider_words(&wrapped), alone, "{wrapped}");
            }
        }
    }
});
