//! Measures a policy beside the built-in one of its slot.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};

use super::super::bindings::rate_limit::BucketStatus;
use super::super::candidate::Instances;
use super::super::engine::Engine;
use super::super::fault::Refusal;
use super::super::world::{Authenticate, Verify};
use super::case::millis;
use super::input::Asked;
use super::{Buckets, Call, Draft, NamedFile, Outcome, Subject};

/// Decisions that are made one after the other before the other policy's turn: what the machine does beside falls on both.
const ROUND: usize = 100;
/// The most decisions of one policy.
const MOST: usize = 100_000;
/// Decisions before the first that is measured.
const WARM_UP: usize = 200;

/// The figures of one policy.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// The component's file, or "built-in".
    pub file: String,
    /// How decisions get their instances.
    pub instances: Instances,
    /// The number of decisions that were measured.
    pub decisions: usize,
    /// Those that were faults.
    pub faults: usize,
    /// Nanoseconds of a decision: half of them took at most this.
    pub p50_ns: u64,
    /// Nanoseconds of a decision: 99 of 100 took at most this.
    pub p99_ns: u64,
    /// Milliseconds to compile for freezing, to configure, and to take the snapshot; absent if it runs warm.
    pub freeze_ms: Option<u64>,
    /// Milliseconds to compile what serves.
    pub compile_ms: u64,
    /// The bytes of the file.
    pub wasm_bytes: usize,
    /// The bytes of the component that serves: of the snapshot, if it is frozen.
    pub image_bytes: usize,
}

/// The built-in policy of a draft's slot, for a comparison with it. Without settings of its own it gets some with which it answers
/// this question, as otherwise it would do nothing: the key that is asked about, or one limit.
#[must_use]
pub fn built_in(draft: &Draft, settings: Option<NamedFile>, call: &Call) -> Draft {
    let with = match &call.0 {
        Asked::Authenticate(Authenticate(request)) | Asked::Verify(Verify(request)) => {
            let credential = request.credential.as_ref();
            credential.map(|key| json!({"keys": [{"id": "caller", "sha256": key.fingerprint}]}))
        }
        Asked::Quotas(_) | Asked::Admit { .. } => {
            let rule =
                json!({"name": "requests", "unit": "requests", "limit": 1_000, "per": "caller"});
            Some(json!({ "rules": [rule] }))
        }
        Asked::Catalog(_) | Asked::Resolve(_) | Asked::Observe(_) => None,
    };
    let named = |with: Value| {
        (
            "settings for the comparison".to_owned(),
            with.to_string().into_bytes().into(),
        )
    };
    Draft {
        component: None,
        settings: settings.or_else(|| with.map(named)),
        ..draft.clone()
    }
}

struct Measuring {
    subject: Subject,
    /// The status of full buckets, of which it names its own.
    statuses: Vec<BucketStatus>,
    wasm_bytes: usize,
    took: Vec<u64>,
    faults: usize,
}

/// Prepares each policy anew, and asks all the same question in turns for this long. The engine must have no cache.
///
/// # Errors
/// The reason why a gateway would refuse one of them.
pub async fn measure(
    engine: &Engine,
    drafts: &[Draft],
    call: &Call,
    budget: Duration,
) -> Result<Vec<Measured>, Refusal> {
    let mut all = Vec::new();
    for draft in drafts {
        all.push(Measuring::of(engine, draft, call).await?);
    }
    for measuring in &mut all {
        measuring.round(call, WARM_UP).await;
        measuring.took.clear();
        measuring.faults = 0;
    }
    let began = Instant::now();
    let is_full = |all: &[Measuring]| all.iter().any(|one| one.took.len() >= MOST);
    while began.elapsed() < budget && !is_full(&all) {
        for measuring in &mut all {
            measuring.round(call, ROUND).await;
        }
    }
    Ok(all.into_iter().map(Measuring::done).collect())
}

