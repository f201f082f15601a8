//! Tapping: the decisions of the gateway that serves, as they are made.

use super::live::Live;
use super::tap::{Tap, Wanted};

impl Live {
    /// Opens a tap for the decisions from now on.
    #[must_use]
    pub fn tap(&self, wanted: Wanted) -> Tap {
        self.trail.taps().open(wanted)
    }
}
