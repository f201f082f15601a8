//! A case: a policy's settings, and calls with the replies that are expected of it, read from a file.

use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::super::Slot;
use super::super::candidate::Options;
use super::super::facts::Facts;
use super::input::{Call, Moment};
use super::{Draft, NamedFile, Signatures, matcher};

/// The ending of a case's file.
pub const CASE_ENDING: &str = ".case.json";
/// The most bytes of a case.
pub const MAX_CASE: u64 = 1 << 20;
/// The most calls of a case.
const MAX_CALLS: usize = 1_000;
/// The time of a case that names none: 2026-01-01T00:00:00Z, in milliseconds since 1970.
pub(super) const START_MS: u64 = 1_767_225_600_000;

/// A case, as it was read.
#[derive(Debug, Clone)]
pub struct Case {
    /// The slot, if the case names it.
    pub slot: Option<Slot>,
    /// The settings.
    pub(super) settings: Map<String, Value>,
    pub(super) host: Host,
    pub(super) options: Options,
    pub(super) start_ms: u64,
    /// The refusal that is expected of these settings.
    pub(super) refusal: Option<Value>,
    pub(super) calls: Vec<Step>,
}

/// One call of a case.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) call: Option<String>,
    pub(super) input: Value,
    /// The time of the call, in milliseconds since 1970.
    pub(super) now_ms: u64,
    /// The tokens that the request used; by default what was estimated.
    pub(super) tokens: Option<u64>,
    /// How long the request lasts, in milliseconds.
    pub(super) lasts_ms: u64,
    pub(super) expect: Value,
}

/// The host's facts, as far as a case names them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Host {
    environment: Option<String>,
    cors: Option<bool>,
    /// `null` is none, and an absent one the demo's.
    #[serde(default, deserialize_with = "present")]
    codex_model: Option<Option<String>>,
    models: Option<Vec<Value>>,
}

/// A member that is there, also if it is `null`.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(from).map(Some)
}

impl Host {
    /// The facts of a case: these, with its own in place of some.
    pub(super) fn over(&self, facts: &Facts) -> Facts {
        let Self {
            environment,
            cors,
            codex_model,
            models,
        } = self.clone();
        Facts {
            environment: environment.unwrap_or_else(|| facts.environment.clone()),
            cors: cors.unwrap_or(facts.cors),
            codex_model: codex_model.unwrap_or_else(|| facts.codex_model.clone()),
            models: models.unwrap_or_else(|| facts.models.clone()),
            endpoints: facts.endpoints.clone(),
        }
    }
}

/// The file of a case.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(rename = "$schema")]
    _schema: Option<String>,
    #[serde(rename = "about")]
    _about: Option<String>,
    slot: Option<String>,
    #[serde(default)]
    settings: Map<String, Value>,
    #[serde(default)]
    host: Host,
    #[serde(default)]
    grants: Vec<Grant>,
    at: Option<String>,
    refusal: Option<Value>,
    #[serde(default)]
    calls: Vec<WrittenCall>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Grant {
    Credential,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCall {
    call: Option<String>,
    #[serde(default)]
    input: Value,
    at: Option<String>,
    after: Option<String>,
    tokens: Option<u64>,
    lasts: Option<String>,
    expect: Value,
}

impl Case {
    /// Reads a case.
    ///
    /// # Errors
    /// The place of the first mistake, and the expectation.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let written: Written = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let slot = written.slot.as_deref().map(slot).transpose()?;
        let start_ms = written
            .at
            .as_deref()
            .map_or(Ok(START_MS), |at| moment("at", at))?;
        if written.calls.len() > MAX_CALLS {
            let found = written.calls.len();
            return Err(format!(
                "calls: expected at most {MAX_CALLS}, found {found}"
            ));
        }
        match (&written.refusal, written.calls.is_empty()) {
            (Some(_), false) => {
                return Err("calls: settings that are refused answer none".to_owned());
            }
            (None, true) => return Err("expected `calls`, or `refusal`".to_owned()),
            (Some(refusal), true) => matcher::check(refusal, "refusal")?,
            (None, false) => {}
        }
        let mut now_ms = start_ms;
        let calls = written.calls.into_iter().enumerate();
        let calls = calls.map(|(index, call)| {
            let step = call.at(&format!("calls[{index}]"), now_ms)?;
            now_ms = step.now_ms;
            Ok(step)
        });
        Ok(Self {
            slot,
            settings: written.settings,
            host: written.host,
            options: Options {
                credential: !written.grants.is_empty(),
                ..Options::default()
            },
            start_ms,
            refusal: written.refusal,
            calls: calls.collect::<Result<_, String>>()?,
        })
    }
}

