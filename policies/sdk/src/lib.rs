//! The SDK of codex-gateway's policies: [`Policy`], a trait for each world of the contract, and [`export!`], which makes a component.
//!
//! ```
//! use codex_policy::auth::Auth;
//! use codex_policy::settings::Ignored;
//! use codex_policy::{Caller, Denial, Need, Policy, Request};
//!
//! /// Lets callers of one network in, without a key.
//! struct Inside {
//!     prefix: String,
//! }
//!
//! #[derive(serde::Deserialize)]
//! #[serde(default, deny_unknown_fields)]
//! struct Settings {
//!     prefix: String,
//!     #[serde(rename = "host")]
//!     _host: Ignored,
//! }
//!
//! impl Default for Settings {
//!     fn default() -> Self {
//!         Self { prefix: "10.".to_owned(), _host: Ignored }
//!     }
//! }
//!
//! impl Policy for Inside {
//!     const NAME: &'static str = "inside";
//!     type Settings = Settings;
//!
//!     fn configure(settings: Settings) -> Result<Self, String> {
//!         Ok(Self { prefix: settings.prefix })
//!     }
//!
//!     fn needs(&self) -> Vec<Need> {
//!         vec![Need::Client]
//!     }
//! }
//!
//! impl Auth for Inside {
//!     fn authenticate(&self, request: &Request) -> Result<Caller, Denial> {
//!         match request.client.starts_with(&self.prefix) {
//!             true => Ok(Caller::new("inside")),
//!             false => Err(Denial::forbidden("Call from our own network.")),
//!         }
//!     }
//! }
//!
//! codex_policy::export!(auth: Inside);
//! ```

#[doc(hidden)]
pub mod bindings;
mod component;
mod denial;
#[cfg(not(target_family = "wasm"))]
pub mod harness;
mod policy;
#[cfg(not(target_family = "wasm"))]
pub mod schema;
pub mod settings;

pub use bindings::auth::codex::policy::types::{Caller, Credential, Denial, Header, Request};
pub use bindings::lifecycle::exports::codex::policy::lifecycle::Need;
pub use policy::{Policy, applying};

#[doc(hidden)]
pub use component::{Component, Exported};

/// Auth policies: the caller of a request.
pub mod auth {
    pub use crate::bindings::auth::exports::codex::policy::forward_auth::Grant;
    pub use crate::policy::Auth;
}

/// Model policies: the models there are, and the one that runs.
pub mod model {
    pub use crate::bindings::model::exports::codex::policy::model::{Ask, Card, Target};
    pub use crate::policy::Model;
}

/// Rate-limit policies: the buckets that a request is charged to, and whether it may pass.
pub mod rate_limit {
    pub use crate::bindings::rate_limit::exports::codex::policy::rate_limit::{
        Ask, BucketStatus, Quota, Unit,
    };
    pub use crate::policy::RateLimit;
}

/// Tool-stop policies: whether a turn goes on after a tool call.
pub mod tool_stop {
    pub use crate::bindings::tool_stop::exports::codex::policy::tool_stop::{
        Call, Event, Progress, Reaction,
    };
    pub use crate::policy::ToolStop;
}
