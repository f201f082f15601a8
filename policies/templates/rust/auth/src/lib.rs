//! The auth policy `my-policy`: it knows callers by the SHA-256 of their keys.

use std::collections::BTreeMap;

use codex_policy::auth::Auth;
use codex_policy::settings::Ignored;
use codex_policy::{Caller, Denial, Need, Policy, Request};
use serde::Deserialize;

/// The settings as they are written; `settings.schema.json` describes the members.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The ids of callers, by the SHA-256 of their keys.
    callers: BTreeMap<String, String>,
    /// The gateway's own member: facts that this policy does not read.
    #[serde(rename = "host")]
    _host: Ignored,
}

/// The checked settings, ready for decisions.
#[derive(Debug)]
pub struct MyPolicy {
    callers: BTreeMap<String, String>,
}

impl Policy for MyPolicy {
    const NAME: &'static str = "my-policy";
    const SCHEMA: &'static str = include_str!("../settings.schema.json");
    type Settings = Settings;

    fn configure(settings: Settings) -> Result<Self, String> {
        for (fingerprint, id) in &settings.callers {
            let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            if fingerprint.len() != 64 || !fingerprint.bytes().all(digit) {
                return Err(format!(
                    "callers: expected 64 lower-case hexadecimal digits for {id}, `codex-gateway key hash` prints them"
                ));
            }
        }
        Ok(Self {
            callers: settings.callers,
        })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::Credential]
    }
}

impl Auth for MyPolicy {
    fn authenticate(&self, request: &Request) -> Result<Caller, Denial> {
        let challenge = |message| {
            Denial::unauthorized(message).with_header("www-authenticate", "Bearer realm=\"api\"")
        };
        let Some(credential) = &request.credential else {
            return Err(challenge("Send a key as 'Authorization: Bearer KEY'."));
        };
        let id = self.callers.get(&credential.fingerprint);
        id.map(Caller::new)
            .ok_or_else(|| challenge("Incorrect API key."))
    }
}

codex_policy::export!(auth: MyPolicy);

#[cfg(test)]
mod tests {
    use codex_policy::Credential;
    use codex_policy::harness::Harness;
    use serde_json::json;

    use super::*;

    /// The SHA-256 of "sk-sample".
    const KNOWN: &str = "db520ca8828b59bf7eeefa5fb5e91f496b9224c1a8a586ac0dfb1cbf93d44a2c";

    fn policy() -> Harness<MyPolicy> {
        Harness::configure(&json!({"callers": {KNOWN: "ann"}})).unwrap()
    }

    fn with(fingerprint: &str) -> Request {
        Request {
            credential: Some(Credential {
                scheme: "Bearer".to_owned(),
                fingerprint: fingerprint.to_owned(),
                secret: None,
            }),
            ..Request::default()
        }
    }

    #[test]
    fn a_known_key_names_its_caller() {
        assert_eq!(policy().authenticate(&with(KNOWN)), Ok(Caller::new("ann")));
    }

    #[test]
    fn other_keys_and_none_are_refused() {
        for request in [with(&KNOWN.replace('a', "b")), Request::default()] {
            assert_eq!(policy().authenticate(&request).unwrap_err().status, 401);
        }
    }

    #[test]
    fn a_key_in_place_of_its_hash_is_a_mistake() {
        let mistake = Harness::<MyPolicy>::configure(&json!({"callers": {"sk-sample": "ann"}}));
        assert!(mistake.unwrap_err().starts_with("callers: expected 64"));
    }
}
