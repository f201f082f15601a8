//! Opens the threads of one worker, when a turn needs one or ahead of need, and closes them.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use serde::de::IgnoredAny;
use serde_json::value::{RawValue, to_raw_value};

use super::kept::{Kept, KeptThreads};
use super::protocol::{
    self, StoredThread, Thread, ThreadFork, ThreadStart, ThreadStarted, TurnInterrupt,
};
use super::rpc::{self, Connection};
use super::workspace::Workspace;
use crate::codex::config_stamp::ConfigStamp;
use crate::codex::{Config, Error, Plan};

/// How many kinds of threads are remembered, of those with a key and of those without: a client's next request often needs the
/// same kind again.
const KINDS: usize = 16;

/// How many threads of a kind are kept ready.
const READY: usize = 4;

/// Limit in bytes for the description of a kind: one with a longer description is not remembered.
const LONGEST: usize = 128 * 1024;

/// How long a ready thread may wait for its turn.
const FRESH: Duration = Duration::from_secs(300);

/// Opens threads, and keeps some ready so that the next turn need not wait for `thread/start`.
#[derive(Debug)]
pub(super) struct Threads {
    pub(super) connection: Arc<Connection>,
    pub(super) kept: Arc<KeptThreads>,
    config: Arc<Config>,
    /// The kinds in the order of their last request, the most recent last.
    kinds: Mutex<VecDeque<ThreadKind>>,
}

/// Describes a thread for a turn.
#[derive(Debug, Clone)]
pub(super) struct Description {
    /// The parameters of `thread/start`.
    params: Box<RawValue>,
    /// The key of the provider's cache, if not the thread's own id. Codex reports no raw events of such a thread.
    pub(super) key: Option<String>,
}

/// Threads with the same description.
#[derive(Debug)]
struct ThreadKind {
    description: Description,
    ready: Vec<Ready>,
    /// The number of threads that are being opened.
    opening: usize,
}

#[derive(Debug)]
struct Ready {
    thread: String,
    stamp: ConfigStamp,
    since: Instant,
}

/// A thread for one turn.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) thread: String,
    /// The thread was prepared earlier, so Codex may have lost it meanwhile.
    pub(super) was_ready: bool,
}

impl Description {
    /// Of the thread that a plan needs, for an agent in its workspace: plans with the same description can use the same thread.
    pub(super) fn new(plan: &Plan, workspace: Option<&Workspace>) -> Result<Self, Error> {
        let params = to_raw_value(&ThreadStart::new(plan, workspace))
            .map_err(|error| rpc::malformed(protocol::THREAD_START, &error))?;
        Ok(Self { params, key: None })
    }

    /// Of the same thread with this key of the provider's cache.
    pub(super) fn with_key(&self, key: String) -> Self {
        Self {
            params: self.params.clone(),
            key: Some(key),
        }
    }

    fn is(&self, other: &Self) -> bool {
        self.key == other.key && self.params.get() == other.params.get()
    }
}

impl Threads {
    /// The threads of a new worker: none is ready yet.
    pub(super) fn new(connection: Arc<Connection>, config: Arc<Config>) -> Arc<Self> {
        Arc::new(Self {
            connection,
            kept: KeptThreads::new(config.mode, config.max_turns),
            config,
            kinds: Mutex::default(),
        })
    }

    /// Prepares a thread for the plan of most turns.
    pub(super) async fn prepare_usual(&self, plan: &Plan) {
        if let Ok(description) = Description::new(plan, None) {
            self.prepare(&description, true).await;
        }
    }

    /// Opens a thread with this description: a ready one, or a new one.
    pub(super) async fn open(&self, description: &Description) -> Result<Opened, Error> {
        match self.take(description) {
            Some(thread) => Ok(Opened {
                thread,
                was_ready: true,
            }),
            None => self.start(description).await.map(|started| Opened {
                thread: started.thread.id,
                was_ready: false,
            }),
        }
    }

    /// Starts a new thread with this description.
    pub(super) async fn start(&self, description: &Description) -> Result<ThreadStarted, Error> {
        match &description.key {
            None => {
                let params = &description.params;
                self.connection.call(protocol::THREAD_START, params).await
            }
            Some(key) => self.fork(&description.params, key).await,
        }
    }

    async fn fork(&self, params: &RawValue, key: &str) -> Result<ThreadStarted, Error> {
        let no_file = |error: &dyn std::fmt::Display| {
            Error::Unavailable(format!("no file for a thread: {error}"))
        };
        let stored =
            serde_json::to_vec(&StoredThread::new(key)).map_err(|error| no_file(&error))?;
        let written = tokio::task::spawn_blocking(move || {
            let mut file = tempfile::NamedTempFile::new()?;
            file.write_all(&stored)?;
            file.write_all(b"\n")?;
            Ok(file.into_temp_path())
        });
        let written = written.await.map_err(|error| no_file(&error))?;
        let file = written.map_err(|error: std::io::Error| no_file(&error))?;
        let params = ThreadFork::new(params, &file)
            .map_err(|error| rpc::malformed(protocol::THREAD_FORK, &error))?;
        self.connection.call(protocol::THREAD_FORK, &params).await
    }

