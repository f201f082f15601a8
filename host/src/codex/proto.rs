//! The backend for CLIs up to 0.42, which have `codex proto`: one process per turn, a few of them started ahead.
//!
//! `supervise` keeps processes ready, each takes one `job`, and `decode` turns its lines into events.

mod decode;
mod failure;
mod job;
mod launch;
mod process;
mod prompt;
mod protocol;
mod rollout;
mod supervise;

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::binary::Probe;
use super::command;
use super::config_stamp::ConfigStamp;
use super::folder::Folder;
use super::login::Login;
use super::protocol_log::ProtocolLog;
use super::start_error::StartError;
use super::status::{InFlight, Places};
use super::turn_channel::TurnReceiver;
use super::wait_queue::{self, WaitQueue};
use super::{Config, Error, Model, Models, Order, Plan, Status};
use job::NotBegun;
use launch::Wish;
use process::{Setting, Spare};
#[cfg(any(test, fuzzing))]
pub use replay::replay;
use supervise::{Request, Supervisor};

/// The model these versions use by default.
const DEFAULT_MODEL: &str = "gpt-5";

/// The models these versions can run: the program itself cannot list them.
const MODELS: [(&str, &[&str]); 2] = [
    (DEFAULT_MODEL, &protocol::EFFORTS),
    ("gpt-5-codex", &["low", "medium", "high"]),
];

/// How many processes a turn may try: a spare one may die at the moment it is taken.
const ATTEMPTS: usize = 3;

/// The reason why a turn's process is gone, if nothing else is known.
const GONE: &str = "the process was gone";

/// A pool of processes, the turns on them, and the supervisor that keeps the pool filled.
#[derive(Debug)]
pub(super) struct Proto {
    requests: mpsc::UnboundedSender<Request>,
    leases: WaitQueue,
    status: watch::Sender<Status>,
    login: watch::Receiver<Login>,
    config: Arc<Config>,
    default_model: Arc<str>,
    log: Option<ProtocolLog>,
    supervisor: TaskTracker,
    shutdown: CancellationToken,
    /// Ends the processes when the backend is dropped.
    _shutdown_on_drop: DropGuard,
}

impl Proto {
    /// Starts the supervisor. Does not wait for a process.
    pub(super) fn start(config: Config, probe: Probe) -> Result<Self, StartError> {
        check_version(&probe)?;
        let version = probe.version;
        let log = config.protocol_log.clone().map(ProtocolLog::open);
        let log = log.transpose()?;
        let folder = Folder::make()?;
        launch::prepare(&folder)?;
        command::make_workdir(&config)?;
        let default_model: Arc<str> = default_model(&config).into();
        let config = Arc::new(config);
        let shutdown = CancellationToken::new();
        let setting = Setting {
            config: Arc::clone(&config),
            default_model: Arc::clone(&default_model),
            workdir: launch::workdir(&config, &folder),
            stamp: ConfigStamp::now(&config),
            log: log.clone(),
            shutdown: shutdown.clone(),
        };
        let (status, _) = watch::channel(Status::starting("proto", version));
        let (login, told) = watch::channel(Login::default());
        let (requests, asked) = mpsc::unbounded_channel();
        let supervisor = TaskTracker::new();
        supervisor.spawn(Supervisor::new(setting, folder, (status.clone(), login)).run(asked));
        supervisor.close();
        Ok(Self {
            requests,
            leases: WaitQueue::new(config.max_turns.max(1), config.queue_max, status.clone()),
            status,
            login: told,
            config,
            default_model,
            log,
            supervisor,
            _shutdown_on_drop: shutdown.clone().drop_guard(),
            shutdown,
        })
    }

    /// Starts a turn. Dropping the future releases all that it has taken.
    pub(super) async fn start_turn(&self, order: impl Into<Order>) -> Result<TurnReceiver, Error> {
        let order = order.into();
        check(&order.plan)?;
        // If no process can start, a missing login is not the reason to report.
        if self.status.borrow().ready {
            self.check_login(&order.plan)?;
        }
        for _ in 1..ATTEMPTS {
            match self.try_turn(&order).await {
                Err(NotBegun { again: true, .. }) => {}
                result => return result.map_err(|not| not.error),
            }
        }
        self.try_turn(&order).await.map_err(|not| not.error)
    }

