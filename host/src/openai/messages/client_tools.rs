//! Tools of Anthropic's that the client runs itself, as functions: their schemas are not in requests.

use serde_json::{Value, json};

use super::super::ApiError;
use super::super::json_object::Object;

/// Some versions of one of these tools, that are called alike.
#[derive(Debug)]
pub(super) struct ClientTool {
    /// How their types begin; the rest of a version follows.
    begins: &'static [&'static str],
    /// Their name in requests that have none.
    pub(super) name: &'static str,
    description: &'static str,
    /// The members of the object that it is called with, and those that each call has.
    members: &'static [&'static str],
    required: &'static [&'static str],
}

/// The first that fits counts: a version that is not known is called as the latest one.
const TOOLS: [ClientTool; 4] = [
    // Both versions, 20241022 and 20250124, are called alike.
    ClientTool {
        begins: &["bash_"],
        name: "bash",
        description: "Runs a command in the user's shell, which is kept between calls, and returns its output.",
        members: &["command", "restart"],
        required: &[],
    },
    // Anthropic's change log: 20250124 can do what 20241022 can, 20250429 has a new name and no `undo_edit`.
    ClientTool {
        begins: &["text_editor_20241022", "text_editor_20250124"],
        name: "str_replace_editor",
        description: "Shows and changes files of the user's: view a file or folder (of a file the lines of `view_range`), create a \
                      file with `file_text`, replace the one place of `old_str` by `new_str`, insert `new_str` after the line \
                      `insert_line`, or undo the last edit of a file (`undo_edit`).",
        members: &[
            "edit or undo",
            "path",
            "file_text",
            "old_str",
            "new_str",
            "insert_line",
            "view_range",
        ],
        required: &["command", "path"],
    },
    // The text to insert has a member of its own since then, as in the memory tool.
    ClientTool {
        begins: &["text_editor_"],
        name: "str_replace_based_edit_tool",
        description: "Shows and changes files of the user's: view a file or folder (of a file the lines of `view_range`), create a \
                      file with `file_text`, replace the one place of `old_str` by `new_str`, or insert `insert_text` after the \
                      line `insert_line`.",
        members: &[
            "edit",
            "path",
            "file_text",
            "old_str",
            "new_str",
            "insert_line",
            "insert_text",
            "view_range",
        ],
        required: &["command", "path"],
    },
    ClientTool {
        begins: &["memory_"],
        name: "memory",
        description: "Keeps files with notes for later conversations, below /memories: view a file or folder, create a file with \
                      `file_text`, replace the one place of `old_str` by `new_str`, insert `insert_text` after the line \
                      `insert_line`, delete a file, or rename `old_path` to `new_path`.",
        members: &[
            "memo",
            "path",
            "file_text",
            "old_str",
            "new_str",
            "insert_line",
            "insert_text",
            "view_range",
            "old_path",
            "new_path",
        ],
        required: &["command"],
    },
];

/// The tool of this type.
pub(super) fn of_kind(kind: &str) -> Option<&'static ClientTool> {
    let is_of = |tool: &&ClientTool| tool.begins.iter().any(|begins| kind.starts_with(begins));
    TOOLS.iter().find(is_of)
}

impl ClientTool {
    /// The description and the schema of the function. `path` is the place of the tool in the request.
    pub(super) fn function(&self, path: String) -> Result<(String, Object), ApiError> {
        let members = self.members.iter().map(|member| schema_of(member));
        let properties: serde_json::Map<String, Value> = members.collect();
        let schema = json!({"type": "object", "properties": properties, "required": self.required});
        Ok((
            self.description.to_owned(),
            Object::from_value(schema, path)?,
        ))
    }
}

/// The commands that the tools for files have in common.
const COMMANDS: [&str; 4] = ["view", "create", "str_replace", "insert"];

/// A member of a call, with its schema.
fn schema_of(member: &str) -> (String, Value) {
    let command = |further: &[&str]| {
        let words = [&COMMANDS[..], further].concat();
        ("command", json!({"type": "string", "enum": words}))
    };
    let (name, schema) = match member {
        "edit" => command(&[]),
        "edit or undo" => command(&["undo_edit"]),
        "memo" => command(&["delete", "rename"]),
        "restart" => (
            member,
            json!({"type": "boolean", "description": "Starts the shell anew."}),
        ),
        "insert_line" => (member, json!({"type": "integer"})),
        "view_range" => (
            member,
            json!({"type": "array", "items": {"type": "integer"}, "description": "The first and the last line, which is -1 for the end."}),
        ),
        _ => (member, json!({"type": "string"})),
    };
    (name.to_owned(), schema)
}
