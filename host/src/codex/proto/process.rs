//! One process, from its start to its end: it becomes ready, waits for its only turn, runs it, and leaves.

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
use crate::codex::stderr::LastWords;
use crate::codex::{Config, Error, command};

/// How long the pipes of a dead process may take to run dry: a process it left behind may hold them.
const DRAIN: Duration = Duration::from_millis(250);

/// A process that is ready for its turn.
#[derive(Debug)]
pub(super) struct Spare {
    begin: oneshot::Sender<Box<Job>>,
    stamp: ConfigStamp,
}

impl Spare {
    /// Begins the turn, unless the process has died; then the turn comes back.
    pub(super) fn begin(self, job: Box<Job>) -> Result<(), Box<Job>> {
        self.begin.send(job)
    }

    /// Whether the process is still there, and was started with what it would be started with now.
    pub(super) fn is_fit(&self, now: ConfigStamp) -> bool {
        !self.begin.is_closed() && self.stamp == now
    }
}

/// Who hears that a process is ready.
#[derive(Debug)]
pub(super) enum Announce {
    /// Those who keep spare ones.
    Pool(mpsc::UnboundedSender<Spare>),
    /// The turn it was started for, which also hears why it is not.
    Caller(oneshot::Sender<Result<Spare, Error>>),
}

/// How a process came to its end.
#[derive(Debug)]
pub(super) enum End {
    /// It did what it was there for, or nobody wanted it.
    Done,
    /// It was lost: why, and how long it had been ready, if it was.
    Lost(String, Option<Duration>),
}

/// What every process is given.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) config: Arc<Config>,
    pub(super) default_model: Arc<str>,
    /// Where Codex works.
    pub(super) workdir: PathBuf,
    /// As of the process's start.
    pub(super) stamp: ConfigStamp,
    pub(super) shutdown: CancellationToken,
}

/// Why nothing more is expected of a process.
#[derive(Debug)]
pub(super) enum Stop {
    /// Its turn is over, or none will come: it may leave by itself.
    Done,
    /// It was not ready yet, and is not wanted any more.
    Unwanted,
    /// It is gone, or of no use: why.
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
    /// Where Codex records the conversation.
    record: Option<PathBuf>,
}

/// Runs a process to its end.
pub(super) async fn run(command: Command, setting: Setting, announce: Announce) -> End {
    let mut announce = Some(announce);
    let end = live(command, &setting, &mut announce).await;
    if let (Some(Announce::Caller(caller)), End::Lost(why, None)) = (announce, &end) {
        // A caller who has gone needs no reason.
        let _ = caller.send(Err(Error::Unavailable(why.clone())));
    }
    end
}

async fn live(command: Command, setting: &Setting, announce: &mut Option<Announce>) -> End {
    let mut process = match Process::spawn(command) {
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
    // Its lease comes back when nothing is left of the process.
    drop(job);
    end
}

/// When a process that is not ready yet is waited for no longer at shutdown. It gets a while: only a ready one
/// has told where its record is.
async fn given_up(setting: &Setting) {
    setting.shutdown.cancelled().await;
    tokio::time::sleep(setting.config.shutdown_grace).await;
}

impl Process {
    fn spawn(mut command: Command) -> std::io::Result<Self> {
        let mut child = command.spawn()?;
        let (stdin, stdout, stderr) = command::pipes(&mut child)?;
        Ok(Self {
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

    /// Tells that it is ready, and waits for the turn.
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
        // Whoever does not want it any more drops it, which is noticed below.
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
        // A turn may have come in this very moment.
        begun.close();
        if let Ok(mut job) = begun.try_recv() {
            job.lose("the process was about to end");
        }
        Err(stop)
    }

    /// The next message, and whether it is about the turn. What cannot be read is passed over; the log says
    /// where, but not what: it may be the client's words. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<(bool, EventMsg), Stop> {
        loop {
            let line = match self.lines.next().await {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(error) => return Err(Stop::Lost(error.to_string())),
            };
            match serde_json::from_slice::<Incoming<'_>>(line) {
                Ok(Incoming { id, msg }) => return Ok((id == protocol::TURN, msg)),
                Err(error) => {
                    let about = format_args!("byte {} of {}", error.column(), line.len());
                    let what = "Codex wrote a line that is no event";
                    self.complaints.warn(what, &about);
                }
            }
        }
        // Its pipes close a moment before it can be reaped.
        Err(Stop::Lost(
            match tokio::time::timeout(DRAIN, self.child.wait()).await {
                Ok(Ok(status)) => format!("the process ended ({status})"),
                Ok(Err(error)) => format!("the process cannot be waited for: {error}"),
                Err(_) => "the process closed its output".to_owned(),
            },
        ))
    }

    /// Submits a line.
    pub(super) async fn submit(&mut self, line: &[u8]) -> std::io::Result<()> {
        match &mut self.stdin {
            Some(stdin) => stdin.write_all(line).await,
            None => Err(std::io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Sees it off: politely if it did nothing wrong, at once otherwise; reaped in any case.
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
        let why = match self.last_words.hear_out(DRAIN).await {
            // Later it only says what the log is for.
            Some(words) if ready_since.is_none() => format!("{why}: {words}"),
            _ => why,
        };
        End::Lost(why, ready_since.map(|since| since.elapsed()))
    }

    /// Asks it to leave, which it does when its input ends too, and waits until it has.
    async fn say_goodbye(&mut self) {
        // One that has left already reads nothing.
        let _ = self.submit(protocol::SHUTDOWN).await;
        self.stdin = None;
        let lines = &mut self.lines;
        let drained = async { while let Ok(Some(_)) = lines.next().await {} };
        tokio::select! {
            _ = self.child.wait() => return,
            () = drained => {}
        }
        let _ = self.child.wait().await;
    }
}
