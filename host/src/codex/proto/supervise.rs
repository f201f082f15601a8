//! Keeps processes ready for the turns to come: starts them ahead, replaces those that are lost, never gives up.

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

/// How many processes may be starting at once: more would only make each other late.
const STARTING: usize = 8;

/// How often it is looked whether somebody has signed in, as long as nobody has.
const LOOK: Duration = Duration::from_secs(1);

/// A turn asks for a process.
#[derive(Debug)]
pub(super) struct Request {
    /// What a spare process does not offer, if anything: then one is started for this turn.
    pub(super) wish: Option<Wish>,
    pub(super) answer: oneshot::Sender<Result<Spare, Error>>,
}

/// The owner of all processes.
#[derive(Debug)]
pub(super) struct Supervisor {
    setting: Setting,
    folder: Folder,
    status: watch::Sender<Status>,
    /// What is known of Codex's login, and since when.
    login: watch::Sender<Login>,
    known: Option<ConfigStamp>,
    spares: VecDeque<Spare>,
    /// Those for whom there was no spare, longest first.
    waiting: VecDeque<oneshot::Sender<Result<Spare, Error>>>,
    /// Every process, and whether it is of the pool.
    processes: JoinSet<(bool, End)>,
    /// Processes of the pool that are not ready yet.
    starting: usize,
    backoff: Backoff,
    /// A process of the pool was lost and none became ready since: one is tried at a time, not before then.
    failing: Option<Instant>,
    /// Where processes of the pool tell that they are ready.
    announce: mpsc::UnboundedSender<Spare>,
    announced: mpsc::UnboundedReceiver<Spare>,
}

impl Supervisor {
    /// Nothing is started yet.
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

    /// Serves requests until shutdown. Nothing of any process, nor the folder, is left at the end.
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
        self.tell(false, Some("the gateway is shutting down"));
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

    /// Gives spares to those who wait. Who has gone and what has died or is out of date is forgotten.
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

    /// Reads again who has signed in, if that may have changed.
    fn look_for_login(&mut self, now: ConfigStamp) {
        if self.known.replace(now) == Some(now) {
            return;
        }
        let config = &self.setting.config;
        let login = Login::of_files(config, &command::read_home(config));
        login.show(config, &self.status);
        self.login.send_replace(login);
    }

    /// Starts what is missing: one for everybody who waits, and the spares. Says when to try again if it may
    /// not do so yet.
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
        // Before the process is ready, and its turn needs it.
        self.look_for_login(setting.stamp);
        let home = command::read_home(&setting.config);
        let command = launch::process(&setting.config, &home, &self.folder, wish);
        let pool = matches!(announce, Announce::Pool(_));
        self.processes
            .spawn(async move { (pool, process::run(command, setting, announce).await) });
    }

    /// A process of the pool is ready.
    fn welcome(&mut self, spare: Spare) {
        self.starting = self.starting.saturating_sub(1);
        self.failing = None;
        self.spares.push_back(spare);
        self.tell(true, None);
    }

    /// A process is gone.
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
        // What is lost along with others is no further reason to wait.
        if self.failing.is_none() || ready_for.is_none() {
            self.failing = Some(Instant::now() + self.backoff.after(ready_for));
        }
        if ready_for.is_none() {
            self.starting = self.starting.saturating_sub(1);
            self.tell(!self.spares.is_empty(), Some(&why));
        }
    }

    fn tell(&self, ready: bool, reason: Option<&str>) {
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
