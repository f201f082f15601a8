//! Keeps each worker's place in the pool filled: restarts lost workers, and starts the next before it recycles one.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::account;
use super::launch::LogDatabase;
use super::pool::{Pool, Seat};
use super::recycle;
use super::sandbox;
use super::threads::Threads;
use super::worker::{End, Worker};
use crate::codex::backoff::Backoff;
use crate::codex::folder::Folder;
use crate::codex::login::Login;
use crate::codex::protocol_log::ProtocolLog;
use crate::codex::{Config, Mode, Plan, Status, command};

/// The parts from which workers are started, and those they report to.
#[derive(Debug, Clone)]
pub(super) struct Supervisor {
    pub(super) config: Arc<Config>,
    pub(super) folder: Arc<Folder>,
    pub(super) pool: Arc<Pool>,
    pub(super) status: watch::Sender<Status>,
    /// The login, as the last worker that became ready reported it.
    pub(super) login: watch::Sender<Login>,
    /// The plan of most turns: a thread for it is prepared when a worker is ready.
    pub(super) usual: Option<Arc<Plan>>,
    /// The choice with which the first worker became ready.
    pub(super) log_database: Arc<OnceLock<LogDatabase>>,
    pub(super) protocol_log: Option<ProtocolLog>,
    pub(super) shutdown: CancellationToken,
}

/// The side that ended a worker before it was ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    ByItself,
    ByUs,
}

/// A worker that serves turns, in its own task.
struct Serving {
    /// Fires when the worker should be recycled.
    due: oneshot::Receiver<()>,
    /// Cancelled when its replacement is ready.
    replaced: CancellationToken,
    /// The end of its task; the result is how long it served.
    ended: JoinHandle<Duration>,
}

/// Keeps all workers serving until shutdown. At the end every worker is gone, and the folder is deleted.
pub(super) async fn run_all(supervisor: Supervisor) {
    let Supervisor {
        config,
        status,
        folder,
        ..
    } = supervisor.clone();
    join_all((0..config.workers.max(1)).map(|_| supervisor.clone().run())).await;
    drop(supervisor);
    status.send_modify(|status| {
        status.ready = false;
        status.reason = Some("the gateway is shutting down".to_owned());
    });
    let deleted = Arc::into_inner(folder).map_or(Ok(()), Folder::delete);
    if let Err(error) = deleted {
        tracing::warn!(%error, "the workers' folder could not be deleted");
    }
}

impl Supervisor {
    /// Keeps one worker serving until shutdown, and returns when all its workers are gone.
    pub(super) async fn run(self) {
        let mut backoff = Backoff::new(self.config.backoff_initial, self.config.backoff_max);
        let tasks = TaskTracker::new();
        let mut outgoing: Option<Serving> = None;
        while !self.shutdown.is_cancelled() {
            let lifetime = match self.raise(&tasks).await {
                Ok(mut serving) => {
                    if let Some(outgoing) = outgoing.take() {
                        outgoing.replaced.cancel();
                    }
                    tokio::select! {
                        Ok(()) = &mut serving.due => {
                            self.status.send_modify(|status| status.recycled += 1);
                            outgoing = Some(serving);
                            continue;
                        }
                        lifetime = &mut serving.ended => lifetime.ok(),
                    }
                }
                Err(why) => {
                    self.report(&why);
                    None
                }
            };
            let pause = tokio::time::sleep(backoff.after(lifetime));
            if self.shutdown.run_until_cancelled(pause).await.is_some() {
                self.status.send_modify(|status| status.restarts += 1);
            }
        }
        tasks.close();
        tasks.wait().await;
    }

    /// Starts a worker, and lets it serve once it is ready. Returns the reason if it never is.
    ///
    /// Which versions work without their log's database is found out by trying: as long as no worker was ready without it,
    /// one that fails is started once more with it.
    async fn raise(&self, tasks: &TaskTracker) -> Result<Serving, String> {
        let known = self.log_database.get().copied();
        let first = self
            .raise_with(known.unwrap_or(LogDatabase::Blocked), tasks)
            .await;
        let Err((why, Ended::ByItself)) = &first else {
            return first.map_err(|(why, _)| why);
        };
        if known.is_none()
            && let Ok(serving) = self.raise_with(LogDatabase::Allowed, tasks).await
        {
            tracing::info!(
                reason = why,
                "this Codex needs its log's database: each turn adds some 50 kB to it"
            );
            return Ok(serving);
        }
        first.map_err(|(why, _)| why)
    }

    async fn raise_with(
        &self,
        log: LogDatabase,
        tasks: &TaskTracker,
    ) -> Result<Serving, (String, Ended)> {
        let started = Worker::start(&self.config, &self.folder, log, self.protocol_log.as_ref());
        let mut worker = started.map_err(|error| {
            (
                format!("the worker cannot be started: {error}"),
                Ended::ByUs,
            )
        })?;
        tracing::debug!(pid = worker.pid(), "worker started");
        let ready = async {
            worker.make_ready(&self.config).await?;
            self.have_sandbox(&mut worker).await
        };
        let end = match self.shutdown.run_until_cancelled(ready).await {
            None => End::Shutdown,
            Some(Err(end)) => end,
            // Codex may have read other providers than those its environment was selected for.
            Some(Ok(())) if command::read_home(&self.config) != worker.home => {
                End::Useless("config.toml changed while the worker started".to_owned())
            }
            Some(Ok(())) => {
                // Another worker may have been faster, with the same result.
                let _ = self.log_database.set(log);
                return Ok(self.seat(worker, tasks));
            }
        };
        let ended = match end {
            End::Left(_) => Ended::ByItself,
            End::Shutdown | End::Replaced | End::Useless(_) => Ended::ByUs,
        };
        let why = end_worker(worker, end, self.config.shutdown_grace).await;
        Err((why, ended))
    }

