//! The buckets of this process, in memory.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};

use super::bucket::{Bucket, Id, Loss, Saved};
use super::shelves::{Place, Shelves};
use super::{BucketStatus, Counts, End, Looking, Quota, Reservation, Store, Taken, Taking};

/// The most private buckets. Beyond it, a new key's bucket replaces one that refused no draw recently and has no reserved units.
pub(super) const MAX_BUCKETS: usize = 100_000;

/// The most shared buckets. If no bucket can be evicted, new keys of a rule share one; beyond this number of rules, draws are
/// refused.
const MAX_SHARED: usize = 1_000;

/// The status of a bucket for which there is no room.
const NO_ROOM: BucketStatus = BucketStatus {
    granted: false,
    remaining: 0,
    reset_ms: SWEEP_EVERY_MS,
};

/// The wait before idle shared buckets are searched again when there is no room for another: the search visits all of them.
const SWEEP_EVERY_MS: u64 = 1_000;

/// Time without use of a shared bucket after which sharing is logged again.
const QUIET_MS: u64 = 60_000;

/// The default [`Store`]. Cheap to clone; the clones share their buckets.
#[derive(Clone)]
pub struct Memory(Arc<Shared>);

struct Shared {
    /// Milliseconds since an arbitrary moment; never goes backwards, whatever the machine's clock does.
    clock: Clock,
    table: Mutex<Table>,
    /// When they were last saved, in milliseconds since 1970; 0 before the first time.
    saved_ms: AtomicU64,
}

type Clock = Box<dyn Fn() -> u64 + Send + Sync>;

struct Table {
    /// Private buckets have a place in the order, shared ones have none.
    buckets: HashMap<Arc<Id>, (Bucket, Option<Place>)>,
    /// The order of the private buckets.
    shelves: Shelves,
    /// The shared buckets.
    shared: HashSet<Arc<Id>>,
    /// The most private buckets.
    room: usize,
    /// The time from which idle shared buckets may be searched again.
    sweep_ms: u64,
    /// The time of the last draw from a shared bucket.
    shared_ms: Option<u64>,
    /// Whether anything was drawn or given back since the last save.
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

    fn look<'a>(&'a self, quotas: &'a [Quota]) -> Looking<'a> {
        Box::pin(async {
            let now_ms = (self.0.clock)();
            let table = self.lock();
            let statuses = quotas.iter().map(|quota| table.look(quota, now_ms));
            Ok(statuses.collect())
        })
    }

    fn counts(&self) -> Counts {
        let saved_ms = self.0.saved_ms.load(Ordering::Relaxed);
        let table = self.lock();
        Counts {
            saved_ms: (saved_ms > 0).then_some(saved_ms),
            buckets: table.buckets.len(),
            evicted: table.evicted,
            shared: table.sharing,
        }
    }
}

impl Memory {
    /// Continues from buckets that were saved `elapsed_ms` milliseconds ago.
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

    /// Without any bucket yet, and with a clock of milliseconds that never goes backwards.
    pub fn with_clock(clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self::with_room(MAX_BUCKETS, clock)
    }

    pub(super) fn with_room(room: usize, clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared {
            clock: Box::new(clock),
            table: Mutex::new(Table::new(room)),
            saved_ms: AtomicU64::new(0),
        }))
    }

    /// The private buckets to save.
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

    /// Notes when they were saved, in milliseconds since 1970.
    pub(super) fn saved_at(&self, ms: u64) {
        self.0.saved_ms.store(ms, Ordering::Relaxed);
    }

    /// Whether anything was drawn or given back since the last save.
    pub(super) fn has_changed(&self) -> bool {
        self.lock().changed
    }

    /// The number of buckets; however many keys come, about 100,000 at most.
    #[must_use]
    pub fn buckets(&self) -> usize {
        self.lock().buckets.len()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock()
    }

    /// Draws from all buckets or from none, as [`Store::take`].
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
        let statuses = asked
            .map(|((quota, id), granted)| table.status(quota, id.as_ref(), granted))
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
        (statuses, hold)
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

    /// Inserts or replaces a private bucket.
    fn put(&mut self, id: Arc<Id>, bucket: Bucket) {
        let before = self.buckets.get(&id).and_then(|(_, place)| *place);
        let place = self.shelves.put(&id, before, bucket.need());
        self.buckets.insert(id, (bucket, Some(place)));
    }

    /// Finds or creates the bucket, and refreshes it; `None` if there are too many. Buckets of the same request are not evicted.
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

    /// The status of a bucket as a draw would find it.
    fn look(&self, quota: &Quota, now_ms: u64) -> BucketStatus {
        let id = Id::of(quota);
        let found = self.buckets.get(&id);
        let found = found.or_else(|| self.buckets.get(&id.of_the_rest()));
        let mut bucket = found.map_or_else(|| Bucket::new(quota, now_ms), |(bucket, _)| *bucket);
        bucket.refresh(quota, now_ms);
        bucket.status(0, true)
    }

    fn refresh(&mut self, id: Arc<Id>, quota: &Quota, now_ms: u64) -> Option<Arc<Id>> {
        let (bucket, _) = self.buckets.get_mut(&id)?;
        bucket.refresh(quota, now_ms);
        Some(id)
    }

    /// Evicts one of the least recently used buckets: a full one, or else the one with the least loss of the rule with the most
    /// buckets. Returns false if none of them can be evicted.
    fn make_room(&mut self, placed: &[Option<Arc<Id>>], now_ms: u64) -> bool {
        let mut least: Option<((usize, Loss), Arc<Id>)> = None;
        for (rank, id) in self.shelves.least_used() {
            let Some((bucket, _)) = self.buckets.get_mut(&id) else {
                continue;
            };
            let loss = bucket.loss(now_ms);
            let rank = if loss == Loss::None { 0 } else { rank };
            if loss == Loss::Limit || is_among(placed, &id) {
                // Marks it as used, so that the next search examines other buckets.
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

    /// Removes idle shared buckets, if there is no room for another.
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

    /// Moves a bucket to the end of the order, after a draw or a return.
    fn used(&mut self, id: &Arc<Id>) {
        if let Some((bucket, Some(place))) = self.buckets.get_mut(id) {
            *place = self.shelves.put(id, Some(*place), bucket.need());
        }
    }

    /// Counts a request that draws from shared buckets. Returns whether sharing begins now.
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

    /// Draws from all or from none, and returns which were granted. It draws one after the other, so that two quotas of one
    /// bucket both draw from it.
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

    fn status(&self, quota: &Quota, id: Option<&Arc<Id>>, granted: bool) -> BucketStatus {
        let bucket = id.and_then(|id| self.buckets.get(id));
        bucket.map_or(NO_ROOM, |(bucket, _)| bucket.status(quota.cost, granted))
    }
}

fn is_among(placed: &[Option<Arc<Id>>], id: &Arc<Id>) -> bool {
    placed.iter().flatten().any(|placed| placed == id)
}

#[cfg(test)]
mod tests;
