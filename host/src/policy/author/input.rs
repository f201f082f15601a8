//! The input of a question from an author: the JSON of records, with members that are missing filled in.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::super::Slot;
use super::super::bindings::rate_limit;
use super::super::candidate::hex;
use super::super::world::{
    Authenticate, Catalog, Decide, Observe, Question, Quotas, Resolve, Verify,
};
use crate::spelling::nearest;

/// The model that is asked for where none is named.
const MODEL: &str = "codex-5";
/// The endpoint that is called where none is named.
const ENDPOINT: &str = "/v1/chat/completions";

/// A question to a policy.
#[derive(Clone)]
pub struct Call(pub(super) Asked);

/// The question of a call.
#[derive(Clone)]
pub(super) enum Asked {
    Authenticate(Authenticate),
    Verify(Verify),
    Catalog(Catalog),
    Resolve(Resolve),
    Quotas(Quotas),
    /// Both halves of a question about limits; without `statuses`, buckets are drawn from in between.
    Admit {
        asked: Quotas,
        statuses: Option<Vec<rate_limit::BucketStatus>>,
    },
    Observe(Observe),
}

/// The moment of a question.
#[derive(Debug, Clone, Copy, Default)]
pub struct Moment {
    /// Milliseconds since 1970.
    pub now_ms: u64,
    /// Milliseconds since the turn began.
    pub elapsed_ms: u64,
}

impl Call {
    /// The questions of a slot; the first one is meant if none is named.
    #[must_use]
    pub const fn names(slot: Slot) -> &'static [&'static str] {
        match slot {
            Slot::Auth => &[Authenticate::NAME, Verify::NAME],
            Slot::Model => &[Resolve::NAME, Catalog::NAME],
            Slot::RateLimit => &[Decide::NAME, Quotas::NAME],
            Slot::ToolStop => &[Observe::NAME],
        }
    }

    /// Reads the input of a question.
    ///
    /// # Errors
    /// The place of the first mistake, and the expectation.
    pub fn read(
        slot: Slot,
        name: Option<&str>,
        input: &Value,
        moment: Moment,
    ) -> Result<Self, String> {
        let names = Self::names(slot);
        let name = name.unwrap_or(names[0]);
        if !names.contains(&name) {
            let names = names.join(" or ");
            return Err(format!(
                "call: expected {names} of the {slot} slot, found `{name}`"
            ));
        }
        let now = moment.now_ms;
        Ok(Self(match name {
            Authenticate::NAME => Asked::Authenticate(read(request(input, now)?)?),
            Verify::NAME => Asked::Verify(read(request(input, now)?)?),
            Catalog::NAME => Asked::Catalog(read(catalog(input, now)?)?),
            Resolve::NAME => Asked::Resolve(read(resolve(input, now)?)?),
            Quotas::NAME => Asked::Quotas(read(ask("input", input, now)?)?),
            Decide::NAME => {
                let filled = fill("input", input, &json!({"ask": {}, "statuses": null}))?;
                Asked::Admit {
                    asked: read(ask("input.ask", &filled["ask"], now)?)?,
                    statuses: read(filled["statuses"].clone())?,
                }
            }
            _ => Asked::Observe(read(observe(input, moment.elapsed_ms)?)?),
        }))
    }

    /// The same question with the memo of the turn, if it names none of its own.
    pub(super) fn with_memo(self, input: &Value, memo: &[u8]) -> Self {
        match self {
            Self(Asked::Observe(asked)) if input.get("memo").is_none() => {
                let memo = memo.to_vec();
                Self(Asked::Observe(Observe { memo, ..asked }))
            }
            other => other,
        }
    }

    /// The name of the question.
    pub(super) const fn name(&self) -> &'static str {
        match &self.0 {
            Asked::Authenticate(_) => Authenticate::NAME,
            Asked::Verify(_) => Verify::NAME,
            Asked::Catalog(_) => Catalog::NAME,
            Asked::Resolve(_) => Resolve::NAME,
            Asked::Quotas(_) => Quotas::NAME,
            Asked::Admit { .. } => Decide::NAME,
            Asked::Observe(_) => Observe::NAME,
        }
    }

    /// The caller and the model that it is about.
    pub(super) fn subject(&self) -> (Option<&str>, Option<&str>) {
        match &self.0 {
            Asked::Authenticate(asked) => asked.subject(),
            Asked::Verify(asked) => asked.subject(),
            Asked::Catalog(asked) => asked.subject(),
            Asked::Resolve(asked) => asked.subject(),
            Asked::Quotas(asked) | Asked::Admit { asked, .. } => asked.subject(),
            Asked::Observe(asked) => asked.subject(),
        }
    }

    /// The tokens that a request is estimated to cost.
    pub(super) fn estimate(&self) -> u64 {
        match &self.0 {
            Asked::Admit { asked, .. } => asked.0.estimated_tokens,
            _ => 0,
        }
    }
}

