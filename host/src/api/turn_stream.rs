//! Runs the turns of one answer: passes their deltas to the reader, and returns the cost of each when it is over.

mod beginnings;

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, FuturesUnordered};
use futures_util::{FutureExt, Stream, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::facts::Fact;
use super::request_context::RequestContext;
use super::{Shared, activity};
use crate::openai::ApiError;
use crate::telemetry::{Tokens, Turn};
use crate::turn::drive::Exchange;
use crate::turn::{self, Delta};
use beginnings::{Beginnings, found_no_place};

pub(super) use beginnings::Turns;

/// The most deltas waiting for their reader. Few: a slow reader slows down its own turn.
const AHEAD: usize = 16;

/// How long a reader has, after the total timeout, to take the error of its turn; then all turns are stopped.
const LINGER: Duration = Duration::from_secs(1);

/// A delta, with the choice it belongs to.
type Said = (u32, Delta);

/// One turn that has begun.
pub(super) struct TurnStream {
    exchange: Exchange,
    context: RequestContext,
    turn: Turn,
    /// The client asks for Codex's own activity.
    tells_activity: bool,
}

impl TurnStream {
    /// `began` is when its worker was asked for.
    pub(super) fn new(
        exchange: Exchange,
        context: RequestContext,
        began: Duration,
        tells_activity: bool,
    ) -> Self {
        let turn = Turn {
            began,
            ..Turn::default()
        };
        Self {
            exchange,
            context,
            turn,
            tells_activity,
        }
    }

    /// Notes a delta; whether it is passed on to the client.
    fn note(&mut self, delta: &Delta) -> bool {
        match delta {
            Delta::Text(_) | Delta::Reasoning(_) | Delta::Call { .. } => {
                let context = &self.context;
                self.turn
                    .first_token
                    .get_or_insert_with(|| context.elapsed());
            }
            Delta::Activity(activity) => {
                activity::log(self.context.id(), activity);
                return self.tells_activity;
            }
            Delta::End { finish, .. } => self.turn.finish = Some(finish.code()),
            Delta::Failed(error) => {
                self.turn.finish = Some(error.code());
                self.context.fail(error);
            }
        }
        true
    }
}

impl Source for TurnStream {
    type Cost = Turn;

    /// See [`Exchange::next`]; without the activity if the client does not ask for it.
    async fn next(&mut self) -> Option<Delta> {
        loop {
            let delta = self.exchange.next().await?;
            if self.note(&delta) {
                return Some(delta);
            }
        }
    }

    fn panicked(&mut self) -> Delta {
        let failed = Delta::Failed(turn::Error::Panicked);
        self.note(&failed);
        failed
    }

    fn end(mut self) -> Turn {
        let (usage, estimated) = self.exchange.usage();
        self.turn.ended = self.context.elapsed();
        self.turn.tokens = Tokens {
            input: usage.input,
            cached_input: usage.cached_input,
            output: usage.output,
            reasoning: usage.reasoning,
            estimated,
        };
        self.turn
    }
}

/// A source of deltas. Its cost is known at its end, whenever it ends.
trait Source: Send {
    type Cost: Send;

    fn next(&mut self) -> impl Future<Output = Option<Delta>> + Send;

    /// The last delta, after `next` has panicked.
    fn panicked(&mut self) -> Delta;

    fn end(self) -> Self::Cost;
}

/// Turns that begin.
pub(super) struct Beginning {
    deltas: Deltas,
    has_begun: oneshot::Receiver<Result<(), turn::Error>>,
}

impl Beginning {
    /// Waits until the first turn has begun: the others may have to wait for its worker.
    pub(super) async fn begun(self) -> Result<Deltas, turn::Error> {
        // The sender is dropped without a result if the request is over.
        let begun = self.has_begun.await;
        begun.unwrap_or(Err(turn::Error::Interrupted))?;
        Ok(self.deltas)
    }
}

/// The deltas of the turns of one answer. Ends with all of them, or with the first failure.
pub(super) struct Deltas {
    said: mpsc::Receiver<Said>,
    /// The total timeout, passed on after all other deltas.
    overrun: oneshot::Receiver<turn::Error>,
}

impl Deltas {
    /// Begins the turns. The request's owner runs them, so that every limit holds and reservations are settled even if the reader
    /// neither reads nor leaves. Unless they outlive their reader, they end when it leaves.
    pub(super) fn begin<M, F>(
        turns: Turns<M>,
        context: &RequestContext,
        shared: &Shared,
        outlive: bool,
    ) -> Beginning
    where
        M: FnMut(u32, bool) -> F + Send + 'static,
        F: Future<Output = Result<TurnStream, turn::Error>> + Send + 'static,
    {
        let (sender, said) = mpsc::channel(AHEAD);
        let (begun, has_begun) = oneshot::channel();
        let (last_word, overrun) = oneshot::channel();
        let failed = {
            let context = context.clone();
            move |error: &turn::Error| context.fail(error)
        };
        let relay = Relay {
            sender,
            stop: CancellationToken::new(),
            failed: Arc::new(failed),
        };
        let timers = &shared.config.timers;
        let late = tokio::time::sleep(timers.total + LINGER);
        let error = timers.overrun();
        let over = {
            let reader = relay.sender.clone();
            async move {
                tokio::select! {
                    () = late => { let _ = last_word.send(error); }
                    () = reader.closed(), if !outlive => {}
                }
            }
        };
        context.record(Fact::Turns(relay.run(turns, begun, over).boxed()));
        let deltas = Self { said, overrun };
        Beginning { deltas, has_begun }
    }

    async fn next(&mut self) -> Option<Said> {
        if let Some(said) = self.said.recv().await {
            return Some(said);
        }
        let overrun = self.overrun.try_recv().ok()?;
        Some((0, Delta::Failed(overrun)))
    }

    /// Passes every delta to `push`, until the end.
    pub(super) async fn fold(mut self, mut push: impl FnMut(u32, Delta)) -> Result<(), ApiError> {
        while let Some((choice, delta)) = self.next().await {
            if let Delta::Failed(error) = delta {
                return Err(error.into());
            }
            push(choice, delta);
        }
        Ok(())
    }

    /// The deltas as a stream.
    pub(super) fn into_stream(self) -> impl Stream<Item = Said> + Send + Unpin {
        Box::pin(stream::unfold(self, async |mut deltas| {
            let said = deltas.next().await?;
            Some((said, deltas))
        }))
    }
}

/// Passes on the deltas of several turns, up to the first failure. A failure ends the other turns too, so that a partial result
/// is never taken for a complete answer.
#[derive(Clone)]
struct Relay {
    sender: mpsc::Sender<Said>,
    /// Cancelled when nothing more is passed on.
    stop: CancellationToken,
    /// Notified of the error of a turn that could not begin.
    failed: Arc<dyn Fn(&turn::Error) + Send + Sync>,
}

impl Relay {
    /// Runs until all turns end, or until `over` is ready. Reports whether the first has begun, and returns the cost of each that
    /// began.
    async fn run<S: Source, M, F>(
        self,
        turns: Turns<M>,
        begun: oneshot::Sender<Result<(), turn::Error>>,
        over: impl Future<Output = ()>,
    ) -> Vec<S::Cost>
    where
        M: FnMut(u32, bool) -> F,
        F: Future<Output = Result<S, turn::Error>> + Send + 'static,
    {
        let mut beginnings = Beginnings::new(turns);
        let Some((choice, first)) = self.first(&mut beginnings, begun).await else {
            return Vec::new();
        };
        let mut all = pin!(self.run_all(beginnings, choice, first));
        tokio::select! {
            costs = &mut all => return costs,
            () = over => self.stop.cancel(),
        }
        all.await
    }

    /// The first turn that begins; none if a turn fails before, or if the reader has left.
    async fn first<S, M, F>(
        &self,
        beginnings: &mut Beginnings<M, S>,
        mut begun: oneshot::Sender<Result<(), turn::Error>>,
    ) -> Option<(u32, S)>
    where
        M: FnMut(u32, bool) -> F,
        F: Future<Output = Result<S, turn::Error>> + Send + 'static,
    {
        beginnings.begin(0);
        loop {
            let (choice, started) = tokio::select! {
                next = beginnings.starting.next() => next?,
                () = begun.closed() => return None,
            };
            match started {
                Ok(first) => {
                    let _ = begun.send(Ok(()));
                    return Some((choice, first));
                }
                Err(error) if found_no_place(&error) && !beginnings.starting.is_empty() => {
                    beginnings.put_off(choice);
                }
                Err(error) => {
                    (self.failed)(&error);
                    let _ = begun.send(Err(error));
                    return None;
                }
            }
        }
    }

    /// Runs the turns, of which the first has begun. Returns the cost of each that began.
    async fn run_all<S: Source, M, F>(
        &self,
        mut beginnings: Beginnings<M, S>,
        choice: u32,
        first: S,
    ) -> Vec<S::Cost>
    where
        M: FnMut(u32, bool) -> F,
        F: Future<Output = Result<S, turn::Error>> + Send + 'static,
    {
        let (mut running, mut costs) = (FuturesUnordered::new(), Vec::new());
        running.push(self.pass_on(choice, Ok(first)));
        loop {
            beginnings.begin(running.len());
            tokio::select! {
                biased;
                () = self.stop.cancelled(), if !beginnings.is_empty() => beginnings.clear(),
                Some(cost) = running.next() => {
                    costs.extend(cost);
                    beginnings.free();
                }
                Some((choice, started)) = beginnings.starting.next() => match started {
                    Err(error) if found_no_place(&error)
                        && !(running.is_empty() && beginnings.starting.is_empty()) =>
                    {
                        beginnings.put_off(choice);
                    }
                    started => running.push(self.pass_on(choice, started)),
                },
                else => return costs,
            }
        }
    }

    /// Passes on one turn. Returns its cost if it began.
    async fn pass_on<S: Source>(
        &self,
        choice: u32,
        started: Result<S, turn::Error>,
    ) -> Option<S::Cost> {
        let mut turn = match started {
            Ok(turn) => turn,
            Err(error) => {
                (self.failed)(&error);
                let say = self.say(choice, Delta::Failed(error));
                self.stop.run_until_cancelled(say).await;
                return None;
            }
        };
        // A turn is stopped even while it waits for its reader or for a policy's decision.
        let pass_on = async {
            while !self.stop.is_cancelled() {
                let next = AssertUnwindSafe(turn.next()).catch_unwind().await;
                match next.unwrap_or_else(|_| Some(turn.panicked())) {
                    Some(delta) => self.say(choice, delta).await,
                    None => return,
                }
            }
        };
        self.stop.run_until_cancelled(pass_on).await;
        Some(turn.end())
    }

    async fn say(&self, choice: u32, delta: Delta) {
        // A failed choice ends the others.
        let is_last = match delta {
            Delta::Failed(_) => true,
            Delta::Text(_)
            | Delta::Reasoning(_)
            | Delta::Call { .. }
            | Delta::Activity(_)
            | Delta::End { .. } => false,
        };
        // An error means that the reader has gone.
        let _ = self.sender.send((choice, delta)).await;
        if is_last {
            self.stop.cancel();
        }
    }
}

#[cfg(test)]
mod tests;
