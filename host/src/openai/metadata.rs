//! Reads a request's `user` and `metadata` for the operator's log; Codex never gets them.

use serde_json::Value;

use super::json_object::{self, Object};

/// The client's own data about a request. Both are bounded in length and have no control characters, so that a log line stays one
/// line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The member `user`, or its newer name at OpenAI: `safety_identifier`.
    pub user: Option<String>,
    /// The member `metadata`, as JSON; cut off if it is too long.
    pub metadata: Option<String>,
}

/// OpenAI allows more for stored metadata; here it has to fit into a readable log line.
const METADATA_BYTES: usize = 512;

impl Metadata {
    /// Only a user, in the words of an API whose metadata has nothing else.
    pub(super) fn of_user(user: Option<&str>) -> Self {
        let user = user.filter(|user| !user.is_empty());
        Self {
            user: user.map(one_line),
            metadata: None,
        }
    }

    /// Reads both from a request. A member of the wrong type is left out; it is no reason to refuse the request.
    pub(super) fn of(body: &Object) -> Self {
        let user = ["user", "safety_identifier"]
            .into_iter()
            .find_map(|name| body.get(name)?.as_str())
            .filter(|user| !user.is_empty());
        let metadata = body
            .get("metadata")
            .filter(|value| value.as_object().is_some_and(|members| !members.is_empty()));
        Self {
            user: user.map(one_line),
            // JSON has no control characters.
            metadata: metadata.map(bounded),
        }
    }
}

fn one_line(user: &str) -> String {
    json_object::shorten(user).replace(char::is_control, "\u{fffd}")
}

fn bounded(metadata: &Value) -> String {
    let mut text = metadata.to_string();
    if text.len() > METADATA_BYTES {
        text.truncate(text.floor_char_boundary(METADATA_BYTES));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn metadata(body: Value) -> Metadata {
        Metadata::of(&Object::from_value(body, String::new()).expect("an object"))
    }

    #[test]
    fn user_and_metadata_are_read_and_bounded() {
        let found = metadata(json!({"user": "u-1", "metadata": {"run": "7"}}));
        let expected = Metadata {
            user: Some("u-1".to_owned()),
            metadata: Some(r#"{"run":"7"}"#.to_owned()),
        };
        assert_eq!(found, expected);
        let newer = metadata(json!({"safety_identifier": "s-1", "user": null}));
        assert_eq!(newer.user.as_deref(), Some("s-1"));
        for none in [
            json!({}),
            json!({"user": "", "metadata": {}}),
            json!({"user": 7, "metadata": "text"}),
            json!({"user": null, "metadata": null, "safety_identifier": null}),
        ] {
            assert_eq!(metadata(none.clone()), Metadata::default(), "{none}");
        }
        let forged = "u\n2026-01-01 INFO access: forged\u{1b}[2J";
        let found = metadata(json!({"user": forged, "metadata": {"note": forged}}));
        for text in [found.user, found.metadata].map(Option::unwrap) {
            assert!(!text.contains(char::is_control), "{text:?}");
            assert!(text.contains("forged"), "{text:?}");
        }
        let long = "é".repeat(10_000);
        let found = metadata(json!({"user": long, "metadata": {"note": long}}));
        assert!(found.user.expect("a user").len() < 80);
        assert!(found.metadata.expect("metadata").len() < 520);
    }
}
