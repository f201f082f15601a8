//! Warm instances, for components that cannot be frozen: each is configured once and makes many decisions.

use parking_lot::Mutex;
use wasmtime::Store;
use wasmtime::component::Instance;

use super::guest::Guest;

/// The most idle instances that are kept.
const KEPT: usize = 8;
/// Decisions after which an instance is discarded, which limits the memory that it accumulates.
const CALLS: u32 = 1_000;

pub(super) struct Warm {
    pub(super) store: Store<Guest>,
    pub(super) instance: Instance,
    calls: u32,
}

impl Warm {
    pub(super) fn new(store: Store<Guest>, instance: Instance) -> Self {
        Self {
            store,
            instance,
            calls: 0,
        }
    }
}

/// The idle instances. An instance in use is owned by its call, so a fault discards it.
#[derive(Default)]
pub(super) struct Pool(Mutex<Vec<Warm>>);

impl Pool {
    pub(super) fn take(&self) -> Option<Warm> {
        self.0.lock().pop()
    }

    pub(super) fn clear(&self) {
        self.0.lock().clear();
    }

    pub(super) fn give_back(&self, mut warm: Warm) {
        warm.calls += 1;
        let mut idle = self.0.lock();
        if warm.calls < CALLS && idle.len() < KEPT {
            idle.push(warm);
        }
    }
}
