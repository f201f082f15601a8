//! The owner of a request, from its arrival to its line in the access log: runs its handler and turns, settles its reservations.

mod decisions;

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::Method;
use axum::response::Response;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http_body::Frame;
use tokio::sync::oneshot;

use super::Shared;
use super::error::Told;
use super::facts::{self, Fact, Facts};
use super::request_context::RequestContext;
use crate::openai::Metadata;
use crate::policy::Caller;
use crate::quota::Reservation;
use crate::telemetry::{Summary, Tokens, Turn};
use decisions::Decisions;

/// The status in the log if the client leaves before there is an answer, as in nginx.
const LEFT: u16 = 499;

/// Marks an answer that is handed over before the turns of its request end.
#[derive(Debug, Clone, Copy)]
pub(super) struct AtOnce;

/// The HTTP facts of a request.
pub(super) struct Asked {
    pub(super) method: Method,
    /// The route's template; absent if no route matched.
    pub(super) route: Option<&'static str>,
    pub(super) path: String,
    pub(super) user_agent: Option<String>,
    /// `traceparent` and `tracestate`.
    pub(super) trace: [Option<String>; 2],
}

/// The one owner of a request. The application waits for its task before it ends.
pub(super) struct Request {
    context: RequestContext,
    asked: Asked,
    shared: Shared,
    decisions: Arc<Decisions>,
    facts: Facts,
    began: SystemTime,
    known: Known,
    /// The turns that are under way.
    turns: Option<BoxFuture<'static, Vec<Turn>>>,
}

/// The facts that the owner has received.
#[derive(Default)]
struct Known {
    caller: Option<Caller>,
    /// The model's name in the answer, and its name for Codex.
    model: Option<(String, String)>,
    metadata: Metadata,
    stream: Option<bool>,
    failure: Option<&'static str>,
    drawn: Vec<Reservation>,
    turns: Vec<Turn>,
}

impl Request {
    /// Begins a request: the generation that serves decides on it, and telemetry is notified.
    pub(super) fn new(id: String, client: String, asked: Asked, shared: &Shared) -> Self {
        shared.telemetry.began();
        let started = Instant::now();
        let decisions = Arc::new(Decisions::new(shared.clone(), started));
        let (owner, facts) = facts::queue();
        let serving = shared.live.current();
        let generation = Arc::new(serving.observed(&id, decisions.clone()));
        Self {
            context: RequestContext::new(id, client, generation, started, owner),
            asked,
            shared: shared.clone(),
            decisions,
            facts,
            began: SystemTime::now(),
            known: Known::default(),
            turns: None,
        }
    }

    /// A context for each part of the gateway that works on the request.
    pub(super) fn context(&self) -> RequestContext {
        self.context.clone()
    }

    /// Runs the request to its end: the handler, which gives the answer to `client` or is cancelled when the client leaves, and
    /// the turns, which decide themselves whether they go on without a reader.
    pub(super) async fn run(
        mut self,
        handler: impl Future<Output = Response> + Unpin,
        mut client: oneshot::Sender<Response>,
    ) {
        let response = self.answer(handler, &mut client).await;
        let (started, whole) = (self.context.clone(), self.asked.method == Method::HEAD);
        let sent = async {
            let sent = match response {
                Some(response) => send(response, client, whole).await,
                None => Sent::nothing(),
            };
            (sent, started.elapsed())
        };
        let settled = async {
            self.learn_all();
            let turns = running(&mut self.turns).await;
            self.settle(turns.unwrap_or_default());
        };
        let ((sent, duration), ()) = tokio::join!(sent, settled);
        self.learn_all();
        self.report(&sent, duration);
        // The end of the answer waits for this: a client that has all of it finds the request in the log, metrics and usage.
        drop(sent.held);
    }

    /// The handler's answer; none if the client leaves first. The turns run meanwhile.
    async fn answer(
        &mut self,
        mut handler: impl Future<Output = Response> + Unpin,
        client: &mut oneshot::Sender<Response>,
    ) -> Option<Response> {
        loop {
            tokio::select! {
                biased;
                response = &mut handler => return Some(response),
                () = client.closed() => return None,
                () = self.facts.wait() => self.learn_all(),
                Some(turns) = running(&mut self.turns) => self.settle(turns),
            }
        }
    }

    fn learn(&mut self, fact: Fact) {
        let known = &mut self.known;
        match fact {
            Fact::Caller(caller) => known.caller = Some(caller),
            Fact::Model { answer, codex } => known.model = Some((answer, codex)),
            Fact::Metadata(metadata) => known.metadata = metadata,
            Fact::Stream(stream) => {
                known.stream = Some(stream);
                if stream {
                    self.shared.telemetry.streams();
                }
            }
            Fact::Failure(code) => known.failure = Some(code),
            Fact::Drawn(reservation) => known.drawn.push(reservation),
            Fact::Turns(turns) => {
                // A panic is the end of the turns, and not of their owner.
                let turns = AssertUnwindSafe(turns).catch_unwind();
                self.turns = Some(turns.map(Result::unwrap_or_default).boxed());
            }
        }
    }

    fn learn_all(&mut self) {
        for fact in self.facts.take() {
            self.learn(fact);
        }
    }

    /// Settles the reservations with the cost of the turns, and releases the rest. Without a turn nothing was used.
    fn settle(&mut self, turns: Vec<Turn>) {
        // The reservations for these turns were sent before the turns.
        self.learn_all();
        let cost = total(&turns).map_or(0, |tokens| tokens.input + tokens.output);
        for mut reservation in self.known.drawn.drain(..) {
            reservation.settle(cost);
        }
        self.context.generation().settled(cost);
        self.known.turns.extend(turns);
    }

