//! An event of a request, the request that it belongs to, and the follower that gets it.

use std::mem::size_of;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::{self, error::TrySendError};

use super::digest::Digest;
use super::exchange::What;

/// A request whose decisions are remembered.
pub(super) struct Asker {
    /// Its number in this process: clients choose their ids, and may choose the same.
    pub(super) number: u64,
    /// The id in `x-request-id`.
    pub(super) id: String,
    /// The generation that decides on it.
    pub(super) generation: u64,
    pub(super) digest: Digest,
    /// The followers that get its events.
    pub(super) followers: Followers,
    /// Whether they are recorded on disk.
    pub(super) is_recorded: bool,
    turns: AtomicU32,
}

impl Asker {
    pub(super) fn new(
        number: u64,
        id: String,
        (generation, digest): (u64, Digest),
        followers: Followers,
    ) -> Self {
        Self {
            number,
            id,
            generation,
            digest,
            followers,
            is_recorded: false,
            turns: AtomicU32::new(0),
        }
    }

    /// The same request, before its first turn, when other policies decide on it.
    pub(super) fn decided_by(&self, digest: Digest) -> Self {
        let followers = self.followers.clone();
        let id = self.id.clone();
        let request = Self::new(self.number, id, (self.generation, digest), followers);
        Self {
            is_recorded: self.is_recorded,
            ..request
        }
    }

    /// The number of its next turn.
    pub(super) fn next_turn(&self) -> u32 {
        self.turns.fetch_add(1, Ordering::Relaxed)
    }
}

/// One event.
pub(super) struct Event {
    pub(super) request: Arc<Asker>,
    /// The time since the trail began.
    pub(super) at: Duration,
    pub(super) what: What,
}

impl Event {
    /// About the bytes that it takes in memory.
    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + self.request.id.len() + self.what.size()
    }
}

/// The followers, by place.
pub(super) type Followers = [Option<Arc<Follower>>; Place::COUNT];

/// The place of a follower; there is one at each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A candidate in shadow.
    Shadow,
    /// The policies before those on probation.
    Probation,
}

impl Place {
    /// The number of places.
    pub(super) const COUNT: usize = 2;
}

/// An event on its way to a follower.
pub(super) struct Sent {
    pub(super) event: Arc<Event>,
    /// About the bytes that it takes in memory.
    size: usize,
}

/// The most bytes of the events that wait for a follower; requests that come when half of them wait are not followed.
const WAITING: usize = 16 << 20;

/// Gets every event of the requests that begin from now on. Requests that come too fast are not followed at all, and counted:
/// half a request would be decided otherwise.
pub(super) struct Follower {
    queue: mpsc::Sender<Sent>,
    /// The bytes of the events that wait.
    waiting: AtomicUsize,
    lost: AtomicU64,
    is_over: AtomicBool,
}

impl Follower {
    pub(super) fn new(queue: mpsc::Sender<Sent>) -> Self {
        Self {
            queue,
            waiting: AtomicUsize::new(0),
            lost: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        }
    }

    /// The number of requests that were not followed, or not to their end.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Whether a request is followed.
    pub(super) fn has_room(&self) -> bool {
        let has_room = self.queue.capacity() > self.queue.max_capacity() / 2
            && self.waiting.load(Ordering::Relaxed) <= WAITING / 2;
        self.lost.fetch_add(u64::from(!has_room), Ordering::Relaxed);
        has_room
    }

    /// It wants no more events.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Whether it wants no more events. Requests that are under way, and kept events, hold it still.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Passes an event of this size on, without waiting.
    pub(super) fn tell(&self, event: Arc<Event>, size: usize) {
        if self.is_over() {
            return;
        }
        let waiting = self.waiting.fetch_add(size, Ordering::Relaxed) + size;
        let sent = match waiting > WAITING {
            true => Err(TrySendError::Full(Sent { event, size })),
            false => self.queue.try_send(Sent { event, size }),
        };
        if let Err(error) = sent {
            self.waiting.fetch_sub(size, Ordering::Relaxed);
            let is_full = matches!(error, TrySendError::Full(_));
            self.lost.fetch_add(u64::from(is_full), Ordering::Relaxed);
        }
    }

    /// An event does not wait any longer.
    pub(super) fn saw(&self, sent: &Sent) {
        self.waiting.fetch_sub(sent.size, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_that_wait_for_a_follower_are_bounded_in_bytes() {
        let (queue, mut events) = mpsc::channel(1_000);
        let follower = Follower::new(queue);
        let request = Arc::new(Asker::new(
            1,
            String::new(),
            (1, Digest::from([7; 32])),
            Default::default(),
        ));
        let event = Arc::new(Event {
            request,
            at: Duration::ZERO,
            what: What::Settled(0),
        });
        let large = WAITING / 8;
        for _ in 0..4 {
            assert!(follower.has_room());
            follower.tell(Arc::clone(&event), large);
        }
        follower.tell(Arc::clone(&event), large);
        assert!(!follower.has_room(), "more than half");
        for _ in 0..100 {
            follower.tell(Arc::clone(&event), large);
        }
        assert_eq!(follower.lost(), 98);
        let mut waited = 0;
        while let Ok(sent) = events.try_recv() {
            follower.saw(&sent);
            waited += 1;
        }
        assert_eq!(waited, 8);
        assert!(follower.has_room());
    }

    #[test]
    fn a_request_of_a_canary_is_followed_and_recorded_to_its_end() {
        let (queue, _events) = mpsc::channel(1);
        let follower = Some(Arc::new(Follower::new(queue)));
        let digest = Digest::from([7; 32]);
        let mut request = Asker::new(3, "a".to_owned(), (1, digest), [follower, None]);
        request.is_recorded = true;
        let other = request.decided_by(Digest::from([8; 32]));
        assert_eq!(
            (other.number, other.id.as_str(), other.generation),
            (3, "a", 1)
        );
        assert!(other.is_recorded && other.followers[0].is_some());
    }
}
