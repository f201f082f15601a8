//! The threads of one worker: opened when a turn needs one, or ahead of need, and given back.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::de::IgnoredAny;
use serde_json::value::{RawValue, to_raw_value};

use super::protocol::{self, Thread, ThreadStart, ThreadStarted};
use super::rpc::{self, Connection};
use super::workspace::Workspace;
use crate::codex::config_stamp::ConfigStamp;
use crate::codex::{Config, Error, Plan};

/// How many kinds of threads are remembered: a client asks again for what it asked for before.
const KINDS: usize = 16;

/// How many threads of a kind are kept ready.
const READY: usize = 4;

/// A kind whose description is longer is not remembered, in bytes.
const LONGEST: usize = 128 * 1024;

/// How long a thread may wait for its turn.
const FRESH: Duration = Duration::from_secs(300);

/// Opens threads, and keeps some ready so that the next turn need not wait for `thread/start`.
#[derive(Debug)]
pub(super) struct Threads {
    pub(super) connection: Arc<Connection>,
    config: Arc<Config>,
    /// The latest asked for last.
    kinds: Mutex<VecDeque<Kind>>,
}

/// Threads that were asked for in the same words.
#[derive(Debug)]
struct Kind {
    params: Box<RawValue>,
    ready: Vec<Ready>,
    /// How many are being opened.
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
    /// It was kept ready: Codex may have lost it meanwhile.
    pub(super) was_ready: bool,
}

/// What kind of thread a plan needs, for an agent in its workspace: two plans for which it is the same can use the same thread.
pub(super) fn describe(plan: &Plan, workspace: Option<&Workspace>) -> Result<Box<RawValue>, Error> {
    to_raw_value(&ThreadStart::new(plan, workspace))
        .map_err(|error| rpc::malformed(protocol::THREAD_START, &error))
}

impl Threads {
    /// None is ready yet.
    pub(super) fn new(connection: Arc<Connection>, config: Arc<Config>) -> Arc<Self> {
        Arc::new(Self {
            connection,
            config,
            kinds: Mutex::default(),
        })
    }

    /// Keeps a thread ready for what most turns run.
    pub(super) async fn prepare_usual(&self, plan: &Plan) {
        if let Ok(params) = describe(plan, None) {
            self.prepare(&params, true).await;
        }
    }

    /// A thread as described, ready or new.
    pub(super) async fn open(&self, params: &RawValue) -> Result<Opened, Error> {
        match self.take(params) {
            Some(thread) => Ok(Opened {
                thread,
                was_ready: true,
            }),
            None => self.start(params).await.map(|started| Opened {
                thread: started.thread.id,
                was_ready: false,
            }),
        }
    }

    /// A new thread as described.
    pub(super) async fn start(&self, params: &RawValue) -> Result<ThreadStarted, Error> {
        self.connection.call(protocol::THREAD_START, params).await
    }

    /// Gives a thread back.
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

    /// Keeps one more thread as described ready, if there are too few of a kind that was asked for before. `again`
    /// says that it was.
    pub(super) async fn prepare(&self, params: &RawValue, again: bool) {
        if !self.reserve(params, again) {
            return;
        }
        let stamp = ConfigStamp::now(&self.config);
        let opened = self.start(params).await.map(|started| started.thread.id);
        let unwanted = {
            let mut kinds = self.lock();
            let kind = kinds.iter_mut().find(|kind| kind.is(params));
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

    /// Closes what has waited too long.
    pub(super) fn tidy(&self) {
        let stamp = ConfigStamp::now(&self.config);
        let mut kinds = self.lock();
        for kind in kinds.iter_mut() {
            let (keep, stale) = std::mem::take(&mut kind.ready)
                .into_iter()
                .partition(|ready| ready.is_good(stamp));
            kind.ready = keep;
            self.forget(stale);
        }
    }

    /// A thread that is ready, if there is one.
    fn take(&self, params: &RawValue) -> Option<String> {
        let stamp = ConfigStamp::now(&self.config);
        let mut kinds = self.lock();
        let kind = kinds.iter_mut().find(|kind| kind.is(params))?;
        while let Some(ready) = kind.ready.pop() {
            if ready.is_good(stamp) {
                return Some(ready.thread);
            }
            self.forget(vec![ready]);
        }
        None
    }

    /// Whether one more thread of the kind should be opened. Remembers that the kind was asked for.
    fn reserve(&self, params: &RawValue, again: bool) -> bool {
        if params.get().len() > LONGEST {
            return false;
        }
        let mut kinds = self.lock();
        let known = kinds.iter().position(|kind| kind.is(params));
        let mut kind = known
            .and_then(|at| kinds.remove(at))
            .unwrap_or_else(|| Kind {
                params: params.to_owned(),
                ready: Vec::new(),
                opening: 0,
            });
        let wanted = (known.is_some() || again) && kind.ready.len() + kind.opening < READY;
        kind.opening += usize::from(wanted);
        kinds.push_back(kind);
        if kinds.len() > KINDS
            && let Some(oldest) = kinds.pop_front()
        {
            self.forget(oldest.ready);
        }
        wanted
    }

    /// Closes threads in passing.
    fn forget(&self, threads: Vec<Ready>) {
        for Ready { thread, .. } in threads {
            let params = Thread { thread_id: &thread };
            self.connection
                .ask_in_passing(protocol::UNSUBSCRIBE, &params);
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Kind>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kind {
    fn is(&self, params: &RawValue) -> bool {
        self.params.get() == params.get()
    }
}

impl Ready {
    fn is_good(&self, now: ConfigStamp) -> bool {
        self.stamp == now && self.since.elapsed() < FRESH
    }
}

#[cfg(test)]
mod tests;
