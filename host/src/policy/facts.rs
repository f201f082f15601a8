//! The host's facts that policies find in their settings: environment, models, endpoints.

use serde::Serialize;
use serde_json::Value;

/// Facts that only the host knows; they become the settings' member `host`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Facts {
    /// `dev` or `prod`.
    pub environment: String,
    /// Whether pages of other origins may call.
    pub cors: bool,
    /// The configured runtime model.
    pub codex_model: Option<String>,
    /// The models that the Codex child lists: objects with `id` and `efforts`.
    pub models: Vec<Value>,
    /// The paths that limits can name, for warnings; `/*` at the end stands for all paths below. Not passed to policies.
    #[serde(skip)]
    pub endpoints: Vec<String>,
}
