//! Warm instances: configured once, used for many decisions, for components that cannot be frozen.

use std::sync::{Mutex, PoisonError};

use wasmtime::Store;
use wasmtime::component::Instance;

use super::guest::Guest;

/// Instances kept between decisions.
const KEPT: usize = 8;
/// Decisions after which an instance is thrown away, so that what it hoards is bounded.
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

/// The idle ones. One that is in use is owned by its call, so a fault retires it by dropping it.
#[derive(Default)]
pub(super) struct Pool(Mutex<Vec<Warm>>);

impl Pool {
    pub(super) fn take(&self) -> Option<Warm> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    pub(super) fn give_back(&self, mut warm: Warm) {
        warm.calls += 1;
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if warm.calls < CALLS && idle.len() < KEPT {
            idle.push(warm);
        }
    }
}
