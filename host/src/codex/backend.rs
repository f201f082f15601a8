//! One type for all backends: connects to the Codex program, and starts turns on it.

use std::sync::Arc;

use tokio::sync::watch;

use super::app_server::AppServer;
use super::binary::{self, Probe};
use super::command;
use super::demo::{self, Demo};
use super::folder::Folder;
use super::proto::Proto;
use super::protocol_log::ProtocolLog;
use super::start_error::StartError;
use super::status::{Places, Status};
use super::turn_channel::TurnReceiver;
use super::{Config, Error, Event, Mode, Models, Order, version};

/// The choice of Codex's protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BackendChoice {
    /// `app-server` if the program has it, else `proto`.
    #[default]
    Auto,
    /// `app-server`: long-lived processes that run many turns.
    AppServer,
    /// `proto`: one process a turn; for programs up to 0.42.
    Proto,
}

/// The backend that runs turns. Clones are the same backend.
#[derive(Debug, Clone)]
pub struct Backend(Arc<BackendKind>);

#[derive(Debug)]
enum BackendKind {
    AppServer(AppServer),
    Proto(Proto),
    Demo(watch::Sender<Status>),
}

impl Backend {
    /// Asks the program for its protocols, and runs turns with the chosen one. Returns before a worker is ready.
    ///
    /// # Errors
    /// If the program cannot be run, lacks the chosen protocol, or its list of models cannot be read.
    pub async fn connect(config: Config, choice: BackendChoice) -> Result<Self, StartError> {
        if config.mode == Mode::Chat {
            command::warn_of_instructions(&config);
        }
        let (kind, probe) = ask(&config, choice).await?;
        let kind = if kind == BackendChoice::Proto {
            version::warn(&probe.version, "proto");
            BackendKind::Proto(Proto::start(config, probe)?)
        } else {
            version::warn(&probe.version, "app-server");
            BackendKind::AppServer(AppServer::start(config, probe).await?)
        };
        Ok(Self(Arc::new(kind)))
    }

    /// Asks the program the same questions as [`Backend::connect`], but starts no worker.
    ///
    /// # Errors
    /// The same as for [`Backend::connect`].
    pub async fn probe(config: &Config, choice: BackendChoice) -> Result<Models, StartError> {
        let (kind, probe) = ask(config, choice).await?;
        match kind {
            BackendChoice::Proto => Proto::offer(config, &probe),
            BackendChoice::Auto | BackendChoice::AppServer => {
                AppServer::offer(config, &probe).await
            }
        }
    }

    /// A backend that answers from a script: for a first look without Codex.
    #[must_use]
    pub fn demo() -> Self {
        Self(Arc::new(BackendKind::Demo(watch::Sender::new(
            Status::demo(),
        ))))
    }

    /// Starts a turn. Dropping the future releases all that it has taken.
    ///
    /// # Errors
    /// If no worker or lease is free in time, or the worker refuses the turn.
    pub async fn start(&self, order: Order) -> Result<Turn, Error> {
        match &*self.0 {
            BackendKind::AppServer(app_server) => {
                Ok(Turn(Source::Codex(app_server.start_turn(order).await?)))
            }
            BackendKind::Proto(proto) => Ok(Turn(Source::Codex(proto.start_turn(order).await?))),
            BackendKind::Demo(status) if status.borrow().ready => {
                Ok(Turn(Source::Demo(Demo::new(&order.plan))))
            }
            BackendKind::Demo(_) => Err(Error::Unavailable(
                "the gateway is shutting down".to_owned(),
            )),
        }
    }

    /// The models the backend offers.
    #[must_use]
    pub fn models(&self) -> Models {
        match &*self.0 {
            BackendKind::AppServer(app_server) => app_server.models(),
            BackendKind::Proto(proto) => proto.models(),
            BackendKind::Demo(_) => demo::models(),
        }
    }

