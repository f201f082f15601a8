//! Reads a provider's error object out of Codex's message: its words, its code, and the member of the request that it names.

use serde_json::Value;
use serde_json::value::RawValue;

use super::{Cause, Named};

/// The longest code or member that is passed on.
const LONGEST: usize = 128;

/// The members of the Responses API that hold the prompt, and the members within them that hold its text.
const PROMPT: [&str; 4] = ["input", "instructions", "messages", "prompt"];
const TEXT: [&str; 4] = ["arguments", "content", "output", "text"];

/// The `error` object of a provider's answer.
#[derive(Debug)]
pub(super) struct ProviderError(Value);

impl ProviderError {
    /// The error object of a raw JSON answer.
    pub(super) fn of(answer: &str) -> Option<Self> {
        let mut body: Value = serde_json::from_str(answer.trim()).ok()?;
        match body.get_mut("error")? {
            error @ Value::Object(_) => Some(Self(error.take())),
            _ => None,
        }
    }

    /// The error object of an answer with which the text begins: Codex writes its own words after it.
    fn at_the_beginning_of(text: &str) -> Option<Self> {
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
        Self::of(values.next()?.ok()?.get())
    }

    /// The cause that the code names; [`Cause::InvalidRequest`] for all others.
    pub(super) fn cause(&self) -> Cause {
        match self.word("code").unwrap_or_default() {
            "context_length_exceeded" => Cause::ContextLength,
            "string_above_max_length" if self.word("param").is_some_and(is_prompt) => {
                Cause::ContextLength
            }
            "model_not_found" => Cause::ModelNotFound,
            "content_policy_violation" | "content_filter" | "cyber_policy" => Cause::ContentPolicy,
            "insufficient_quota" | "billing_hard_limit_reached" => Cause::Quota,
            "invalid_api_key" => Cause::Credential,
            _ => Cause::InvalidRequest,
        }
    }

    fn word(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    fn named(&self) -> Named {
        let word = |name| {
            let word = self.word(name)?;
            let is_word = !word.is_empty()
                && word.len() <= LONGEST
                && word.bytes().all(|byte| byte.is_ascii_graphic());
            is_word.then(|| word.to_owned())
        };
        Named {
            code: word("code"),
            param: word("param"),
        }
    }
}

/// Whether a member is the prompt, or a text in it: `input[0].content[1].text`.
fn is_prompt(param: &str) -> bool {
    let mut names = param
        .split('.')
        .map(|name| name.split_once('[').map_or(name, |(name, _)| name));
    let is_root = names.next().is_some_and(|root| PROMPT.contains(&root));
    is_root && names.next_back().is_none_or(|last| TEXT.contains(&last))
}

/// The provider's message without its wrapping (a JSON body, a status line, the provider's address, ids), and its names.
pub(super) fn for_the_client(message: &str) -> (String, Named) {
    let body = match message
        .strip_prefix("unexpected status ")
        .and_then(|rest| rest.split_once(": "))
    {
        Some((_status, body)) => body,
        None => message,
    };
    // The provider's own words may contain the marks after which Codex names the address.
    match ProviderError::at_the_beginning_of(body) {
        Some(error) => (
            error
                .word("message")
                .unwrap_or_else(|| words(body))
                .to_owned(),
            error.named(),
        ),
        None => (words(body).to_owned(), Named::default()),
    }
}

/// The words before the provider's address and ids.
fn words(body: &str) -> &str {
    let end = [", url: ", ", request id: ", ", cf-ray: "]
        .iter()
        .filter_map(|mark| body.find(mark))
        .min();
    body.get(..end.unwrap_or(body.len())).unwrap_or(body)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_string_that_is_too_long_is_the_context_only_if_it_is_the_prompt() {
        for (param, cause) in [
            (json!("input"), Cause::ContextLength),
            (json!("input[0].content[1].text"), Cause::ContextLength),
            (json!("input[3].output"), Cause::ContextLength),
            (json!("instructions"), Cause::ContextLength),
            (json!("messages[1].content"), Cause::ContextLength),
            (json!("input[2].call_id"), Cause::InvalidRequest),
            (
                json!("input[2].content[0].image_url"),
                Cause::InvalidRequest,
            ),
            (json!("tools[0].description"), Cause::InvalidRequest),
            (json!("metadata.text"), Cause::InvalidRequest),
            (json!(null), Cause::InvalidRequest),
        ] {
            let error = json!({"message": "m", "code": "string_above_max_length", "param": param});
            let error = ProviderError::of(&json!({ "error": error }).to_string()).unwrap();
            assert_eq!(error.cause(), cause, "{param}");
        }
    }

    #[test]
    fn code_and_param_are_read_from_every_wrapping() {
        let error = json!({"error": {"message": "m", "code": "c", "param": "input[0].id"}});
        let named = Named {
            code: Some("c".to_owned()),
            param: Some("input[0].id".to_owned()),
        };
        for message in [
            error.to_string(),
            format!("unexpected status 422 Unprocessable Entity: {error}"),
            format!("unexpected status 422 Odd: {error}, url: http://10.0.0.7, request id: r"),
            format!("{error}, url: http://10.0.0.7"),
        ] {
            let expected = ("m".to_owned(), named.clone());
            assert_eq!(for_the_client(&message), expected, "{message}");
        }
        let marks = "see it, url: http://a, request id: b";
        let error = json!({"error": {"message": marks, "code": "c", "param": "input[0].id"}});
        for message in [
            error.to_string(),
            format!("unexpected status 400 Bad Request: {error}"),
            format!("unexpected status 400 Bad Request: {error}, url: http://10.0.0.7"),
        ] {
            let expected = (marks.to_owned(), named.clone());
            assert_eq!(for_the_client(&message), expected, "{message}");
        }
        let odd = json!({"error": {"code": "a b", "param": "x".repeat(LONGEST + 1)}}).to_string();
        assert_eq!(for_the_client(&odd), (odd.clone(), Named::default()));
    }
}
