//! Watches the operator's folder: a change that has settled becomes the next generation, or a candidate.
//!
//! Not `notify`: its events are the kernel's, of which there are none for what `LOOK` names. It can poll instead, but that
//! would be only the loop below, without what is hard: when a set of files has settled.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::facts::Facts;
use super::fault::Refusals;
use super::folder::Signature;
use super::generation::Generation;
use super::live::Live;
use super::look::Look;
use super::source::Source;

/// The interval of looks at the folder. The folder is polled, because a symbolic link that is re-pointed, a bind mount and a
/// network file system do not notify the kernel's watchers.
const LOOK: Duration = Duration::from_millis(500);
/// The interval after a change, until the folder has settled.
const LOOK_CLOSER: Duration = Duration::from_millis(100);
/// Equal looks after which the folder counts as settled: files copied together become one generation.
const SETTLED: u32 = 2;
/// The longest wait for a folder that changes without pause; then it is loaded as it is.
const PATIENCE: Duration = Duration::from_secs(2);

/// The delay before a refusal that may be temporary is tried again: at first, and at most. It doubles each time.
const AGAIN: Duration = Duration::from_secs(5);
const AGAIN_AT_MOST: Duration = Duration::from_secs(300);

/// Applies the folder's changes until stopped. A read that hangs, for example on a network mount, is not waited for at the end.
pub async fn watch(live: Arc<Live>, source: Source, facts: Facts, stop: CancellationToken) {
    let (guarded, kept) = (Arc::clone(&live), source.clone());
    let guarding = guarded.guard(&kept, &stop);
    if source.folder().is_none() {
        let looking = async {
            loop {
                tokio::time::sleep(LOOK).await;
                live.look().await;
                live.keep_again(&source).await;
            }
        };
        tokio::join!(guarding, stop.run_until_cancelled(looking));
        return;
    }
    let watch = Watch {
        live,
        source,
        facts,
        loaded: None,
        again: None,
        pause: AGAIN,
        pins: 0,
    };
    tokio::join!(stop.run_until_cancelled(watch.run()), guarding);
}

struct Watch {
    live: Arc<Live>,
    source: Source,
    facts: Facts,
    /// The state that was read last; `None` before the first read, since files may have changed after the first generation was
    /// read.
    loaded: Option<Signature>,
    /// The time to read the same state again.
    again: Option<Instant>,
    pause: Duration,
    /// The number of pins before that state was read.
    pins: u64,
}

impl Watch {
    async fn run(mut self) {
        let mut seen = Signature::default();
        let (mut agreed, mut settling_since) = (0, None);
        loop {
            let pause = if settling_since.is_some() {
                LOOK_CLOSER
            } else {
                LOOK
            };
            tokio::time::sleep(pause).await;
            self.live.look().await;
            self.live.keep_again(&self.source).await;
            if self.live.pinned().is_some() {
                continue;
            }
            let pins = self.live.pins();
            if pins != self.pins {
                // The folder may decide again, after whatever served meanwhile.
                (self.pins, self.loaded) = (pins, None);
            }
            let Some(now) = look_at(&self.source).await else {
                continue;
            };
            agreed = if now == seen { agreed + 1 } else { 0 };
            seen = now;
            let is_due = self.again.is_some_and(|again| again <= Instant::now())
                || self.live.is_change_due();
            if self.loaded.as_ref() == Some(&seen) && !is_due {
                settling_since = None;
                continue;
            }
            let since = *settling_since.get_or_insert_with(Instant::now);
            let restless = since.elapsed() >= PATIENCE;
            if (agreed >= SETTLED || restless) && self.load(&seen, restless).await {
                settling_since = None;
            }
        }
    }

    /// Reads the folder and replaces the policies. Returns false if the folder changed meanwhile, so that the read may mix two
    /// states; a folder that changes without pause is not checked for that.
    async fn load(&mut self, seen: &Signature, restless: bool) -> bool {
        let (reader, facts) = (self.source.clone(), self.facts.clone());
        let before = self.live.current();
        let files = before.policies().files();
        let read = tokio::task::spawn_blocking(move || reader.look(&facts, &files)).await;
        if !restless && look_at(&self.source).await.as_ref() != Some(seen) {
            return false;
        }
        let refused = self.live.refused_in_folder();
        match read {
            Ok(look) => self.serve(&before, look).await,
            Err(error) => tracing::error!(%error, "reading the policy folder failed"),
        }
        let is_change = self.loaded.as_ref().is_some_and(|loaded| loaded != seen);
        if is_change && !refused.is_empty() && self.live.refused_in_folder() == refused {
            tracing::warn!("a change of the policy folder waits until no file there is refused");
        }
        self.pause = match self.loaded.as_ref() == Some(seen) {
            true => (2 * self.pause).min(AGAIN_AT_MOST),
            false => AGAIN,
        };
        self.loaded = Some(seen.clone());
        let refusals = self.live.refused_in_folder();
        let passing = refusals.iter().any(|refusal| refusal.problem.may_pass());
        self.again = passing.then(|| Instant::now() + self.pause);
        true
    }

    /// Replaces the policies, and reports as much as a start does, whether the files serve or are refused.
    async fn serve(&self, before: &Generation, look: Look) {
        let replaced = self.live.take(&self.source, &look).await;
        let notices = look.notices.clone();
        match &replaced {
            Ok(_) if !self.live.is_trying() => {
                self.live.notice(Some(notices.settings), notices.unread);
            }
            _ => self.live.notice(None, notices.all()),
        }
        let is_news = |number: &u64| *number != before.number();
        if replaced.as_ref().is_ok_and(is_news) {
            self.live.keep(&self.source).await;
        }
        report(&self.live, before, replaced);
    }
}

async fn look_at(source: &Source) -> Option<Signature> {
    let source = source.clone();
    tokio::task::spawn_blocking(move || source.signature())
        .await
        .ok()
}

fn report(live: &Live, before: &Generation, result: Result<u64, Refusals>) {
    match result {
        Ok(number) => {
            let mended = live.mended(number);
            if number != before.number() {
                live.current().announce(Some(before));
            } else if mended && !live.is_trying() {
                tracing::info!(
                    generation = number,
                    "the policy folder is in order again; nothing to change"
                );
            }
        }
        Err(Refusals(refusals)) => {
            if live.note(refusals.clone()) {
                for refusal in &refusals {
                    tracing::error!(
                        generation = before.number(),
                        "policy refused, the old ones go on: {refusal}"
                    );
                }
            }
        }
    }
}
