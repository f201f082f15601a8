//! The owner of a request, from its arrival to its line in the access log: runs its handler and turns, settles its reservations.

mod decisions;

use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::Method;
use axum::response::Response;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http_body::{Frame, SizeHint};
use tokio::sync::{mpsc, oneshot};

use super::error::Code;
use super::request_context::{Fact, RequestContext};
use crate::openai::Metadata;
use crate::policy::{Caller, Generation};
use crate::quota::Reservation;
use crate::telemetry::{Summary, Telemetry, Tokens, Turn};
use decisions::Decisions;

/// The status in the log if the client leaves before there is an answer, as in nginx.
const LEFT: u16 = 499;

/// The HTTP facts of a request.
pub(super) struct Asked {
    pub(super) method: Method,
    /// The route's template; absent if no route matched.
    pub(super) route: Option<String>,
    pub(super) path: String,
    pub(super) client: String,
    pub(super) user_agent: Option<String>,
    /// `traceparent` and `tracestate`.
    pub(super) trace: [Option<String>; 2],
}

/// The one owner of a request. The application waits for its task before it ends.
pub(super) struct Request {
    context: RequestContext,
    asked: Asked,
    telemetry: Telemetry,
    decisions: Arc<Decisions>,
    facts: mpsc::UnboundedReceiver<Fact>,
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
    /// Begins a request: this generation decides on it, and `telemetry` is notified.
    pub(super) fn new(
        id: String,
        asked: Asked,
        generation: &Generation,
        telemetry: &Telemetry,
    ) -> Self {
        telemetry.began();
        let started = Instant::now();
        let decisions = Arc::new(Decisions::new(telemetry.clone(), started));
        let (owner, facts) = mpsc::unbounded_channel();
        let generation = Arc::new(generation.observed(&id, decisions.clone()));
        Self {
            context: RequestContext::new(id, generation, started, owner),
            asked,
            telemetry: telemetry.clone(),
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
        handler: impl Future<Output = Response>,
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
        handler: impl Future<Output = Response>,
        client: &mut oneshot::Sender<Response>,
    ) -> Option<Response> {
        let mut handler = pin!(handler);
        loop {
            tokio::select! {
                biased;
                response = &mut handler => return Some(response),
                () = client.closed() => return None,
                Some(fact) = self.facts.recv() => self.learn(fact),
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
                    self.telemetry.streams();
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
        while let Ok(fact) = self.facts.try_recv() {
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
        self.telemetry.ended(&Summary {
            id: self.context.id(),
            method: asked.method.as_str(),
            route: asked.route.as_deref().unwrap_or("other"),
            path: &asked.path,
            status: sent.status,
            client: &asked.client,
            user_agent: asked.user_agent.as_deref(),
            caller: caller.map(|caller| caller.id.as_str()),
            tenant: caller.and_then(|caller| caller.tenant.as_deref()),
            model: model.map(|(answer, _)| answer.as_str()),
            runs: model.map(|(_, codex)| codex.as_str()),
            user: known.metadata.user.as_deref(),
            metadata: known.metadata.metadata.as_deref(),
            stream: known.stream,
            generation: self.context.generation().number(),
            digest: &self.context.generation().digest().short(),
            trace: asked.trace.each_ref().map(Option::as_deref),
            began: began.unwrap_or_default(),
            duration,
            first_token: firsts.min(),
            policies: self.decisions.spent(),
            decisions: &self.decisions.take(),
            turns: &known.turns,
            finish: known.failure.or_else(|| finishes.find_map(|finish| finish)),
            error: sent.error.as_deref(),
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
    /// An answer without a body, and its client.
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

/// Hands over the answer, and waits until its last byte is asked for, or the client has left.
async fn send(
    mut response: Response,
    client: oneshot::Sender<Response>,
    is_whole_without_body: bool,
) -> Sent {
    let error = response.extensions_mut().remove::<Code>();
    let status = response.status().as_u16();
    let bytes = Arc::new(AtomicU64::new(0));
    let error = error.map(|Code(code)| code);
    if is_whole_without_body || response.body().is_end_stream() {
        return Sent {
            status,
            error,
            bytes: 0,
            whole: !client.is_closed(),
            held: Some(Held::All(Some((client, response)))),
        };
    }
    let (whole, ended) = oneshot::channel();
    let (_told, is_told) = oneshot::channel();
    let counted = Arc::clone(&bytes);
    // If the client has left, the answer is dropped at once.
    let _ = client.send(response.map(|body| {
        Body::new(Counted {
            body,
            bytes: counted,
            whole: Some(whole),
            is_told,
            last: None,
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

/// One frame, or the end.
type Polled = Option<Result<Frame<Bytes>, axum::Error>>;

/// Counts the bytes of an answer that were taken, tells when it is complete, and holds back its end until the request is
/// reported.
struct Counted {
    body: Body,
    bytes: Arc<AtomicU64>,
    whole: Option<oneshot::Sender<()>>,
    is_told: oneshot::Receiver<()>,
    /// The last frame, held back.
    last: Option<Polled>,
}

impl Counted {
    fn count(&mut self, frame: &Polled) {
        if let Some(Ok(frame)) = frame {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }

    /// Whether no frame follows. A body of known length is not polled again after its last byte.
    fn is_last(&self, frame: &Polled) -> bool {
        match frame {
            Some(Ok(_)) => self.body.is_end_stream(),
            Some(Err(_)) => false,
            None => true,
        }
    }
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Polled> {
        if self.last.is_none() {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
            self.count(&frame);
            if !self.is_last(&frame) {
                return Poll::Ready(frame);
            }
            match self.whole.take().map(|whole| whole.send(())) {
                Some(Ok(())) => self.last = Some(frame),
                // The owner is gone, or was already notified.
                _ => return Poll::Ready(frame),
            }
        }
        let _ = ready!(Pin::new(&mut self.is_told).poll(cx));
        Poll::Ready(self.last.take().flatten())
    }

    fn is_end_stream(&self) -> bool {
        self.last.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.last {
            Some(Some(Ok(frame))) => {
                SizeHint::with_exact(frame.data_ref().map_or(0, Bytes::len) as u64)
            }
            _ => self.body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests;
