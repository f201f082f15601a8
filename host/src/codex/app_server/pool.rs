//! The workers that take turns: each turn goes to the least loaded of them.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, OwnedSemaphorePermit, watch};

use super::cache_keys::CacheKeys;
use super::threads::Threads;
use crate::codex::Status;
use crate::codex::status::{Places, WorkerStatus};
use crate::codex::wait_queue::{Full, WaitQueue};

/// All workers that may get a turn, and the turns that wait for one.
#[derive(Debug)]
pub(super) struct Pool {
    /// As many places as the open workers have together. When a worker leaves, there may be a few too many for a moment: a
    /// turn that gets one of those finds no worker, forgets the place and waits again.
    wait_queue: WaitQueue,
    /// Turns a worker runs at the same time.
    capacity: usize,
    members: Mutex<Members>,
    /// They outlive the workers.
    keys: CacheKeys,
    status: watch::Sender<Status>,
}

#[derive(Debug, Default)]
struct Members {
    all: Vec<Member>,
    next_id: u64,
}

#[derive(Debug)]
struct Member {
    id: u64,
    pid: Option<u32>,
    threads: Arc<Threads>,
    running: usize,
    begun: u64,
    /// Whether it gets new turns.
    open: bool,
    /// Notified when it is closed and its last turn is over.
    idle: Arc<Notify>,
}

impl Pool {
    /// A pool without workers; each worker will run `capacity` turns, and `queue` more may wait.
    pub(super) fn new(capacity: usize, queue: usize, status: watch::Sender<Status>) -> Arc<Self> {
        Arc::new(Self {
            wait_queue: WaitQueue::new(0, queue, status.clone()),
            capacity: capacity.max(1),
            members: Mutex::default(),
            keys: CacheKeys::default(),
            status,
        })
    }

    /// Waits for a worker that is free to run a turn: one that `suits`, if any does. See [`WaitQueue::enter`].
    pub(super) async fn lease(
        self: &Arc<Self>,
        suits: impl Fn(&Threads) -> bool,
        follows: bool,
    ) -> Result<Lease, Full> {
        loop {
            let place = self.wait_queue.enter(follows).await?;
            if let Some(lease) = self.assign(place, &suits) {
                return Ok(lease);
            }
        }
    }

    /// Gives the place to the least loaded worker, of those that suit if any does, if one is free.
    fn assign(
        self: &Arc<Self>,
        place: OwnedSemaphorePermit,
        suits: impl Fn(&Threads) -> bool,
    ) -> Option<Lease> {
        let mut members = self.lock();
        let free = |member: &&mut Member| member.open && member.running < self.capacity;
        let least = members
            .all
            .iter_mut()
            .filter(free)
            .min_by_key(|member| (!suits(&member.threads), member.running));
        let Some(member) = least else {
            place.forget();
            return None;
        };
        member.running += 1;
        member.begun += 1;
        let lease = Lease {
            threads: Arc::clone(&member.threads),
            seat: member.id,
            pool: Arc::clone(self),
            place: Some(place),
        };
        self.show(&members, false);
        Some(lease)
    }

    /// Counts the end of a turn, and frees its place.
    fn give_back(&self, seat: u64, place: OwnedSemaphorePermit) {
        let mut members = self.lock();
        let member = members.all.iter_mut().find(|member| member.id == seat);
        let Some(member) = member else {
            return place.forget();
        };
        member.running = member.running.saturating_sub(1);
        if !member.open {
            place.forget();
            if member.running == 0 {
                member.idle.notify_one();
            }
        }
        self.show(&members, false);
    }

    /// Adds a worker that is ready.
    pub(super) fn join(self: &Arc<Self>, pid: Option<u32>, threads: Arc<Threads>) -> Seat {
        let mut members = self.lock();
        let id = members.next_id;
        members.next_id += 1;
        let idle = Arc::new(Notify::new());
        members.all.push(Member {
            id,
            pid,
            threads,
            running: 0,
            begun: 0,
            open: true,
            idle: Arc::clone(&idle),
        });
        self.show(&members, true);
        self.wait_queue.add(self.capacity);
        Seat {
            pool: Arc::clone(self),
            id,
            idle,
        }
    }

    /// Whether any worker takes turns.
    pub(super) fn is_open(&self) -> bool {
        self.lock().all.iter().any(|member| member.open)
    }

    /// The places of the workers that take turns.
    pub(super) fn places(&self) -> Places {
        let members = self.lock();
        let open = members.all.iter().filter(|member| member.open).count();
        Places {
            free: self.wait_queue.free(),
            total: open * self.capacity,
        }
    }

    /// Shows the workers in the status. Only a change of the workers wakes its receivers (`news`), not one of their turns.
    fn show(&self, members: &Members, news: bool) {
        self.status.send_if_modified(|status| {
            let shown = members.all.iter().map(|member| WorkerStatus {
                pid: member.pid,
                turns: member.running,
                begun: member.begun,
                leaving: !member.open,
            });
            status.workers.clear();
            status.workers.extend(shown);
            if news {
                status.ready = members.all.iter().any(|member| member.open);
                if status.ready {
                    status.reason = None;
                } else {
                    status
                        .reason
                        .get_or_insert_with(|| "the worker has ended".to_owned());
                }
            }
            news
        });
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        self.members.lock()
    }
}

/// The right to run one turn on a worker, given back when dropped.
#[derive(Debug)]
pub(super) struct Lease {
    /// The threads of the worker.
    pub(super) threads: Arc<Threads>,
    pool: Arc<Pool>,
    seat: u64,
    place: Option<OwnedSemaphorePermit>,
}

impl Lease {
    /// The cache keys of conversations.
    pub(super) fn keys(&self) -> &CacheKeys {
        &self.pool.keys
    }

    /// Counts the turn as one that went on in the thread of its conversation.
    pub(super) fn went_on(&self) {
        self.pool.status.send_if_modified(|status| {
            status.continued += 1;
            false
        });
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            self.pool.give_back(self.seat, place);
        }
    }
}

/// A worker's membership in the pool, until dropped.
#[derive(Debug)]
pub(super) struct Seat {
    pool: Arc<Pool>,
    id: u64,
    idle: Arc<Notify>,
}

impl Seat {
    /// Gives the worker no new turns; running ones go on.
    pub(super) fn close(&self) {
        let mut members = self.pool.lock();
        let capacity = self.pool.capacity;
        let Some(member) = members.all.iter_mut().find(|member| member.id == self.id) else {
            return;
        };
        if std::mem::replace(&mut member.open, false) {
            self.pool
                .wait_queue
                .remove(capacity.saturating_sub(member.running));
        }
        if member.running == 0 {
            self.idle.notify_one();
        }
        self.pool.show(&members, true);
    }

    /// Waits until the last turn of a closed worker is over.
    pub(super) async fn idle(&self) {
        self.idle.notified().await;
    }

    /// The number of turns it was given.
    pub(super) fn begun(&self) -> u64 {
        let members = self.pool.lock();
        let member = members.all.iter().find(|member| member.id == self.id);
        member.map_or(0, |member| member.begun)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.close();
        let mut members = self.pool.lock();
        members.all.retain(|member| member.id != self.id);
        self.pool.show(&members, true);
    }
}

#[cfg(test)]
pub(super) mod tests;
