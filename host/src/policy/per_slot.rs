//! A container with one value for each slot.

use super::Slot;

/// A value for each slot.
#[derive(Debug, Clone, Default)]
pub(super) struct PerSlot<T> {
    auth: T,
    model: T,
    rate_limit: T,
    tool_stop: T,
}

impl<T> PerSlot<T> {
    /// Makes the value of each slot.
    pub(super) fn from_fn(mut make: impl FnMut(Slot) -> T) -> Self {
        Self {
            auth: make(Slot::Auth),
            model: make(Slot::Model),
            rate_limit: make(Slot::RateLimit),
            tool_stop: make(Slot::ToolStop),
        }
    }

    /// The value of a slot.
    pub(super) fn of(&self, slot: Slot) -> &T {
        match slot {
            Slot::Auth => &self.auth,
            Slot::Model => &self.model,
            Slot::RateLimit => &self.rate_limit,
            Slot::ToolStop => &self.tool_stop,
        }
    }
}
