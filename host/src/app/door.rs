//! The listeners, and the tasks that serve their connections.

use std::io;
use std::net::SocketAddr;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api::{self, Connections, Entrance, Shared, Stage};
use crate::listen::{self, Listener, Sockets};

/// The gateway's listeners: for clients and, with `AUTH_PORT`, for edge proxies.
#[derive(Debug)]
pub(super) struct Doors {
    pub(super) main: Door,
    pub(super) auth: Option<Door>,
}

impl Doors {
    /// Listens; until [`Doors::serve`] only the [`Entrance`] answers.
    pub(super) fn open(
        sockets: Sockets,
        closing: &CancellationToken,
        connections: &Connections,
    ) -> Result<Self, listen::Error> {
        let listeners = sockets.listen()?;
        let open = |listener| Door::open(listener, closing, connections);
        let (main, auth) = (open(listeners.main), listeners.auth.map(open));
        tracing::info!(address = %main.address, "listening");
        if let Some(Door { address, .. }) = &auth {
            tracing::info!(%address, "listening for edge proxies");
        }
        Ok(Self { main, auth })
    }

    /// Sets the stage of the start that the entrance reports.
    pub(super) fn reach(&self, stage: Stage) {
        for door in [Some(&self.main), self.auth.as_ref()].into_iter().flatten() {
            door.entrance.reach(stage);
        }
    }

    /// Serves all routes from now on.
    pub(super) fn serve(&self, shared: Shared) {
        if let Some(door) = &self.auth {
            door.entrance.open(api::verify_router(shared.clone()));
        }
        self.main.entrance.open(api::router(shared));
    }

    /// Waits until all listeners and their connections are closed.
    pub(super) async fn closed(&mut self) -> io::Result<()> {
        let auth = async {
            match &mut self.auth {
                Some(door) => door.closed().await,
                None => Ok(()),
            }
        };
        tokio::try_join!(self.main.closed(), auth).map(|((), ())| ())
    }
}

/// A listener with its task; until its routes exist, only the [`Entrance`] answers.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) address: SocketAddr,
    entrance: Entrance,
    serving: JoinHandle<()>,
}

impl Door {
    /// Serves until intake closes and all accepted requests are answered.
    fn open(listener: Listener, closing: &CancellationToken, connections: &Connections) -> Self {
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

    async fn closed(&mut self) -> io::Result<()> {
        (&mut self.serving).await.map_err(io::Error::other)
    }
}

/// Dropping a door cuts the connections that it still serves.
impl Drop for Door {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
