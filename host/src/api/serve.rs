//! Serves a listener's connections, and closes them without losing requests that are on their way.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Version};
use axum::response::Response;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::{Layer, Service, ServiceExt};
use tower_http::normalize_path::NormalizePathLayer;

use super::arrival::Arrival;
use super::connection::{Connection, Peer};
use super::connections::{Connections, Place};
use super::departure::{Departure, PIECE};
use super::socket::{self, Accepted, Ends};

use crate::listen::{self, Accept};
use crate::memory;

/// The pause after an accept error that is not about one connection: no descriptors are left, say.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a peer may take nothing of its answers. A client that is halted in a debugger usually resumes within it.
const PATIENCE: Duration = Duration::from_secs(300);

/// The same while the gateway drains: one peer must not use up the grace.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

/// Requests at the same time on one connection in HTTP/2, the least that RFC 9113 recommends: each costs memory.
const STREAMS: u32 = 100;

/// The limit for an HTTP/2 head in bytes, counted with 32 more for each header: somewhat above the limit in `head`.
const HTTP2_HEAD: u32 = 128 << 10;

/// Serves until intake closes and all requests that were sent to it are answered.
///
/// Not `axum::serve`: its graceful shutdown closes connections that are idle or new at that moment, whatever their peer has just
/// sent on them, and closes the listener together with the connections in its queue. A proxy that keeps connections would lose
/// requests at each restart.
pub async fn serve<L, S>(listener: L, routes: S, closing: CancellationToken, all: Connections)
where
    L: Accept,
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    // Outside the routes, so that it applies before one is chosen.
    let service = NormalizePathLayer::trim_trailing_slash().layer(routes);
    let connections = TaskTracker::new();
    let take = |(stream, address), turn| {
        let visit = Visit::<L>::new(stream, address, &closing);
        if let Some(turn) = turn {
            visit.peer.awaits_its_turn(turn);
        }
        // A connection without a place is closed when it is dropped.
        if let Some(place) = all.enter(&visit.peer) {
            connections.spawn(visit.attend(place, service.clone()));
        }
    };
    loop {
        tokio::select! {
            (turn, accepted) = async { (all.ready().await, listener.accept().await) } => match accepted {
                Ok(accepted) => take(accepted, turn),
                Err(error) => {
                    let remedy = listen::accept_remedy(&error);
                    tracing::error!(%error, remedy, "no connection can be accepted");
                    all.make_way();
                    tokio::time::sleep(PAUSE).await;
                }
            },
            () = closing.cancelled() => break,
        }
    }
    let last = listener.close().await;
    last.into_iter().for_each(|accepted| take(accepted, None));
    connections.close();
    connections.wait().await;
}

/// The facts about a connection that its requests need.
struct Line {
    peer: Peer,
    closing: CancellationToken,
    is_extra: bool,
    /// The WebSocket that the connection becomes.
    socket: Mutex<Option<Accepted>>,
}

impl Line {
    /// Runs one request: it is under way until the system has taken its answer. It is counted in the same step that read it, before
    /// anything is awaited.
    fn call<S>(
        self: Arc<Self>,
        mut request: Request,
        service: S,
    ) -> impl Future<Output = Result<axum::http::Response<Departure>, Infallible>>
    where
        S: Service<Request, Response = Response, Error = Infallible>,
    {
        let version = request.version();
        let underway = self.peer.begin(version);
        request
            .extensions_mut()
            .insert(ConnectInfo(self.peer.clone()));
        let request = request.map(|body| Arrival::watch(body, &underway));
        async move {
            let mut response = service.oneshot(request).await?;
            if let Some(accepted) = response.extensions_mut().remove::<Accepted>() {
                self.peer.upgraded();
                *self.socket.lock() = Some(accepted);
                return Ok(response.map(|body| Departure::of(body, underway)));
            }
            // HTTP/2 announces it with frames (GOAWAY).
            if version <= Version::HTTP_11 && (self.is_extra || self.closing.is_cancelled()) {
                let headers = response.headers_mut();
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response.map(|body| Departure::of(body, underway)))
        }
    }
}

/// A reason to end a connection.
enum End {
    /// No more requests are taken.
    GoAway,
    /// It gives way to another one.
    Displaced,
    /// Its peer takes nothing.
    Stuck,
}

impl End {
    fn log(&self) {
        match self {
            Self::GoAway => {}
            Self::Displaced => tracing::debug!("an idle connection gave way to a new one"),
            Self::Stuck => tracing::debug!("a peer took nothing of its answers for too long"),
        }
    }
}

