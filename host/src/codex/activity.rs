//! An agent's own work (commands, searches, tools) as events, in one shape for every kind of work.

use serde::{Deserialize, Serialize};

/// Limit in bytes for a command, and for the arguments of a tool.
const COMMAND_BYTES: usize = 4 * 1024;

/// Limit in bytes for the output of a command or tool.
const OUTPUT_BYTES: usize = 16 * 1024;

/// Limit in bytes for the diffs of all files in one change.
const DIFF_BYTES: usize = 64 * 1024;

/// Limit in bytes for a path, a query, a step, and every other text that is normally short.
const WORD_BYTES: usize = 1024;

/// Limit of files in one change, and of steps in one plan.
const ENTRIES: usize = 100;

/// Limit in bytes for a name in the log.
const NAME_BYTES: usize = 64;

/// One activity of the agent, begun or ended. Its texts are bounded: the middle of a longer text is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Activity {
    /// The id; the same at the begin and the end of an activity.
    pub id: String,
    /// How far the activity has come.
    pub status: Progress,
    /// The kind of activity, with its details.
    #[serde(flatten)]
    pub action: Action,
}

/// How far an activity has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// The activity has begun.
    InProgress,
    /// The activity succeeded; for a command: exit code 0.
    Completed,
    /// The activity did not take place, or failed.
    Failed,
}

/// The kinds of activity, with their details.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Action {
    /// A command.
    Command {
        /// The command as the model wrote it.
        command: String,
        /// The exit code; absent while the command runs, and if it never ran.
        #[serde(skip_serializing_if = "Option::is_none")]
        exit_code: Option<i64>,
        /// How long it ran, in milliseconds.
        #[serde(skip_serializing_if = "Option::is_none")]
        duration_ms: Option<u64>,
        /// Standard output and standard error, or the reason why the command never ran.
        #[serde(skip_serializing_if = "Option::is_none")]
        output: Option<String>,
    },
    /// Files that were written without a command.
    FileChange {
        /// The changes, one for each file.
        changes: Vec<Change>,
    },
    /// A tool of an MCP server.
    McpTool {
        /// The server, by its name in `config.toml`.
        server: String,
        /// The tool.
        tool: String,
        /// The arguments, as JSON.
        arguments: String,
        /// Duration of the call, in milliseconds.
        #[serde(skip_serializing_if = "Option::is_none")]
        duration_ms: Option<u64>,
    },
    /// A search of the web.
    WebSearch {
        /// The search text.
        query: String,
    },
    /// The agent's plan has changed.
    Plan {
        /// The reason for the change.
        #[serde(skip_serializing_if = "Option::is_none")]
        explanation: Option<String>,
        /// All steps of the plan.
        steps: Vec<Step>,
    },
    /// Another tool.
    Tool {
        /// The tool's name.
        name: String,
        /// The arguments as the model wrote them.
        arguments: String,
        /// The tool's output.
        output: String,
    },
}

/// The change of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The file's path; relative to the turn's folder, if the file is in it.
    pub path: String,
    /// `add`, `delete` or `update`.
    pub kind: String,
    /// The text of a new file, or a unified diff.
    pub diff: String,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The step in words.
    pub step: String,
    /// `pending`, `inProgress` or `completed`.
    pub status: String,
}

impl Activity {
    /// An activity with its texts cut to their limits.
    pub(super) fn new(mut id: String, status: Progress, action: Action) -> Self {
        shorten(&mut id, WORD_BYTES);
        let action = action.bounded();
        Self { id, status, action }
    }

    /// Whether the activity has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.status != Progress::InProgress
    }

    /// The length of all its texts, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let option = |text: &Option<String>| text.as_deref().map_or(0, str::len);
        self.id.len()
            + match &self.action {
                Action::Command {
                    command, output, ..
                } => command.len() + option(output),
                Action::FileChange { changes } => {
                    let bytes =
                        |change: &Change| change.path.len() + change.kind.len() + change.diff.len();
                    changes.iter().map(bytes).sum()
                }
                Action::McpTool {
                    server,
                    tool,
                    arguments,
                    ..
                } => server.len() + tool.len() + arguments.len(),
                Action::WebSearch { query } => query.len(),
                Action::Plan { explanation, steps } => {
                    let bytes = |step: &Step| step.step.len() + step.status.len();
                    option(explanation) + steps.iter().map(bytes).sum::<usize>()
                }
                Action::Tool {
                    name,
                    arguments,
                    output,
                } => name.len() + arguments.len() + output.len(),
            }
    }
}

impl Action {
    /// The same details, with the texts cut to their limits.
    fn bounded(mut self) -> Self {
        match &mut self {
            Self::Command {
                command, output, ..
            } => {
                shorten(command, COMMAND_BYTES);
                if let Some(output) = output {
                    shorten(output, OUTPUT_BYTES);
                }
            }
            Self::FileChange { changes } => bound_changes(changes),
            Self::McpTool {
                server,
                tool,
                arguments,
                ..
            } => {
                shorten(server, WORD_BYTES);
                shorten(tool, WORD_BYTES);
                shorten(arguments, COMMAND_BYTES);
            }
            Self::WebSearch { query } => shorten(query, WORD_BYTES),
            Self::Plan { explanation, steps } => {
                if let Some(explanation) = explanation {
                    shorten(explanation, WORD_BYTES);
                }
                steps.truncate(ENTRIES);
                for step in steps {
                    shorten(&mut step.step, WORD_BYTES);
                    shorten(&mut step.status, WORD_BYTES);
                }
            }
            Self::Tool {
                name,
                arguments,
                output,
            } => {
                shorten(name, WORD_BYTES);
                shorten(arguments, COMMAND_BYTES);
                shorten(output, OUTPUT_BYTES);
            }
        }
        self
    }

