//! What runs turns, whichever it is: one type for the rest of the gateway.

use std::sync::Arc;

use tokio::sync::watch;

use super::app_server::{AppServer, Exchange, StartError};
use super::demo::{self, Demo};
use super::{Config, Error, Event, Model, Plan};

/// What runs turns. Clones are the same backend.
#[derive(Debug, Clone)]
pub struct Backend(Arc<Kind>);

#[derive(Debug)]
enum Kind {
    AppServer(AppServer),
    Demo(watch::Sender<Status>),
}

/// How a backend is doing.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Status {
    /// `app-server` or `demo`.
    pub kind: &'static str,
    /// It takes turns.
    pub ready: bool,
    /// Why it does not. May name files: for the operator.
    pub reason: Option<String>,
    /// The worker's process id.
    pub pid: Option<u32>,
    /// Codex's version.
    pub version: String,
    /// How often the worker was started again.
    pub restarts: u64,
    /// Turns that hold a lease.
    pub turns: usize,
}

impl Status {
    /// An app-server whose first worker is to come.
    pub(super) fn starting(version: String) -> Self {
        Self {
            kind: "app-server",
            ready: false,
            reason: Some("the worker is starting".to_owned()),
            pid: None,
            version,
            restarts: 0,
            turns: 0,
        }
    }

    fn demo() -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self {
            kind: "demo",
            ready: true,
            reason: None,
            pid: None,
            version,
            restarts: 0,
            turns: 0,
        }
    }
}

impl Backend {
    /// Runs turns on a `codex app-server` of its own. Returns before that is ready.
    ///
    /// # Errors
    /// If the program cannot be run, is too old, or its models cannot be had.
    pub async fn app_server(config: Config) -> Result<Self, StartError> {
        Ok(Self(Arc::new(Kind::AppServer(
            AppServer::start(config).await?,
        ))))
    }

    /// Answers by a script: for a first look without Codex.
    #[must_use]
    pub fn demo() -> Self {
        Self(Arc::new(Kind::Demo(watch::Sender::new(Status::demo()))))
    }

    /// Starts a turn. Dropping the future gives back whatever it had taken.
    ///
    /// # Errors
    /// If no worker or lease is to be had in time, or the worker refuses the turn.
    pub async fn start(&self, plan: Plan) -> Result<Turn, Error> {
        match &*self.0 {
            Kind::AppServer(app_server) => {
                Ok(Turn(Source::Exchange(app_server.start_turn(plan).await?)))
            }
            Kind::Demo(status) if status.borrow().ready => Ok(Turn(Source::Demo(Demo::new(&plan)))),
            Kind::Demo(_) => Err(Error::Unavailable(
                "the gateway is shutting down".to_owned(),
            )),
        }
    }

    /// The models it lists, the default one first unless the operator chose another.
    #[must_use]
    pub fn models(&self) -> Vec<Model> {
        match &*self.0 {
            Kind::AppServer(app_server) => app_server.models(),
            Kind::Demo(_) => demo::models(),
        }
    }

    /// The model for requests that leave it open.
    #[must_use]
    pub fn default_model(&self) -> Option<String> {
        match &*self.0 {
            Kind::AppServer(app_server) => Some(app_server.default_model()),
            Kind::Demo(_) => Some(demo::MODEL.to_owned()),
        }
    }

    /// How it is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        self.watch().borrow().clone()
    }

    /// How it is doing, from now on. `turns` is current whenever looked at, but its changes are not announced.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Status> {
        match &*self.0 {
            Kind::AppServer(app_server) => app_server.watch(),
            Kind::Demo(status) => status.subscribe(),
        }
    }

    /// Waits until it takes turns. For ever, if it never does.
    pub async fn ready(&self) {
        // The sender lives as long as `self`.
        let _ = self.watch().wait_for(|status| status.ready).await;
    }

    /// Ends it, and with it every turn that still runs. Returns when nothing of it is left.
    pub async fn shutdown(&self) {
        match &*self.0 {
            Kind::AppServer(app_server) => app_server.shutdown().await,
            Kind::Demo(status) => status.send_modify(|status| {
                status.ready = false;
                status.reason = Some("the gateway is shutting down".to_owned());
            }),
        }
    }
}

/// One turn. Dropping it stops the turn and gives back all it had taken.
#[derive(Debug)]
pub struct Turn(Source);

#[derive(Debug)]
enum Source {
    Exchange(Exchange),
    Demo(Demo),
}

impl Turn {
    /// The next event, or `None` after [`Event::Ended`]. Cancel-safe.
    pub async fn next(&mut self) -> Option<Event> {
        match &mut self.0 {
            Source::Exchange(exchange) => exchange.next().await,
            Source::Demo(demo) => demo.next().await,
        }
    }

    /// Asks Codex to stop. The events up to [`Event::Ended`] still come.
    pub fn interrupt(&self) {
        match &self.0 {
            Source::Exchange(exchange) => exchange.interrupt(),
            Source::Demo(demo) => demo.interrupt(),
        }
    }
}

/// One turn in the count of those that run, silently: it is no news for those who watch the state.
#[derive(Debug)]
pub(super) struct InFlight(watch::Sender<Status>);

impl InFlight {
    /// Counts it until dropped.
    pub(super) fn new(status: watch::Sender<Status>) -> Self {
        status.send_if_modified(|status| {
            status.turns += 1;
            false
        });
        Self(status)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.send_if_modified(|status| {
            status.turns = status.turns.saturating_sub(1);
            false
        });
    }
}
