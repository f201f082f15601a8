//! One app-server process: its start, its handshake, its end.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use serde::de::IgnoredAny;
use tokio::process::Child;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::account;
use super::launch::{self, LogDatabase};
use super::pipes;
use super::protocol;
use super::rpc::Connection;
use crate::codex::config_stamp::ConfigStamp;
use crate::codex::folder::Folder;
use crate::codex::home::Home;
use crate::codex::lines::ReadError;
use crate::codex::login::Login;
use crate::codex::protocol_log::{ProtocolLog, Tap};
use crate::codex::stderr::LastWords;
use crate::codex::{Config, Error, command, leftovers};

/// How long to wait for the end of a dead worker's pipes: a process that it left behind may hold them open.
const DRAIN: Duration = Duration::from_millis(250);

/// A running child with the tasks that serve its pipes.
pub(super) struct Worker {
    pub(super) connection: Arc<Connection>,
    /// The folder where it writes its databases; deleted at its end.
    pub(super) databases: PathBuf,
    /// The write times of the login and the settings it was started with.
    pub(super) stamp: ConfigStamp,
    /// The operator's `config.toml` at its start.
    pub(super) home: Home,
    /// Codex's login, as the worker reported it when it became ready.
    pub(super) login: Login,
    child: Child,
    /// The task that reads its output, until that task was seen to end.
    reader: Option<AbortOnDropHandle<Result<(), ReadError>>>,
    /// Closes the child's stdin, the signal for it to exit.
    hang_up: CancellationToken,
    last_words: LastWords,
    _writer: AbortOnDropHandle<()>,
}

/// How a worker ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The gateway is shutting down.
    Shutdown,
    /// Its replacement is ready, and its last turn is over.
    Replaced,
    /// The worker exited by itself: the exit status in words.
    Left(String),
    /// The worker is unusable: the reason.
    Useless(String),
}

impl End {
    /// Whether nobody asked for it.
    pub(super) fn is_loss(&self) -> bool {
        match self {
            Self::Left(_) | Self::Useless(_) => true,
            Self::Shutdown | Self::Replaced => false,
        }
    }
}

impl Worker {
    /// Starts a process.
    pub(super) fn start(
        config: &Config,
        folder: &Folder,
        log: LogDatabase,
        messages: Option<&ProtocolLog>,
    ) -> std::io::Result<Self> {
        let stamp = ConfigStamp::now(config);
        let home = command::read_home(config);
        let databases = launch::databases(folder, log)?;
        let mut child = launch::worker(config, &home, folder, databases.path()).spawn()?;
        let (stdin, stdout, stderr) = command::pipes(&mut child)?;
        let tap = Tap::new(messages, child.id());
        let (connection, outbox) = Connection::new(config.rpc_timeout, tap.clone());
        let hang_up = CancellationToken::new();
        let writer = tokio::spawn(pipes::write(outbox, stdin, hang_up.clone(), tap));
        let reader = tokio::spawn(pipes::read(Arc::clone(&connection), stdout));
        Ok(Self {
            child,
            connection,
            databases: databases.keep(),
            stamp,
            home,
            login: Login::default(),
            reader: Some(AbortOnDropHandle::new(reader)),
            hang_up,
            last_words: LastWords::listen(stderr),
            _writer: AbortOnDropHandle::new(writer),
        })
    }

    /// Its process id, until it is reaped.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Does the handshake, and makes sure that Codex can read its configuration: otherwise it would refuse every turn.
    pub(super) async fn make_ready(&mut self, config: &Config) -> Result<(), End> {
        let limit = config.startup_timeout;
        let (connection, home) = (Arc::clone(&self.connection), self.home.clone());
        let handshake = async {
            connection
                .call::<_, IgnoredAny>(protocol::INITIALIZE, &protocol::initialize())
                .await?;
            connection.notify("initialized").await;
            let configured =
                connection.call::<_, IgnoredAny>(protocol::CONFIG_READ, &protocol::Nothing {});
            let (configured, login) =
                tokio::join!(configured, account::login(config, &connection, &home));
            match configured {
                // Versions that do not know the request answer with this code.
                Ok(_)
                | Err(Error::Rpc {
                    code: protocol::INVALID_REQUEST,
                    ..
                }) => Ok(login),
                Err(error) => Err(error),
            }
        };
        let shaken = tokio::select! {
            shaken = tokio::time::timeout(limit, handshake) => shaken,
            end = self.end() => return Err(end),
        };
        let why = match shaken {
            Ok(Ok(login)) => {
                self.login = login;
                self.last_words.forget();
                return Ok(());
            }
            Ok(Err(Error::Rpc { message, .. })) => message,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("the worker was not ready within {} ms", limit.as_millis()),
        };
        Err(End::Useless(why))
    }

    /// Waits until the child has exited, or its output can no longer be read. Cancel-safe.
    pub(super) async fn end(&mut self) -> End {
        if let Some(reader) = &mut self.reader {
            let read = tokio::select! {
                status = self.child.wait() => return left(status),
                read = reader => read,
            };
            self.reader = None;
            if let Ok(Err(error)) = read {
                return End::Useless(error.to_string());
            }
        }
        // The pipes close a moment before the child can be reaped.
        match tokio::time::timeout(DRAIN, self.child.wait()).await {
            Ok(status) => left(status),
            Err(_) => End::Useless("the worker closed its output".to_owned()),
        }
    }

    /// Closes the child's stdin, waits up to `grace`, kills and reaps it; then kills the processes it left running, reads its
    /// pipes to the end and deletes its databases. Returns the last line of its stderr.
    pub(super) async fn leave(mut self, grace: Duration) -> Option<String> {
        self.hang_up.cancel();
        if tokio::time::timeout(grace, self.child.wait())
            .await
            .is_err()
            && let Err(error) = self.child.kill().await
        {
            tracing::warn!(%error, "the worker cannot be killed");
        }
        // Before the pipes are read to their end, which such a process may hold open.
        leftovers::end(self.databases.clone()).await;
        if let Some(reader) = self.reader {
            let _ = tokio::time::timeout(DRAIN, reader).await;
        }
        if let Err(error) = std::fs::remove_dir_all(&self.databases) {
            tracing::warn!(%error, "the worker's databases could not be deleted");
        }
        self.last_words.read_rest(DRAIN).await
    }
}

fn left(status: std::io::Result<ExitStatus>) -> End {
    match status {
        Ok(status) => End::Left(format!("the worker ended ({status})")),
        Err(error) => End::Useless(format!("the worker cannot be waited for: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::codex::tests::scripted;

    #[tokio::test]
    async fn its_end_may_be_waited_for_again() {
        let home = tempfile::tempdir().unwrap();
        let config = scripted(&home, "#!/bin/sh\nexec >&-\nexec sleep 60\n");
        let folder = Folder::make().unwrap();
        let mut worker = Worker::start(&config, &folder, LogDatabase::Blocked, None).unwrap();
        while !worker.reader.as_ref().unwrap().is_finished() {
            tokio::task::yield_now().await;
        }
        // The future of `end` was dropped just after the output had ended.
        assert_eq!(worker.end().now_or_never(), None);
        let end = End::Useless("the worker closed its output".to_owned());
        assert_eq!(worker.end().await, end);
        worker.leave(Duration::ZERO).await;
        folder.delete().unwrap();
    }
}
