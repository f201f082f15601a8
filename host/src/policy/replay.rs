//! Replays the last decisions with a candidate.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::aside;
use super::policies::Policies;
use super::report::Report;
use super::simulation::Simulation;
use super::trail::Events;

/// A candidate with more faults is not asked any further.
const FAULTS: u64 = 20;

/// Decides the events again, oldest first, for at most so long, and reports what would have been different.
pub(super) async fn replay(
    events: Events,
    before: Arc<Policies>,
    candidate: Arc<Policies>,
    longest: Duration,
) -> Report {
    let work = move || again(events, before, candidate, longest);
    let replayed = match aside::start("policy-replay", work) {
        Ok(done) => done.await.map_err(|_| "its thread ended".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    replayed.unwrap_or_else(|why| Report {
        gave_up: Some(why),
        ..Report::default()
    })
}

async fn again(
    events: Events,
    before: Arc<Policies>,
    candidate: Arc<Policies>,
    longest: Duration,
) -> Report {
    let began = Instant::now();
    let mut simulation = Simulation::new(before, candidate);
    let mut gave_up = None;
    for event in events.all() {
        simulation.see(&event).await;
        if simulation.counts().faults > FAULTS {
            gave_up = Some(format!("more than {FAULTS} faults"));
        } else if began.elapsed() > longest {
            gave_up = Some(format!("it took longer than {} s", longest.as_secs()));
        }
        if gave_up.is_some() {
            break;
        }
    }
    Report {
        took: began.elapsed(),
        gave_up,
        ..simulation.report()
    }
}
