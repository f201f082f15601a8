//! The buckets of this process, in its memory.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::bucket::{Bucket, Id, Loss, Saved};
use super::shelves::{Place, Shelves};
use super::{Counts, End, Quota, Reservation, Standing, Store, Taken, Taking};

/// Buckets kept at most. Beyond it, a new key's bucket takes the place of one that nobody is short of.
pub(super) const MAX_BUCKETS: usize = 100_000;

/// Where none gives way, new keys of a rule share a bucket. So many of those; a policy that names rules without end is refused.
const MAX_SHARED: usize = 1_000;

/// What is said of a bucket there is no room for.
const NO_ROOM: Standing = Standing {
    granted: false,
    remaining: 0,
    reset_ms: SWEEP_EVERY_MS,
};

/// When there is no room for shared buckets, how long to wait before idle ones are looked for again: that visits all of them.
const SWEEP_EVERY_MS: u64 = 1_000;

/// How long after the last shared bucket was used sharing counts as having begun anew.
const QUIET_MS: u64 = 60_000;

/// The default [`Store`]. Cheap to clone; the clones share their buckets.
#[derive(Clone)]
pub struct Memory(Arc<Shared>);

struct Shared {
    /// Milliseconds since some moment; never goes backwards, whatever the machine's clock does.
    clock: Clock,
    table: Mutex<Table>,
}

type Clock = Box<dyn Fn() -> u64 + Send + Sync>;

struct Table {
    /// Private ones with their place.
    buckets: HashMap<Arc<Id>, (Bucket, Option<Place>)>,
    /// The order of the private ones.
    shelves: Shelves,
    /// The others.
    shared: HashSet<Arc<Id>>,
    /// How many private ones there may be.
    room: usize,
    /// When idle shared buckets may be looked for again.
    sweep_ms: u64,
    /// When a shared bucket was last drawn from.
    shared_ms: Option<u64>,
    /// Something was drawn or given back since it was last saved.
    changed: bool,
    evicted: u64,
    sharing: u64,
}

impl Default for Memory {
    fn default() -> Self {
        Self::restore(Vec::new(), 0)
    }
}

impl Store for Memory {
    fn take<'a>(&'a self, quotas: &'a [Quota]) -> Taking<'a> {
        Box::pin(async { Ok(self.draw(quotas)) })
    }

    fn counts(&self) -> Counts {
        let table = self.lock();
        Counts {
            buckets: table.buckets.len(),
            evicted: table.evicted,
            shared: table.sharing,
        }
    }
}

