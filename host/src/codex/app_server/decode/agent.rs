//! Decodes what only an agent's turn has: its activities, and messages that are not part of the answer.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::codex::app_server::protocol::{COMMENTARY, FileUpdate, WorkItem};
use crate::codex::names::for_codex;
use crate::codex::{Action, Activity, Change, Progress, Step, Tool};

/// Codex's tool that runs a command.
const EXEC: &str = "exec_command";

/// Codex's tool that changes files. If it changes any, an item reports that.
const PATCH: &str = "apply_patch";

/// Codex's tool for its plan, which Codex reports with a notification of its own.
const PLAN: &str = "update_plan";

/// Follows one agent's turn.
#[derive(Debug)]
pub(super) struct Agent {
    /// The functions the client runs, by the names that Codex knows. All others are Codex's own.
    functions: HashSet<String>,
    /// The folder where the agent works.
    pub(super) cwd: PathBuf,
    /// The id of a message that says what the agent will do next, not what it found: reasoning, not part of the answer.
    pub(super) commentary: Option<String>,
    /// The text of the last such message: it is the answer, if there is no other.
    pub(super) last_words: Option<String>,
    /// Calls of Codex's own tools that have not ended, by their ids.
    calls: HashMap<String, OwnCall>,
}

#[derive(Debug)]
struct OwnCall {
    name: String,
    /// The arguments; for a command, the command.
    text: String,
    /// Whether an item reports this call.
    reported: bool,
}

impl Agent {
    pub(super) fn new(tools: &[Tool]) -> Self {
        Self {
            functions: tools
                .iter()
                .map(|tool| for_codex(&tool.name).into_owned())
                .collect(),
            cwd: PathBuf::new(),
            commentary: None,
            last_words: None,
            calls: HashMap::new(),
        }
    }

    pub(super) fn begin_message(&mut self, id: String, phase: Option<&str>) {
        self.commentary = (phase == Some(COMMENTARY)).then_some(id);
    }

    /// Whether the client runs the function.
    pub(super) fn is_clients(&self, name: &str, namespace: Option<&str>) -> bool {
        namespace.is_none() && self.functions.contains(name)
    }

    /// Keeps a call that the model made to a tool of Codex's own.
    pub(super) fn called(&mut self, id: String, name: String, arguments: String) {
        let command = |arguments: &str| {
            let arguments: Value = serde_json::from_str(arguments).ok()?;
            Some(arguments.get("cmd")?.as_str()?.to_owned())
        };
        let text = match name == EXEC {
            true => command(&arguments).unwrap_or(arguments),
            false => arguments,
        };
        let reported = name == PLAN;
        self.calls.insert(
            id,
            OwnCall {
                name,
                text,
                reported,
            },
        );
    }

    /// The activity of a tool that returned. Codex reports a call that was refused or failed in the sandbox in no other way.
    pub(super) fn returned(&mut self, id: &str, output: String) -> Option<Activity> {
        if self.calls.get(id)?.reported {
            return None;
        }
        let OwnCall { name, text, .. } = self.calls.remove(id)?;
        if name != EXEC {
            let status = match name == PATCH {
                true => Progress::Failed,
                false => Progress::Completed,
            };
            let action = Action::Tool {
                name,
                arguments: text,
                output,
            };
            return Some(Activity::new(id.to_owned(), status, action));
        }
        let (head, output) = match output.split_once("\nOutput:\n") {
            Some((head, output)) => (head, output.to_owned()),
            None => ("", output),
        };
        let exit_code = head.lines().find_map(|line| {
            let code = line.strip_prefix("Process exited with code ")?;
            code.trim().parse().ok()
        });
        let status = match exit_code {
            Some(0) => Progress::Completed,
            _ => Progress::Failed,
        };
        let action = Action::Command {
            command: text,
            exit_code,
            duration_ms: None,
            output: Some(output),
        };
        Some(Activity::new(id.to_owned(), status, action))
    }

    /// The activity of an item that has begun, or is over.
    pub(super) fn work(&mut self, item: WorkItem, over: bool) -> Option<Activity> {
        match item {
            WorkItem::CommandExecution {
                id,
                command,
                status,
                aggregated_output,
                exit_code,
                duration_ms,
            } => {
                let written = self.claim(&id, over);
                let action = Action::Command {
                    command: written.unwrap_or(command),
                    exit_code,
                    duration_ms,
                    output: aggregated_output,
                };
                Some(Activity::new(id, progress(&status), action))
            }
            WorkItem::FileChange {
                id,
                changes,
                status,
            } => {
                self.claim(&id, over);
                let changes = changes.into_iter().map(|change| self.change(change));
                let action = Action::FileChange {
                    changes: changes.collect(),
                };
                over.then(|| Activity::new(id, progress(&status), action))
            }
            WorkItem::McpToolCall {
                id,
                server,
                tool,
                arguments,
                status,
                duration_ms,
            } => {
                self.claim(&id, over);
                let action = Action::McpTool {
                    server,
                    tool,
                    arguments: arguments.to_string(),
                    duration_ms,
                };
                Some(Activity::new(id, progress(&status), action))
            }
            WorkItem::WebSearch { id, query } => {
                self.claim(&id, over);
                over.then(|| Activity::new(id, Progress::Completed, Action::WebSearch { query }))
            }
            WorkItem::Other => None,
        }
    }

    /// The activity of a changed plan. A turn has only one plan, so the id is always the same.
    pub(super) fn planned(explanation: Option<String>, steps: Vec<Step>) -> Activity {
        let action = Action::Plan { explanation, steps };
        Activity::new(PLAN.to_owned(), Progress::Completed, action)
    }

    /// Marks a call as reported by an item; returns the text that the model wrote.
    fn claim(&mut self, id: &str, over: bool) -> Option<String> {
        if over {
            return self.calls.remove(id).map(|call| call.text);
        }
        let call = self.calls.get_mut(id)?;
        call.reported = true;
        Some(call.text.clone())
    }

    fn change(&self, update: FileUpdate) -> Change {
        let path = Path::new(&update.path).strip_prefix(&self.cwd);
        Change {
            path: path.map_or(update.path.clone(), |path| path.display().to_string()),
            kind: update.kind.r#type,
            diff: update.diff,
        }
    }
}

fn progress(status: &str) -> Progress {
    match status {
        "inProgress" => Progress::InProgress,
        "completed" => Progress::Completed,
        _ => Progress::Failed,
    }
}