    /// The value of the JSON member `type`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Command { .. } => "command",
            Self::FileChange { .. } => "file_change",
            Self::McpTool { .. } => "mcp_tool",
            Self::WebSearch { .. } => "web_search",
            Self::Plan { .. } => "plan",
            Self::Tool { .. } => "tool",
        }
    }

    /// The name of the program that a command runs first, or of the tool, without path and arguments: the only text of an
    /// activity that may go to the log, since the rest can be private.
    #[must_use]
    pub fn program(&self) -> Option<&str> {
        let name = match self {
            Self::Command { command, .. } => {
                let mut words = command.split_whitespace();
                let first = words.find(|word| !is_assignment(word))?;
                first.rsplit('/').next().unwrap_or(first)
            }
            Self::McpTool { tool, .. } => tool,
            Self::Tool { name, .. } => name,
            Self::FileChange { .. } | Self::WebSearch { .. } | Self::Plan { .. } => return None,
        };
        let is_name = name.len() <= NAME_BYTES && name.chars().all(|c| is_plain(c, "._+-"));
        is_name.then_some(name)
    }
}

/// Whether the word is a complete variable assignment: one with quotes or the like may continue in the next word.
fn is_assignment(word: &str) -> bool {
    word.contains('=') && word.chars().all(|c| is_plain(c, "._+-=/:,@%"))
}

fn is_plain(c: char, besides: &str) -> bool {
    c.is_ascii_alphanumeric() || besides.contains(c)
}

fn bound_changes(changes: &mut Vec<Change>) {
    changes.truncate(ENTRIES);
    let mut left = DIFF_BYTES;
    for change in changes {
        shorten(&mut change.path, WORD_BYTES);
        shorten(&mut change.kind, WORD_BYTES);
        shorten(&mut change.diff, left.min(OUTPUT_BYTES));
        left = left.saturating_sub(change.diff.len());
    }
}

/// Cuts the middle out of a text longer than about `bytes`: the beginning says what it is, the end how it ended.
fn shorten(text: &mut String, bytes: usize) {
    if text.len() <= bytes {
        return;
    }
    let head = text.floor_char_boundary(bytes / 2);
    let tail = text.ceil_char_boundary(text.len() - bytes / 2);
    let mark = format!("\n[… {} bytes are left out …]\n", tail - head);
    text.replace_range(head..tail, &mark);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(command: &str, output: &str) -> Action {
        Action::Command {
            command: command.to_owned(),
            exit_code: Some(0),
            duration_ms: Some(7),
            output: Some(output.to_owned()),
        }
    }

    #[test]
    fn a_deed_is_one_flat_object() {
        let activity = Activity {
            id: "call_1".to_owned(),
            status: Progress::Completed,
            action: command("ls -l", "file\n"),
        };
        let expected = serde_json::json!({
            "id": "call_1", "status": "completed", "type": "command",
            "command": "ls -l", "exit_code": 0, "duration_ms": 7, "output": "file\n",
        });
        assert_eq!(serde_json::to_value(&activity).unwrap(), expected);
        assert_eq!(activity.bytes(), 6 + 5 + 5);
    }

    #[test]
    fn of_long_texts_the_middle_is_missing() {
        let output = format!("begin{}end", "ä".repeat(1 << 20));
        let Action::Command { output, .. } = command("x", &output).bounded() else {
            panic!("a command");
        };
        let output = output.unwrap();
        assert!(output.starts_with("begin") && output.ends_with("end"));
        assert!(output.contains(" bytes are left out …]\n"));
        assert!(output.len() < OUTPUT_BYTES + 100);
        assert_eq!(command("x", "short").bounded(), command("x", "short"));
    }

    #[test]
    fn everything_is_bounded() {
        let long = || "x".repeat(1 << 20);
        let change = || Change {
            path: long(),
            kind: long(),
            diff: long(),
        };
        let step = || Step {
            step: long(),
            status: long(),
        };
        let actions = [
            command(&long(), &long()),
            Action::FileChange {
                changes: (0..200).map(|_| change()).collect(),
            },
            Action::McpTool {
                server: long(),
                tool: long(),
                arguments: long(),
                duration_ms: None,
            },
            Action::WebSearch { query: long() },
            Action::Plan {
                explanation: Some(long()),
                steps: (0..200).map(|_| step()).collect(),
            },
            Action::Tool {
                name: long(),
                arguments: long(),
                output: long(),
            },
        ];
        for action in actions {
            let written = serde_json::to_value(&action).unwrap();
            assert_eq!(written["type"], action.kind());
            let activity = Activity::new(long(), Progress::Completed, action);
            assert!(activity.bytes() < 320 * 1024, "{} bytes", activity.bytes());
        }
    }

    #[test]
    fn of_a_command_the_log_gets_the_program_only() {
        for (text, program) in [
            ("ls -l /etc", Some("ls")),
            ("TOKEN=secret /usr/bin/curl -d secret", Some("curl")),
            ("cd here && make", Some("cd")),
            ("TOKEN=\"my secret phrase\" curl", None),
            ("TOKEN=$(cat secret) curl", None),
            ("$(echo secret)", None),
            ("\"my secret\"", None),
            ("", None),
        ] {
            assert_eq!(command(text, "").program(), program, "{text}");
        }
        let query = Action::WebSearch {
            query: "secret".to_owned(),
        };
        assert_eq!(query.program(), None);
    }
}
