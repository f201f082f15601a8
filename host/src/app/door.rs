//! A listener, and the task that serves what comes in by it.

use std::io;
use std::net::SocketAddr;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api::{self, Connections, Entrance};
use crate::listen::Listener;

/// A listener that is served: until its routes are there, by [`Entrance`] alone.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) address: SocketAddr,
    pub(super) entrance: Entrance,
    serving: JoinHandle<()>,
}

impl Door {
    /// Serves until intake closes and what was taken in is answered.
    pub(super) fn open(
        listener: Listener,
        closing: &CancellationToken,
        connections: &Connections,
    ) -> Self {
        let (address, entrance) = (listener.address(), Entrance::default());
        let serving = api::serve(
            listener,
            entrance.clone(),
            closing.clone(),
            connections.clone(),
        );
        Self {
            address,
            entrance,
            serving: tokio::spawn(serving),
        }
    }

    /// Waits until nothing is served any more.
    pub(super) async fn closed(&mut self) -> io::Result<()> {
        (&mut self.serving).await.map_err(io::Error::other)
    }
}

/// What still is served when a door is given up is cut.
impl Drop for Door {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