impl Measuring {
    /// Prepares a policy, and asks it once for the buckets that it names.
    async fn of(engine: &Engine, draft: &Draft, call: &Call) -> Result<Self, Refusal> {
        let candidate = draft.candidate()?;
        let subject = Subject::prepare(engine, draft, Instances::Frozen).await?;
        let (first, _) = subject.ask(call, Buckets::Full).await;
        Ok(Self {
            subject,
            statuses: first.statuses.unwrap_or_default(),
            wasm_bytes: candidate.wasm.len(),
            took: Vec::new(),
            faults: 0,
        })
    }

    async fn round(&mut self, call: &Call, times: usize) {
        for _ in 0..times {
            let buckets = Buckets::Known(self.statuses.clone());
            let (reply, _) = self.subject.ask(call, buckets).await;
            self.faults += usize::from(matches!(reply.outcome, Outcome::Fault(_)));
            let took = u64::try_from(reply.took.as_nanos());
            self.took.push(took.unwrap_or(u64::MAX));
        }
    }

    fn done(mut self) -> Measured {
        self.took.sort_unstable();
        let costs = self.subject.costs();
        Measured {
            file: self.subject.about().file.clone(),
            instances: self.subject.about().instances,
            decisions: self.took.len(),
            faults: self.faults,
            p50_ns: percentile(&self.took, 50),
            p99_ns: percentile(&self.took, 99),
            freeze_ms: costs.freezing.map(millis),
            compile_ms: millis(costs.compiling),
            wasm_bytes: self.wasm_bytes,
            image_bytes: costs.image,
        }
    }
}

/// The smallest of the sorted values that so many of a hundred do not exceed.
fn percentile(sorted: &[u64], of_hundred: usize) -> u64 {
    let place = (sorted.len() * of_hundred).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::super::Slot;
    use super::super::super::facts::Facts;
    use super::super::Moment;
    use super::*;

    fn draft(slot: Slot) -> Draft {
        Draft {
            slot,
            component: Some(("own.wasm".to_owned(), Arc::from(&b"none"[..]))),
            settings: None,
            options: Default::default(),
            facts: Facts::default(),
            signatures: Default::default(),
        }
    }

    fn call(slot: Slot, input: Value) -> Call {
        Call::read(slot, None, &input, Moment::default()).unwrap()
    }

    #[tokio::test]
    async fn a_decision_about_limits_meets_full_buckets() {
        let call = call(Slot::RateLimit, Value::Null);
        let draft = built_in(&draft(Slot::RateLimit), None, &call);
        let engine = Engine::new(None).unwrap();
        let measuring = Measuring::of(&engine, &draft, &call).await.ok().unwrap();
        let [status] = &measuring.statuses[..] else {
            panic!("one bucket")
        };
        assert!(status.granted && status.remaining > 0);
        let (reply, _) = measuring.subject.ask(&call, Buckets::Full).await;
        assert!(matches!(reply.outcome, Outcome::Ok(_)));
    }

    #[test]
    fn the_built_in_policy_gets_settings_for_the_question() {
        let settings = |slot, input, own| {
            let built_in = built_in(&draft(slot), own, &call(slot, input));
            assert!(built_in.component.is_none());
            let (_, bytes) = built_in.settings?;
            serde_json::from_slice::<Value>(&bytes).ok()
        };
        let known = settings(Slot::Auth, json!({"credential": "sk-a"}), None).unwrap();
        assert_eq!(known["keys"].as_array().unwrap().len(), 1, "{known}");
        assert_eq!(settings(Slot::Auth, Value::Null, None), None);
        assert_eq!(settings(Slot::ToolStop, Value::Null, None), None);
        let own = Some(("own.json".to_owned(), Arc::from(&b"{}"[..])));
        assert_eq!(settings(Slot::RateLimit, Value::Null, own), Some(json!({})));
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<u64> = (1..=200).collect();
        assert_eq!(
            (percentile(&values, 50), percentile(&values, 99)),
            (100, 198)
        );
        assert_eq!((percentile(&[7], 99), percentile(&[], 50)), (7, 0));
    }
}
