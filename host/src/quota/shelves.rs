//! Orders buckets by their last use, to choose the one that is evicted when there is no room for another.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::Unit;
use super::bucket::{Id, Need};

/// The buckets examined of each kind and rule before one is chosen, which bounds the cost of a decision.
const LOOK: usize = 4;

/// The rules examined, those with the most buckets first: a flood of keys evicts buckets of its own rule.
const RULES: usize = 4;

/// The place of a bucket in the order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    need: Need,
    /// A number that grows with every use.
    used: u64,
}

/// All private buckets, by rule, in the order of their use.
#[derive(Debug, Default)]
pub(super) struct Shelves {
    rules: HashMap<Rule, Shelf>,
    /// The number of buckets of each rule.
    sizes: BTreeSet<(usize, Rule)>,
    uses: u64,
}

type Rule = (Unit, String);

#[derive(Debug, Default)]
struct Shelf {
    ample: BTreeMap<u64, Arc<Id>>,
    short: BTreeMap<u64, Arc<Id>>,
}

impl Shelf {
    fn len(&self) -> usize {
        self.ample.len() + self.short.len()
    }

    fn of(&mut self, need: Need) -> &mut BTreeMap<u64, Arc<Id>> {
        match need {
            Need::Ample => &mut self.ample,
            Need::Short => &mut self.short,
        }
    }
}

fn rule(id: &Id) -> Rule {
    (id.unit, id.name.clone())
}

impl Shelves {
    /// Puts a new or used bucket in its place: the most recently used of its kind.
    pub(super) fn put(&mut self, id: &Arc<Id>, before: Option<Place>, need: Need) -> Place {
        self.uses += 1;
        let place = Place {
            need,
            used: self.uses,
        };
        let rule = rule(id);
        let shelf = self.rules.entry(rule.clone()).or_default();
        let size = shelf.len();
        if let Some(before) = before {
            shelf.of(before.need).remove(&before.used);
        }
        shelf.of(need).insert(place.used, Arc::clone(id));
        let new_size = shelf.len();
        self.resize(rule, size, new_size);
        place
    }

    pub(super) fn remove(&mut self, id: &Id, place: Place) {
        let rule = rule(id);
        if let Some(shelf) = self.rules.get_mut(&rule) {
            let size = shelf.len();
            shelf.of(place.need).remove(&place.used);
            let new_size = shelf.len();
            if new_size == 0 {
                self.rules.remove(&rule);
            }
            self.resize(rule, size, new_size);
        }
    }

    fn resize(&mut self, rule: Rule, before: usize, after: usize) {
        if before != after {
            let mut entry = (before, rule);
            self.sizes.remove(&entry);
            entry.0 = after;
            if after > 0 {
                self.sizes.insert(entry);
            }
        }
    }

    /// The least recently used buckets of each kind, of the rules with the most buckets; each with its rule's rank among those.
    pub(super) fn least_used(&self) -> Vec<(usize, Arc<Id>)> {
        let largest = self.sizes.iter().rev().take(RULES);
        let shelves = largest.filter_map(|(_, rule)| self.rules.get(rule));
        let kinds = shelves
            .enumerate()
            .flat_map(|(rank, shelf)| [(rank, &shelf.ample), (rank, &shelf.short)]);
        let buckets = kinds.flat_map(|(rank, kind)| {
            let least = kind.values().take(LOOK);
            least.map(move |id| (rank, Arc::clone(id)))
        });
        buckets.collect()
    }
}
