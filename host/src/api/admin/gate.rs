//! Reads the conditions of a shadow from the body of a request: all mistakes at once.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::openai::{ApiError, GatewayError};
use crate::policy::Gate;

/// The longest shadow.
const LONGEST: Duration = Duration::from_secs(30 * 86_400);

/// The conditions in a body; what is not said is as [`Gate::default`] has it.
///
/// # Errors
/// All mistakes; `param` names the first member that is wrong.
pub(super) fn read(body: &[u8]) -> Result<Gate, ApiError> {
    let mut reader = Reader::default();
    for (name, value) in super::body::object(body)? {
        reader.member(&name, &value);
    }
    match reader.mistakes.first() {
        None => Ok(reader.gate),
        Some((param, _)) => {
            let param = param.clone();
            let sentences = reader.mistakes.into_iter().map(|(_, sentence)| sentence);
            let message = sentences.collect::<Vec<_>>().join(" ");
            Err(GatewayError::InvalidValue { message }.about(param))
        }
    }
}

#[derive(Default)]
struct Reader {
    gate: Gate,
    /// The members that are wrong, each with a sentence.
    mistakes: Vec<(String, String)>,
}

impl Reader {
    fn member(&mut self, name: &str, value: &Value) {
        let is_read = match name {
            "for" => put(&mut self.gate.duration, duration(value)),
            "min_decisions" => put(&mut self.gate.min_decisions, value.as_u64()),
            "max_differ" if value.is_null() => put(&mut self.gate.max_differ, Some(None)),
            "max_differ" => put(&mut self.gate.max_differ, value.as_u64().map(Some)),
            "max_faults" => put(&mut self.gate.max_faults, value.as_u64()),
            "promote" => put(&mut self.gate.promote, value.as_bool()),
            _ => false,
        };
        if is_read {
            return;
        }
        let shown: String = name.chars().take(64).collect();
        let expected = match name {
            "for" => "a length of time, as '10m' or '1h 30m', at most 30 days",
            "min_decisions" | "max_faults" => "a whole number",
            "max_differ" => "a whole number, or null for any number",
            "promote" => "true or false",
            _ => "'for', 'min_decisions', 'max_differ', 'max_faults' or 'promote'",
        };
        let found: String = value.to_string().chars().take(64).collect();
        let sentence = match expected.starts_with('\'') {
            true => format!("Unknown member '{shown}': expected {expected}."),
            false => format!("Invalid '{shown}': expected {expected}, found {found}."),
        };
        self.mistakes.push((shown, sentence));
    }
}

/// Puts a value in its place, if there is one.
fn put<T>(place: &mut T, value: Option<T>) -> bool {
    let is_there = value.is_some();
    if let Some(value) = value {
        *place = value;
    }
    is_there
}

fn duration(value: &Value) -> Option<Duration> {
    let duration = humantime::parse_duration(value.as_str()?).ok()?;
    (duration <= LONGEST).then_some(duration)
}

/// The digest in the body of a roll-back, if there is one.
///
/// # Errors
/// If there is something else.
pub(super) fn digest(body: &[u8]) -> Result<Option<String>, ApiError> {
    let members: Map<String, Value> = super::body::object(body)?;
    let mut digest = None;
    for (name, value) in members {
        match (name.as_str(), value) {
            ("digest", Value::Null) => {}
            ("digest", Value::String(digits)) => digest = Some(digits),
            _ => {
                let message =
                    "Expected one member, 'digest', with the first digits of a digest.".to_owned();
                let name: String = name.chars().take(64).collect();
                return Err(GatewayError::InvalidValue { message }.about(name));
            }
        }
    }
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_may_be_said_and_none_must() {
        assert_eq!(read(b"").unwrap(), Gate::default());
        assert_eq!(read(b" {} ").unwrap(), Gate::default());
        let all = br#"{"for": "1h 30m", "min_decisions": 7, "max_differ": 3, "max_faults": 1, "promote": true}"#;
        let gate = Gate {
            duration: Duration::from_secs(5_400),
            min_decisions: 7,
            max_differ: Some(3),
            max_faults: 1,
            promote: true,
        };
        assert_eq!(read(all).unwrap(), gate);
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let error = read(br#"{"for": "99 years", "max_differ": -1, "fro": "1m"}"#).unwrap_err();
        assert_eq!((error.status, &*error.code), (400, "invalid_value"));
        for words in [
            "'for': expected a length of time, as '10m' or '1h 30m', at most 30 days, found \"99 years\"",
            "'max_differ': expected a whole number, or null for any number, found -1",
            "Unknown member 'fro': expected 'for', 'min_decisions'",
        ] {
            assert!(error.message.contains(words), "{words}: {}", error.message);
        }
        for body in ["[]", "{", "7"] {
            assert_eq!(read(body.as_bytes()).unwrap_err().status, 400, "{body}");
        }
    }

    #[test]
    fn a_digest_is_the_only_member_of_a_roll_back() {
        assert_eq!(digest(b"").unwrap(), None);
        assert_eq!(
            digest(br#"{"digest": "9c"}"#).unwrap().as_deref(),
            Some("9c")
        );
        let error = digest(br#"{"digets": "9c"}"#).unwrap_err();
        assert_eq!(error.param.as_deref(), Some("digets"));
    }
}
