//! A WebSocket: runs one turn after another, pings its client, and closes it after its time.

mod count;
pub(super) mod frames;
mod outbox;
mod turn;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::pending;
use std::pin::pin;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::response::Response;
use futures_util::FutureExt;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{ReadHalf, WriteHalf};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::Shared;
use super::bodies::UNANNOUNCED;
use super::connection::{Offer, Peer};
use crate::openai::{ApiError, GatewayError};
pub(super) use count::Slot;
pub use count::{SocketLimits, Sockets};
use frames::{Broken, Heard, Incoming, Message, Reader};
use outbox::Outbox;
pub(super) use turn::OnSocket;
use turn::{Lane, Turn, TurnHead, error_message};

/// Messages that may wait for the turns before them: as many as OpenAI lets be under way on one connection.
const WAITING: usize = 16;

/// How long a client that sends nothing, not even pongs, or that takes nothing of what waits for it counts as there.
const DEAF: Duration = Duration::from_secs(300);

/// How long messages that were on their way are waited for when the gateway drains.
const FAREWELL: Duration = Duration::from_secs(1);

/// How long the last frames may take, and how long the client's end is waited for after each of its bytes.
const LAST_FRAMES: Duration = Duration::from_secs(5);
const LAST_BYTES: Duration = Duration::from_secs(1);

/// A WebSocket that was accepted: the extension of the answer to its handshake.
#[derive(Clone)]
pub(super) struct Accepted {
    shared: Shared,
    limits: SocketLimits,
    head: TurnHead,
    upgrade: OnUpgrade,
    slot: Slot,
}

impl Accepted {
    pub(super) fn new(
        shared: Shared,
        limits: SocketLimits,
        handshake: Parts,
        upgrade: OnUpgrade,
        slot: Slot,
    ) -> Self {
        Self {
            shared,
            limits,
            head: TurnHead::of(handshake),
            upgrade,
            slot,
        }
    }
}

/// The tokens by which the owner of a connection ends its WebSocket.
#[derive(Debug, Default)]
pub(super) struct Ends {
    /// No more turns begin.
    pub(super) drain: CancellationToken,
    /// It gives way to another connection.
    pub(super) leave: CancellationToken,
}

/// Runs an accepted WebSocket to its end; `service` answers its turns.
pub(super) async fn run<S>(accepted: Accepted, service: S, peer: Peer, ends: &Ends)
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let Accepted {
        shared,
        limits,
        head,
        upgrade,
        slot,
    } = accepted;
    let _forgets = Forgets(&shared, slot.number());
    let upgraded = tokio::select! {
        upgraded = upgrade => upgraded,
        () = ends.leave.cancelled() => return,
    };
    let Ok(upgraded) = upgraded else {
        return;
    };
    let (read, write) = tokio::io::split(TokioIo::new(upgraded));
    let reader = Reader::new(read, shared.config.max_body, shared.bodies.clone());
    let now = Instant::now();
    let socket = Socket {
        limits,
        message_limit: shared.config.max_body,
        keepalive: shared.config.timers.keepalive,
        head,
        service,
        peer,
        on: OnSocket(slot.number()),
        outbox: Outbox::new(write),
        waiting: VecDeque::new(),
        turn: None,
        opened: now,
        idle: now,
        heard: reader.heard(),
        said: now,
        drained: None,
    };
    socket.run(reader, ends).await;
}

/// Forgets what is kept for a WebSocket when it is dropped, however that ends.
struct Forgets<'a>(&'a Shared, u64);

impl Drop for Forgets<'_> {
    fn drop(&mut self) {
        self.0.responses.forget_socket(self.1);
    }
}

type Client = TokioIo<Upgraded>;

struct Socket<S> {
    limits: SocketLimits,
    /// The most bytes of a message.
    message_limit: usize,
    /// The silence after which the client gets a ping; zero is never.
    keepalive: Duration,
    head: TurnHead,
    service: S,
    peer: Peer,
    on: OnSocket,
    outbox: Outbox<WriteHalf<Client>>,
    waiting: VecDeque<Message>,
    turn: Option<Turn>,
    opened: Instant,
    /// When the last turn ended.
    idle: Instant,
    heard: Heard,
    /// When the client was last spoken to.
    said: Instant,
    /// When the gateway began to drain.
    drained: Option<Instant>,
}