impl Case {
    /// The policy of a case: this component, with the settings, the grants and the facts of the case in the file `name`.
    #[must_use]
    pub fn draft(
        &self,
        name: &str,
        slot: Slot,
        component: Option<NamedFile>,
        facts: &Facts,
    ) -> Draft {
        let settings = Value::Object(self.settings.clone()).to_string();
        Draft {
            slot,
            component,
            settings: Some((name.to_owned(), settings.into_bytes().into())),
            options: self.options,
            facts: self.host.over(facts),
            signatures: Signatures::default(),
        }
    }

    /// Finds the first mistake in its questions and their input.
    ///
    /// # Errors
    /// The place, and the expectation.
    pub fn check(&self, slot: Slot) -> Result<(), String> {
        let mut calls = self.calls.iter().enumerate();
        calls.try_for_each(|(index, step)| {
            let read = step.read(slot, self.start_ms);
            read.map(|_| ())
                .map_err(|mistake| format!("calls[{index}].{mistake}"))
        })
    }

    /// The first question of the case.
    ///
    /// # Errors
    /// If the case has none, or its input is wrong.
    pub fn first(&self, slot: Slot) -> Result<Call, String> {
        let step = self.calls.first().ok_or("expected `calls`")?;
        step.read(slot, step.now_ms)
    }
}

impl Step {
    /// Reads its question, in a case that began then.
    pub(super) fn read(&self, slot: Slot, start_ms: u64) -> Result<Call, String> {
        let moment = Moment {
            now_ms: self.now_ms,
            elapsed_ms: self.now_ms.saturating_sub(start_ms),
        };
        Call::read(slot, self.call.as_deref(), &self.input, moment)
    }
}

impl WrittenCall {
    fn at(self, place: &str, before_ms: u64) -> Result<Step, String> {
        let now_ms = match (self.at, self.after) {
            (Some(_), Some(_)) => {
                return Err(format!("{place}: expected `at` or `after`, found both"));
            }
            (Some(at), None) => moment(&format!("{place}.at"), &at)?,
            (None, Some(after)) => {
                let after = duration(&format!("{place}.after"), &after)?;
                before_ms.saturating_add(after)
            }
            (None, None) => before_ms,
        };
        if now_ms < before_ms {
            return Err(format!(
                "{place}.at: expected no time before the last call's"
            ));
        }
        matcher::check(&self.expect, &format!("{place}.expect"))?;
        let lasts = self.lasts.as_deref();
        Ok(Step {
            call: self.call,
            input: self.input,
            now_ms,
            tokens: self.tokens,
            lasts_ms: lasts.map_or(Ok(0), |lasts| duration(&format!("{place}.lasts"), lasts))?,
            expect: self.expect,
        })
    }
}

fn slot(name: &str) -> Result<Slot, String> {
    let names = || Slot::ALL.map(Slot::name).join(", ");
    Slot::parse(name).ok_or_else(|| format!("slot: expected one of {}, found `{name}`", names()))
}

/// Milliseconds since 1970 of a time in UTC; the seconds may be missing.
///
/// # Errors
/// If it is no time; with the place.
pub fn moment(place: &str, text: &str) -> Result<u64, String> {
    let short = text.strip_suffix('Z').filter(|short| short.len() == 16);
    let whole = short.map(|short| format!("{short}:00Z"));
    let time = humantime::parse_rfc3339(whole.as_deref().unwrap_or(text)).map_err(|error| {
        format!("{place}: expected a time as 2026-12-01T23:30:00Z, found `{text}`: {error}")
    })?;
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(millis(since))
}

fn duration(place: &str, text: &str) -> Result<u64, String> {
    let duration = humantime::parse_duration(text);
    duration.map(millis).map_err(|error| {
        format!("{place}: expected a duration as 10s or 1h 30m, found `{text}`: {error}")
    })
}