impl Memory {
    /// Goes on from what was saved so many milliseconds ago.
    pub(super) fn restore(saved: Vec<(Id, Saved)>, elapsed_ms: u64) -> Self {
        let origin = Instant::now();
        let clock = move || u64::try_from(origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        let memory = Self::with_clock(clock);
        let mut table = memory.lock();
        let private = saved.into_iter().filter(|(id, _)| !id.is_of_the_rest());
        for (id, saved) in private.take(MAX_BUCKETS) {
            let bucket = Bucket::restored(id.unit, saved, elapsed_ms);
            table.put(Arc::new(id), bucket);
        }
        drop(table);
        memory
    }

    pub(super) fn with_clock(clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self::with_room(MAX_BUCKETS, clock)
    }

    pub(super) fn with_room(room: usize, clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared {
            clock: Box::new(clock),
            table: Mutex::new(Table::new(room)),
        }))
    }

    /// What is to be remembered.
    pub(super) fn save(&self) -> Vec<(Arc<Id>, Saved)> {
        let mut table = self.lock();
        let now_ms = (self.0.clock)();
        table.changed = false;
        let buckets = table.buckets.iter_mut();
        let private = buckets.filter(|(_, (_, place))| place.is_some());
        private
            .filter_map(|(id, (bucket, _))| Some((Arc::clone(id), bucket.saved(now_ms)?)))
            .collect()
    }

    /// Whether anything was drawn or given back since it was last saved.
    pub(super) fn has_changed(&self) -> bool {
        self.lock().changed
    }

    /// How many buckets there are: however many keys come, about 100,000 at most.
    #[must_use]
    pub fn buckets(&self) -> usize {
        self.lock().buckets.len()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// See [`Store::take`].
    pub(super) fn draw(&self, quotas: &[Quota]) -> Taken {
        let mut table = self.lock();
        let now_ms = (self.0.clock)();
        let mut ids = Vec::with_capacity(quotas.len());
        for quota in quotas {
            let id = table.place(quota, &ids, now_ms);
            ids.push(id);
        }
        let granted = table.draw_all(quotas, &ids);
        let all = granted.iter().all(|granted| *granted);
        let asked = quotas.iter().zip(&ids).zip(granted);
        let standings = asked
            .map(|((quota, id), granted)| table.standing(quota, id.as_ref(), granted))
            .collect();
        ids.iter().flatten().for_each(|id| table.used(id));
        let shares = table.shares(&ids, now_ms);
        drop(table);
        if shares {
            tracing::warn!(
                most = MAX_BUCKETS,
                "rate limits: there are too many buckets that are in use; new callers and addresses share one per rule"
            );
        }
        let hold = all.then(|| self.hold(quotas, ids));
        (standings, hold)
    }

    fn hold(&self, quotas: &[Quota], ids: Vec<Option<Arc<Id>>>) -> Reservation {
        let drawn: Vec<_> = ids
            .into_iter()
            .zip(quotas)
            .filter_map(|(id, quota)| Some((id?, quota.cost)))
            .collect();
        let memory = self.clone();
        Reservation::new(move |end| memory.give_back(&drawn, end))
    }

    fn give_back(&self, drawn: &[(Arc<Id>, u64)], end: End) {
        let mut table = self.lock();
        let now_ms = (self.0.clock)();
        for (id, cost) in drawn {
            if let Some((bucket, _)) = table.buckets.get_mut(id) {
                bucket.give_back(*cost, end, now_ms);
                table.used(id);
                table.changed = true;
            }
        }
    }
}

impl Table {
    fn new(room: usize) -> Self {
        Self {
            buckets: HashMap::new(),
            shelves: Shelves::default(),
            shared: HashSet::new(),
            room,
            sweep_ms: 0,
            shared_ms: None,
            changed: false,
            evicted: 0,
            sharing: 0,
        }
    }

    /// A private bucket.
    fn put(&mut self, id: Arc<Id>, bucket: Bucket) {
        let before = self.buckets.get(&id).and_then(|(_, place)| *place);
        let place = self.shelves.put(&id, before, bucket.need());
        self.buckets.insert(id, (bucket, Some(place)));
    }

    /// Finds or makes the bucket, as it is now; none if there are too many. Those of the same request stay.
    fn place(&mut self, quota: &Quota, placed: &[Option<Arc<Id>>], now_ms: u64) -> Option<Arc<Id>> {
        let id = Id::of(quota);
        let new = || Bucket::new(quota, now_ms);
        if let Some((id, _)) = self.buckets.get_key_value(&id) {
            let id = Arc::clone(id);
            return self.refresh(id, quota, now_ms);
        }
        if self.buckets.len() - self.shared.len() < self.room || self.make_room(placed, now_ms) {
            let id = Arc::new(id);
            self.put(Arc::clone(&id), new());
            return self.refresh(id, quota, now_ms);
        }
        let id = Arc::new(id.of_the_rest());
        if !self.shared.contains(&id) {
            self.sweep(placed, now_ms);
            if self.shared.len() >= MAX_SHARED {
                return None;
            }
            self.shared.insert(Arc::clone(&id));
            self.buckets.insert(Arc::clone(&id), (new(), None));
        }
        self.refresh(id, quota, now_ms)
    }

    fn refresh(&mut self, id: Arc<Id>, quota: &Quota, now_ms: u64) -> Option<Arc<Id>> {
        let (bucket, _) = self.buckets.get_mut(&id)?;
        bucket.refresh(quota, now_ms);
        Some(id)
    }

