//! The items that report Codex's own work, with the members the gateway uses.

use serde::Deserialize;
use serde_json::Value;

/// One use of a tool of Codex's own, begun or finished.
#[derive(Debug, Deserialize)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub(in super::super) enum WorkItem {
    CommandExecution {
        id: String,
        /// The command with the shell before it, and quoted for that shell.
        command: String,
        status: String,
        #[serde(default)]
        aggregated_output: Option<String>,
        #[serde(default)]
        exit_code: Option<i64>,
        #[serde(default)]
        duration_ms: Option<u64>,
    },
    FileChange {
        id: String,
        changes: Vec<FileUpdate>,
        status: String,
    },
    McpToolCall {
        id: String,
        server: String,
        tool: String,
        #[serde(default)]
        arguments: Value,
        status: String,
        #[serde(default)]
        duration_ms: Option<u64>,
    },
    WebSearch {
        id: String,
        query: String,
    },
    #[serde(other)]
    Other,
}

/// One file of a change.
#[derive(Debug, Deserialize)]
pub(in super::super) struct FileUpdate {
    pub(in super::super) path: String,
    pub(in super::super) kind: UpdateKind,
    pub(in super::super) diff: String,
}

/// The kind of change of one file.
#[derive(Debug, Deserialize)]
pub(in super::super) struct UpdateKind {
    pub(in super::super) r#type: String,
}

/// The output of a tool for the model.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(in super::super) enum ToolOutput {
    Text(String),
    Parts(Vec<OutputPart>),
}

/// One part of an output: a text, or a picture, for which the text is empty.
#[derive(Debug, Deserialize)]
pub(in super::super) struct OutputPart {
    #[serde(default)]
    text: String,
}

impl ToolOutput {
    pub(in super::super) fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Parts(parts) => parts.into_iter().map(|part| part.text).collect(),
        }
    }
}
