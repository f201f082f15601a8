//! The backend that runs turns on long-lived `codex app-server` processes: waits for a lease, and starts the turn.
//!
//! A plan goes through `pool`, `worker` and `task`; a line of the process comes back through `rpc`, `route` and `decode`. `supervise` and
//! `recycle` replace processes.

mod account;
mod cache_keys;
mod catalogue;
mod conversation;
mod decode;
mod kept;
mod launch;
mod pending_calls;
mod pipes;
mod pool;
mod protocol;
mod recycle;
mod roots;
mod route;
mod rpc;
mod sandbox;
mod supervise;
mod task;
mod threads;
mod tool_schema;
mod worker;
mod workspace;

use std::sync::Arc;

use tokio::sync::{oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::binary::{self, Probe};
use super::command;
use super::folder::Folder;
use super::login::Login;
use super::protocol_log::ProtocolLog;
use super::start_error::StartError;
use super::status::{InFlight, Places};
use super::turn_channel::TurnReceiver;
use super::wait_queue::{self, Full};
use super::{Config, Error, Mode, Models, Order, Plan, Status, version};
use catalogue::Catalogue;
use conversation::Conversation;
#[cfg(any(test, fuzzing))]
pub use conversation::replay::{ends_at, goes_on_from};
use pool::{Lease, Pool};
use supervise::Supervisor;
use task::Place;
#[cfg(any(test, fuzzing))]
pub use task::replay::replay;
use threads::Threads;
use workspace::WorkspaceRoot;

/// The workers, the turns on them, and the supervisors that restart them.
#[derive(Debug)]
pub(super) struct AppServer {
    pool: Arc<Pool>,
    status: watch::Sender<Status>,
    /// The login, as the last worker that became ready reported it.
    login: watch::Receiver<Login>,
    models: Models,
    config: Arc<Config>,
    /// The root of the agents' workspaces; absent for chat.
    site: Option<Arc<WorkspaceRoot>>,
    log: Option<ProtocolLog>,
    /// The supervisors and every turn.
    tasks: TaskTracker,
    shutdown: CancellationToken,
    /// Shuts the workers down when the backend is dropped.
    _shutdown_on_drop: DropGuard,
}

impl AppServer {
    /// Asks the program for its models, and starts no worker.
    pub(super) async fn offer(config: &Config, probe: &Probe) -> Result<Models, StartError> {
        Ok(catalogue(config, probe).await?.models)
    }

    /// Asks the program for its models and starts the supervisors. Does not wait for a worker.
    pub(super) async fn start(config: Config, probe: Probe) -> Result<Self, StartError> {
        let catalogue = catalogue(&config, &probe).await?;
        let version = probe.version;
        let is_tested = version::is_tested(&version, "app-server");
        let log = config.protocol_log.clone().map(ProtocolLog::open);
        let log = log.transpose()?;
        let folder = Folder::make()?;
        std::fs::write(launch::catalogue(&folder), &catalogue.written)?;
        command::make_workdir(&config)?;
        let site = match config.mode {
            Mode::Chat => None,
            Mode::Agent(sandbox) => Some(Arc::new(WorkspaceRoot::make(&config, sandbox, &folder)?)),
        };
        let (status, _) = watch::channel(Status::starting("app-server", version));
        let pool = Pool::new(config.max_turns, config.queue_max, status.clone());
        let config = Arc::new(Config {
            quick_roots: config.quick_roots.or(Some(is_tested)),
            ..config
        });
        // An agent's thread has its own folder: no thread can be prepared ahead of its turn.
        let usual = site.is_none().then(|| Plan {
            model: catalogue.models.default.clone(),
            ..Plan::default()
        });
        let (login, told) = watch::channel(Login::default());
        let shutdown = CancellationToken::new();
        let tasks = TaskTracker::new();
        let supervisor = Supervisor {
            config: Arc::clone(&config),
            folder: Arc::new(folder),
            pool: Arc::clone(&pool),
            status: status.clone(),
            login,
            usual: usual.map(Arc::new),
            log_database: Arc::default(),
            protocol_log: log.clone(),
            shutdown: shutdown.clone(),
        };
        tasks.spawn(supervise::run_all(supervisor));
        Ok(Self {
            pool,
            status,
            login: told,
            models: catalogue.models,
            config,
            site,
            log,
            tasks,
            _shutdown_on_drop: shutdown.clone().drop_guard(),
            shutdown,
        })
    }

    /// Starts a turn. Dropping the future releases all that it has taken.
    pub(super) async fn start_turn(&self, order: impl Into<Order>) -> Result<TurnReceiver, Error> {
        let Order { plan, follows } = order.into();
        let conversation = Conversation::read(&plan).await;
        let lease = self.lease(conversation.as_ref(), follows).await?;
        // The login is known only once there is a worker, since the worker reports it.
        self.login.borrow().check(plan.provider.as_deref())?;
        let in_flight = InFlight::new(self.status.clone());
        let place = Place {
            conversation,
            site: self.site.clone(),
        };
        let (exchange, task) = task::prepare(lease, &plan, place, self.config.buffer_bytes);
        let (started, begun) = oneshot::channel();
        self.tasks.spawn(async move {
            let kind = task.run(plan, started).await;
            drop(in_flight);
            if let Some(kind) = kind {
                kind.prepare().await;
            }
        });
        match begun.await {
            Ok(result) => result.map(|()| exchange),
            Err(_) => Err(Error::WorkerExited(
                "the turn's task was dropped".to_owned(),
            )),
        }
    }

    /// Waits for a free worker, if possible the one where the conversation was before: in order of arrival, in a bounded queue;
    /// if there is no worker, only up to `lease_wait`.
    async fn lease(
        &self,
        conversation: Option<&Conversation>,
        follows: bool,
    ) -> Result<Lease, Error> {
        let is_open = || self.pool.is_open();
        let has = |threads: &Threads| conversation.is_some_and(|it| threads.kept.has(it));
        let waiting = async {
            match wait_queue::wait(&self.config, self.pool.lease(has, follows), is_open).await {
                Some(leased) => leased.map_err(|Full| Error::Busy),
                None if is_open() => Err(Error::Busy),
                None => Err(Error::Unavailable(self.reason())),
            }
        };
        let leased = self.shutdown.run_until_cancelled(waiting).await;
        leased.unwrap_or_else(|| {
            Err(Error::Unavailable(
                "the gateway is shutting down".to_owned(),
            ))
        })
    }

    fn reason(&self) -> String {
        self.status.borrow().reason.clone().unwrap_or_default()
    }

    /// The listed models, and the operator's or the program's default.
    pub(super) fn models(&self) -> Models {
        self.models.clone()
    }

    /// The places for turns on all workers that take any.
    pub(super) fn places(&self) -> Places {
        self.pool.places()
    }

    /// Follows the status from now on.
    pub(super) fn watch(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Ends the workers and every turn; returns when nothing of them is left.
    pub(super) async fn shutdown(&self) {
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        if let Some(site) = &self.site {
            site.clear();
        }
        if let Some(log) = &self.log {
            log.close().await;
        }
    }

    /// The log of messages, if there is one.
    pub(super) fn protocol_log(&self) -> Option<&ProtocolLog> {
        self.log.as_ref()
    }
}

async fn catalogue(config: &Config, probe: &Probe) -> Result<Catalogue, StartError> {
    if !probe.app_server || version::is_too_old(&probe.version) {
        let version = probe.version.clone();
        return Err(StartError::TooOld { version });
    }
    let home = command::read_home(config);
    let models = ["debug", "models", "--bundled"];
    let printed = binary::print(command::command(config, &home), &models).await?;
    let operators = config.model.clone().or(home.model);
    let catalogue = Catalogue::read(&printed, operators.as_deref(), config.mode)?;
    Ok(catalogue)
}

#[cfg(test)]
mod tests;