    /// Closes a thread.
    pub(super) async fn close(&self, thread: &str) {
        let params = Thread { thread_id: thread };
        if let Err(error) = self
            .connection
            .call::<_, IgnoredAny>(protocol::UNSUBSCRIBE, &params)
            .await
        {
            tracing::debug!(thread, %error, "not unsubscribed");
        }
    }

    /// Prepares one more thread with this description, if too few are ready and its kind was requested before. `again`
    /// says that it was.
    pub(super) async fn prepare(&self, description: &Description, again: bool) {
        if !self.reserve(description, again) {
            return;
        }
        let stamp = self.stamp();
        let opened = self
            .start(description)
            .await
            .map(|started| started.thread.id);
        let unwanted = {
            let mut kinds = self.lock();
            let kind = kinds.iter_mut().find(|kind| kind.is(description));
            match (kind, opened) {
                (Some(kind), opened) => {
                    kind.opening = kind.opening.saturating_sub(1);
                    let since = Instant::now();
                    kind.ready.extend(opened.ok().map(|thread| Ready {
                        thread,
                        stamp,
                        since,
                    }));
                    None
                }
                (None, opened) => opened.ok(),
            }
        };
        if let Some(thread) = unwanted {
            self.close(&thread).await;
        }
    }

    /// The state of Codex's own files: threads that were opened with another are not used.
    pub(super) fn stamp(&self) -> ConfigStamp {
        ConfigStamp::now(&self.config)
    }

    /// Closes threads that were kept, and ends their open turns, without waiting for the answers.
    pub(super) fn close_kept(&self, gone: Vec<Kept>) {
        for Kept { thread, open, .. } in gone {
            if let Some(open) = open {
                self.connection.unregister(&thread);
                let params = TurnInterrupt {
                    thread_id: &thread,
                    turn_id: &open.id,
                };
                self.connection
                    .ask_in_passing(protocol::TURN_INTERRUPT, &params);
            }
            let params = Thread { thread_id: &thread };
            self.connection
                .ask_in_passing(protocol::UNSUBSCRIBE, &params);
        }
    }

    /// Closes ready and kept threads that are out of date or have waited too long.
    pub(super) fn tidy(&self) {
        let stamp = self.stamp();
        self.close_kept(self.kept.tidy(stamp));
        let mut kinds = self.lock();
        for kind in kinds.iter_mut() {
            let (keep, stale) = std::mem::take(&mut kind.ready)
                .into_iter()
                .partition(|ready| ready.is_good(stamp));
            kind.ready = keep;
            self.forget(stale);
        }
    }

    /// Takes a ready thread, if there is one.
    fn take(&self, description: &Description) -> Option<String> {
        let stamp = self.stamp();
        let mut kinds = self.lock();
        let kind = kinds.iter_mut().find(|kind| kind.is(description))?;
        while let Some(ready) = kind.ready.pop() {
            if ready.is_good(stamp) {
                return Some(ready.thread);
            }
            self.forget(vec![ready]);
        }
        None
    }

    /// Whether one more thread of the kind should be opened. Remembers that the kind was requested.
    fn reserve(&self, description: &Description, again: bool) -> bool {
        if description.params.get().len() > LONGEST {
            return false;
        }
        let mut kinds = self.lock();
        let known = kinds.iter().position(|kind| kind.is(description));
        let mut kind = known
            .and_then(|at| kinds.remove(at))
            .unwrap_or_else(|| ThreadKind {
                description: description.clone(),
                ready: Vec::new(),
                opening: 0,
            });
        let wanted = (known.is_some() || again) && kind.ready.len() + kind.opening < READY;
        kind.opening += usize::from(wanted);
        kinds.push_back(kind);
        // A client may name a key for each conversation: the kinds with keys take no room of those without.
        let has_key = description.key.is_some();
        let like = |kind: &ThreadKind| kind.description.key.is_some() == has_key;
        if kinds.iter().filter(|kind| like(kind)).count() > KINDS
            && let Some(oldest) = kinds.iter().position(like)
            && let Some(oldest) = kinds.remove(oldest)
        {
            self.forget(oldest.ready);
        }
        wanted
    }

    /// Closes threads without waiting for the answers.
    fn forget(&self, threads: Vec<Ready>) {
        for Ready { thread, .. } in threads {
            let params = Thread { thread_id: &thread };
            self.connection
                .ask_in_passing(protocol::UNSUBSCRIBE, &params);
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<ThreadKind>> {
        self.kinds.lock()
    }
}

impl ThreadKind {
    fn is(&self, description: &Description) -> bool {
        self.description.is(description)
    }
}

impl Ready {
    fn is_good(&self, now: ConfigStamp) -> bool {
        self.stamp == now && self.since.elapsed() < FRESH
    }
}

#[cfg(test)]
mod tests;
