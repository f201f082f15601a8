//! Reads the operator's settings, and says what is wrong with them.

use codex_policy_settings::read;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::decide::{Mode, Rules};

/// Longer pauses are the business of the host's timeouts.
const LONGEST_GRACE_MS: u32 = 60_000;

/// The settings as they are written; `settings.schema.json` describes the members.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    mode: Mode,
    grace_ms: u32,
    max_calls: u32,
    suppress_tail: bool,
    /// What the host knows; this policy needs none of it.
    #[serde(rename = "host")]
    _host: IgnoredAny,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: Mode::Off,
            grace_ms: 300,
            max_calls: 0,
            suppress_tail: false,
            _host: IgnoredAny,
        }
    }
}

impl Settings {
    /// Reads and checks settings.
    ///
    /// # Errors
    /// One line that names every member with a mistake, and what would be right.
    pub fn parse(text: &str) -> Result<Rules, String> {
        let settings: Self = read(text)?;
        if settings.grace_ms > LONGEST_GRACE_MS {
            return Err(format!(
                "grace_ms: give milliseconds up to {LONGEST_GRACE_MS}"
            ));
        }
        Ok(Rules {
            mode: settings.mode,
            grace_ms: settings.grace_ms,
            max_calls: settings.max_calls,
            suppress_tail: settings.suppress_tail,
        })
    }
}

#[cfg(test)]
mod tests;