    /// Reports the finished request to telemetry.
    fn report(&self, sent: &Sent, duration: Duration) {
        let Self { known, asked, .. } = self;
        let (caller, model) = (known.caller.as_ref(), known.model.as_ref());
        let mut finishes = known.turns.iter().map(|turn| turn.finish);
        let firsts = known.turns.iter().filter_map(|turn| turn.first_token);
        let began = self.began.duration_since(SystemTime::UNIX_EPOCH);
        self.shared.telemetry.ended(&Summary {
            id: self.context.id(),
            method: asked.method.as_str(),
            route: asked.route.unwrap_or("other"),
            path: &asked.path,
            status: sent.status,
            client: self.context.client(),
            user_agent: asked.user_agent.as_deref(),
            caller: caller.map(|caller| caller.id.as_str()),
            tenant: caller.and_then(|caller| caller.tenant.as_deref()),
            groups: caller.map_or(&[], |caller| &caller.groups),
            model: model.map(|(answer, _)| answer.as_str()),
            runs: model.map(|(_, codex)| codex.as_str()),
            user: known.metadata.user.as_deref(),
            metadata: known.metadata.metadata.as_deref(),
            stream: known.stream,
            generation: self.context.generation().number(),
            digest: self.context.digest(),
            trace: asked.trace.each_ref().map(Option::as_deref),
            began: began.unwrap_or_default(),
            duration,
            first_token: firsts.min(),
            policies: self.decisions.spent(),
            decisions: &self.decisions.take(),
            turns: &known.turns,
            finish: known.failure.or_else(|| finishes.find_map(|finish| finish)),
            error: sent.error.as_deref(),
            refusal: self.decisions.refusal().as_ref(),
            tokens: total(&known.turns),
            bytes: sent.bytes,
            complete: sent.whole,
        });
    }
}

/// Waits for the turns to end; none if there are none.
async fn running(turns: &mut Option<BoxFuture<'static, Vec<Turn>>>) -> Option<Vec<Turn>> {
    let ended = turns.as_mut()?.await;
    *turns = None;
    Some(ended)
}

/// The tokens of all turns; absent if there were none.
fn total(turns: &[Turn]) -> Option<Tokens> {
    turns
        .iter()
        .map(|turn| turn.tokens)
        .reduce(|sum, more| Tokens {
            input: sum.input + more.input,
            cached_input: sum.cached_input + more.cached_input,
            output: sum.output + more.output,
            reasoning: sum.reasoning + more.reasoning,
            estimated: sum.estimated || more.estimated,
        })
}

/// The part of an answer that was sent.
struct Sent {
    status: u16,
    /// The code of an error answer.
    error: Option<String>,
    bytes: u64,
    /// The last byte may be handed over; otherwise the client left.
    whole: bool,
    /// The end of the answer, sent when this is dropped: when the request was reported.
    held: Option<Held>,
}

/// The end of an answer, sent on drop.
enum Held {
    /// Notified that the body may end.
    End { _told: oneshot::Sender<()> },
    /// A whole answer, and its client.
    All(Option<(oneshot::Sender<Response>, Response)>),
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Self::All(all) = self
            && let Some((client, response)) = all.take()
        {
            // If the client has left, the answer is dropped.
            let _ = client.send(response);
        }
    }
}

impl Sent {
    fn nothing() -> Self {
        Self {
            status: LEFT,
            error: None,
            bytes: 0,
            whole: false,
            held: None,
        }
    }
}

/// Hands over the answer, and waits until its last byte is asked for, or the client has left. An answer whose body is in memory
/// is handed over when the request was reported: the connection takes it in one step.
async fn send(
    mut response: Response,
    client: oneshot::Sender<Response>,
    is_without_body: bool,
) -> Sent {
    let error = response.extensions_mut().remove::<Told>();
    let status = response.status().as_u16();
    let error = error.map(|Told(error)| error.code.to_string());
    let in_memory = match is_without_body {
        true => Some(0),
        false => response.body().size_hint().exact(),
    };
    if let Some(bytes) = in_memory {
        let at_once = response.extensions_mut().remove::<AtOnce>().is_some();
        let whole = !client.is_closed();
        let all = Held::All(Some((client, response)));
        return Sent {
            status,
            error,
            bytes,
            whole,
            held: (!at_once).then_some(all),
        };
    }
    let bytes = Arc::new(AtomicU64::new(0));
    let (whole, ended) = oneshot::channel();
    let (_told, is_told) = oneshot::channel();
    let counted = Arc::clone(&bytes);
    // If the client has left, the answer is dropped at once.
    let _ = client.send(response.map(|body| {
        Body::new(Counted {
            body,
            bytes: counted,
            whole: Some(whole),
            is_told: Some(is_told),
        })
    }));
    let whole = ended.await.is_ok();
    Sent {
        status,
        error,
        bytes: bytes.load(Ordering::Relaxed),
        whole,
        held: Some(Held::End { _told }),
    }
}

/// Counts the bytes of a streamed answer that were taken, tells when it is complete, and holds back its end until the request is
/// reported.
struct Counted {
    body: Body,
    bytes: Arc<AtomicU64>,
    whole: Option<oneshot::Sender<()>>,
    is_told: Option<oneshot::Receiver<()>>,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.whole.is_some() {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
            if let Some(frame) = frame {
                let data = frame.as_ref().ok().and_then(Frame::data_ref);
                let bytes = data.map_or(0, Bytes::len);
                self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
                return Poll::Ready(Some(frame));
            }
            let _ = self.whole.take().map(|whole| whole.send(()));
        }
        if let Some(is_told) = &mut self.is_told {
            // An owner that is gone holds nothing back.
            let _ = ready!(Pin::new(is_told).poll(cx));
            self.is_told = None;
        }
        Poll::Ready(None)
    }
}

#[cfg(test)]
mod tests;
