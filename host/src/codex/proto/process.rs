//! One process, from its start to its end: it becomes ready, waits for its only turn, runs it, and exits.

mod turn;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::job::Job;
use super::protocol::{self, EventMsg, Incoming};
use super::rollout;
use crate::codex::complaints::Complaints;
use crate::codex::config_stamp::ConfigStamp;
use crate::codex::lines::Lines;
use crate::codex::protocol_log::{ProtocolLog, Tap};
use crate::codex::stderr::LastWords;
use crate::codex::{Config, Error, command};

/// How long to wait for the end of a dead process's pipes: a process that it left behind may hold them open.
const DRAIN: Duration = Duration::from_millis(250);

/// A process that is ready for its turn.
#[derive(Debug)]
pub(super) struct Spare {
    begin: oneshot::Sender<Box<Job>>,
    stamp: ConfigStamp,
}

impl Spare {
    /// Begins the turn. If the process has died, the turn is returned.
    pub(super) fn begin(self, job: Box<Job>) -> Result<(), Box<Job>> {
        self.begin.send(job)
    }

    /// Whether the process is alive, and was started with the present login and settings.
    pub(super) fn is_fit(&self, now: ConfigStamp) -> bool {
        !self.begin.is_closed() && self.stamp == now
    }
}

/// The receiver of the news that a process is ready.
#[derive(Debug)]
pub(super) enum Announce {
    /// The pool, which keeps spare processes.
    Pool(mpsc::UnboundedSender<Spare>),
    /// The turn it was started for, which also receives the reason if the start fails.
    Caller(oneshot::Sender<Result<Spare, Error>>),
}

/// How a process ended.
#[derive(Debug)]
pub(super) enum End {
    /// The process ran its turn, or was not needed.
    Done,
    /// The process was lost: the reason, and how long it had been ready, if it was.
    Lost(String, Option<Duration>),
}

/// The settings that every process gets.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) config: Arc<Config>,
    pub(super) default_model: Arc<str>,
    /// The folder where Codex works.
    pub(super) workdir: PathBuf,
    /// The write times of Codex's own files at the process's start.
    pub(super) stamp: ConfigStamp,
    pub(super) log: Option<ProtocolLog>,
    pub(super) shutdown: CancellationToken,
}

/// Why a process is to end.
#[derive(Debug)]
pub(super) enum Stop {
    /// Its turn is over, or none will come: it may exit by itself.
    Done,
    /// The process was not ready yet, and is not needed any more.
    Unwanted,
    /// The process is gone, or unusable: the reason.
    Lost(String),
}

/// A running child with its pipes.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Lines<ChildStdout>,
    last_words: LastWords,
    complaints: Complaints,
    tap: Tap,
    /// The file in which Codex records the conversation.
    record: Option<PathBuf>,
}

/// Runs a process to its end.
pub(super) async fn run(command: Command, setting: Setting, announce: Announce) -> End {
    let mut announce = Some(announce);
    let end = live(command, &setting, &mut announce).await;
    if let (Some(Announce::Caller(caller)), End::Lost(why, None)) = (announce, &end) {
        // A turn that was cancelled needs no reason.
        let _ = caller.send(Err(Error::Unavailable(why.clone())));
    }
    end
}

async fn live(command: Command, setting: &Setting, announce: &mut Option<Announce>) -> End {
    let mut process = match Process::spawn(command, setting) {
        Ok(process) => process,
        Err(error) => return End::Lost(format!("Codex cannot be started: {error}"), None),
    };
    let (mut ready_since, mut job) = (None, None);
    let stop = match process.make_ready(setting).await {
        Ok(()) => {
            ready_since = Some(Instant::now());
            let stop = process.wait_for_turn(setting, announce.take()).await;
            match stop {
                Ok(taken) => turn::run(&mut process, job.insert(*taken), setting).await,
                Err(stop) => stop,
            }
        }
        Err(stop) => stop,
    };
    let end = process.leave(stop, ready_since, &setting.config).await;
    // The lease is released only when nothing of the process is left.
    drop(job);
    end
}

/// Returns when a process that is not ready yet is given up at shutdown. It gets `shutdown_grace`: only a ready
/// process has reported the path of its record.
async fn given_up(setting: &Setting) {
    setting.shutdown.cancelled().await;
    tokio::time::sleep(setting.config.shutdown_grace).await;
}

impl Process {
    fn spawn(mut command: Command, setting: &Setting) -> std::io::Result<Self> {
        let mut child = command.spawn()?;
        let (stdin, stdout, stderr) = command::pipes(&mut child)?;
        Ok(Self {
            tap: Tap::new(setting.log.as_ref(), child.id()),
            child,
            stdin: Some(stdin),
            lines: Lines::new(stdout),
            last_words: LastWords::listen(stderr),
            complaints: Complaints::default(),
            record: None,
        })
    }