/// The end of a connection.
enum End {
    /// The client has gone, or has closed it.
    Gone,
    /// The client is told why, with a code (RFC 6455 §7.4.1).
    Close(u16, &'static str),
}

impl<S> Socket<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    async fn run(mut self, reader: Reader<ReadHalf<Client>>, ends: &Ends) {
        let mut reading = pin!(reader.next());
        let mut alarm = pin!(sleep_until(self.due()));
        let mut reader = None;
        let end = loop {
            self.begin_turn();
            if alarm.deadline() > self.due() {
                alarm.as_mut().reset(self.due());
            }
            let next = tokio::select! {
                // Not `biased`: a client that never stops sending must hold up neither its answers nor its end.
                (read, incoming) = reading.as_mut() => match self.take(incoming) {
                    Ok(()) => {
                        reading.set(read.next());
                        Ok(())
                    }
                    Err(end) => {
                        reader = Some(read);
                        Err(end)
                    }
                },
                flushed = self.outbox.flush(), if !self.outbox.is_empty() => {
                    self.said = Instant::now();
                    flushed.map_err(|_| End::Gone)
                }
                said = next(&mut self.turn), if self.outbox.is_empty() => {
                    self.say(said);
                    Ok(())
                }
                () = alarm.as_mut() => {
                    let end = self.look();
                    alarm.as_mut().reset(self.due());
                    end
                }
                () = ends.drain.cancelled(), if self.drained.is_none() => {
                    self.drained = Some(Instant::now());
                    Ok(())
                }
                () = ends.leave.cancelled() => Err(End::Close(1013, "too many connections")),
            };
            if let Err(end) = next {
                break end;
            }
        };
        if !self.close(end).await {
            return;
        }
        let rest = async {
            let mut reader = match reader {
                Some(reader) => reader,
                None => match timeout(LAST_BYTES, reading).await {
                    Ok((reader, _)) => reader,
                    Err(_) => return,
                },
            };
            reader.discard(LAST_BYTES).await;
        };
        let _ = timeout(LAST_FRAMES, rest).await;
    }

    /// Sends what waits for the client, and a close frame. Returns whether the client took them.
    async fn close(&mut self, end: End) -> bool {
        // A turn that still runs loses its reader.
        self.turn = None;
        let End::Close(code, reason) = end else {
            return false;
        };
        self.outbox.close(code, reason);
        let closed = async {
            self.outbox.flush().await?;
            self.outbox.end().await
        };
        matches!(timeout(LAST_FRAMES, closed).await, Ok(Ok(())))
    }

    /// Begins the turn of the next message, unless one runs. Messages that come too late are refused.
    fn begin_turn(&mut self) {
        while self.turn.is_none()
            && let Some(message) = self.waiting.pop_front()
        {
            if let Some(error) = self.refusal() {
                let lane = Lane::of(&message);
                self.outbox.text(&error_message(&error, &lane), None);
                continue;
            }
            let service = self.service.clone();
            let turn = Turn::begin(&self.head, self.on, &self.peer, message, service);
            self.turn = Some(turn);
        }
    }

    /// The error for a message for which no turn begins any more.
    fn refusal(&self) -> Option<ApiError> {
        if self.drained.is_some_and(|since| self.idle > since) {
            return Some(GatewayError::Draining.into());
        }
        let is_old = self.opened.elapsed() >= self.limits.age;
        is_old.then(|| self.expired())
    }

    fn expired(&self) -> ApiError {
        let minutes = self.limits.age.as_secs().div_ceil(60);
        GatewayError::SocketExpired { minutes }.into()
    }

    /// Takes what the client sent.
    fn take(&mut self, incoming: Result<Incoming, Broken>) -> Result<(), End> {
        if self.outbox.is_full() {
            return Err(End::Close(1008, "more was asked than is read"));
        }
        match incoming {
            Ok(Incoming::Text(message)) => self.put(message),
            Ok(Incoming::Ping(payload)) => self.outbox.pong(&payload),
            Ok(Incoming::Pong) => {}
            Ok(Incoming::Close(code)) => return Err(End::Close(code.unwrap_or(1000), "")),
            Err(broken) => return Err(self.broken(broken)),
        }
        Ok(())
    }

