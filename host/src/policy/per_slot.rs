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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_all_slots_has_each_of_them_in_its_place() {
        // The compiler demands a value for a new slot here; `Slot::ALL` it does not check.
        let mut made = Vec::new();
        let slots = PerSlot::from_fn(|slot| {
            made.push(slot);
            slot
        });
        assert_eq!(made, Slot::ALL);
        for (place, slot) in Slot::ALL.into_iter().enumerate() {
            assert_eq!((*slots.of(slot), slot as usize), (slot, place));
        }
    }
}
