//! Saves the serving policies for the next start, and reports as long as they cannot be saved.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::time::timeout;

use super::digest::Digest;
use super::history::{Activated, Activation};
use super::last_good::Serving;
use super::notice::Notice;
use super::source::Source;
use super::verdict::Verdict;

/// The delay before a failed save is tried again.
const AGAIN: Duration = Duration::from_secs(5);
/// The longest wait for the history: an activation must not hang with its disk.
const RECORDING: Duration = Duration::from_secs(2);

/// The pending save, if any, and the notices about saving.
#[derive(Debug, Default)]
pub(super) struct Keeper(Mutex<KeeperState>);

#[derive(Debug, Default)]
struct KeeperState {
    waiting: Option<Waiting>,
    /// The notices about what was saved before this process began.
    past: Vec<Notice>,
    unrecorded: Option<Unrecorded>,
    unrefused: Option<Unrefused>,
}

/// A verdict that is missing in the history.
#[derive(Debug)]
struct Unrefused {
    digest: Digest,
    verdict: Verdict,
    since: Instant,
    notice: Notice,
}

/// An activation that is missing in the history.
#[derive(Debug, Clone)]
struct Unrecorded {
    activation: Activation,
    since: Instant,
    notice: Notice,
}

#[derive(Debug)]
struct Waiting {
    serving: Serving,
    since: Instant,
    notice: Notice,
}

impl Keeper {
    /// Saves the serving files. A state folder that cannot be written does not stop the gateway from serving. Returns the path to
    /// which a damaged pointer was moved, if there was one.
    pub(super) async fn keep(&self, source: &Source, serving: Serving) -> Option<PathBuf> {
        let (keeping, files) = (source.clone(), serving.clone());
        let kept = tokio::task::spawn_blocking(move || {
            keeping
                .keep(&files)
                .map_err(|error| (error, keeping.last_since()))
        });
        let kept = kept.await;
        let kept = kept.unwrap_or_else(|error| Err((io::Error::other(error), None)));
        let mut state = self.0.lock();
        let before = state.waiting.take().map(|waiting| waiting.notice);
        match kept {
            Ok(aside) => {
                if before.is_some() {
                    tracing::info!("what serves is remembered again");
                }
                aside
            }
            Err((error, last)) => {
                let next = match last {
                    Some(since) => format!("would serve older ones, those of {since}"),
                    None => "would end with exit code 78".to_owned(),
                };
                let notice = Notice {
                    file: "PROXY_STATE_DIR".to_owned(),
                    what: format!(
                        "the policies that serve cannot be remembered ({error}): a start whose POLICY_DIR is refused {next}"
                    ),
                };
                if before.as_ref() != Some(&notice) {
                    tracing::warn!("{notice}");
                }
                state.waiting = Some(Waiting {
                    serving,
                    since: Instant::now(),
                    notice,
                });
                None
            }
        }
    }

    /// Writes an activation into the history, and returns its entry. A history that cannot be written stops nothing: the numbers
    /// then count on from the last one of this process.
    pub(super) async fn record(&self, source: &Source, activation: Activation) -> Activated {
        let (recording, what) = (source.clone(), activation.clone());
        let recorded = tokio::task::spawn_blocking(move || recording.record(&what));
        let recorded = match timeout(RECORDING, recorded).await {
            Ok(recorded) => recorded.unwrap_or_else(|error| Err(io::Error::other(error))),
            Err(_) => Err(io::Error::other("the folder does not answer")),
        };
        match recorded {
            Ok(entry) => {
                // A later activation does not stand for one that took policies back.
                let is_written = |unrecorded: &mut Unrecorded| {
                    unrecorded.activation.taken_back.is_none()
                        || unrecorded.activation == activation
                };
                self.0.lock().unrecorded.take_if(is_written);
                entry
            }
            Err(error) => {
                let notice = Notice {
                    file: "PROXY_STATE_DIR".to_owned(),
                    what: format!(
                        "the activation is not in the history ({error}): after a restart generations may be numbered otherwise, and \
                         policies that were taken back may serve again"
                    ),
                };
                let entry = activation.alone();
                let unrecorded = Unrecorded {
                    activation,
                    since: Instant::now(),
                    notice,
                };
                let before = self.0.lock().unrecorded.replace(unrecorded.clone());
                if before.is_none_or(|before| before.notice != unrecorded.notice) {
                    tracing::warn!("{}", unrecorded.notice);
                }
                entry
            }
        }
    }