fn read<T: DeserializeOwned>(filled: Value) -> Result<T, String> {
    serde_json::from_value(filled).map_err(|error| format!("input: {error}"))
}

/// The members of `given`, and those of `template` that are missing in it.
///
/// # Errors
/// If it is no object, or has a member that the template has not.
fn fill(place: &str, given: &Value, template: &Value) -> Result<Value, String> {
    let empty = Map::new();
    let given = match given {
        Value::Null => &empty,
        Value::Object(members) => members,
        _ => return Err(format!("{place}: expected an object")),
    };
    let mut filled = template.as_object().cloned().unwrap_or_default();
    for (name, value) in given {
        let Some(member) = filled.get_mut(name) else {
            let known = filled.keys().map(String::as_str);
            let meant = nearest(name, known.clone());
            let known: Vec<_> = known.collect();
            return Err(match meant {
                Some(meant) => {
                    format!("{place}: there is no member `{name}`; did you mean `{meant}`?")
                }
                None => format!(
                    "{place}: there is no member `{name}`; there are {}",
                    known.join(", ")
                ),
            });
        };
        *member = value.clone();
    }
    Ok(filled.into())
}

fn request(input: &Value, now_ms: u64) -> Result<Value, String> {
    let template = json!({
        "id": "req_case",
        "method": "POST",
        "path": ENDPOINT,
        "query": null,
        "host": "localhost",
        "client": "127.0.0.1",
        "headers": [],
        "credential": null,
        "now_ms": now_ms,
    });
    let mut request = fill("input", input, &template)?;
    request["credential"] = credential(&request["credential"])?;
    Ok(request)
}

/// A text stands for the key that a client sends.
fn credential(given: &Value) -> Result<Value, String> {
    let of = |secret: &str| {
        let fingerprint = hex(&Sha256::digest(secret));
        json!({"scheme": "Bearer", "fingerprint": fingerprint, "secret": secret})
    };
    match given {
        Value::Null => Ok(Value::Null),
        Value::String(secret) => Ok(of(secret)),
        Value::Object(members) => {
            let secret = members.get("secret").and_then(Value::as_str);
            let template = secret.map_or_else(
                || json!({"scheme": "Bearer", "fingerprint": "", "secret": null}),
                of,
            );
            fill("input.credential", given, &template)
        }
        _ => Err("input.credential: expected a key, an object or null".to_owned()),
    }
}

/// A text stands for the caller's id.
fn caller(place: &str, given: &Value) -> Result<Value, String> {
    let template = json!({"id": "caller", "tenant": null, "groups": []});
    match given {
        Value::Null => Ok(Value::Null),
        Value::String(id) => Ok(json!({"id": id, "tenant": null, "groups": []})),
        _ => fill(place, given, &template),
    }
}

fn catalog(input: &Value, now_ms: u64) -> Result<Value, String> {
    let mut filled = fill("input", input, &json!({"caller": {}, "now_ms": now_ms}))?;
    filled["caller"] = caller("input.caller", &filled["caller"])?;
    Ok(filled)
}

fn resolve(input: &Value, now_ms: u64) -> Result<Value, String> {
    let mut filled = fill("input", input, &json!({"ask": {}, "now_ms": now_ms}))?;
    let template = json!({"caller": {}, "requested": null, "effort": null});
    let mut ask = fill("input.ask", &filled["ask"], &template)?;
    ask["caller"] = caller("input.ask.caller", &ask["caller"])?;
    filled["ask"] = ask;
    Ok(filled)
}