    /// Lets a message wait for its turn. Only some may wait, and no large ones: those hold room that others wait for.
    fn put(&mut self, message: Message) {
        self.see_end();
        let is_next = self.turn.is_none() && self.waiting.is_empty();
        let waiting = self.waiting.iter().map(|message| message.text.len());
        let bytes = waiting.sum::<usize>() + message.text.len();
        if !is_next && (self.waiting.len() >= WAITING || bytes > UNANNOUNCED) {
            let error = GatewayError::TooManyTurns { most: WAITING }.into();
            let lane = Lane::of(&message);
            return self.outbox.text(&error_message(&error, &lane), None);
        }
        self.waiting.push_back(message);
    }

    /// Notes that the turn has ended: a client that has its last event may send the next message before that is seen.
    fn see_end(&mut self) {
        if self.outbox.is_empty()
            && let Some(said) = next(&mut self.turn).now_or_never()
        {
            self.say(said);
        }
    }

    /// The end of a connection on which nothing more can be read.
    fn broken(&mut self, broken: Broken) -> End {
        let limit = self.message_limit;
        let (error, code, reason): (Option<ApiError>, _, _) = match broken {
            Broken::Gone => (None, 1002, "the connection ended without a close frame"),
            Broken::Protocol(why) => (None, 1002, why),
            Broken::NotUtf8 => (None, 1007, "a text message is not UTF-8"),
            Broken::Binary => (None, 1003, "send JSON, in text messages"),
            Broken::TooLarge => {
                let error = GatewayError::BodyTooLarge { limit }.into();
                (Some(error), 1009, "a message is too large")
            }
            Broken::TooSlow => {
                let error = GatewayError::BodyTooSlow.into();
                (Some(error), 1008, "a message arrived too slowly")
            }
            Broken::NoRoom(error) => (Some(error), 1013, "no room for a large message"),
        };
        if let Some(error) = error {
            self.outbox
                .text(&error_message(&error, &Lane::default()), None);
        }
        End::Close(code, reason)
    }

    /// Takes the next message of the running turn, or its end.
    fn say(&mut self, said: Option<(Bytes, Offer)>) {
        match said {
            Some((text, offer)) => self.outbox.text(&text, Some(offer)),
            None => (self.turn, self.idle) = (None, Instant::now()),
        }
    }

    /// When `look` has something to do next.
    fn due(&self) -> Instant {
        let pinged = (!self.keepalive.is_zero())
            .then(|| (self.said + self.keepalive).min(self.heard.at() + self.deaf()));
        let ends = self.turn.is_none().then(|| match self.drained {
            Some(since) if self.idle > since => self.idle,
            Some(since) => since + FAREWELL,
            None => {
                let old = self.opened + self.limits.age;
                self.silent().map_or(old, |silent| silent.min(old))
            }
        });
        let stuck = self.outbox.stuck().map(|since| since + DEAF);
        let all = [pinged, ends, stuck].into_iter().flatten();
        // Without either, the turn ends first.
        all.min().unwrap_or_else(|| Instant::now() + DEAF)
    }

    /// When nothing was asked for too long; none while a message arrives.
    fn silent(&self) -> Option<Instant> {
        (!self.heard.is_amid()).then(|| self.idle + self.limits.silence)
    }

    /// How long a client may be silent that gets pings.
    fn deaf(&self) -> Duration {
        DEAF.max(self.keepalive.saturating_mul(3))
    }

    /// Does what is due by now.
    fn look(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if self.outbox.stuck().is_some_and(|since| now >= since + DEAF) {
            return Err(End::Gone);
        }
        if !self.keepalive.is_zero() {
            if now >= self.heard.at() + self.deaf() {
                return Err(End::Gone);
            }
            if now >= self.said + self.keepalive {
                if self.outbox.is_empty() {
                    self.outbox.ping();
                }
                self.said = now;
            }
        }
        if self.turn.is_some() {
            return Ok(());
        }
        match self.drained {
            Some(since) if self.idle > since || now >= since + FAREWELL => {
                Err(End::Close(1001, "the gateway is going away"))
            }
            Some(_) => Ok(()),
            None if now >= self.opened + self.limits.age => {
                self.outbox
                    .text(&error_message(&self.expired(), &Lane::default()), None);
                Err(End::Close(1000, "the connection is too old"))
            }
            None if self.silent().is_some_and(|silent| now >= silent) => {
                Err(End::Close(1000, "nothing was asked for too long"))
            }
            None => Ok(()),
        }
    }
}

/// The next message of a turn, if there is one.
async fn next(turn: &mut Option<Turn>) -> Option<(Bytes, Offer)> {
    match turn {
        Some(turn) => turn.next().await,
        None => pending().await,
    }
}
