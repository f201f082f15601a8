//! Translates function names between client and Codex, so that a client's name never meets one of Codex's own.

use std::borrow::Cow;

/// Names of Codex's own tools, in all its modes. A client's function with such a name is refused, dropped silently, or
/// never called, since Codex takes the call for one to its own tool. Measured with 0.169.0.
const OWN: [&str; 15] = [
    "apply_patch",
    "create_goal",
    "exec_command",
    "get_goal",
    "image_generation",
    "local_shell",
    "mcp",
    "request_user_input",
    "shell",
    "shell_command",
    "update_goal",
    "update_plan",
    "view_image",
    "web_search",
    "write_stdin",
];

/// The prefix for a client's function named like a tool of Codex. It is repeated if the client's name already has it.
const CLIENTS: &str = "client_";

/// The prefix that Codex reserves, and its replacement: of the same length, since providers allow 64 characters.
const MCP: (&str, &str) = ("mcp__", "mcp-_");

/// The name of a client's function for Codex, and so for the model.
pub(crate) fn for_codex(name: &str) -> Cow<'_, str> {
    if OWN.contains(&name.trim_start_matches(CLIENTS)) {
        return Cow::Owned(format!("{CLIENTS}{name}"));
    }
    if let Some(rest) = name.strip_prefix(MCP.0) {
        return Cow::Owned(format!("{}{rest}", MCP.1));
    }
    match dashes(name) {
        // A name that looks like a replacement itself gets one more dash, so that the way back is unambiguous.
        Some(rest) => Cow::Owned(format!("mcp-{rest}")),
        None => Cow::Borrowed(name),
    }
}

/// The client's name of a function, from the name by which the model calls it.
pub(crate) fn for_client(name: &str) -> Cow<'_, str> {
    if let Some(rest) = name.strip_prefix(CLIENTS)
        && OWN.contains(&rest.trim_start_matches(CLIENTS))
    {
        return Cow::Borrowed(rest);
    }
    if let Some(rest) = name.strip_prefix(MCP.1) {
        return Cow::Owned(format!("{}{rest}", MCP.0));
    }
    match dashes(name).and_then(|rest| rest.strip_prefix('-')) {
        Some(rest) => Cow::Owned(format!("mcp{rest}")),
        None => Cow::Borrowed(name),
    }
}

/// The rest of a name after `mcp`, if that rest is one or more dashes, then an underscore and anything.
fn dashes(name: &str) -> Option<&str> {
    let rest = name
        .strip_prefix("mcp")
        .filter(|rest| rest.starts_with('-'))?;
    rest.trim_start_matches('-')
        .starts_with('_')
        .then_some(rest)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codexs_own_names_are_kept_apart_and_others_stay() {
        for (client, codex) in [
            ("get_weather", "get_weather"),
            ("mcp_server", "mcp_server"),
            ("exec", "exec"),
            ("exec_command", "client_exec_command"),
            ("client_exec_command", "client_client_exec_command"),
            ("client_side", "client_side"),
            ("mcp", "client_mcp"),
            ("mcp__files__read", "mcp-_files__read"),
            ("mcp__", "mcp-_"),
            ("mcp-_files", "mcp--_files"),
            ("mcp--_files", "mcp---_files"),
            ("mcp-files", "mcp-files"),
            ("mcp-", "mcp-"),
        ] {
            assert_eq!(for_codex(client), codex);
            assert_eq!(for_client(codex), client);
        }
        for name in OWN {
            assert_ne!(for_codex(name), name);
        }
    }

    #[test]
    fn no_two_names_become_one_and_each_comes_back() {
        let pieces = ["mcp", "client_", "shell", "-", "_", "x"];
        let mut names = vec![String::new()];
        for _ in 0..5 {
            let longer: Vec<String> = names
                .iter()
                .flat_map(|name| pieces.iter().map(move |piece| format!("{name}{piece}")))
                .collect();
            names.extend(longer);
        }
        let names: HashSet<String> = names.into_iter().collect();
        let mut seen = HashSet::new();
        for name in &names {
            let told = for_codex(name);
            assert_eq!(for_client(&told), *name, "by way of {told}");
            assert!(seen.insert(told.into_owned()), "{name} is told as another");
        }
        assert!(names.len() > 1_000);
    }

    #[test]
    fn a_name_of_the_longest_kind_stays_as_long() {
        let longest = format!("mcp__{}", "x".repeat(59));
        assert_eq!(for_codex(&longest).len(), 64);
    }
}
