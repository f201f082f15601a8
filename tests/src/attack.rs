//! Runs all attacks at once on a gateway of its own, beside honest clients; reports lost requests and resources not released.

mod honest;
mod hostile;
mod target;

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use honest::{Kind, Outcome};
use target::{Sample, Target};

/// The time within which resources must be released: an idle connection lives no longer.
const CALM: Duration = Duration::from_secs(60);

/// The time within which the gateway must end; only a hang exceeds it.
const END: Duration = Duration::from_secs(60);

/// Descriptors that may be open more than before: honest clients open connections as they like.
const SPARE_FILES: usize = 16;

/// Threads that may run more than before.
const SPARE_THREADS: usize = 8;

/// KiB that may be more than one and a half times what was before. The pool of policy instances keeps up to 2 MiB of each place that
/// was used, for the next decision: some 54 MiB after ten minutes with 34 places, no more than after two.
const SPARE_KIB: usize = 96 << 10;

/// The parameters of an attack.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The gateway's program.
    pub program: PathBuf,
    /// The time with honest clients alone.
    pub quiet: Duration,
    /// The time with honest clients and all attacks.
    pub attack: Duration,
}

/// The results of an attack.
#[derive(Debug)]
pub struct Report {
    quiet: Vec<Outcome>,
    attacked: Vec<Outcome>,
    before: Sample,
    most: Sample,
    after: Sample,
    calm: Duration,
    attempts: Vec<(&'static str, usize)>,
    log_lines_dropped: u64,
    end: Result<Duration, String>,
}

/// Runs the attack. Prints nothing.
///
/// # Panics
/// If the gateway does not start.
pub async fn run(plan: &Plan) -> Report {
    let mut target = Target::start(&plan.program).await;
    let honest = honest::Crowd::start(&target.address);
    tokio::time::sleep(plan.quiet).await;
    let (quiet, before) = (honest.take(), target.sample());
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let attempts = hostile::start(&target, &tasks, &stop);
    let most = watch(&target, plan.attack).await;
    let mut attacked = honest.take();
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    target.tidy();
    let stopped = Instant::now();
    let mut after = target.sample();
    while !after.is_like(&before) && stopped.elapsed() < CALM {
        tokio::time::sleep(Duration::from_millis(250)).await;
        after = target.sample();
    }
    let calm = stopped.elapsed();
    let log_lines_dropped = target.log_lines_dropped().await;
    // Requests that were answered until now count, too.
    attacked.extend(honest.end().await);
    Report {
        quiet,
        attacked,
        before,
        most,
        after,
        calm,
        attempts: attempts.all(),
        log_lines_dropped,
        end: target.end(END).await,
    }
}

/// The maximum of each figure during `time`.
async fn watch(target: &Target, time: Duration) -> Sample {
    let (mut most, began) = (target.sample(), Instant::now());
    while began.elapsed() < time {
        tokio::time::sleep(Duration::from_millis(100)).await;
        most = most.max(&target.sample());
    }
    most
}

impl Report {
    /// The problems found; empty if there are none. Latencies are not judged.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (phase, outcomes) in [("quiet", &self.quiet), ("attacked", &self.attacked)] {
            for lost in outcomes.iter().filter_map(Outcome::lost) {
                problems.push(format!("{phase}: {lost}"));
            }
            for kind in Kind::ALL {
                if !outcomes.iter().any(|outcome| outcome.kind == kind) {
                    problems.push(format!("{phase}: no {kind:?} was tried"));
                }
            }
        }
        let (before, after) = (&self.before, &self.after);
        if !after.is_like(before) {
            problems.push(format!(
                "left after {:.0?}: {after}, before: {before}",
                self.calm
            ));
        }
        for (attack, attempts) in &self.attempts {
            if *attempts == 0 {
                problems.push(format!("{attack} was not tried"));
            }
        }
        if let Err(error) = &self.end {
            problems.push(format!("the end: {error}"));
        }
        problems
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "honest      phase      answered  lost      p50      p99      max"
        )?;
        for kind in Kind::ALL {
            for (phase, outcomes) in [("quiet", &self.quiet), ("attacked", &self.attacked)] {
                let of_kind = || outcomes.iter().filter(|outcome| outcome.kind == kind);
                let mut times: Vec<_> = of_kind().filter_map(Outcome::took).collect();
                times.sort_unstable();
                let lost = of_kind().count() - times.len();
                let at = |percent: usize| {
                    let place = (times.len() * percent / 100).min(times.len().saturating_sub(1));
                    times.get(place).copied().unwrap_or_default()
                };
                let [p50, p99, max] = [50, 99, 100].map(|percent| format!("{:.1?}", at(percent)));
                let (kind, answered) = (format!("{kind:?}"), times.len());
                writeln!(
                    f,
                    "{kind:<11} {phase:<9} {answered:>9} {lost:>5} {p50:>8} {p99:>8} {max:>8}"
                )?;
            }
        }
        writeln!(
            f,
            "\nbefore      {}\nat most     {}",
            self.before, self.most
        )?;
        writeln!(f, "after {:>4.0?}  {}", self.calm, self.after)?;
        match &self.end {
            Ok(took) => writeln!(
                f,
                "ended on SIGTERM in {took:.1?}, with a log that nobody reads"
            )?,
            Err(error) => writeln!(f, "the end: {error}")?,
        }
        writeln!(f, "log lines dropped: {}\n", self.log_lines_dropped)?;
        for (attack, attempts) in &self.attempts {
            writeln!(f, "{attempts:>9} × {attack}")?;
        }
        Ok(())
    }
}
