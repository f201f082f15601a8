//! The host's own facts for the settings of policies: environment, models, endpoints.

use serde::Serialize;
use serde_json::Value;

/// What only the host knows; it becomes the settings' `host` member.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Facts {
    /// `dev` or `prod`.
    pub environment: String,
    /// Pages of other origins may call.
    pub cors: bool,
    /// The configured runtime model.
    pub codex_model: Option<String>,
    /// The models the Codex child lists: objects with `id` and `efforts`.
    pub models: Vec<Value>,
    /// The paths that limits can be about, for warnings; `/*` at the end is all below. Not for policies.
    #[serde(skip)]
    pub endpoints: Vec<&'static str>,
}
