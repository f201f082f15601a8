//! Writes the input on which two policies differ as a case that passes with the first one and fails with the second.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::super::case::Step;
use super::super::diff::{Played, Script};
use super::super::{Draft, Outcome, Reply};
use super::START_MS;

/// The case; the two policies differ at its last call. `from` has the replies of the first one, whose settings the case has.
pub(super) fn case(draft: &Draft, script: &Script, [from, to]: &[Played; 2]) -> Value {
    let mut case = Map::new();
    let told = |played: &Played| played.last().map(|(_, reply)| reply.told.words.clone());
    let [first, second] = [from, to].map(|played| told(played).unwrap_or_default());
    let about = match first == second {
        true => format!("{first}, and not otherwise"),
        false => format!("{first}, and not {second}"),
    };
    case.insert("about".into(), about.into());
    case.insert("slot".into(), draft.slot.name().into());
    let settings = draft.settings.as_ref();
    let settings = settings.and_then(|(_, bytes)| serde_json::from_slice::<Value>(bytes).ok());
    if let Some(settings) = settings {
        case.insert("settings".into(), settings);
    }
    if draft.options.credential {
        case.insert("grants".into(), json!(["credential"]));
    }
    if script.start_ms != START_MS {
        let at = UNIX_EPOCH + Duration::from_millis(script.start_ms);
        case.insert(
            "at".into(),
            humantime::format_rfc3339_millis(at).to_string().into(),
        );
    }
    let mut before = script.start_ms;
    let mut calls = Vec::new();
    for (index, (step, (_, reply))) in script.steps.iter().zip(from).enumerate() {
        let is_last = index + 1 == script.steps.len();
        let other = to.get(index).map(|(_, reply)| reply).filter(|_| is_last);
        calls.push(call(step, before, expectation(reply, other)));
        before = step.now_ms;
    }
    case.insert("calls".into(), calls.into());
    case.into()
}

fn call(step: &Step, before_ms: u64, expect: Value) -> Value {
    let mut call = Map::new();
    let length = |ms: u64| humantime::format_duration(Duration::from_millis(ms)).to_string();
    if let Some(name) = &step.call {
        call.insert("call".into(), name.as_str().into());
    }
    if step.now_ms > before_ms {
        call.insert("after".into(), length(step.now_ms - before_ms).into());
    }
    if step
        .input
        .as_object()
        .is_some_and(|input| !input.is_empty())
    {
        call.insert("input".into(), step.input.clone());
    }
    if let Some(tokens) = step.tokens {
        call.insert("tokens".into(), tokens.into());
    }
    if step.lasts_ms > 0 {
        call.insert("lasts".into(), length(step.lasts_ms).into());
    }
    call.insert("expect".into(), expect);
    call.into()
}

/// The reply as an expectation: whole for the call at which `other` differs, and its kind for those before.
fn expectation(reply: &Reply, other: Option<&Reply>) -> Value {
    let Some(other) = other else {
        return match &reply.outcome {
            Outcome::Ok(_) => json!({"denied": null}),
            Outcome::Denied(denial) => json!({"denied": {"code": denial["code"]}}),
            Outcome::Fault(failed) => json!({"fault": {"kind": failed.kind}}),
        };
    };
    let mut expect = match &reply.outcome {
        Outcome::Ok(answer) => match answer.get("reaction") {
            Some(reaction) => json!({"ok": {"reaction": reaction}}),
            None => json!({ "ok": answer }),
        },
        Outcome::Denied(denial) => json!({ "denied": denial }),
        Outcome::Fault(failed) => json!({"fault": {"kind": failed.kind}}),
    };
    if reply.outcome == other.outcome {
        // The buckets differ, and nothing else is needed to see it.
        expect = json!({ "quotas": reply.quotas });
    } else if let (Outcome::Ok(_), Outcome::Denied(_)) = (&reply.outcome, &other.outcome) {
        expect["denied"] = Value::Null;
    }
    expect
}
