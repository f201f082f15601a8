//! The traits that a policy implements: [`Policy`], and the one of its world.

use serde::de::DeserializeOwned;

use crate::auth::Grant;
use crate::rate_limit::{BucketStatus, Quota};
use crate::tool_stop::{Event, Progress, Reaction};
use crate::{Caller, Denial, Header, Need, Request, model, rate_limit, settings};

/// A configured policy: built from its settings once, then asked by `&self`. No decision sees the changes of another.
pub trait Policy: Sized + Send + Sync + 'static {
    /// The policy's name in logs and `/healthz`.
    const NAME: &'static str;

    /// A JSON Schema (2020-12) of the settings; the gateway checks them before it calls [`Policy::configure`].
    const SCHEMA: &'static str = "{}";

    /// The settings as they are written. All members need defaults, and `host` is always there: the gateway's own member.
    type Settings: DeserializeOwned;

    /// Checks the settings and keeps all that decisions read.
    ///
    /// # Errors
    /// One line for the operator: each wrong member, and the values it may have.
    fn configure(settings: Self::Settings) -> Result<Self, String>;

    /// The parts of the input that decisions read, with these settings. All others are blank.
    fn needs(&self) -> Vec<Need> {
        Vec::new()
    }

    /// Configured with settings as JSON text.
    ///
    /// # Errors
    /// As [`Policy::configure`] and [`settings::read`].
    fn parse(settings: &str) -> Result<Self, String> {
        Self::configure(settings::read(settings)?)
    }
}

/// Those of the needs that apply.
pub fn applying<const COUNT: usize>(needs: [(bool, Need); COUNT]) -> Vec<Need> {
    let needs = needs.into_iter().filter(|(applies, _)| *applies);
    needs.map(|(_, need)| need).collect()
}

/// The world `auth-policy`.
pub trait Auth: Policy {
    /// The caller of `request`.
    ///
    /// # Errors
    /// If the caller is unknown, or may not call.
    fn authenticate(&self, request: &Request) -> Result<Caller, Denial>;

    /// Whether an edge proxy may let `original` through, and the headers it passes to the service behind it. Without own
    /// code, the caller's own: see [`Grant::of`].
    ///
    /// # Errors
    /// As [`Auth::authenticate`].
    fn verify(&self, original: &Request) -> Result<Grant, Denial> {
        self.authenticate(original).map(Grant::of)
    }
}

/// The world `model-policy`.
pub trait Model: Policy {
    /// The models that this caller may use; `caller` is absent if the caller was not identified.
    fn catalog(&self, caller: Option<&Caller>) -> Vec<model::Card>;

    /// The model that runs.
    ///
    /// # Errors
    /// If there is no such model for this caller.
    fn resolve(&self, ask: &model::Ask) -> Result<model::Target, Denial>;
}

/// The world `rate-limit-policy`.
pub trait RateLimit: Policy {
    /// The buckets to charge for the request; none: nothing is counted.
    fn quotas(&self, ask: &rate_limit::Ask) -> Vec<Quota>;

    /// The headers of the answer. `statuses` are in the order of the quotas. Without own code there are none, and a request
    /// waits for the slowest of the buckets that refused it.
    ///
    /// # Errors
    /// If the request may not run now.
    fn decide(
        &self,
        _ask: &rate_limit::Ask,
        statuses: &[BucketStatus],
    ) -> Result<Vec<Header>, Denial> {
        let refused = statuses.iter().filter(|status| !status.granted);
        match refused.map(|status| status.reset_ms).max() {
            None => Ok(Vec::new()),
            Some(wait_ms) => Err(Denial::rate_limited("Rate limit reached.", wait_ms)),
        }
    }
}

/// The world `tool-stop-policy`.
pub trait ToolStop: Policy {
    /// The reaction to an event of a turn, and the new memo. `memo` is the one returned for the last event, empty at first.
    fn observe(&self, progress: &Progress, event: &Event, memo: Vec<u8>) -> (Reaction, Vec<u8>);
}