/// One accepted connection.
struct Visit<L: Accept> {
    connection: Connection<L::Stream>,
    peer: Peer,
    closing: CancellationToken,
}

impl<L: Accept> Visit<L> {
    fn new(stream: L::Stream, address: SocketAddr, closing: &CancellationToken) -> Self {
        if let Err(error) = L::tune(&stream) {
            tracing::debug!(%error, "a connection goes on as it is");
        }
        let connection = Connection::new(stream, closing.clone());
        Self {
            peer: Peer::new(address, &connection),
            connection,
            closing: closing.clone(),
        }
    }

    /// Serves the connection to its end.
    async fn attend<S>(self, mut place: Place, service: S)
    where
        S: Service<Request, Response = Response, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send,
    {
        let Self {
            connection,
            peer,
            closing,
        } = self;
        let multiplexed = peer.multiplexed();
        let reader = peer.clone();
        let line = Arc::new(Line {
            peer,
            closing: closing.clone(),
            is_extra: place.is_extra,
            socket: Mutex::default(),
        });
        let (becomes, turns) = (Arc::clone(&line), service.clone());
        // Not `TowerToHyperService`: in HTTP/2 it calls the service only when the request's own task runs.
        let service = service_fn(move |request: axum::http::Request<Incoming>| {
            Arc::clone(&line).call(request.map(Body::new), service.clone())
        });
        let builder = builder();
        let mut served =
            pin!(builder.serve_connection_with_upgrades(TokioIo::new(connection), service));
        let is_extra = place.is_extra;
        // HTTP/1 has no message for it: such a connection ends with an answer that says so, or when it stays idle.
        let goes_away = async {
            multiplexed.cancelled().await;
            if !is_extra {
                closing.cancelled().await;
            }
            End::GoAway
        };
        let displaced = place.displaced(&reader).map(|()| End::Displaced);
        let stuck = takes_nothing(&reader, &closing).map(|()| End::Stuck);
        // They are polled when they are woken, and not with every request.
        let mut ends =
            FuturesUnordered::from_iter([goes_away.boxed(), displaced.boxed(), stuck.boxed()]);
        let result = loop {
            tokio::select! {
                // Requests that the peer has sent are served before intake's end is looked at.
                biased;
                result = served.as_mut() => break result,
                Some(end) = ends.next() => match end {
                    End::GoAway => served.as_mut().graceful_shutdown(),
                    End::Displaced | End::Stuck => {
                        end.log();
                        // It may never become a WebSocket.
                        becomes.socket.lock().take();
                        break Ok(());
                    }
                }
            }
        };
        if let Err(error) = result {
            tracing::debug!(%error, "a connection broke");
        }
        let accepted = becomes.socket.lock().take();
        if let Some(accepted) = accepted {
            multiplexed.cancel();
            // Boxed, since most connections need no memory for it.
            let socket = Box::pin(talk(accepted, turns, &reader, ends));
            socket.await;
        }
        if reader.had_many() {
            memory::give_back_soon();
        }
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    // The library refuses a larger head with an empty answer.
    builder
        .http2()
        .max_header_list_size(HTTP2_HEAD)
        .max_concurrent_streams(STREAMS)
        .max_send_buf_size(PIECE);
    builder
}

/// Runs the WebSocket that a connection has become, until one of the ends of the connection.
async fn talk<S>(
    accepted: Accepted,
    turns: S,
    peer: &Peer,
    mut ends: FuturesUnordered<BoxFuture<'_, End>>,
) where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    let wishes = Ends::default();
    let mut socket = pin!(socket::run(accepted, turns, peer.clone(), &wishes));
    loop {
        tokio::select! {
            biased;
            () = socket.as_mut() => return,
            Some(end) = ends.next() => match end {
                End::GoAway => wishes.drain.cancel(),
                End::Displaced => wishes.leave.cancel(),
                End::Stuck => {
                    end.log();
                    return;
                }
            }
        }
    }
}

/// Returns when the peer has taken nothing of its answers for too long.
async fn takes_nothing(peer: &Peer, closing: &CancellationToken) {
    let at_last = async {
        closing.cancelled().await;
        peer.takes_nothing_for(LAST_PATIENCE).await;
    };
    tokio::select! {
        () = peer.takes_nothing_for(PATIENCE) => {}
        () = at_last => {}
    }
}

#[cfg(test)]
mod tests;
