//! Tools of OpenAI's that the client runs itself, and whose calls are items of a type of their own.

use serde_json::{Map, Value, json};

/// One of these tools. Its calls have one member with an object; a function with that object as its arguments stands for it.
#[derive(Debug, PartialEq)]
pub(in crate::openai) struct ItemTool {
    /// The `type` of the tool, and the name of the function.
    pub(in crate::openai) kind: &'static str,
    /// The `type` of a call.
    pub(in crate::openai) call: &'static str,
    /// The call's member with the object.
    pub(in crate::openai) member: &'static str,
    /// The prefix of a call's id.
    pub(in crate::openai) prefix: &'static str,
    pub(super) description: &'static str,
    /// The JSON Schema of the object.
    schema: &'static str,
    /// The members that every such object, and every call, has, as JSON.
    constants: &'static str,
    call_constants: &'static str,
}

/// All of them.
pub(in crate::openai) const ITEM_TOOLS: &[ItemTool] = &[
    ItemTool {
        kind: "local_shell",
        call: "local_shell_call",
        member: "action",
        prefix: "lsh",
        description: "Runs a command in the user's shell, and returns its output.",
        schema: r#"{"type": "object", "properties": {
            "command": {"type": "array", "items": {"type": "string"}, "description": "The program and its arguments."},
            "working_directory": {"type": "string"},
            "timeout_ms": {"type": "integer"},
            "env": {"type": "object", "additionalProperties": {"type": "string"}}},
            "required": ["command"]}"#,
        constants: r#"{"type": "exec", "env": {}}"#,
        call_constants: "{}",
    },
    ItemTool {
        kind: "shell",
        call: "shell_call",
        member: "action",
        prefix: "sh",
        description: "Runs shell commands on the user's machine, and returns their outputs.",
        schema: r#"{"type": "object", "properties": {
            "commands": {"type": "array", "items": {"type": "string"}, "description": "The commands, each a line for the shell."},
            "timeout_ms": {"type": ["integer", "null"]},
            "max_output_length": {"type": ["integer", "null"]}},
            "required": ["commands"]}"#,
        constants: r#"{"timeout_ms": null, "max_output_length": null}"#,
        call_constants: r#"{"environment": null}"#,
    },
    ItemTool {
        kind: "apply_patch",
        call: "apply_patch_call",
        member: "operation",
        prefix: "apc",
        description: "Creates, changes or deletes one file of the user's. A change, or the content of a new file, is a V4A diff: lines \
                      that begin with '+', '-' or a blank, in sections after '@@'.",
        schema: r#"{"type": "object", "properties": {
            "type": {"type": "string", "enum": ["create_file", "update_file", "delete_file"]},
            "path": {"type": "string"},
            "diff": {"type": "string", "description": "Absent if the file is deleted."}},
            "required": ["type", "path"]}"#,
        constants: "{}",
        call_constants: "{}",
    },
    ItemTool {
        kind: "tool_search",
        call: "tool_search_call",
        member: "arguments",
        prefix: "tsc",
        description: "Searches for further tools, which can then be called.",
        schema: r#"{"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}"#,
        constants: "{}",
        call_constants: r#"{"execution": "client"}"#,
    },
];

impl ItemTool {
    /// The tool of this `type`.
    pub(in crate::openai) fn of_kind(kind: &str) -> Option<&'static Self> {
        ITEM_TOOLS.iter().find(|tool| tool.kind == kind)
    }

    /// The tool whose calls have this `type`.
    pub(in crate::openai) fn of_call(kind: &str) -> Option<&'static Self> {
        ITEM_TOOLS.iter().find(|tool| tool.call == kind)
    }

    /// The JSON Schema of the arguments.
    pub(super) fn schema(&self) -> Value {
        parse(self.schema).into()
    }

    /// The object of a call, from the arguments that the model wrote; none if they are not the object that clients expect.
    pub(super) fn member(&self, arguments: &str) -> Option<Map<String, Value>> {
        let found: Map<String, Value> = serde_json::from_str(arguments).ok()?;
        let schema = parse(self.schema);
        let required = schema.get("required").and_then(Value::as_array);
        let is_whole = required.into_iter().flatten().all(|name| {
            let name = name.as_str().unwrap_or_default();
            let kind = schema["properties"][name]["type"].as_str();
            found.get(name).is_some_and(|value| match kind {
                Some("array") => value
                    .as_array()
                    .is_some_and(|words| words.iter().all(Value::is_string)),
                _ => value.is_string(),
            })
        });
        if !is_whole {
            return None;
        }
        let mut member = parse(self.constants);
        // The client relies on it: it is not the model's to say.
        let fixed = member.remove("type");
        member.extend(found);
        if let Some(fixed) = fixed {
            member.insert("type".to_owned(), fixed);
        }
        Some(member)
    }

    /// A call as an item, but for its status.
    pub(in crate::openai) fn item(
        &self,
        (id, call_id): (&str, &str),
        member: &Map<String, Value>,
    ) -> Map<String, Value> {
        let mut item = parse(self.call_constants);
        item.insert("type".to_owned(), json!(self.call));
        item.insert("id".to_owned(), json!(id));
        item.insert("call_id".to_owned(), json!(call_id));
        item.insert(self.member.to_owned(), Value::Object(member.clone()));
        item
    }
}

/// The table's own JSON; a test reads all of it.
fn parse(json: &str) -> Map<String, Value> {
    serde_json::from_str(json).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_json_can_be_read() {
        for tool in ITEM_TOOLS {
            for json in [tool.schema, tool.constants, tool.call_constants] {
                serde_json::from_str::<Map<String, Value>>(json).expect(tool.kind);
            }
            assert!(parse(tool.schema)["required"].is_array(), "{}", tool.kind);
        }
    }

    #[test]
    fn arguments_become_the_object_that_clients_expect_or_nothing() {
        let shell = ItemTool::of_kind("local_shell").unwrap();
        let member = shell
            .member(r#"{"command": ["ls"], "type": "rm"}"#)
            .unwrap();
        let expected = json!({"type": "exec", "command": ["ls"], "env": {}});
        assert_eq!(Value::Object(member), expected);
        for arguments in [
            "",
            "[]",
            "{}",
            r#"{"command": "ls"}"#,
            r#"{"command": [1]}"#,
        ] {
            assert_eq!(shell.member(arguments), None, "{arguments}");
        }
        let patch = ItemTool::of_kind("apply_patch").unwrap();
        let member = patch
            .member(r#"{"type": "delete_file", "path": "a"}"#)
            .unwrap();
        assert_eq!(
            Value::Object(member),
            json!({"type": "delete_file", "path": "a"})
        );
    }
}
