//! The pin: an operator chose the policies that serve, and the policy folder is not looked at.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// The choice of an operator, who pinned the serving policies: the policy folder is not looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The operator.
    pub by: String,
    /// Since when, in seconds since 1970.
    pub since: u64,
}

impl Pin {
    pub(super) fn now(by: &str) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            by: by.to_owned(),
            since: now.unwrap_or_default().as_secs(),
        }
    }
}
