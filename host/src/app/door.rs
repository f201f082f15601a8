//! A listener, and the task that serves what comes in by it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::extract::Request;
use axum::serve::ListenerExt;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::Layer;
use tower_http::normalize_path::NormalizePathLayer;

use super::StartError;
use crate::api::{Attended, Entrance, Peer};

/// A listener that is served: until its routes are there, by [`Entrance`] alone.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) address: SocketAddr,
    pub(super) entrance: Entrance,
    serving: JoinHandle<io::Result<()>>,
}

impl Door {
    /// Listens, and serves until intake closes and what was taken in is answered.
    ///
    /// # Errors
    /// If the address cannot be had.
    pub(super) async fn open(
        host: IpAddr,
        port: u16,
        closing: &CancellationToken,
    ) -> Result<Self, StartError> {
        let (listener, address) = listen(host, port).await?;
        let entrance = Entrance::default();
        // Outside the routes, so that it applies before one is chosen.
        let service = NormalizePathLayer::trim_trailing_slash().layer(entrance.clone());
        let service =
            axum::ServiceExt::<Request>::into_make_service_with_connect_info::<Peer>(service);
        let serving = axum::serve(Attended(listener.tap_io(tune)), service)
            .with_graceful_shutdown(closing.clone().cancelled_owned());
        Ok(Self {
            address,
            entrance,
            serving: tokio::spawn(serving.into_future()),
        })
    }

    /// Waits until nothing is served any more.
    pub(super) async fn closed(&mut self) -> io::Result<()> {
        (&mut self.serving).await.map_err(io::Error::other)?
    }
}

/// What still is served when a door is given up is cut.
impl Drop for Door {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Small pieces go out at once, and a peer that vanished without a word is noticed.
fn tune(stream: &mut TcpStream) {
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15));
    let tuned = stream
        .set_nodelay(true)
        .and_then(|()| SockRef::from(&*stream).set_tcp_keepalive(&keepalive));
    if let Err(error) = tuned {
        tracing::debug!(%error, "a connection goes on as it is");
    }
}

async fn listen(host: IpAddr, port: u16) -> Result<(TcpListener, SocketAddr), StartError> {
    let address = SocketAddr::new(host, port);
    let failed = |cause| StartError::Listen { address, cause };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}
