//! A shadow: a candidate decides along on live traffic, beside the requests, within a budget, and without effect.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::Slot;
use super::aside;
use super::event::{Follower, Place, Sent};
use super::report::{Group, Report};
use super::rollout::Seen;
use super::simulation::Simulation;
use super::trail::Trail;

/// The most events that wait for the candidate; requests that come when the queue is half full are not followed.
const QUEUE: usize = 8_192;
/// After so much work a candidate rests three times as long: it takes a quarter of a core at most. The policies before those on
/// probation rest only after one decision that took so long: a denial that they do not follow takes nothing back.
const WORK: Duration = Duration::from_millis(5);
/// The interval at which the report is made.
const LOOK: Duration = Duration::from_millis(100);

/// A candidate in shadow; dropping it ends the shadow.
pub(super) struct Shadow {
    trail: Arc<Trail>,
    place: Place,
    follower: Arc<Follower>,
    report: Arc<Mutex<Report>>,
}

impl Shadow {
    /// Begins it. `looked` is called when something differs, and every now and then, until it says that it has seen enough.
    ///
    /// # Errors
    /// If there can be no further thread.
    pub(super) fn start(
        (trail, place): (&Arc<Trail>, Place),
        simulation: Simulation,
        looked: impl FnMut(&Glance<'_>) -> bool + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, events) = mpsc::channel(QUEUE);
        let follower = Arc::new(Follower::new(queue));
        let report = Arc::new(Mutex::new(Report::default()));
        let (events_of, report_of) = (Arc::clone(&follower), Arc::clone(&report));
        drop(aside::start("policy-shadow", move || {
            // A candidate can wait. A probation cannot: a denial that it does not follow takes nothing back.
            if place == Place::Shadow {
                aside::give_way();
            }
            let work = Work {
                began: Instant::now(),
                pace: Pace::new(place),
                events,
                follower: events_of,
                simulation,
                report: report_of,
                looked,
            };
            work.run()
        })?);
        trail.follow(place, Arc::clone(&follower));
        Ok(Self {
            place,
            trail: Arc::clone(trail),
            follower,
            report,
        })
    }

    /// The report so far.
    pub(super) fn report(&self) -> Report {
        self.report.lock().clone()
    }
}

impl Drop for Shadow {
    fn drop(&mut self) {
        self.trail.unfollow(self.place, &self.follower);
    }
}

/// A glance at a comparison that goes on: its counts cost nothing, and its report is made if it is wanted.
pub(super) struct Glance<'a> {
    simulation: &'a Simulation,
    took: Duration,
    lost: u64,
}

impl Glance<'_> {
    /// The counts for the gate of a candidate that changes these slots.
    pub(super) fn seen(&self, changed: &[Slot]) -> Seen {
        let counts = self.simulation.counts();
        let least = counts.least_asked(changed);
        Seen {
            slot: least.map_or("any slot", |(slot, _)| slot.name()),
            decisions: least.map_or(0, |(_, decisions)| decisions),
            differ: counts.differ,
            faults: counts.faults,
        }
    }

    /// The number of decisions that allow what would be refused otherwise and are not expected, and the group of the first one.
    pub(super) fn unexpected(&self) -> Option<&(u64, Group)> {
        self.simulation.unexpected()
    }

    /// The report so far.
    pub(super) fn report(&self) -> Report {
        Report {
            took: self.took,
            lost: self.lost,
            ..self.simulation.report()
        }
    }
}

/// The rests of a thread.
struct Pace {
    place: Place,
    /// The processor time of the thread at the last rest.
    rested: Duration,
}

impl Pace {
    fn new(place: Place) -> Self {
        Self {
            place,
            rested: aside::processor_time(),
        }
    }

    /// The rest that is due when the thread has taken so much processor time, whatever for: decisions or reports.
    fn rest(&mut self, taken: Duration) -> Option<Duration> {
        let worked = taken.saturating_sub(self.rested);
        if worked > WORK || self.place == Place::Probation {
            self.rested = taken;
        }
        (worked > WORK).then_some(3 * worked)
    }
}

struct Work<F> {
    began: Instant,
    pace: Pace,
    events: mpsc::Receiver<Sent>,
    follower: Arc<Follower>,
    simulation: Simulation,
    report: Arc<Mutex<Report>>,
    looked: F,
}

impl<F: FnMut(&Glance<'_>) -> bool> Work<F> {
    async fn run(mut self) {
        let (mut looked, mut differ) = (Instant::now(), 0);
        loop {
            match timeout(LOOK, self.events.recv()).await {
                Ok(Some(sent)) => {
                    self.simulation.see(&sent.event).await;
                    self.follower.saw(&sent);
                }
                Ok(None) => return,
                Err(_) => {}
            }
            let is_due = looked.elapsed() >= LOOK;
            let found = self.simulation.counts().differ;
            if is_due || found > differ {
                differ = found;
                if is_due {
                    looked = Instant::now();
                }
                if self.follower.is_over() || self.look(is_due) {
                    return;
                }
            }
            if let Some(rest) = self.pace.rest(aside::processor_time()) {
                sleep(rest).await;
            }
        }
    }

    /// Returns whether enough was seen.
    fn look(&mut self, is_due: bool) -> bool {
        let glance = Glance {
            simulation: &self.simulation,
            took: self.began.elapsed(),
            lost: self.follower.lost(),
        };
        if is_due {
            *self.report.lock() = glance.report();
        }
        (self.looked)(&glance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The work and the rests of a thread whose decisions take so long.
    fn second_of(decision: Duration, place: Place) -> [Duration; 2] {
        let mut pace = Pace {
            place,
            rested: Duration::ZERO,
        };
        let [mut worked, mut rested] = [Duration::ZERO; 2];
        while worked < Duration::from_secs(1) {
            worked += decision;
            rested += pace.rest(worked).unwrap_or_default();
        }
        [worked, rested]
    }

    #[test]
    fn a_candidate_takes_a_quarter_of_a_core_however_short_its_decisions_are() {
        for decision in [10, 70, 4_900, 50_000].map(Duration::from_micros) {
            let [worked, rested] = second_of(decision, Place::Shadow);
            let due = 3 * worked;
            let is_near = rested <= due && rested + 4 * WORK >= due;
            assert!(is_near, "{decision:?}: {rested:?}");
        }
    }

    #[test]
    fn a_probation_rests_after_long_decisions_only() {
        let short = Duration::from_micros(70);
        assert_eq!(second_of(short, Place::Probation)[1], Duration::ZERO);
        let long = Duration::from_millis(50);
        let [worked, rested] = second_of(long, Place::Probation);
        assert_eq!(rested, 3 * worked);
    }
}
