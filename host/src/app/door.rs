//! The listeners, and the tasks that serve their connections.

use std::io;
use std::net::SocketAddr;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api::admin::{self, Admin};
use crate::api::{self, Connections, Entrance, Shared, Stage};
use crate::listen::{self, Accept, AdminAddr, AdminListener, Listener, Sockets};

/// The gateway's listeners: for clients; with `AUTH_PORT` for edge proxies, and with `ADMIN_ADDR` for operators.
#[derive(Debug)]
pub(super) struct Doors {
    pub(super) main: Door,
    pub(super) auth: Option<Door>,
    pub(super) admin: Option<Door<AdminAddr>>,
}

impl Doors {
    /// Listens; until [`Doors::serve`] only the [`Entrance`] answers.
    pub(super) fn open(
        sockets: Sockets,
        closing: &CancellationToken,
        connections: &Connections,
    ) -> Result<Self, listen::Error> {
        let listeners = sockets.listen()?;
        let open = |listener: Listener| {
            let address = listener.address();
            Door::open(listener, address, closing, connections)
        };
        let (main, auth) = (open(listeners.main), listeners.auth.map(open));
        let admin = listeners
            .admin
            .map(|listener| Door::of_admin(listener, closing));
        tracing::info!(address = %main.address, "listening");
        if let Some(Door { address, .. }) = &auth {
            tracing::info!(%address, "listening for edge proxies");
        }
        if let Some(Door { address, .. }) = &admin {
            tracing::info!(%address, "listening for operators");
        }
        Ok(Self { main, auth, admin })
    }

    /// Sets the stage of the start that the entrance reports.
    pub(super) fn reach(&self, stage: Stage) {
        let auth = self.auth.as_ref().map(|door| &door.entrance);
        let admin = self.admin.as_ref().map(|door| &door.entrance);
        for entrance in [Some(&self.main.entrance), auth, admin]
            .into_iter()
            .flatten()
        {
            entrance.reach(stage);
        }
    }

    /// Serves all routes from now on.
    pub(super) fn serve(&self, shared: Shared) {
        if let Some(door) = &self.auth {
            door.entrance.open(api::verify_router(shared.clone()));
        }
        self.main.entrance.open(api::router(shared));
    }

    /// Serves operators from now on, if there is a listener for them.
    pub(super) fn serve_operators(&self, admin: impl FnOnce(AdminAddr) -> Admin) {
        if let Some(door) = &self.admin {
            let admin = admin(door.address.clone());
            door.entrance.open(admin::router(admin));
        }
    }

    /// Waits until all listeners and their connections are closed.
    pub(super) async fn closed(&mut self) -> io::Result<()> {
        let auth = async {
            match &mut self.auth {
                Some(door) => door.closed().await,
                None => Ok(()),
            }
        };
        let admin = async {
            match &mut self.admin {
                Some(door) => door.closed().await,
                None => Ok(()),
            }
        };
        tokio::try_join!(self.main.closed(), auth, admin).map(|_| ())
    }
}

/// A listener with its task; until its routes exist, only the [`Entrance`] answers.
#[derive(Debug)]
pub(super) struct Door<A = SocketAddr> {
    pub(super) address: A,
    entrance: Entrance,
    serving: JoinHandle<()>,
}

impl Door<AdminAddr> {
    /// Serves operators, whose connections are counted apart: a crowd of clients must not lock them out.
    fn of_admin(listener: AdminListener, closing: &CancellationToken) -> Self {
        let (address, connections) = (listener.address(), Connections::of_operators());
        match listener {
            AdminListener::Tcp(listener) => Self::open(listener, address, closing, &connections),
            AdminListener::Unix(door) => Self::open(door, address, closing, &connections),
        }
    }
}

impl<A> Door<A> {
    /// Serves until intake closes and all accepted requests are answered.
    fn open(
        listener: impl Accept,
        address: A,
        closing: &CancellationToken,
        connections: &Connections,
    ) -> Self {
        let entrance = Entrance::default();
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
impl<A> Drop for Door<A> {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
