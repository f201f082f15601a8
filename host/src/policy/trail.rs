//! The trail: the last decisions, kept in memory for replays and explanations, and passed on to those who follow.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;

use super::digest::Digest;
use super::event::{Asker, Event, Follower, Place};
use super::exchange::What;
use super::records::Recorder;
use super::tap::Taps;

/// The most events that are kept.
const EVENTS: usize = 20_000;
/// The most bytes of them.
const BYTES: usize = 64 << 20;

/// The last events of all requests, whatever generation decided on them.
pub(super) struct Trail {
    began: Instant,
    began_at: SystemTime,
    requests: AtomicU64,
    kept: Mutex<Kept>,
    followers: [ArcSwapOption<Follower>; Place::COUNT],
    recorder: OnceLock<Recorder>,
    taps: Arc<Taps>,
}

#[derive(Default)]
struct Kept {
    events: VecDeque<(Arc<Event>, usize)>,
    bytes: usize,
}

impl Default for Trail {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            began_at: SystemTime::now(),
            requests: AtomicU64::new(0),
            kept: Mutex::default(),
            followers: Default::default(),
            recorder: OnceLock::new(),
            taps: Arc::default(),
        }
    }
}

impl Trail {
    /// Begins a request.
    pub(super) fn request(&self, id: &str, generation: u64, digest: Digest) -> Arc<Asker> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let followers = self.followers.each_ref().map(|follower| {
            let follower = follower.load_full();
            follower.filter(|follower| follower.has_room())
        });
        let id = id.to_owned();
        let mut request = Asker::new(number, id, (generation, digest), followers);
        request.is_recorded = self.recorder().is_some_and(Recorder::has_room);
        Arc::new(request)
    }

    /// Keeps an event, in place of the oldest if there is no room.
    pub(super) fn push(&self, request: &Arc<Asker>, what: What) {
        let event = Arc::new(Event {
            request: Arc::clone(request),
            at: self.began.elapsed(),
            what,
        });
        for follower in request.followers.iter().flatten() {
            follower.tell(Arc::clone(&event));
        }
        if self.taps.is_open() {
            self.taps.show(&event, self.time(event.at));
        }
        let size = event.size();
        if let Some(recorder) = self.recorder().filter(|_| request.is_recorded) {
            recorder.tell(&event, size);
        }
        let mut kept = self.kept.lock();
        kept.bytes += size;
        kept.events.push_back((event, size));
        let mut gone = None;
        while kept.events.len() > EVENTS || kept.bytes > BYTES {
            // The oldest is freed outside of the lock; there is seldom more than one.
            gone = kept.events.pop_front();
            kept.bytes -= gone.as_ref().map_or(0, |(_, size)| *size);
        }
        drop(kept);
        drop(gone);
    }

    /// Passes the events of all further requests on, in place of the follower that was there before.
    pub(super) fn follow(&self, place: Place, follower: Arc<Follower>) {
        self.followers[place as usize].store(Some(follower));
    }

    /// Ends that, unless another one is there by now.
    pub(super) fn unfollow(&self, place: Place, follower: &Arc<Follower>) {
        follower.end();
        self.followers[place as usize].compare_and_swap(follower, None);
    }

    /// Writes the events of all further requests down, for good.
    pub(super) fn record(&self, recorder: Recorder) {
        // There is one for the life of the process.
        let _ = self.recorder.set(recorder);
    }

    /// The recorder that writes the events down, if there is one.
    pub(super) fn recorder(&self) -> Option<&Recorder> {
        self.recorder.get()
    }

    /// The operators who look on.
    pub(super) fn taps(&self) -> &Arc<Taps> {
        &self.taps
    }

    /// The kept events, oldest first.
    pub(super) fn events(&self) -> Vec<Arc<Event>> {
        let kept = self.kept.lock();
        kept.events
            .iter()
            .map(|(event, _)| Arc::clone(event))
            .collect()
    }

    /// The time of an event.
    pub(super) fn time(&self, at: Duration) -> SystemTime {
        self.began_at + at
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    fn digest() -> Digest {
        Digest::from([7; 32])
    }

    #[test]
    fn the_oldest_events_make_room() {
        let trail = Trail::default();
        let request = trail.request("a", 1, digest());
        for number in 0..(EVENTS as u64 + 5) {
            trail.push(&request, What::Settled(number));
        }
        let events = trail.events();
        assert_eq!(events.len(), EVENTS);
        assert!(matches!(events[0].what, What::Settled(5)));
        assert_eq!(trail.kept.lock().bytes, EVENTS * events[0].size());
    }

    #[test]
    fn the_bytes_are_bounded_too() {
        let trail = Trail::default();
        let id = "x".repeat(1 << 20);
        for _ in 0..100 {
            let request = trail.request(&id, 1, digest());
            trail.push(&request, What::Settled(0));
        }
        assert!(trail.kept.lock().bytes <= BYTES);
        assert!(trail.events().len() < 64);
    }

    #[test]
    fn a_slow_follower_gets_fewer_requests_and_those_whole() {
        let trail = Trail::default();
        let before = trail.request("before", 1, digest());
        let (queue, mut events) = mpsc::channel(4);
        let follower = Arc::new(Follower::new(queue));
        trail.follow(Place::Shadow, Arc::clone(&follower));
        trail.push(&before, What::Settled(0));
        let followed = trail.request("followed", 1, digest());
        trail.push(&followed, What::Settled(1));
        trail.push(&followed, What::Settled(2));
        // The queue is half full: what has begun goes on, nothing else begins.
        let other = trail.request("other", 1, digest());
        trail.push(&other, What::Settled(3));
        trail.push(&followed, What::Settled(4));
        assert_eq!(follower.lost(), 1);
        trail.unfollow(Place::Shadow, &follower);
        let after = trail.request("after", 1, digest());
        trail.push(&after, What::Settled(5));
        let mut seen = Vec::new();
        while let Ok(event) = events.try_recv() {
            seen.push(matches!(event.what, What::Settled(1 | 2 | 4)));
        }
        assert_eq!(seen, [true; 3]);
    }
}