    /// Waits until the worker's sandbox can restrict an agent's commands: the machine may be repaired meanwhile.
    async fn have_sandbox(&self, worker: &mut Worker) -> Result<(), End> {
        let Mode::Agent(sandbox) = self.config.mode else {
            return Ok(());
        };
        let connection = Arc::clone(&worker.connection);
        let trying = async {
            let mut known = None;
            while let Err(forbidden) = sandbox::attempt(&connection, sandbox).await {
                if known.as_ref() != Some(&forbidden) {
                    tracing::error!("{forbidden}");
                    self.excuse(&forbidden.to_string());
                    known = Some(forbidden);
                }
                tokio::time::sleep(self.config.probe_interval).await;
            }
        };
        tokio::select! {
            () = trying => Ok(()),
            end = worker.end() => Err(end),
        }
    }

    /// Adds a ready worker to the pool, and starts the task that serves it.
    fn seat(&self, worker: Worker, tasks: &TaskTracker) -> Serving {
        worker.login.show(&self.config, &self.status);
        self.login.send_replace(worker.login.clone());
        let threads = Threads::new(Arc::clone(&worker.connection), Arc::clone(&self.config));
        let seat = self.pool.join(worker.pid(), Arc::clone(&threads));
        tracing::info!(pid = worker.pid(), "Codex is ready");
        let (tell, due) = oneshot::channel();
        let replaced = CancellationToken::new();
        let service = Service {
            supervisor: self.clone(),
            seat,
            threads,
            replaced: replaced.clone(),
        };
        Serving {
            due,
            replaced,
            ended: tasks.spawn(service.run(worker, tell)),
        }
    }

    fn report(&self, why: &str) {
        if !self.shutdown.is_cancelled() {
            tracing::warn!(reason = why, "a Codex worker is lost");
        }
        self.excuse(why);
    }

    /// Shows the reason why there is no worker, unless there is one.
    fn excuse(&self, why: &str) {
        self.status.send_modify(|status| {
            if !status.ready {
                status.reason = Some(why.to_owned());
            }
        });
    }
}

/// The service of one worker in the pool.
struct Service {
    supervisor: Supervisor,
    seat: Seat,
    threads: Arc<Threads>,
    replaced: CancellationToken,
}

impl Service {
    /// Serves until the worker's end, and returns how long it served.
    async fn run(self, mut worker: Worker, due: oneshot::Sender<()>) -> Duration {
        let since = Instant::now();
        let connection = Arc::clone(&worker.connection);
        let (databases, stamp) = (worker.databases.clone(), worker.stamp);
        let (home, login) = (worker.home.clone(), worker.login.clone());
        let config = &self.supervisor.config;
        let watching = async {
            if let Some(usual) = &self.supervisor.usual {
                self.threads.prepare_usual(usual).await;
            }
            tokio::select! {
                () = recycle::when_due(config, &self.threads, &self.seat, &databases) => {}
                () = recycle::when_outdated(config, stamp) => {}
                () = account::signs_in(config, &connection, (&home, &login)) => {}
            }
            // The receiver is gone only if the supervisor has ended, at shutdown.
            let _ = due.send(());
            std::future::pending::<Infallible>().await
        };
        let replaced = async {
            self.replaced.cancelled().await;
            self.seat.close();
            self.seat.idle().await;
        };
        let end = tokio::select! {
            end = worker.end() => end,
            () = recycle::when_silent(&connection) => End::Useless("the worker no longer answers".to_owned()),
            () = replaced => End::Replaced,
            () = self.supervisor.shutdown.cancelled() => End::Shutdown,
            never = watching => match never {},
        };
        self.seat.close();
        let lost = end.is_loss();
        let why = end_worker(worker, end, config.shutdown_grace).await;
        drop(self.seat);
        if lost {
            self.supervisor.report(&why);
        }
        since.elapsed()
    }
}

/// Ends a worker: it may exit by itself if it did nothing wrong, else it is killed; it is reaped in any case. Then fails
/// all that still waits for it. Returns the reason of its end.
async fn end_worker(worker: Worker, end: End, grace: Duration) -> String {
    let connection = Arc::clone(&worker.connection);
    let why = match end {
        End::Shutdown => {
            worker.leave(grace).await;
            "the gateway is shutting down".to_owned()
        }
        End::Replaced => {
            worker.leave(grace).await;
            "it was replaced by another".to_owned()
        }
        End::Left(how) => match worker.leave(Duration::ZERO).await {
            Some(last_words) => format!("{how}: {last_words}"),
            None => how,
        },
        End::Useless(why) => {
            worker.leave(Duration::ZERO).await;
            why
        }
    };
    let why = why.trim_end().replace('\n', "; ");
    connection.close(&why);
    why
}
