//! Serves a listener's connections, and ends them without losing a request that is on its way.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Version};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::{Layer, Service, ServiceExt};
use tower_http::normalize_path::NormalizePathLayer;

use super::connection::{Connection, Peer};
use crate::listen::Listener;

/// Serves until intake closes and all requests that were sent to it are answered.
///
/// Not `axum::serve`: its graceful shutdown closes connections that are idle or new at that moment, whatever their peer has just
/// sent on them, and the listener with the connections in its queue. A proxy that keeps connections meets that at each restart.
pub async fn serve<S>(listener: Listener, routes: S, closing: CancellationToken)
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    let service = from_fn_with_state(closing.clone(), farewell).layer(routes);
    // Outside the routes, so that it applies before one is chosen.
    let service = NormalizePathLayer::trim_trailing_slash().layer(service);
    let connections = TaskTracker::new();
    let take = |(stream, address)| {
        connections.spawn(attend(stream, address, service.clone(), closing.clone()));
    };
    loop {
        tokio::select! {
            accepted = listener.accept() => take(accepted),
            () = closing.cancelled() => break,
        }
    }
    listener.close().await.into_iter().for_each(take);
    connections.close();
    connections.wait().await;
}

/// Tells a peer that is to reconnect elsewhere; HTTP/2 has frames for that.
async fn farewell(
    State(closing): State<CancellationToken>,
    request: Request,
    next: Next,
) -> Response {
    let version = request.version();
    let mut response = next.run(request).await;
    if closing.is_cancelled() && version <= Version::HTTP_11 {
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// One connection, to its end.
async fn attend<S>(stream: TcpStream, address: SocketAddr, service: S, closing: CancellationToken)
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    tune(&stream);
    let connection = Connection::new(stream, closing.clone());
    let peer = Peer::new(address, &connection);
    let multiplexed = peer.multiplexed();
    let service = axum::Extension(ConnectInfo(peer))
        .layer(service)
        .map_request(|request: axum::http::Request<_>| request.map(Body::new));
    let builder = Builder::new(TokioExecutor::new());
    let service = TowerToHyperService::new(service);
    let mut served = pin!(builder.serve_connection(TokioIo::new(connection), service));
    let result = tokio::select! {
        result = served.as_mut() => result,
        // HTTP/1 has no word for it: such a connection ends with an answer that says so, or when it stays idle.
        () = async { tokio::join!(closing.cancelled(), multiplexed.cancelled()); } => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection broke");
    }
}

/// Small pieces go out at once, and a peer that vanished silently is noticed.
fn tune(stream: &TcpStream) {
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15));
    let tuned = stream
        .set_nodelay(true)
        .and_then(|()| SockRef::from(stream).set_tcp_keepalive(&keepalive));
    if let Err(error) = tuned {
        tracing::debug!(%error, "a connection goes on as it is");
    }
}
