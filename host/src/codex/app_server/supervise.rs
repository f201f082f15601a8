//! The worker's one owner: starts it, tells when it is ready, notices its end, starts it again.

use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::de::IgnoredAny;
use tokio::process::Child;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::launch;
use super::protocol;
use super::rpc::{self, Connection};
use crate::codex::backoff::Backoff;
use crate::codex::command;
use crate::codex::folder::Folder;
use crate::codex::lines::ReadError;
use crate::codex::stderr::LastWords;
use crate::codex::{Config, Error, Status};

/// How long the pipes of a dead worker may take to run dry: a process it left behind may hold them.
const DRAIN: Duration = Duration::from_millis(250);

/// How long a worker that let a request time out may take to show that it lives.
const PROOF_OF_LIFE: Duration = Duration::from_secs(5);

/// A worker that takes turns.
#[derive(Debug, Clone)]
pub(super) struct Ready {
    pub(super) connection: Arc<Connection>,
    /// One permit a turn. Closed when the worker ends.
    pub(super) leases: Arc<Semaphore>,
}

/// Starts workers, one at a time, until told to shut down.
#[derive(Debug)]
pub(super) struct Supervisor {
    pub(super) config: Config,
    pub(super) folder: Folder,
    pub(super) ready: watch::Sender<Option<Ready>>,
    pub(super) status: watch::Sender<Status>,
    pub(super) shutdown: CancellationToken,
}

/// A running child with the tasks that serve its pipes.
struct Worker {
    child: Child,
    connection: Arc<Connection>,
    reader: AbortOnDropHandle<Result<(), ReadError>>,
    /// Closes the child's stdin, its sign to leave.
    hang_up: CancellationToken,
    last_words: LastWords,
    _writer: AbortOnDropHandle<()>,
}

/// How a worker came to its end.
enum End {
    /// We are shutting down.
    Shutdown,
    /// It left by itself: how.
    Left(String),
    /// It is of no use: why.
    Useless(String),
}

impl Supervisor {
    /// Keeps a worker running until shutdown. The folder is deleted at the end.
    pub(super) async fn run(self) {
        let mut backoff = Backoff::new(self.config.backoff_initial, self.config.backoff_max);
        loop {
            let lifetime = match self.run_worker().await {
                Ok(lifetime) => lifetime,
                Err(error) => {
                    self.lost(&format!("the worker cannot be started: {error}"));
                    None
                }
            };
            let delay = backoff.after(lifetime);
            if self
                .shutdown
                .run_until_cancelled(tokio::time::sleep(delay))
                .await
                .is_none()
            {
                break;
            }
            self.status.send_modify(|status| status.restarts += 1);
        }
        self.lost("the gateway is shutting down");
        if let Err(error) = self.folder.delete() {
            tracing::warn!(%error, "the worker's folder could not be deleted");
        }
    }

    /// One worker's life. Says how long it was ready, if it was.
    async fn run_worker(&self) -> std::io::Result<Option<Duration>> {
        if self.shutdown.is_cancelled() {
            return Ok(None);
        }
        let home = command::read_home(&self.config);
        let mut worker = Worker::spawn(
            launch::worker(&self.config, &home, &self.folder)?.spawn()?,
            self.config.rpc_timeout,
        )?;
        let pid = worker.child.id();
        tracing::debug!(pid, "worker started");
        // The reason stays: until a worker is ready, why the last one failed is what matters.
        self.status.send_modify(|status| status.pid = pid);
        let mut ready_since = None;
        let end = match self.make_ready(&mut worker).await {
            // It may have read other providers than its environment was picked for.
            Ok(()) if command::read_home(&self.config) != home => {
                End::Useless("config.toml changed while the worker started".to_owned())
            }
            Ok(()) => {
                ready_since = Some(Instant::now());
                self.publish(&worker);
                self.watch(&mut worker).await
            }
            Err(end) => end,
        };
        self.retire(worker, end).await;
        Ok(ready_since.map(|since| since.elapsed()))
    }

    /// Shakes hands, and makes sure that Codex can read its configuration: it refuses every turn if not.
    async fn make_ready(&self, worker: &mut Worker) -> Result<(), End> {
        let connection = Arc::clone(&worker.connection);
        let handshake = async {
            connection
                .call::<_, IgnoredAny>(protocol::INITIALIZE, &protocol::initialize())
                .await?;
            connection.notify("initialized").await;
            match connection
                .call::<_, IgnoredAny>(protocol::CONFIG_READ, &protocol::Nothing {})
                .await
            {
                // Versions that do not know the question say so with this code.
                Err(Error::Rpc {
                    code: protocol::INVALID_REQUEST,
                    ..
                }) => Ok(()),
                answer => answer.map(drop),
            }
        };
        let limit = self.config.startup_timeout;
        tokio::select! {
            shaken = tokio::time::timeout(limit, handshake) => match shaken {
                Ok(Ok(())) => Ok(()),
                Ok(Err(Error::Rpc { message, .. })) => Err(End::Useless(message)),
                Ok(Err(error)) => Err(End::Useless(error.to_string())),
                Err(_) => Err(End::Useless(format!("the worker was not ready within {} ms", limit.as_millis()))),
            },
            end = worker.end() => Err(end),
            () = self.shutdown.cancelled() => Err(End::Shutdown),
        }
    }

