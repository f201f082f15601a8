//! Keeps processes ready for the next turns: starts them ahead, replaces lost ones, never gives up.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::launch::{self, Wish};
use super::process::{self, Announce, End, Setting, Spare};
use crate::codex::backoff::Backoff;
use crate::codex::config_stamp::ConfigStamp;
use crate::codex::folder::Folder;
use crate::codex::login::Login;
use crate::codex::{Error, Status, command};

/// How many processes may be starting at the same time: more would only slow each other down.
const STARTING: usize = 8;

/// The interval between two checks for a login, as long as there is none.
const LOOK: Duration = Duration::from_secs(1);

/// A turn's request for a process.
#[derive(Debug)]
pub(super) struct Request {
    /// Settings that a spare process does not have, if any: then a process is started for this turn.
    pub(super) wish: Option<Wish>,
    pub(super) answer: oneshot::Sender<Result<Spare, Error>>,
}

/// The owner of all processes.
#[derive(Debug)]
pub(super) struct Supervisor {
    setting: Setting,
    folder: Folder,
    status: watch::Sender<Status>,
    /// Codex's login as far as it is known; `known` holds the write times of the files it was read from.
    login: watch::Sender<Login>,
    known: Option<ConfigStamp>,
    spares: VecDeque<Spare>,
    /// Turns for which there was no spare process, the longest waiting first.
    waiting: VecDeque<oneshot::Sender<Result<Spare, Error>>>,
    /// Every process, and whether it belongs to the pool.
    processes: JoinSet<(bool, End)>,
    /// Processes of the pool that are not ready yet.
    starting: usize,
    backoff: Backoff,
    /// Set if a process of the pool was lost and none became ready since: then one is started at a time, not before this instant.
    failing: Option<Instant>,
    /// Where processes of the pool announce that they are ready.
    announce: mpsc::UnboundedSender<Spare>,
    announced: mpsc::UnboundedReceiver<Spare>,
}

impl Supervisor {
    /// A supervisor that has started no process yet.
    pub(super) fn new(
        setting: Setting,
        folder: Folder,
        (status, login): (watch::Sender<Status>, watch::Sender<Login>),
    ) -> Self {
        let (announce, announced) = mpsc::unbounded_channel();
        Self {
            backoff: backoff(&setting),
            setting,
            folder,
            status,
            login,
            known: None,
            spares: VecDeque::new(),
            waiting: VecDeque::new(),
            processes: JoinSet::new(),
            starting: 0,
            failing: None,
            announce,
            announced,
        }
    }

    /// Serves requests until shutdown. At the end every process is gone, and the folder is deleted.
    pub(super) async fn run(mut self, mut requests: mpsc::UnboundedReceiver<Request>) {
        let shutdown = self.setting.shutdown.clone();
        loop {
            self.match_up();
            let again = self.start_missing();
            let missing = self.login.borrow().is_missing();
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(request) = requests.recv() => self.take(request),
                Some(spare) = self.announced.recv() => self.welcome(spare),
                Some(ended) = self.processes.join_next() => self.bury(ended),
                () = sleep_until(again) => {}
                () = tokio::time::sleep(LOOK), if missing => {}
            }
        }
        self.spares.clear();
        self.waiting.clear();
        drop(requests);
        while self.processes.join_next().await.is_some() {}
        self.show(false, Some("the gateway is shutting down"));
        if let Err(error) = self.folder.delete() {
            tracing::warn!(%error, "the folder of the Codex processes could not be deleted");
        }
    }

    fn take(&mut self, request: Request) {
        match request.wish {
            None => self.waiting.push_back(request.answer),
            Some(wish) => self.start(&wish, Announce::Caller(request.answer)),
        }
    }

    /// Gives spare processes to waiting turns. Drops turns that were cancelled, and spares that are dead or out of date.
    fn match_up(&mut self) {
        self.waiting.retain(|waiting| !waiting.is_closed());
        let now = ConfigStamp::now(&self.setting.config);
        self.look_for_login(now);
        self.spares.retain(|spare| spare.is_fit(now));
        while !self.waiting.is_empty()
            && let Some(spare) = self.spares.pop_front()
            && let Some(waiting) = self.waiting.pop_front()
        {
            if let Err(Ok(spare)) = waiting.send(Ok(spare)) {
                self.spares.push_front(spare);
            }
        }
    }

    /// Reads the login again, if its files have changed.
    fn look_for_login(&mut self, now: ConfigStamp) {
        if self.known.replace(now) == Some(now) {
            return;
        }
        let config = &self.setting.config;
        let login = Login::of_files(config, &command::read_home(config));
        login.show(config, &self.status);
        self.login.send_replace(login);
    }

    /// Starts the missing processes: one for every waiting turn, and the spares. Returns when to try again if it may
    /// not start one yet.
    fn start_missing(&mut self) -> Option<Instant> {
        let config = &self.setting.config;
        let wanted = config.spare.min(config.max_turns) + self.waiting.len();
        let missing = wanted.saturating_sub(self.spares.len() + self.starting);
        let allowed = match self.failing {
            None => STARTING.saturating_sub(self.starting),
            Some(at) => usize::from(self.starting == 0 && at <= Instant::now()),
        };
        for _ in 0..missing.min(allowed) {
            self.starting += 1;
            self.start(&Wish::default(), Announce::Pool(self.announce.clone()));
        }
        self.failing.filter(|_| missing > 0 && self.starting == 0)
    }

    fn start(&mut self, wish: &Wish, announce: Announce) {
        let setting = Setting {
            stamp: ConfigStamp::now(&self.setting.config),
            ..self.setting.clone()
        };
        // The login must be known before the process is ready, since its turn needs it.
        self.look_for_login(setting.stamp);
        let home = command::read_home(&setting.config);
        let command = launch::process(&setting.config, &home, &self.folder, wish);
        let pool = matches!(announce, Announce::Pool(_));
        self.processes
            .spawn(async move { (pool, process::run(command, setting, announce).await) });
    }

    /// Adds a process of the pool that has become ready.
    fn welcome(&mut self, spare: Spare) {
        self.starting = self.starting.saturating_sub(1);
        self.failing = None;
        self.spares.push_back(spare);
        self.show(true, None);
    }

    /// Handles the end of a process.
    fn bury(&mut self, ended: Result<(bool, End), tokio::task::JoinError>) {
        let (pool, end) = ended.unwrap_or_else(|error| (false, End::Lost(error.to_string(), None)));
        let End::Lost(why, ready_for) = end else {
            self.backoff = backoff(&self.setting);
            return;
        };
        let why = why.trim_end().replace('\n', "; ");
        tracing::warn!(reason = why, "a Codex process was lost");
        self.status.send_modify(|status| status.restarts += 1);
        if !pool {
            return;
        }
        // A ready process that is lost along with others is no reason to wait longer.
        if self.failing.is_none() || ready_for.is_none() {
            self.failing = Some(Instant::now() + self.backoff.after(ready_for));
        }
        if ready_for.is_none() {
            self.starting = self.starting.saturating_sub(1);
            self.show(!self.spares.is_empty(), Some(&why));
        }
    }

    fn show(&self, ready: bool, reason: Option<&str>) {
        self.status.send_if_modified(|status| {
            let reason = reason.filter(|_| !ready).map(str::to_owned);
            let changed = (status.ready, &status.reason) != (ready, &reason);
            (status.ready, status.reason) = (ready, reason);
            changed
        });
    }
}

fn backoff(setting: &Setting) -> Backoff {
    Backoff::new(setting.config.backoff_initial, setting.config.backoff_max)
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
