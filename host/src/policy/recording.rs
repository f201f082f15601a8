//! Recording: the trail of the gateway that serves, written down.

use std::time::Duration;

use super::live::Live;
use super::records::{Config, Recorder};

impl Live {
    /// Records all further decisions.
    ///
    /// # Errors
    /// If the folder cannot be made, or there can be no further thread.
    pub fn record(&self, config: Config) -> std::io::Result<()> {
        let recorder = Recorder::start(config, self.trail.time(Duration::ZERO))?;
        self.trail.record(recorder);
        Ok(())
    }

    /// The numbers of recorded events, and of requests and events that could not be recorded; `None` without records.
    #[must_use]
    pub fn recorded(&self) -> Option<(u64, u64)> {
        self.trail.recorder().map(Recorder::counts)
    }

    /// Writes the records that wait, within a time limit; later decisions are not recorded.
    pub fn close_records(&self) {
        if let Some(recorder) = self.trail.recorder() {
            recorder.close();
        }
    }
}