    fn publish(&self, worker: &Worker) {
        let connection = Arc::clone(&worker.connection);
        let leases = Arc::new(Semaphore::new(self.config.max_turns.max(1)));
        worker.last_words.forget();
        self.ready.send_replace(Some(Ready { connection, leases }));
        self.status.send_modify(|status| {
            status.ready = true;
            status.reason = None;
        });
        tracing::info!(pid = worker.child.id(), "Codex is ready");
    }

    /// Waits for the end of a ready worker.
    async fn watch(&self, worker: &mut Worker) -> End {
        let connection = Arc::clone(&worker.connection);
        tokio::select! {
            end = worker.end() => end,
            () = falls_silent(&connection) => End::Useless("the worker no longer answers".to_owned()),
            () = self.shutdown.cancelled() => End::Shutdown,
        }
    }

    /// Sees a worker off: politely at shutdown, at once otherwise; reaped in any case.
    async fn retire(&self, worker: Worker, end: End) {
        if let Some(ready) = self.ready.send_replace(None) {
            ready.leases.close();
        }
        let connection = Arc::clone(&worker.connection);
        let why = match end {
            End::Shutdown => {
                worker.leave(self.config.shutdown_grace).await;
                "the gateway is shutting down".to_owned()
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
        if !self.shutdown.is_cancelled() {
            tracing::warn!(reason = why, "the Codex worker has ended");
        }
        self.lost(&why);
        connection.close(&why);
    }

    fn lost(&self, why: &str) {
        self.status.send_modify(|status| {
            status.ready = false;
            status.pid = None;
            status.reason = Some(why.to_owned());
        });
    }
}

impl Worker {
    fn spawn(mut child: Child, rpc_timeout: Duration) -> std::io::Result<Self> {
        let (stdin, stdout, stderr) = command::pipes(&mut child)?;
        let (connection, outbox) = Connection::new(rpc_timeout);
        let hang_up = CancellationToken::new();
        let writer = tokio::spawn(rpc::write(outbox, stdin, hang_up.clone()));
        let reader = tokio::spawn(rpc::read(Arc::clone(&connection), stdout));
        Ok(Self {
            child,
            connection,
            reader: AbortOnDropHandle::new(reader),
            hang_up,
            last_words: LastWords::listen(stderr),
            _writer: AbortOnDropHandle::new(writer),
        })
    }

    /// Waits until the child has left, or can no longer be heard.
    async fn end(&mut self) -> End {
        tokio::select! {
            status = self.child.wait() => left(status),
            read = &mut self.reader => match read {
                Ok(Err(error)) => End::Useless(error.to_string()),
                // Its pipes close a moment before it can be reaped.
                Ok(Ok(())) | Err(_) => match tokio::time::timeout(DRAIN, self.child.wait()).await {
                    Ok(status) => left(status),
                    Err(_) => End::Useless("the worker closed its output".to_owned()),
                },
            },
        }
    }

    /// Closes the child's stdin, waits, kills, reaps; then hears out its pipes.
    async fn leave(mut self, grace: Duration) -> Option<String> {
        self.hang_up.cancel();
        if tokio::time::timeout(grace, self.child.wait())
            .await
            .is_err()
            && let Err(error) = self.child.kill().await
        {
            tracing::warn!(%error, "the worker cannot be killed");
        }
        if !self.reader.is_finished() {
            let _ = tokio::time::timeout(DRAIN, &mut self.reader).await;
        }
        self.last_words.hear_out(DRAIN).await
    }
}

fn left(status: std::io::Result<ExitStatus>) -> End {
    match status {
        Ok(status) => End::Left(format!("the worker ended ({status})")),
        Err(error) => End::Useless(format!("the worker cannot be waited for: {error}")),
    }
}

/// Returns when a worker that let a request time out does not answer a simple question either.
async fn falls_silent(connection: &Connection) {
    loop {
        connection.doubted().await;
        let proof =
            async { while let Err(Error::RpcTimeout { .. }) = ask_for_life(connection).await {} };
        if tokio::time::timeout(PROOF_OF_LIFE, proof).await.is_err() {
            return;
        }
    }
}

async fn ask_for_life(connection: &Connection) -> Result<IgnoredAny, Error> {
    connection
        .call(protocol::DIAGNOSTICS, &protocol::Nothing {})
        .await
}
