//! The backend that runs turns on a long-lived `codex app-server`: leases, and the way to a turn.

mod catalogue;
mod decode;
mod exchange;
mod launch;
mod protocol;
mod rpc;
mod schema;
mod supervise;
mod workplace;

use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::backend::{InFlight, StartError};
use super::binary::{self, Probe};
use super::command;
use super::folder::Folder;
use super::{Config, Error, Mode, Model, Plan, Status};
use catalogue::Catalogue;
pub use catalogue::CatalogueError;
pub(super) use exchange::Exchange;
use supervise::{Ready, Supervisor};
use workplace::Site;

/// One worker, the turns on it, and what starts it again.
#[derive(Debug)]
pub(super) struct AppServer {
    ready: watch::Receiver<Option<Ready>>,
    status: watch::Sender<Status>,
    models: Vec<Model>,
    default_model: String,
    lease_wait: Duration,
    buffer_bytes: usize,
    /// Where agents work.
    site: Option<Site>,
    /// The supervisor and every turn.
    tasks: TaskTracker,
    shutdown: CancellationToken,
    /// A backend nobody holds any more shuts its worker down.
    _shutdown_on_drop: DropGuard,
}

impl AppServer {
    /// Asks the program for its models and starts the supervisor. Does not wait for the worker.
    pub(super) async fn start(config: Config, probe: Probe) -> Result<Self, StartError> {
        let Probe {
            version,
            app_server,
            ..
        } = probe;
        if !app_server {
            return Err(StartError::TooOld { version });
        }
        let home = command::read_home(&config);
        let models = ["debug", "models", "--bundled"];
        let printed = binary::print(command::command(&config, &home), &models).await?;
        let operators = config.model.clone().or(home.model);
        let catalogue = Catalogue::read(&printed, operators.as_deref(), config.mode)?;
        let folder = Folder::make()?;
        std::fs::write(launch::catalogue(&folder), &catalogue.written)?;
        if let Some(workdir) = &config.workdir {
            std::fs::create_dir_all(workdir)?;
        }
        let site = match config.mode {
            Mode::Chat => None,
            Mode::Agent(sandbox) => Some(Site::make(&config, sandbox, &folder)?),
        };
        let shutdown = CancellationToken::new();
        let tasks = TaskTracker::new();
        let (ready_sender, ready) = watch::channel(None);
        let (status, _) = watch::channel(Status::starting("app-server", version));
        let (lease_wait, buffer_bytes) = (config.lease_wait, config.buffer_bytes);
        let supervisor = Supervisor {
            config,
            folder,
            ready: ready_sender,
            status: status.clone(),
            shutdown: shutdown.clone(),
        };
        tasks.spawn(supervisor.run());
        Ok(Self {
            ready,
            status,
            models: catalogue.models,
            default_model: catalogue.default,
            lease_wait,
            buffer_bytes,
            site,
            tasks,
            _shutdown_on_drop: shutdown.clone().drop_guard(),
            shutdown,
        })
    }

    /// Starts a turn. Dropping the future gives back whatever it had taken.
    pub(super) async fn start_turn(&self, plan: Plan) -> Result<Exchange, Error> {
        let (worker, lease) = self.lease().await?;
        let in_flight = InFlight::new(self.status.clone());
        let workplace = self.site.as_ref().map(|site| site.prepare(&plan));
        let place = (&plan, workplace.transpose()?);
        let (exchange, task) =
            exchange::prepare(worker.connection, lease, place, self.buffer_bytes);
        let (started, begun) = oneshot::channel();
        self.tasks.spawn(async move {
            task.run(plan, started).await;
            drop(in_flight);
        });
        match begun.await {
            Ok(result) => result.map(|()| exchange),
            Err(_) => Err(Error::WorkerExited(
                "the turn's task was dropped".to_owned(),
            )),
        }
    }

    /// Waits for a ready worker with a free lease, but not for long.
    async fn lease(&self) -> Result<(Ready, OwnedSemaphorePermit), Error> {
        let mut ready = self.ready.clone();
        let waiting = async {
            loop {
                // The supervisor ends only at shutdown.
                let Ok(worker) = ready
                    .wait_for(Option::is_some)
                    .await
                    .map(|worker| worker.clone())
                else {
                    return None;
                };
                if let Some(worker) = worker
                    && let Ok(lease) = worker.leases.clone().acquire_owned().await
                {
                    return Some((worker, lease));
                }
            }
        };
        let limited = tokio::time::timeout(self.lease_wait, waiting);
        match self.shutdown.run_until_cancelled(limited).await {
            Some(Ok(Some(leased))) => Ok(leased),
            Some(Err(_)) if self.ready.borrow().is_some() => Err(Error::Busy),
            None => Err(Error::Unavailable(
                "the gateway is shutting down".to_owned(),
            )),
            _ => Err(Error::Unavailable(
                self.status.borrow().reason.clone().unwrap_or_default(),
            )),
        }
    }

    /// The models to choose from.
    pub(super) fn models(&self) -> Vec<Model> {
        self.models.clone()
    }

    /// The operator's model, or the program's default.
    pub(super) fn default_model(&self) -> String {
        self.default_model.clone()
    }

    /// The present state, and those to come.
    pub(super) fn watch(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Ends the worker, which ends every turn; returns when nothing of it is left.
    pub(super) async fn shutdown(&self) {
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        if let Some(site) = &self.site {
            site.clear();
        }
    }
}

#[cfg(test)]
mod tests;
