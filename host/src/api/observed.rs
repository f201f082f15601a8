//! Exchanges whose request's record sees what happens in them, and what they cost however they ended.

use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use tokio::sync::mpsc;

use super::activity;
use super::record::Record;
use crate::openai::ApiError;
use crate::telemetry::{Tokens, Turn};
use crate::turn::Delta;
use crate::turn::drive::Exchange;

/// One exchange. Dropped early (the client left), it still tells what was spent.
pub(super) struct Observed {
    exchange: Exchange,
    record: Record,
    turn: Turn,
    /// The client wants to know what Codex does itself.
    tells_activity: bool,
}

impl Observed {
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
                self.record.fail(error.clone());
            }
        }
    }
}

impl Drop for Observed {
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
pub(super) struct Deltas(Pin<Box<dyn Stream<Item = (u32, Delta)> + Send>>);

impl Deltas {
    pub(super) fn of(exchanges: Vec<Observed>) -> Self {
        let streams = (0..).zip(exchanges).map(|(choice, exchange)| {
            stream::unfold(exchange, move |mut exchange| async move {
                let delta = exchange.next().await?;
                Some(((choice, delta), exchange))
            })
            .boxed()
        });
        let ended = stream::select_all(streams).scan(false, |failed, (choice, delta)| {
            let over = std::mem::replace(failed, matches!(delta, Delta::Failed(_)));
            std::future::ready((!over).then_some((choice, delta)))
        });
        Self(ended.boxed())
    }

    /// The same by a task of their own, which goes on to their end when nobody listens any more.
    pub(super) fn outliving(mut self) -> Self {
        // One at a time: a slow reader still slows its own turn.
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Some(delta) = self.0.next().await {
                // An error means that the client has gone.
                let _ = sender.send(delta).await;
            }
        });
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
    pub(super) fn into_stream(self) -> Pin<Box<dyn Stream<Item = (u32, Delta)> + Send>> {
        self.0
    }
}
