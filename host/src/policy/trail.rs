//! The trail: the last decisions, kept in memory for replays and explanations, and passed on to those who follow.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;

use super::digest::Digest;
use super::event::{Asker, Event, Follower, Place};
use super::packed::{self, Happening};
use super::records::Recorder;
use super::ring::{Look, Ring};
use super::tap::Taps;

/// The most events that are kept.
const EVENTS: usize = 20_000;
/// The most bytes of them.
const BYTES: usize = 64 << 20;
/// The most bytes that a thread keeps to pack events in.
const SCRATCH: usize = 64 << 10;

thread_local! {
    /// Events are packed outside of the ring's lock.
    static PACKED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The last events of all requests, whatever generation decided on them.
pub(super) struct Trail {
    began: Instant,
    began_at: SystemTime,
    requests: AtomicU64,
    kept: Mutex<Ring>,
    followers: [ArcSwapOption<Follower>; Place::COUNT],
    recorder: OnceLock<Recorder>,
    taps: Arc<Taps>,
}

impl Default for Trail {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            began_at: SystemTime::now(),
            requests: AtomicU64::new(0),
            kept: Mutex::new(Ring::new(EVENTS, BYTES)),
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

    /// Keeps an event in place of the oldest one, and passes it on.
    pub(super) fn push(&self, request: &Arc<Asker>, happening: impl Happening) {
        let at = self.began.elapsed();
        PACKED.with_borrow_mut(|bytes| {
            bytes.clear();
            if packed::pack((request, at), &happening, bytes).is_ok() {
                self.kept.lock().push(bytes);
            }
            bytes.shrink_to(SCRATCH);
        });
        let recorder = self.recorder().filter(|_| request.is_recorded);
        let is_followed = request.followers.iter().any(Option::is_some);
        if recorder.is_none() && !is_followed && !self.taps.is_open() {
            return;
        }
        let event = Arc::new(Event {
            request: Arc::clone(request),
            at,
            what: happening.what(),
        });
        let size = event.size();
        for follower in request.followers.iter().flatten() {
            follower.tell(Arc::clone(&event), size);
        }
        if self.taps.is_open() {
            self.taps.show(&event, self.time(event.at));
        }
        if let Some(recorder) = recorder {
            recorder.tell(&event, size);
        }
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

    /// The events that are kept now.
    pub(super) fn events(&self) -> Events {
        Events(self.kept.lock().look())
    }

    /// The time of an event.
    pub(super) fn time(&self, at: Duration) -> SystemTime {
        self.began_at + at
    }
}

/// The kept events of one moment.
pub(super) struct Events(Look);

impl Events {
    /// All of them, oldest first.
    pub(super) fn all(&self) -> impl Iterator<Item = Event> {
        self.0.messages().filter_map(packed::unpack)
    }

    /// Those of requests with this id, oldest first.
    pub(super) fn of(&self, id: &str) -> impl Iterator<Item = Event> {
        let messages = self.0.messages();
        messages
            .filter(move |message| packed::id(message) == Some(id))
            .filter_map(packed::unpack)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::super::exchange::What;

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
        let events: Vec<_> = trail.events().all().collect();
        assert_eq!(events.len(), EVENTS);
        assert!(matches!(events[0].what, What::Settled(5)));
    }

    #[test]
    fn the_bytes_are_bounded_too() {
        let trail = Trail::default();
        let id = "x".repeat(1 << 20);
        for _ in 0..100 {
            let request = trail.request(&id, 1, digest());
            trail.push(&request, What::Settled(0));
        }
        assert!(trail.kept.lock().bytes() <= BYTES);
        let kept = trail.events().all().count();
        assert!((32..64).contains(&kept), "{kept}");
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
        while let Ok(sent) = events.try_recv() {
            seen.push(matches!(sent.event.what, What::Settled(1 | 2 | 4)));
        }
        assert_eq!(seen, [true; 3]);
    }
}
