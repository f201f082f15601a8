//! A shadow would refuse exactly the requests that the same limits refuse when they are enforced, whatever the traffic.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::super::component::Policy;
use super::super::engine::Engine;
use super::super::event::Asker;
use super::super::facts::Facts;
use super::super::fault::Refused;
use super::super::policies::prepare;
use super::super::source::{Defaults, Source};
use super::*;
use crate::quota::Memory;

/// The steps of one run, and the runs with each set of limits: some thousand decisions on each side.
const STEPS: usize = 40;
const RUNS: u32 = 8;

/// The next event, after so many milliseconds.
#[derive(Debug, Clone)]
enum Step {
    Begin {
        caller: u8,
        model: bool,
        streaming: bool,
        estimated: u64,
    },
    /// One of those that are under way has used so many tokens.
    End { which: usize, tokens: u64 },
}

fn step() -> impl Strategy<Value = (u64, Step)> {
    let begin = (0..3u8, any::<bool>(), any::<bool>(), 0..300u64);
    let begin = begin.prop_map(|(caller, model, streaming, estimated)| Step::Begin {
        caller,
        model,
        streaming,
        estimated,
    });
    let end = (any::<usize>(), 0..400u64);
    let end = end.prop_map(|(which, tokens)| Step::End { which, tokens });
    (0..8_000u64, prop_oneof![3 => begin, 2 => end])
}

fn limits() -> [Value; 3] {
    [
        json!([
            {"name": "few", "unit": "requests", "limit": 5},
            {"name": "tokens", "unit": "tokens", "limit": 400},
        ]),
        json!([
            {"name": "streams", "unit": "concurrent", "limit": 1, "streaming_only": true},
            {"name": "address", "unit": "concurrent", "limit": 3, "per": "address"},
            {"name": "often", "unit": "requests", "limit": 8, "per": "address"},
        ]),
        json!([
            {"name": "model", "unit": "tokens", "limit": 300, "window_ms": 10_000, "per": "model"},
            {"name": "at-once", "unit": "concurrent", "limit": 4, "per": "all"},
            {"name": "all", "unit": "requests", "limit": 20, "per": "all"},
        ]),
    ]
}

/// Built-in policies with these limits. They may take long: the machine is busy with other tests.
async fn policies(engine: &Engine, rules: Value, before: Option<&Policies>) -> Arc<Policies> {
    let rate_limit = json!({ "rules": rules }).as_object().unwrap().clone();
    let defaults = Defaults {
        rate_limit,
        ..Defaults::default()
    };
    let mut candidates = Source::new(None, defaults).read(&Facts::default()).unwrap();
    for candidate in &mut candidates {
        candidate.options.limits.deadline = Duration::from_secs(10);
        candidate.options.limits.wall = Duration::from_secs(60);
    }
    Arc::new(prepare(engine, &candidates, before).await.unwrap())
}

/// The limits as they are enforced.
struct Enforced<'p> {
    policy: &'p Policy<RateLimit>,
    counters: Memory,
    clock: Arc<AtomicU64>,
}

impl Enforced<'_> {
    /// The amounts that a request draws; `None` if it is refused.
    async fn admit(&self, asked: &Quotas) -> Option<Option<Reservation>> {
        if !self.policy.is_asked(asked) {
            return Some(None);
        }
        let asked = self.policy.admit(asked, &self.counters).await.unwrap();
        match asked.result() {
            Ok(admitted) => Some(admitted.reservation),
            Err(Refused::Denied(_)) => None,
            Err(other) => panic!("{other}"),
        }
    }
}

/// Requests by address, and then by caller, as the gateway asks.
fn questions(step: &Step, now_ms: u64) -> Option<[Quotas; 2]> {
    let Step::Begin {
        caller,
        model,
        streaming,
        estimated,
    } = step
    else {
        return None;
    };
    let by_address = rate_limit::Ask {
        client: "192.0.2.1".to_owned(),
        caller: None,
        endpoint: "/v1/chat/completions".to_owned(),
        model: None,
        streaming: false,
        estimated_tokens: 0,
        now_ms,
    };
    let by_caller = rate_limit::Ask {
        caller: Some(Caller {
            id: format!("caller-{caller}"),
            tenant: None,
            groups: Vec::new(),
        }),
        model: Some(if *model { "large" } else { "small" }.to_owned()),
        streaming: *streaming,
        estimated_tokens: *estimated,
        ..by_address.clone()
    };
    Some([Quotas(by_address), Quotas(by_caller)])
}

/// The number of refusals, which are the same with both.
async fn run(
    [free, limited]: [&Arc<Policies>; 2],
    steps: &[(u64, Step)],
) -> Result<u64, TestCaseError> {
    let mut simulation = Simulation::new(Arc::clone(free), Arc::clone(limited));
    let clock = Arc::new(AtomicU64::new(0));
    let shared = Arc::clone(&clock);
    let enforced = Enforced {
        policy: &limited.rate_limit,
        counters: Memory::with_clock(move || shared.load(Ordering::Relaxed)),
        clock,
    };
    let mut under_way: Vec<(Arc<Asker>, Vec<Reservation>)> = Vec::new();
    let (mut now, mut refused) = (0, 0);
    for (number, (gap, step)) in steps.iter().enumerate() {
        now += gap;
        enforced.clock.store(now, Ordering::Relaxed);
        let event = |request: &Arc<Asker>, what| Event {
            request: Arc::clone(request),
            at: Duration::from_millis(now),
            what,
        };
        if let Some(questions) = questions(step, now) {
            let place = (1, free.digest());
            let request = Asker::new(number as u64, String::new(), place, [None, None]);
            let (request, mut drawn) = (Arc::new(request), Vec::new());
            let mut is_refused = false;
            for asked in questions {
                if !is_refused {
                    match enforced.admit(&asked).await {
                        Some(reservation) => drawn.extend(reservation),
                        None => is_refused = true,
                    }
                }
                simulation.see(&event(&request, What::Unasked(asked))).await;
            }
            refused += u64::from(is_refused);
            if is_refused {
                // A refused request holds nothing, whatever it drew before.
                drawn.clear();
            }
            under_way.push((request, drawn));
        } else if let (Step::End { which, tokens }, false) = (step, under_way.is_empty()) {
            let (request, drawn) = under_way.swap_remove(which % under_way.len());
            for mut reservation in drawn {
                reservation.settle(*tokens);
            }
            simulation
                .see(&event(&request, What::Settled(*tokens)))
                .await;
        }
        prop_assert_eq!(simulation.counts().differ, refused, "after step {}", number);
    }
    prop_assert_eq!(simulation.counts().faults, 0);
    Ok(refused)
}

#[test]
fn a_shadow_would_refuse_what_the_same_limits_refuse() {
    let runtime = Runtime::new().unwrap();
    let engine = Engine::new(None).unwrap();
    let free = runtime.block_on(policies(&engine, json!([]), None));
    for rules in limits() {
        let limited = runtime.block_on(policies(&engine, rules.clone(), Some(&free)));
        let refused = AtomicU64::new(0);
        let mut runner = TestRunner::new(Config {
            failure_persistence: None,
            ..Config::with_cases(RUNS)
        });
        let run = |steps: Vec<(u64, Step)>| {
            let found = runtime.block_on(run([&free, &limited], &steps))?;
            refused.fetch_add(found, Ordering::Relaxed);
            Ok(())
        };
        let steps = prop::collection::vec(step(), STEPS);
        runner
            .run(&steps, run)
            .unwrap_or_else(|error| panic!("{rules}: {error}"));
        assert!(refused.into_inner() > 0, "{rules}: the limits were reached");
    }
}