    /// `app-server`, `proto` or `demo`: for the log and health.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.watch().borrow().kind
    }

    /// Whether the built-in demo answers.
    #[must_use]
    pub fn is_demo(&self) -> bool {
        matches!(&*self.0, BackendKind::Demo(_))
    }

    /// Whether an old Codex answers, by `proto`.
    #[must_use]
    pub fn is_proto(&self) -> bool {
        matches!(&*self.0, BackendKind::Proto(_))
    }

    /// The current status.
    #[must_use]
    pub fn status(&self) -> Status {
        self.watch().borrow().clone()
    }

    /// The places for turns; none for the demo, which has no limit.
    #[must_use]
    pub fn places(&self) -> Option<Places> {
        match &*self.0 {
            BackendKind::AppServer(app_server) => Some(app_server.places()),
            BackendKind::Proto(proto) => Some(proto.places()),
            BackendKind::Demo(_) => None,
        }
    }

    /// Follows the status from now on. `turns` and `waiting` are current whenever the status is read, but
    /// their changes wake no receiver.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Status> {
        match &*self.0 {
            BackendKind::AppServer(app_server) => app_server.watch(),
            BackendKind::Proto(proto) => proto.watch(),
            BackendKind::Demo(status) => status.subscribe(),
        }
    }

    /// The numbers of protocol messages recorded and lost; none if they are not recorded.
    #[must_use]
    pub fn messages_recorded(&self) -> Option<(u64, u64)> {
        let log = match &*self.0 {
            BackendKind::AppServer(app_server) => app_server.protocol_log(),
            BackendKind::Proto(proto) => proto.protocol_log(),
            BackendKind::Demo(_) => None,
        };
        log.map(ProtocolLog::counts)
    }

    /// Waits until the backend takes turns; for ever, if it never does.
    pub async fn ready(&self) {
        // The sender lives as long as `self`.
        let _ = self.watch().wait_for(|status| status.ready).await;
    }

    /// Ends the backend and every turn that still runs. Returns when no process and no file of it is left.
    pub async fn shutdown(&self) {
        match &*self.0 {
            BackendKind::AppServer(app_server) => app_server.shutdown().await,
            BackendKind::Proto(proto) => proto.shutdown().await,
            BackendKind::Demo(status) => status.send_modify(|status| {
                status.ready = false;
                status.reason = Some("the gateway is shutting down".to_owned());
            }),
        }
    }
}

/// Asks the program for its version and protocols, and decides which protocol to speak.
async fn ask(config: &Config, choice: BackendChoice) -> Result<(BackendChoice, Probe), StartError> {
    let home = command::read_home(config);
    // Old versions of Codex leave something in TMPDIR even when they only print their version or help.
    let folder = Folder::make()?;
    let command = || {
        let mut command = command::command(config, &home);
        command.env("TMPDIR", folder.work());
        command
    };
    let probe = binary::ask(command).await?;
    drop(folder);
    let kind = match choice {
        BackendChoice::Auto if !probe.app_server && !probe.proto => {
            let Probe { version, .. } = probe;
            return Err(StartError::NoServer { version });
        }
        BackendChoice::Auto if probe.app_server => BackendChoice::AppServer,
        BackendChoice::Auto => BackendChoice::Proto,
        chosen => chosen,
    };
    if kind == BackendChoice::Proto && config.mode != Mode::Chat {
        let Probe { version, .. } = probe;
        return Err(StartError::NoAgent { version });
    }
    Ok((kind, probe))
}

/// One turn. Dropping it stops the turn and releases all that it has taken.
#[derive(Debug)]
pub struct Turn(Source);

#[derive(Debug)]
enum Source {
    Codex(TurnReceiver),
    Demo(Demo),
}

impl Turn {
    /// The next event, or `None` after [`Event::Ended`]. Cancel-safe.
    pub async fn next(&mut self) -> Option<Event> {
        match &mut self.0 {
            Source::Codex(exchange) => exchange.next().await,
            Source::Demo(demo) => demo.next().await,
        }
    }

    /// Asks Codex to stop. The events up to [`Event::Ended`] still come.
    pub fn interrupt(&self) {
        match &self.0 {
            Source::Codex(exchange) => exchange.interrupt(),
            Source::Demo(demo) => demo.interrupt(),
        }
    }
}