    /// Forgets one of the least recently used: a full one, or the one that is missed least of the rule with the most. False if
    /// all of them are limits just now.
    fn make_room(&mut self, placed: &[Option<Arc<Id>>], now_ms: u64) -> bool {
        let mut least: Option<((usize, Loss), Arc<Id>)> = None;
        for (rank, id) in self.shelves.least_used() {
            let Some((bucket, _)) = self.buckets.get_mut(&id) else {
                continue;
            };
            let loss = bucket.loss(now_ms);
            let rank = if loss == Loss::None { 0 } else { rank };
            if loss == Loss::Limit || is_among(placed, &id) {
                // Others are looked at next time.
                self.used(&id);
            } else if least
                .as_ref()
                .is_none_or(|(least, _)| (rank, loss) < *least)
            {
                least = Some(((rank, loss), id));
            }
        }
        let Some(((_, loss), id)) = least else {
            return false;
        };
        self.evicted += u64::from(loss != Loss::None);
        if let Some((_, Some(place))) = self.buckets.remove(&id) {
            self.shelves.remove(&id, place);
        }
        true
    }

    /// Forgets idle shared buckets, if there is no room for another.
    fn sweep(&mut self, placed: &[Option<Arc<Id>>], now_ms: u64) {
        if self.shared.len() < MAX_SHARED || now_ms < self.sweep_ms {
            return;
        }
        self.sweep_ms = now_ms.saturating_add(SWEEP_EVERY_MS);
        let buckets = &mut self.buckets;
        self.shared.retain(|id| {
            let loss = buckets.get_mut(id).map(|(bucket, _)| bucket.loss(now_ms));
            let stays = loss != Some(Loss::None) || is_among(placed, id);
            if !stays {
                buckets.remove(id);
            }
            stays
        });
    }

    /// A bucket was drawn from, or given back to.
    fn used(&mut self, id: &Arc<Id>) {
        if let Some((bucket, Some(place))) = self.buckets.get_mut(id) {
            *place = self.shelves.put(id, Some(*place), bucket.need());
        }
    }

    /// Counts a request that is paid from shared buckets. Answers whether that begins now.
    fn shares(&mut self, ids: &[Option<Arc<Id>>], now_ms: u64) -> bool {
        let is_shared =
            |id: &Option<Arc<Id>>| id.as_ref().is_none_or(|id| self.shared.contains(id));
        if !ids.iter().any(is_shared) {
            return false;
        }
        self.sharing += 1;
        let last = self.shared_ms.replace(now_ms);
        last.is_none_or(|last| now_ms.saturating_sub(last) >= QUIET_MS)
    }

    /// Draws from all or from none, and says which could pay. One after the other, so that two quotas of one bucket
    /// are both paid from it.
    fn draw_all(&mut self, quotas: &[Quota], ids: &[Option<Arc<Id>>]) -> Vec<bool> {
        let mut granted = Vec::with_capacity(quotas.len());
        for (quota, id) in quotas.iter().zip(ids) {
            let bucket = id.as_ref().and_then(|id| self.buckets.get_mut(id));
            granted.push(bucket.is_some_and(|(bucket, _)| bucket.draw(quota.cost)));
        }
        if granted.iter().all(|granted| *granted) {
            self.changed = true;
            return granted;
        }
        for ((quota, id), granted) in quotas.iter().zip(ids).zip(&granted) {
            let bucket = id.as_ref().and_then(|id| self.buckets.get_mut(id));
            if let Some((bucket, _)) = bucket.filter(|_| *granted) {
                bucket.undo(quota.cost);
            }
        }
        granted
    }

    fn standing(&self, quota: &Quota, id: Option<&Arc<Id>>, granted: bool) -> Standing {
        let bucket = id.and_then(|id| self.buckets.get(id));
        bucket.map_or(NO_ROOM, |(bucket, _)| bucket.standing(quota.cost, granted))
    }
}

fn is_among(placed: &[Option<Arc<Id>>], id: &Arc<Id>) -> bool {
    placed.iter().flatten().any(|placed| placed == id)
}

#[cfg(test)]
mod tests;