    /// Writes into the history that policies may not serve, a change of the policy folder for example. If that cannot be written, they
    /// are refused as long as this process runs.
    pub(super) async fn refuse(&self, source: &Source, digest: Digest, verdict: Verdict) {
        let (writing, what) = (source.clone(), verdict.clone());
        let written = tokio::task::spawn_blocking(move || writing.refuse(digest, &what));
        let written = match timeout(RECORDING, written).await {
            Ok(written) => written.unwrap_or_else(|error| Err(io::Error::other(error))),
            Err(_) => Err(io::Error::other("the folder does not answer")),
        };
        let unrefused = written.err().map(|error| Unrefused {
            digest,
            verdict,
            since: Instant::now(),
            notice: Notice {
                file: "PROXY_STATE_DIR".to_owned(),
                what: format!(
                    "that policies may not serve is not in the history ({error}): after a restart they may serve, or take their steps, \
                     again"
                ),
            },
        });
        let mut state = self.0.lock();
        let is_other = |waiting: &Unrefused| waiting.digest != digest;
        if unrefused.is_none() && state.unrefused.as_ref().is_some_and(is_other) {
            // Another verdict is still to be written.
            return;
        }
        let before = std::mem::replace(&mut state.unrefused, unrefused);
        if let Some(Unrefused { notice, .. }) = &state.unrefused
            && before.is_none_or(|before| before.notice != *notice)
        {
            tracing::warn!("{notice}");
        }
    }

    /// Tries that again when its delay is over, unless these policies may serve by now.
    pub(super) async fn refuse_again(&self, source: &Source, is_refused: impl Fn(Digest) -> bool) {
        let due = {
            let mut state = self.0.lock();
            let is_due = |unrefused: &mut Unrefused| unrefused.since.elapsed() >= AGAIN;
            state.unrefused.take_if(is_due)
        };
        if let Some(Unrefused {
            digest, verdict, ..
        }) = due
            && is_refused(digest)
        {
            self.refuse(source, digest, verdict).await;
        }
    }

    /// Tries to write an activation again that is missing in the history, when its delay is over.
    pub(super) async fn record_again(&self, source: &Source) {
        let due = {
            let state = self.0.lock();
            let due = state.unrecorded.as_ref();
            due.filter(|unrecorded| unrecorded.since.elapsed() >= AGAIN)
                .cloned()
        };
        if let Some(Unrecorded { activation, .. }) = due {
            self.record(source, activation).await;
        }
    }

    /// Tries a failed save again, when its delay is over.
    pub(super) async fn keep_again(&self, source: &Source) {
        let due = {
            let state = self.0.lock();
            let waiting = state.waiting.as_ref();
            let due = waiting.filter(|waiting| waiting.since.elapsed() >= AGAIN);
            due.map(|waiting| waiting.serving.clone())
        };
        if let Some(serving) = due {
            self.keep(source, serving).await;
        }
    }

    /// Reports problems with what was saved before this process began, and the path to which the list of files was moved, if it was.
    pub(super) fn tell_of_past(&self, mut notices: Vec<Notice>, aside: Option<PathBuf>) {
        // A list of files that cannot be read is the first of all problems.
        if let (Some(notice), Some(aside)) = (notices.first_mut(), aside) {
            let aside = format!("; it is kept aside, as {}", aside.display());
            notice.what.push_str(&aside);
        }
        for notice in &notices {
            tracing::error!("{notice}");
        }
        self.0.lock().past = notices;
    }

    /// Whether what serves is not saved yet.
    pub(super) fn waits(&self) -> bool {
        self.0.lock().waiting.is_some()
    }

    /// The notices to show now.
    pub(super) fn notices(&self) -> Vec<Notice> {
        let state = self.0.lock();
        let waiting = state.waiting.as_ref().map(|waiting| &waiting.notice);
        waiting
            .into_iter()
            .chain(&state.past)
            .chain(
                state
                    .unrecorded
                    .as_ref()
                    .map(|unrecorded| &unrecorded.notice),
            )
            .chain(state.unrefused.as_ref().map(|unrefused| &unrefused.notice))
            .cloned()
            .collect()
    }
}
