//! An agent's own work (commands, searches, tools) as events, in one shape whatever it was.

use serde::{Deserialize, Serialize};

/// Bytes of a command, or of a tool's arguments.
const COMMAND_BYTES: usize = 4 * 1024;

/// Bytes of what a command or tool printed.
const OUTPUT_BYTES: usize = 16 * 1024;

/// Bytes of the differences of all files in one change.
const DIFF_BYTES: usize = 64 * 1024;

/// Bytes of a path, a query, a step, and everything else that is short by its nature.
const WORD_BYTES: usize = 1024;

/// Files of one change, and steps of one plan.
const ENTRIES: usize = 100;

/// Bytes of a name in the log.
const NAME_BYTES: usize = 64;

/// One deed, begun or ended. Its texts are bounded: of longer ones the middle is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Activity {
    /// The same for the begin and the end of a deed.
    pub id: String,
    /// How far it has come.
    pub status: Progress,
    /// What it is.
    #[serde(flatten)]
    pub deed: Deed,
}

/// How far a deed has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// It has begun.
    InProgress,
    /// It was done; of a command: with exit code 0.
    Completed,
    /// It was not done, or not well.
    Failed,
}

/// What Codex does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Deed {
    /// A command.
    Command {
        /// As the model wrote it.
        command: String,
        /// Absent while it runs, and if it never ran.
        #[serde(skip_serializing_if = "Option::is_none")]
        exit_code: Option<i64>,
        /// How long it ran, in milliseconds.
        #[serde(skip_serializing_if = "Option::is_none")]
        duration_ms: Option<u64>,
        /// Standard output and standard error, or why it never ran.
        #[serde(skip_serializing_if = "Option::is_none")]
        output: Option<String>,
    },
    /// Files that were written without a command.
    FileChange {
        /// One a file.
        changes: Vec<Change>,
    },
    /// A tool of an MCP server.
    McpTool {
        /// The server, by its name in `config.toml`.
        server: String,
        /// The tool.
        tool: String,
        /// JSON.
        arguments: String,
        /// How long it took, in milliseconds.
        #[serde(skip_serializing_if = "Option::is_none")]
        duration_ms: Option<u64>,
    },
    /// A search of the web.
    WebSearch {
        /// What was looked for.
        query: String,
    },
    /// The plan has changed.
    Plan {
        /// Why.
        #[serde(skip_serializing_if = "Option::is_none")]
        explanation: Option<String>,
        /// All of it.
        steps: Vec<Step>,
    },
    /// Another tool.
    Tool {
        /// Its name.
        name: String,
        /// As the model wrote them.
        arguments: String,
        /// What it returned.
        output: String,
    },
}

/// What became of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Where it is; relative to the turn's folder, if it is in it.
    pub path: String,
    /// `add`, `delete` or `update`.
    pub kind: String,
    /// A new file's text, or a unified diff.
    pub diff: String,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// In words.
    pub step: String,
    /// `pending`, `inProgress` or `completed`.
    pub status: String,
}

impl Activity {
    /// Of such a deed, its texts cut to what may be told.
    pub(super) fn new(mut id: String, status: Progress, deed: Deed) -> Self {
        shorten(&mut id, WORD_BYTES);
        let deed = deed.bounded();
        Self { id, status, deed }
    }

    /// It has come to its end.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.status != Progress::InProgress
    }

    /// How long its texts are.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let option = |text: &Option<String>| text.as_deref().map_or(0, str::len);
        self.id.len()
            + match &self.deed {
                Deed::Command {
                    command, output, ..
                } => command.len() + option(output),
                Deed::FileChange { changes } => {
                    let bytes =
                        |change: &Change| change.path.len() + change.kind.len() + change.diff.len();
                    changes.iter().map(bytes).sum()
                }
                Deed::McpTool {
                    server,
                    tool,
                    arguments,
                    ..
                } => server.len() + tool.len() + arguments.len(),
                Deed::WebSearch { query } => query.len(),
                Deed::Plan { explanation, steps } => {
                    let bytes = |step: &Step| step.step.len() + step.status.len();
                    option(explanation) + steps.iter().map(bytes).sum::<usize>()
                }
                Deed::Tool {
                    name,
                    arguments,
                    output,
                } => name.len() + arguments.len() + output.len(),
            }
    }
}

impl Deed {
    /// Its texts, cut to what may be told.
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

    /// Its `type`.
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

    /// The program a command runs first, or the tool, by its mere name: all of a deed that is no business of its writer
    /// alone.
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

/// Whether it sets a variable, and is all of what does: quotes and the like may go on in the next word.
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

/// Leaves the middle out of what is longer than about so many bytes: the beginning says what it is, the end how it ended.
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

    fn command(command: &str, output: &str) -> Deed {
        Deed::Command {
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
            deed: command("ls -l", "file\n"),
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
        let Deed::Command { output, .. } = command("x", &output).bounded() else {
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
        let deeds = [
            command(&long(), &long()),
            Deed::FileChange {
                changes: (0..200).map(|_| change()).collect(),
            },
            Deed::McpTool {
                server: long(),
                tool: long(),
                arguments: long(),
                duration_ms: None,
            },
            Deed::WebSearch { query: long() },
            Deed::Plan {
                explanation: Some(long()),
                steps: (0..200).map(|_| step()).collect(),
            },
            Deed::Tool {
                name: long(),
                arguments: long(),
                output: long(),
            },
        ];
        for deed in deeds {
            let written = serde_json::to_value(&deed).unwrap();
            assert_eq!(written["type"], deed.kind());
            let activity = Activity::new(long(), Progress::Completed, deed);
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
        let query = Deed::WebSearch {
            query: "secret".to_owned(),
        };
        assert_eq!(query.program(), None);
    }
}
