//! A shadow: a candidate decides along on live traffic, beside the requests, within a budget, and without effect.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::aside;
use super::event::{Event, Follower, Place};
use super::policies::Policies;
use super::report::Report;
use super::simulation::Simulation;
use super::trail::Trail;

/// The most events that wait for the candidate; requests that come when the queue is half full are not followed.
const QUEUE: usize = 8_192;
/// After a decision that took longer than this, the candidate rests three times as long: it takes a quarter of a core at most.
const LONG: Duration = Duration::from_millis(5);
/// The interval at which the report is made, and the gate looks at it.
const LOOK: Duration = Duration::from_millis(100);

/// A candidate in shadow; dropping it ends the shadow.
pub(super) struct Shadow {
    trail: Arc<Trail>,
    place: Place,
    follower: Arc<Follower>,
    report: Arc<Mutex<Report>>,
}

impl Shadow {
    /// Begins it. `looked` is called with the report when something differs, and every now and then, until it says that it has
    /// seen enough.
    ///
    /// # Errors
    /// If there can be no further thread.
    pub(super) fn start(
        (trail, place): (&Arc<Trail>, Place),
        before: Arc<Policies>,
        candidate: Arc<Policies>,
        looked: impl FnMut(&Report) -> bool + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, events) = mpsc::channel(QUEUE);
        let follower = Arc::new(Follower::new(queue));
        let report = Arc::new(Mutex::new(Report::default()));
        let work = Work {
            began: Instant::now(),
            events,
            follower: Arc::clone(&follower),
            simulation: Simulation::new(before, candidate),
            report: Arc::clone(&report),
            looked,
        };
        drop(aside::start("policy-shadow", move || {
            // A candidate can wait. A probation cannot: a denial that it does not follow takes nothing back.
            if place == Place::Shadow {
                aside::give_way();
            }
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

struct Work<F> {
    began: Instant,
    events: mpsc::Receiver<Arc<Event>>,
    follower: Arc<Follower>,
    simulation: Simulation,
    report: Arc<Mutex<Report>>,
    looked: F,
}

impl<F: FnMut(&Report) -> bool> Work<F> {
    async fn run(mut self) {
        let (mut looked, mut differ) = (Instant::now(), 0);
        loop {
            match timeout(LOOK, self.events.recv()).await {
                Ok(Some(event)) => {
                    let asked = Instant::now();
                    self.simulation.see(&event).await;
                    let took = asked.elapsed();
                    if took > LONG {
                        sleep(3 * took).await;
                    }
                }
                Ok(None) => return,
                Err(_) => {}
            }
            if looked.elapsed() >= LOOK || self.simulation.differ() > differ {
                looked = Instant::now();
                differ = self.simulation.differ();
                if self.follower.is_over() {
                    return;
                }
                let report = Report {
                    took: self.began.elapsed(),
                    lost: self.follower.lost(),
                    ..self.simulation.report()
                };
                self.report.lock().clone_from(&report);
                if (self.looked)(&report) {
                    return;
                }
            }
        }
    }
}