    async fn try_turn(&self, order: &Order) -> Result<TurnReceiver, NotBegun> {
        let Order { plan, follows } = order;
        let wish = Wish::of(plan, &self.config);
        let leased = self.lease(wish, *follows).await;
        let (spare, lease) = leased
            .and_then(|leased| self.check_login(plan).map(|()| leased))
            .map_err(|error| NotBegun {
                error,
                again: false,
            })?;
        let in_flight = InFlight::new(self.status.clone());
        let plan = Arc::clone(plan);
        let (exchange, job, begun) = job::prepare(plan, lease, in_flight, self.config.buffer_bytes);
        if let Err(mut job) = spare.begin(job) {
            job.lose(GONE);
        }
        match begun.await {
            Ok(result) => result.map(|()| exchange),
            Err(_) => Err(NotBegun {
                error: Error::WorkerExited(GONE.to_owned()),
                again: false,
            }),
        }
    }

    fn check_login(&self, plan: &Plan) -> Result<(), Error> {
        self.login.borrow().check(plan.provider.as_deref())
    }

    /// Waits in order of arrival for a place, then for a process; if none is ready, only up to `lease_wait`.
    async fn lease(
        &self,
        wish: Option<Wish>,
        follows: bool,
    ) -> Result<(Spare, OwnedSemaphorePermit), Error> {
        let waiting = async {
            let entering = self.leases.enter(follows);
            let entering = tokio::time::timeout(self.config.queue_wait, entering);
            let Ok(Ok(lease)) = entering.await else {
                return Err(Error::Busy);
            };
            let (answer, answered) = oneshot::channel();
            // The supervisor is gone only at shutdown, which ends this wait.
            let _ = self.requests.send(Request { wish, answer });
            let is_open = || self.status.borrow().ready;
            match wait_queue::wait(&self.config, answered, is_open).await {
                Some(Ok(spare)) => spare.map(|spare| (spare, lease)),
                None if is_open() => Err(Error::Busy),
                _ => Err(Error::Unavailable(
                    self.status.borrow().reason.clone().unwrap_or_default(),
                )),
            }
        };
        let leased = self.shutdown.run_until_cancelled(waiting).await;
        leased.unwrap_or_else(|| {
            Err(Error::Unavailable(
                "the gateway is shutting down".to_owned(),
            ))
        })
    }

    /// The listed models, the operator's first if these versions do not list it; the default is the operator's, or else
    /// these versions' own.
    pub(super) fn models(&self) -> Models {
        models(&self.default_model)
    }

    /// The same models for a program, without starting anything.
    pub(super) fn offer(config: &Config, probe: &Probe) -> Result<Models, StartError> {
        check_version(probe)?;
        Ok(models(&default_model(config)))
    }

    /// The places for turns.
    pub(super) fn places(&self) -> Places {
        Places {
            free: self.leases.free(),
            total: self.config.max_turns.max(1),
        }
    }

    /// Follows the status from now on.
    pub(super) fn watch(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Ends every process and every turn; returns when nothing of them is left.
    pub(super) async fn shutdown(&self) {
        self.shutdown.cancel();
        self.supervisor.wait().await;
        if let Some(log) = &self.log {
            log.close().await;
        }
    }

    /// The log of messages, if there is one.
    pub(super) fn protocol_log(&self) -> Option<&ProtocolLog> {
        self.log.as_ref()
    }
}

fn check_version(probe: &Probe) -> Result<(), StartError> {
    if !probe.proto {
        let version = probe.version.clone();
        return Err(StartError::NoProto { version });
    }
    Ok(())
}

fn default_model(config: &Config) -> String {
    let operators = config.model.clone();
    let operators = operators.or_else(|| command::read_home(config).model);
    operators.unwrap_or_else(|| DEFAULT_MODEL.to_owned())
}

fn models(default: &str) -> Models {
    let model = |(id, efforts): (&str, &[&str])| Model {
        id: id.to_owned(),
        efforts: efforts.iter().map(|effort| (*effort).to_owned()).collect(),
    };
    let mut listed: Vec<_> = MODELS.into_iter().map(model).collect();
    if !listed.iter().any(|model| model.id == default) {
        listed.insert(0, model((default, &[])));
    }
    Models {
        listed,
        default: default.to_owned(),
    }
}

/// Refuses a plan that these versions cannot run.
fn check(plan: &Plan) -> Result<(), Error> {
    let refused = |message: String| Err(Error::invalid_request(message));
    if !plan.tools.is_empty() {
        let remedy = "This gateway's Codex CLI is too old for tools; update it: npm install -g @openai/codex";
        return refused(remedy.to_owned());
    }
    match plan.effort.as_deref() {
        Some(effort) if !protocol::EFFORTS.contains(&effort) => refused(format!(
            "This gateway's Codex CLI does not know the reasoning effort '{effort}', only {}",
            protocol::EFFORTS.join(", ")
        )),
        _ => Ok(()),
    }
}

#[cfg(any(test, fuzzing))]
mod replay;
#[cfg(test)]
mod tests;
