//! The buckets of this process, in its memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::bucket::{Bucket, Id, Saved};
use super::{End, Hold, Quota, Standing, Store, Taken, Taking};

/// Buckets kept at most. Beyond it, new keys of a rule share one bucket: a flood of made-up keys limits itself.
pub(super) const MAX_BUCKETS: usize = 100_000;

/// Of these shared buckets, one a rule; a policy that names rules without end is refused.
const MAX_SHARED: usize = 1_000;

/// What is said of a bucket there is no room for.
const NO_ROOM: Standing = Standing {
    granted: false,
    remaining: 0,
    reset_ms: SWEEP_EVERY_MS,
};

/// When there is no room, how long to wait before idle buckets are looked for again: that visits all of them.
const SWEEP_EVERY_MS: u64 = 1_000;

/// The default [`Store`]. Cheap to clone; the clones share their buckets.
#[derive(Clone)]
pub struct Memory(Arc<Shared>);

struct Shared {
    /// Milliseconds since some moment; never goes backwards, whatever the machine's clock does.
    clock: Clock,
    table: Mutex<Table>,
}

type Clock = Box<dyn Fn() -> u64 + Send + Sync>;

#[derive(Default)]
struct Table {
    buckets: HashMap<Arc<Id>, Bucket>,
    /// When idle buckets may be looked for again.
    sweep_ms: u64,
    /// Something was drawn or given back since it was last saved.
    changed: bool,
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
}

impl Memory {
    /// Goes on from what was saved so many milliseconds ago.
    pub(super) fn restore(saved: Vec<(Id, Saved)>, elapsed_ms: u64) -> Self {
        let origin = Instant::now();
        let clock = move || u64::try_from(origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        let memory = Self::with_clock(clock);
        let buckets = saved.into_iter().take(MAX_BUCKETS).map(|(id, saved)| {
            let bucket = Bucket::restored(id.unit, saved, elapsed_ms);
            (Arc::new(id), bucket)
        });
        memory.lock().buckets.extend(buckets);
        memory
    }

    pub(super) fn with_clock(clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared {
            clock: Box::new(clock),
            table: Mutex::default(),
        }))
    }

    /// What is to be remembered.
    pub(super) fn save(&self) -> Vec<(Arc<Id>, Saved)> {
        let mut table = self.lock();
        let now_ms = (self.0.clock)();
        table.changed = false;
        let buckets = table.buckets.iter_mut();
        buckets
            .filter_map(|(id, bucket)| Some((Arc::clone(id), bucket.saved(now_ms)?)))
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
        // Before the first is placed: what is placed for this request is not forgotten for the next.
        table.make_room(quotas.len(), now_ms);
        let ids: Vec<_> = quotas
            .iter()
            .map(|quota| table.place(quota, now_ms))
            .collect();
        let granted = table.draw_all(quotas, &ids);
        let all = granted.iter().all(|granted| *granted);
        let asked = quotas.iter().zip(&ids).zip(granted);
        let standings = asked
            .map(|((quota, id), granted)| table.standing(quota, id.as_ref(), granted))
            .collect();
        drop(table);
        let hold = all.then(|| self.hold(quotas, ids));
        (standings, hold)
    }

    fn hold(&self, quotas: &[Quota], ids: Vec<Option<Arc<Id>>>) -> Hold {
        let drawn: Vec<_> = ids
            .into_iter()
            .zip(quotas)
            .filter_map(|(id, quota)| Some((id?, quota.cost)))
            .collect();
        let memory = self.clone();
        Hold::new(move |end| memory.give_back(&drawn, end))
    }

    fn give_back(&self, drawn: &[(Arc<Id>, u64)], end: End) {
        let mut table = self.lock();
        let now_ms = (self.0.clock)();
        for (id, cost) in drawn {
            if let Some(bucket) = table.buckets.get_mut(id) {
                bucket.give_back(*cost, end, now_ms);
                table.changed = true;
            }
        }
    }
}

impl Table {
    /// Finds or makes the bucket, as it is now; none if there are too many.
    fn place(&mut self, quota: &Quota, now_ms: u64) -> Option<Arc<Id>> {
        let mut id = Id::of(quota);
        if !self.buckets.contains_key(&id) && self.buckets.len() >= MAX_BUCKETS {
            id = id.of_the_rest();
            let full = self.buckets.len() >= MAX_BUCKETS + MAX_SHARED;
            if full && !self.buckets.contains_key(&id) {
                return None;
            }
        }
        let id = match self.buckets.get_key_value(&id) {
            Some((id, _)) => Arc::clone(id),
            None => Arc::new(id),
        };
        let bucket = self.buckets.entry(Arc::clone(&id));
        bucket
            .or_insert_with(|| Bucket::new(quota, now_ms))
            .refresh(quota, now_ms);
        Some(id)
    }

    /// Forgets the idle, if there is no room for so many more.
    fn make_room(&mut self, more: usize, now_ms: u64) {
        if self.buckets.len() + more > MAX_BUCKETS && now_ms >= self.sweep_ms {
            self.sweep_ms = now_ms.saturating_add(SWEEP_EVERY_MS);
            self.buckets.retain(|_, bucket| !bucket.idle(now_ms));
        }
    }

    /// Draws from all or from none, and says which could pay. One after the other, so that two quotas of one bucket
    /// are both paid from it.
    fn draw_all(&mut self, quotas: &[Quota], ids: &[Option<Arc<Id>>]) -> Vec<bool> {
        let mut granted = Vec::with_capacity(quotas.len());
        for (quota, id) in quotas.iter().zip(ids) {
            let bucket = id.as_ref().and_then(|id| self.buckets.get_mut(id));
            granted.push(bucket.is_some_and(|bucket| bucket.draw(quota.cost)));
        }
        if granted.iter().all(|granted| *granted) {
            self.changed = true;
            return granted;
        }
        for ((quota, id), granted) in quotas.iter().zip(ids).zip(&granted) {
            let bucket = id.as_ref().and_then(|id| self.buckets.get_mut(id));
            if let Some(bucket) = bucket.filter(|_| *granted) {
                bucket.undo(quota.cost);
            }
        }
        granted
    }

    fn standing(&self, quota: &Quota, id: Option<&Arc<Id>>, granted: bool) -> Standing {
        let bucket = id.and_then(|id| self.buckets.get(id));
        bucket.map_or(NO_ROOM, |bucket| bucket.standing(quota.cost, granted))
    }
}

#[cfg(test)]
mod tests;
