//! Watching the operator's folder: what changed there, and settled, becomes the next generation.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::fault::Refusal;
use super::folder::Signature;
use super::generation::Generation;
use super::live::{self, Live, Refusals};
use super::source::{Facts, Source};

/// How often the folder is looked at. It is looked at rather than watched by the kernel: a symbolic link that is
/// re-pointed, a bind mount and a network file system tell the kernel's watchers nothing.
const LOOK: Duration = Duration::from_millis(100);
/// Looks that must agree before the folder counts as settled: files copied together become one generation.
const SETTLED: u32 = 2;

/// How long until what may have been refused for a passing reason is tried again: at first, and at most. It doubles.
const AGAIN: Duration = Duration::from_secs(5);
const AGAIN_AT_MOST: Duration = Duration::from_secs(300);

/// Serves the folder's changes until stopped.
pub async fn watch(live: Arc<Live>, source: Source, facts: Facts, stop: CancellationToken) {
    if source.folder().is_none() {
        return;
    }
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // Files may have changed between the first generation and now: the first look always reads.
    let mut loaded: Option<Signature> = None;
    let mut seen = Signature::default();
    let mut agreed = 0;
    let (mut again, mut pause): (Option<Instant>, _) = (None, AGAIN);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = look.tick() => {}
        }
        let Some(now) = look_at(&source).await else {
            continue;
        };
        agreed = if now == seen { agreed + 1 } else { 0 };
        seen = now;
        let is_due = again.is_some_and(|again| again <= Instant::now());
        if agreed < SETTLED || (loaded.as_ref() == Some(&seen) && !is_due) {
            continue;
        }
        if load(&live, &source, &facts, &seen).await {
            pause = match loaded.as_ref() == Some(&seen) {
                true => (2 * pause).min(AGAIN_AT_MOST),
                false => AGAIN,
            };
            loaded = Some(seen.clone());
            let may_pass = |refusal: &Refusal| refusal.problem.may_pass();
            again = live
                .refusals()
                .iter()
                .any(may_pass)
                .then(|| Instant::now() + pause);
        }
    }
}

async fn look_at(source: &Source) -> Option<Signature> {
    let source = source.clone();
    tokio::task::spawn_blocking(move || source.signature())
        .await
        .ok()
}

/// Reads and replaces. Answers false if the folder changed meanwhile, so that what was read may be half of two states.
async fn load(live: &Live, source: &Source, facts: &Facts, seen: &Signature) -> bool {
    let (reader, facts) = (source.clone(), facts.clone());
    let before = live.current();
    let files = before.files();
    let read = tokio::task::spawn_blocking(move || reader.offer(&facts, &files)).await;
    if look_at(source).await.as_ref() != Some(seen) {
        return false;
    }
    let result = match read {
        Ok(Ok(offer)) => {
            let replaced = live.replace(&offer.candidates).await;
            if replaced.is_ok() {
                live.notice(offer.notices);
            }
            if replaced
                .as_ref()
                .is_ok_and(|number| *number != before.number())
            {
                live::keep(source, offer.given).await;
            }
            replaced
        }
        Ok(Err(refusals)) => Err(refusals),
        Err(error) => {
            tracing::error!(%error, "reading the policy folder failed");
            return true;
        }
    };
    report(live, &before, result);
    true
}

fn report(live: &Live, before: &Generation, result: Result<u64, Refusals>) {
    match result {
        Ok(number) => {
            let mended = live.note(Vec::new());
            if number != before.number() {
                live.current().announce(Some(before));
            } else if mended {
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
