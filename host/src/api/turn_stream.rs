//! Exchanges whose request's record sees what happens in them, and what they cost however they ended.

use std::pin::Pin;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::mpsc;

use super::record::Record;
use super::{Shared, activity};
use crate::openai::ApiError;
use crate::telemetry::{Tokens, Turn};
use crate::turn::drive::Exchange;
use crate::turn::{self, Delta};

/// How many deltas may be ahead of their reader. Few: a slow reader slows its own turn.
const AHEAD: usize = 16;

/// How long a reader may take to hear that the time is over.
const LINGER: Duration = Duration::from_secs(1);

/// One exchange. Dropped early (the client left), it still tells what was spent.
pub(super) struct TurnStream {
    exchange: Exchange,
    record: Record,
    turn: Turn,
    /// The client wants to know what Codex does itself.
    tells_activity: bool,
}

impl TurnStream {
    /// `began` is when its worker was asked for.
    pub(super) fn new(
        exchange: Exchange,
        record: Record,
        began: Duration,
        tells_activity: bool,
    ) -> Self {
        let turn = Turn {
            began,
            ..Turn::default()
        };
        Self {
            exchange,
            record,
            turn,
            tells_activity,
        }
    }

    fn note(&mut self, delta: &Delta) {
        match delta {
            Delta::Text(_) | Delta::Reasoning(_) | Delta::Call { .. } => {
                let record = &self.record;
                self.turn
                    .first_token
                    .get_or_insert_with(|| record.elapsed());
            }
            Delta::Activity(activity) => activity::log(self.record.id(), activity),
            Delta::End { finish, .. } => self.turn.finish = Some(finish.code()),
            Delta::Failed(error) => {
                self.turn.finish = Some(error.code());
                self.record.fail(error);
            }
        }
    }

    /// See [`Exchange::next`]; without what the client does not want.
    async fn next(&mut self) -> Option<Delta> {
        loop {
            let delta = self.exchange.next().await?;
            self.note(&delta);
            if self.tells_activity || !matches!(delta, Delta::Activity(_)) {
                return Some(delta);
            }
        }
    }
}

impl Drop for TurnStream {
    fn drop(&mut self) {
        let (usage, estimated) = self.exchange.usage();
        self.turn.ended = self.record.elapsed();
        self.turn.tokens = Tokens {
            input: usage.input,
            cached_input: usage.cached_input,
            output: usage.output,
            reasoning: usage.reasoning,
            estimated,
        };
        self.record.add_turn(self.turn);
    }
}

/// What the exchanges of one answer say, each delta with the choice it belongs to. Ends with all of them, or with the
/// first failure.
pub(super) struct Deltas(Said);

type Said = Pin<Box<dyn Stream<Item = (u32, Delta)> + Send>>;

impl Deltas {
    /// Begins them all, and goes on when the first has begun: the others may have to wait for the place it holds.
    pub(super) async fn begin<F>(starting: impl Iterator<Item = F>) -> Result<Self, turn::Error>
    where
        F: Future<Output = Result<TurnStream, turn::Error>> + Send + 'static,
    {
        let mut starting: FuturesUnordered<_> = (0..)
            .zip(starting)
            .map(async |(choice, start)| (choice, start.await))
            .collect();
        let Some((choice, first)) = starting.next().await else {
            return Ok(Self(stream::empty().boxed()));
        };
        let first = said(choice, first?);
        let others = starting.flat_map_unordered(None, |(choice, started)| match started {
            Ok(exchange) => said(choice, exchange),
            Err(error) => stream::once(async move { (choice, Delta::Failed(error)) }).boxed(),
        });
        Ok(Self(through_failure([first, others.boxed()]).boxed()))
    }

    /// The same by a task of their own, so that every limit holds and what the request drew is settled also when its reader
    /// neither reads nor goes. It ends when the reader goes, or only with the answer: the gateway waits for it when it ends.
    pub(super) fn driven(mut self, record: Record, shared: &Shared) -> Self {
        let (timers, outlives) = (&shared.config.timers, !shared.config.kill_on_disconnect);
        let (sender, receiver) = mpsc::channel(AHEAD);
        let (late, overrun) = (timers.total + LINGER, timers.overrun());
        let driver = async move {
            let pass_on = async {
                while let Some(delta) = self.0.next().await {
                    // An error means that the client has gone.
                    let _ = sender.send(delta).await;
                }
                true
            };
            let whole = tokio::select! {
                whole = pass_on => whole,
                () = tokio::time::sleep(late) => false,
                () = sender.closed(), if !outlives => false,
            };
            // Each exchange tells what it cost.
            drop(self);
            record.settle();
            if !whole {
                // Who reads on after all is told. Who does not may wait for that: nothing is held for it any more.
                let _ = sender.send((0, Delta::Failed(overrun))).await;
            }
        };
        shared.turns.spawn(driver);
        let received = stream::unfold(receiver, async |mut receiver| {
            let delta = receiver.recv().await?;
            Some((delta, receiver))
        });
        Self(received.boxed())
    }

    /// Gives every delta to `push`, up to the end.
    pub(super) async fn fold(mut self, mut push: impl FnMut(u32, Delta)) -> Result<(), ApiError> {
        while let Some((choice, delta)) = self.0.next().await {
            if let Delta::Failed(error) = delta {
                return Err(error.into());
            }
            push(choice, delta);
        }
        Ok(())
    }

    /// As a stream.
    pub(super) fn into_stream(self) -> Said {
        self.0
    }
}

/// What one exchange says, to its end.
fn said(choice: u32, exchange: TurnStream) -> Said {
    stream::unfold(exchange, move |mut exchange| async move {
        let delta = exchange.next().await?;
        Some(((choice, delta), exchange))
    })
    .boxed()
}

/// All that the choices say, up to the first failure. The others end with it: nobody takes what is left for an answer.
fn through_failure<S>(choices: impl IntoIterator<Item = S>) -> impl Stream<Item = (u32, Delta)>
where
    S: Stream<Item = (u32, Delta)> + Unpin,
{
    stream::unfold(Some(stream::select_all(choices)), async |all| {
        let mut all = all?;
        let (choice, delta) = all.next().await?;
        let go_on = !matches!(delta, Delta::Failed(_));
        Some(((choice, delta), go_on.then_some(all)))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn when_one_choice_fails_the_others_end_with_it() {
        let alive = Arc::new(());
        let held = Arc::clone(&alive);
        let thinks_for_ever = stream::once(async move {
            let _held = held;
            std::future::pending().await
        });
        let fails = stream::iter([
            (1, Delta::Text("a".to_owned())),
            (1, Delta::Failed(turn::Error::Interrupted)),
        ]);
        let said = through_failure([thinks_for_ever.boxed(), fails.boxed()]);
        let said: Vec<_> = said.collect().await;
        assert!(matches!(
            said[..],
            [(1, Delta::Text(_)), (1, Delta::Failed(_))]
        ));
        assert_eq!(Arc::strong_count(&alive), 1, "nothing of it is left");
    }
}