/// A question about limits.
fn ask(place: &str, given: &Value, now_ms: u64) -> Result<Value, String> {
    let template = json!({
        "client": "127.0.0.1",
        "caller": {},
        "endpoint": ENDPOINT,
        "model": MODEL,
        "streaming": false,
        "estimated_tokens": 1_000,
        "now_ms": now_ms,
    });
    let mut ask = fill(place, given, &template)?;
    ask["caller"] = caller(&format!("{place}.caller"), &ask["caller"])?;
    Ok(ask)
}

fn observe(input: &Value, elapsed_ms: u64) -> Result<Value, String> {
    let template = json!({"progress": {}, "event": {"Called": {}}, "memo": []});
    let mut filled = fill("input", input, &template)?;
    let template = json!({
        "caller": {},
        "model": MODEL,
        "streaming": false,
        "calls": 1,
        "elapsed_ms": elapsed_ms,
    });
    let mut progress = fill("input.progress", &filled["progress"], &template)?;
    progress["caller"] = caller("input.progress.caller", &progress["caller"])?;
    if let Some(call) = filled["event"].get("Called") {
        let template = json!({"name": "tool", "arguments": "{}", "textual": false, "index": 0});
        let call = fill("input.event.Called", call, &template)?;
        filled["event"] = json!({"Called": call});
    }
    filled["progress"] = progress;
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(slot: Slot, name: &str, input: Value) -> Result<Call, String> {
        let moment = Moment {
            now_ms: 1_000,
            elapsed_ms: 20,
        };
        Call::read(slot, Some(name), &input, moment)
    }

    #[test]
    fn missing_members_are_filled_in_and_a_key_is_a_credential() {
        let input = json!({"path": "/v1/models", "credential": "sk-x"});
        let Ok(Call(Asked::Authenticate(Authenticate(request)))) =
            read(Slot::Auth, "authenticate", input)
        else {
            panic!("not read")
        };
        assert_eq!(
            (request.path.as_str(), request.now_ms),
            ("/v1/models", 1_000)
        );
        let credential = request.credential.unwrap();
        assert_eq!(credential.fingerprint, hex(&Sha256::digest("sk-x")));
        assert_eq!(credential.secret.as_deref(), Some("sk-x"));
    }

    #[test]
    fn every_question_can_be_asked_without_any_input() {
        for slot in Slot::ALL {
            for name in Call::names(slot) {
                assert!(read(slot, name, json!({})).is_ok(), "{slot} {name}");
            }
        }
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        let told = |slot, name, input| read(slot, name, input).err().unwrap();
        assert_eq!(
            told(Slot::Auth, "authenticate", json!({"methdo": "GET"})),
            "input: there is no member `methdo`; did you mean `method`?"
        );
        let unknown = told(Slot::Model, "resolve", json!({"ask": {"caller": {"x": 1}}}));
        assert!(
            unknown.starts_with("input.ask.caller: there is no member `x`; there are "),
            "{unknown}"
        );
        let wrong = told(Slot::ToolStop, "observe", json!({"event": {"Cold": 1}}));
        assert!(
            wrong.starts_with("input: ") && wrong.contains("Cold"),
            "{wrong}"
        );
        let other = told(Slot::Auth, "resolve", json!({}));
        assert_eq!(
            other,
            "call: expected authenticate or verify of the auth slot, found `resolve`"
        );
    }

    #[test]
    fn an_input_of_records_is_read_as_it_is() {
        let input = json!({"ask": {"client": "10.0.0.1", "caller": {"id": "ann", "tenant": null, "groups": []},
            "endpoint": "/v1/chat/completions", "model": null, "streaming": true, "estimated_tokens": 7, "now_ms": 5},
            "statuses": [{"name": "burst", "granted": false, "remaining": 0, "reset_ms": 9}]});
        let Ok(Call(Asked::Admit { asked, statuses })) = read(Slot::RateLimit, "admit", input)
        else {
            panic!("not read")
        };
        assert_eq!(asked.0.now_ms, 5);
        assert!(!statuses.unwrap()[0].granted);
    }
}
