//! Counts the open WebSockets, in all and of each caller.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

/// The limits for WebSockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketLimits {
    /// The longest time that a connection takes new turns.
    pub age: Duration,
    /// The longest time between two turns.
    pub silence: Duration,
    /// The most connections of one caller.
    pub per_caller: usize,
}

/// The open WebSockets.
#[derive(Debug, Clone, Default)]
pub struct Sockets(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    last: u64,
    open: usize,
    callers: HashMap<String, usize>,
}

impl Sockets {
    /// Counts a connection of a caller until the slot is dropped; none if the caller has `most` already.
    pub(in crate::api) fn take(&self, caller: &str, most: usize) -> Option<Slot> {
        let mut counts = self.0.lock();
        let of_caller = counts.callers.get(caller).copied().unwrap_or_default();
        if of_caller >= most {
            return None;
        }
        counts.callers.insert(caller.to_owned(), of_caller + 1);
        counts.open += 1;
        counts.last += 1;
        Some(Slot(Arc::new(Held {
            number: counts.last,
            caller: caller.to_owned(),
            sockets: self.clone(),
        })))
    }

    pub(in crate::api) fn open(&self) -> usize {
        self.0.lock().open
    }
}

/// The slot of one connection, released when its last copy is dropped.
#[derive(Debug, Clone)]
pub(in crate::api) struct Slot(Arc<Held>);

#[derive(Debug)]
struct Held {
    number: u64,
    caller: String,
    sockets: Sockets,
}

impl Slot {
    /// The connection's number: no other has it.
    pub(super) fn number(&self) -> u64 {
        self.0.number
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut counts = self.sockets.0.lock();
        counts.open -= 1;
        if let Some(of_caller) = counts.callers.get_mut(&self.caller) {
            *of_caller -= 1;
            if *of_caller == 0 {
                counts.callers.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_has_so_many_and_gets_another_when_one_ends() {
        let sockets = Sockets::default();
        let [first, second] = [0; 2].map(|_| sockets.take("alice", 2));
        assert!(first.is_some() && second.is_some());
        assert!(sockets.take("alice", 2).is_none());
        assert!(sockets.take("bob", 2).is_some());
        drop(first);
        assert!(sockets.take("alice", 2).is_some());
        drop(second);
        assert_eq!(sockets.open(), 0);
        assert!(sockets.0.lock().callers.is_empty());
    }
}