/// Whole milliseconds.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The cases of the built-in policies: the path of each (`auth/cases/known-key.case.json`), and its text.
pub const BUILT_IN_CASES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/cases.rs"));

/// The JSON Schema of a case's file.
#[must_use]
pub fn schema() -> Value {
    let mut schema: Value =
        serde_json::from_str(include_str!("case.schema.json")).unwrap_or_default();
    let calls = Slot::ALL.into_iter().flat_map(Call::names);
    schema["$defs"]["call"]["properties"]["call"]["enum"] = calls.copied().collect();
    schema["properties"]["slot"]["enum"] = Slot::ALL.map(Slot::name).into_iter().collect();
    schema
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(case: Value) -> String {
        Case::read(case.to_string().as_bytes()).unwrap_err()
    }

    #[test]
    fn the_clock_of_a_case_is_moved_by_its_calls() {
        let case = json!({"slot": "rate-limit", "at": "2026-12-01T23:30Z", "calls": [
            {"expect": {}},
            {"after": "10s", "lasts": "1m", "tokens": 5, "expect": {}},
            {"expect": {}},
            {"at": "2026-12-02T00:00:00Z", "expect": {}},
        ]});
        let case = Case::read(case.to_string().as_bytes()).unwrap();
        let times: Vec<_> = case
            .calls
            .iter()
            .map(|step| step.now_ms - case.start_ms)
            .collect();
        assert_eq!(times, [0, 10_000, 10_000, 1_800_000]);
        assert_eq!(
            (case.calls[1].lasts_ms, case.calls[1].tokens),
            (60_000, Some(5))
        );
        assert_eq!(case.slot, Some(Slot::RateLimit));
    }

    #[test]
    fn mistakes_of_a_case_are_told_with_their_place() {
        let call = json!({"expect": {}});
        for (case, words) in [
            (
                json!({"calls": [call], "clals": 1}),
                "unknown field `clals`",
            ),
            (
                json!({"calls": [{"expect": {}, "inptu": 1}]}),
                "unknown field `inptu`",
            ),
            (json!({"calls": [{}]}), "missing field `expect`"),
            (json!({}), "expected `calls`, or `refusal`"),
            (
                json!({"calls": [call], "refusal": "x"}),
                "calls: settings that are refused",
            ),
            (
                json!({"slot": "ath", "calls": [call]}),
                "slot: expected one of auth, ",
            ),
            (
                json!({"at": "today", "calls": [call]}),
                "at: expected a time as",
            ),
            (
                json!({"calls": [{"expect": {}, "after": "soon"}]}),
                "calls[0].after: expected a duration",
            ),
            (
                json!({"calls": [{"expect": {}, "at": "2025-01-01T00:00:00Z"}]}),
                "calls[0].at: expected no time before",
            ),
            (
                json!({"calls": [{"expect": {"ok": {"$pattern": "("}}}]}),
                "calls[0].expect.ok: ",
            ),
        ] {
            let told = told(case);
            assert!(told.starts_with(words), "{told}");
        }
        assert!(
            Case::read(b"{\n\"calls\": [}")
                .unwrap_err()
                .contains("line 2 column 11")
        );
    }

    #[test]
    fn the_schema_and_the_reader_know_the_same_members() {
        let schema = schema();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let case = json!({
            "$schema": "x", "about": "a", "slot": "auth", "settings": {}, "grants": ["credential"],
            "host": {"environment": "prod", "cors": true, "codex_model": "gpt-5", "models": []},
            "at": "2026-12-01T23:30Z",
            "calls": [{"call": "verify", "input": {}, "at": "2026-12-01T23:31Z", "tokens": 1, "lasts": "1s",
                "expect": {"denied": {"code": {"$pattern": "^x$"}}}}],
        });
        assert!(validator.is_valid(&case));
        assert!(Case::read(case.to_string().as_bytes()).is_ok());
        for wrong in [
            json!({"calls": []}),
            json!({"x": 1, "calls": [{"expect": {}}]}),
        ] {
            assert!(
                !validator.is_valid(&wrong) && Case::read(wrong.to_string().as_bytes()).is_err()
            );
        }
    }
}