    /// Waits until Codex has opened its conversation.
    async fn make_ready(&mut self, setting: &Setting) -> Result<(), Stop> {
        let limit = setting.config.startup_timeout;
        let opened = async {
            loop {
                if let (_, EventMsg::SessionConfigured { rollout_path }) = self.next().await? {
                    self.record = rollout_path;
                    return Ok(());
                }
            }
        };
        let late = || {
            Stop::Lost(format!(
                "Codex was not ready within {} ms",
                limit.as_millis()
            ))
        };
        tokio::select! {
            opened = tokio::time::timeout(limit, opened) => opened.unwrap_or_else(|_| Err(late())),
            () = given_up(setting) => Err(Stop::Unwanted),
        }
    }

    /// Announces that the process is ready, and waits for its turn.
    async fn wait_for_turn(
        &mut self,
        setting: &Setting,
        announce: Option<Announce>,
    ) -> Result<Box<Job>, Stop> {
        self.last_words.forget();
        let (begin, mut begun) = oneshot::channel();
        let spare = Spare {
            begin,
            stamp: setting.stamp,
        };
        // A receiver that no longer needs the process drops the spare, which closes `begun` below.
        match announce {
            Some(Announce::Pool(pool)) => drop(pool.send(spare)),
            Some(Announce::Caller(caller)) => drop(caller.send(Ok(spare))),
            None => drop(spare),
        }
        let stop = loop {
            tokio::select! {
                biased;
                job = &mut begun => return job.map_err(|_| Stop::Done),
                () = setting.shutdown.cancelled() => break Stop::Done,
                message = self.next() => if let Err(stop) = message {
                    break stop;
                },
            }
        };
        // A turn may have arrived at the same moment.
        begun.close();
        if let Ok(mut job) = begun.try_recv() {
            job.lose("the process was about to end");
        }
        Err(stop)
    }

    /// The next message, and whether it is about the turn. A line that cannot be read is skipped; the log names the
    /// position, but not the text: it may be the client's. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<(bool, EventMsg), Stop> {
        loop {
            let line = match self.lines.next().await {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(error) => return Err(Stop::Lost(error.to_string())),
            };
            self.tap.received(line);
            match serde_json::from_slice::<Incoming<'_>>(line) {
                Ok(Incoming { id, msg }) => return Ok((id == protocol::TURN, msg)),
                Err(error) => {
                    let about = format_args!("byte {} of {}", error.column(), line.len());
                    let what = "Codex wrote a line that is no event";
                    self.complaints.warn(what, &about);
                }
            }
        }
        // The pipes close a moment before the process can be reaped.
        Err(Stop::Lost(
            match tokio::time::timeout(DRAIN, self.child.wait()).await {
                Ok(Ok(status)) => format!("the process ended ({status})"),
                Ok(Err(error)) => format!("the process cannot be waited for: {error}"),
                Err(_) => "the process closed its output".to_owned(),
            },
        ))
    }

    /// Writes a submission, one line, to the process.
    pub(super) async fn submit(&mut self, line: &[u8]) -> std::io::Result<()> {
        match &mut self.stdin {
            Some(stdin) => {
                // Before the write: the answer must not be recorded first.
                self.tap.sent(line);
                stdin.write_all(line).await
            }
            None => Err(std::io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Ends the process: it is asked to exit if it did nothing wrong, else killed at once; it is reaped in any case.
    async fn leave(mut self, stop: Stop, ready_since: Option<Instant>, config: &Config) -> End {
        let polite = matches!(stop, Stop::Done)
            && tokio::time::timeout(config.shutdown_grace, self.say_goodbye())
                .await
                .is_ok();
        if !polite && let Err(error) = self.child.kill().await {
            tracing::warn!(%error, "a Codex process cannot be killed");
        }
        if let (Some(record), Some(home)) = (&self.record, command::home_folder(config)) {
            rollout::delete(record, &home).await;
        }
        let Stop::Lost(why) = stop else {
            return End::Done;
        };
        let why = match self.last_words.read_rest(DRAIN).await {
            // Once it was ready, its stderr does not explain the loss: it belongs only in the log.
            Some(words) if ready_since.is_none() => format!("{why}: {words}"),
            _ => why,
        };
        End::Lost(why, ready_since.map(|since| since.elapsed()))
    }

    /// Asks the process to exit, which it does once its input has ended as well, and waits until it has.
    async fn say_goodbye(&mut self) {
        // A process that has exited already reads nothing.
        let _ = self.submit(protocol::SHUTDOWN).await;
        self.stdin = None;
        let (lines, tap) = (&mut self.lines, &self.tap);
        let drained = async {
            while let Ok(Some(line)) = lines.next().await {
                tap.received(line);
            }
        };
        tokio::select! {
            _ = self.child.wait() => return,
            () = drained => {}
        }
        let _ = self.child.wait().await;
    }
}
