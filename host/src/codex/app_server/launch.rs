//! Starts an app-server: its arguments, and the files that go with them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::Command;

use super::roots;
use crate::codex::command::{command, quoted, setting};
use crate::codex::folder::Folder;
use crate::codex::home::{Home, McpServer};
use crate::codex::{Config, Mode, leftovers};

/// Settings for a Codex that no person uses directly: it asks no questions, sends no reports, and keeps nothing.
const SETTINGS: [&str; 13] = [
    "include_apps_instructions=false",
    "include_collaboration_mode_instructions=false",
    "skills.include_instructions=false",
    "skills.bundled.enabled=false",
    "tools.experimental_request_user_input.enabled=false",
    "notify=[]",
    "history.persistence=\"none\"",
    "analytics.enabled=false",
    "feedback.enabled=false",
    "check_for_update_on_startup=false",
    "allow_login_shell=false",
    "show_raw_agent_reasoning=true",
    "thread_unload_delay_secs=0",
];

/// Settings that make it a plain chat model: no tools, prompts, files or habits of its own.
const CHAT_SETTINGS: [&str; 8] = [
    "web_search=\"disabled\"",
    "project_doc_max_bytes=0",
    "include_permissions_instructions=false",
    "include_environment_context=false",
    "tools.update_plan.enabled=false",
    // Codex must not shorten the conversation on its own: both numbers are needed for that.
    "model_context_window=2000000000",
    "model_auto_compact_token_limit=1900000000",
    "tool_output_token_limit=100000000",
];

/// An agent's own tools, which a chat model does not have.
const CHAT_DISABLED: [&str; 3] = ["view_image", "shell_tool", "unified_exec"];

/// Features that reach beyond a folder on this machine, add prompts, or retry without end (`fast_mode` stays: it carries
/// service tiers). Code mode would wrap the client's functions in a program that the model writes. The image budget would send
/// every picture as `original`, whatever its `detail` says.
const DISABLED: [&str; 27] = [
    "apps",
    "plugins",
    "multi_agent",
    "goals",
    "image_generation",
    "shell_snapshot",
    "hooks",
    "tool_suggest",
    "skill_search",
    "browser_use",
    "browser_use_external",
    "browser_use_full_cdp_access",
    "computer_use",
    "in_app_browser",
    "in_app_chat",
    "remote_plugin",
    "plugin_sharing",
    "auth_elicitation",
    "mentions_v2",
    "memories",
    "skill_mcp_dependency_install",
    "workspace_dependencies",
    "guardian_approval",
    "tool_call_mcp_elicitation",
    "code_mode_host",
    "unbounded_connection_retries",
    "unified_image_budget",
];

/// The command that starts a worker.
pub(super) fn worker(config: &Config, home: &Home, folder: &Folder, databases: &Path) -> Command {
    let mut command = command(config, home);
    command.envs(roots::lay_out(config, databases));
    let path = config.parent_env.get("PATH").map(String::as_str);
    command.env("PATH", leftovers::marked_path(path, databases));
    command.arg("app-server");
    let is_chat = config.mode == Mode::Chat;
    let chat: (&[_], &[_]) = (&CHAT_SETTINGS, &CHAT_DISABLED);
    let (settings, disabled) = if is_chat { chat } else { Default::default() };
    for setting in SETTINGS.iter().chain(settings) {
        command.args(["-c", setting]);
    }
    for setting in own_settings(config, home, folder, databases) {
        command.args(["-c", &setting]);
    }
    // A setting instead of `--disable`, for which a feature that another version lacks is fatal.
    let features = DISABLED.iter().chain(disabled);
    let features: Vec<_> = features.map(|name| format!("{name}=false")).collect();
    command.args(["-c", &format!("features={{{}}}", features.join(","))]);
    command.current_dir(config.workdir.clone().unwrap_or_else(|| folder.work()));
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// The settings that depend on the operator and on this machine.
fn own_settings(config: &Config, home: &Home, folder: &Folder, databases: &Path) -> Vec<String> {
    let mut settings = vec![
        setting(
            "model_catalog_json",
            &catalogue(folder).display().to_string(),
        ),
        setting("sqlite_home", &databases.display().to_string()),
    ];
    settings.extend(config.model.as_deref().map(|model| setting("model", model)));
    settings.extend(
        config
            .force_provider
            .as_deref()
            .map(|provider| setting("model_provider", provider)),
    );
    // A retry would send text again that the client has already seen. For built-in providers it cannot be turned off:
    // naming one here ends the worker at once, as it would in `config.toml`.
    settings.extend(table(
        "model_providers",
        &home.model_providers,
        |provider| {
            let name = provider
                .name
                .as_deref()
                .map(|name| format!("name={},", quoted(name)))
                .unwrap_or_default();
            format!("{name}request_max_retries=0,stream_max_retries=0")
        },
    ));
    // An empty table does not replace a full one: each server is turned off by name.
    let turned_off = |server: &McpServer| match server.url {
        Some(_) => "enabled=false,url=\"http://localhost\"".to_owned(),
        None => "enabled=false,command=\"false\"".to_owned(),
    };
    if config.mode == Mode::Chat {
        settings.extend(table("mcp_servers", &home.mcp_servers, turned_off));
    }
    settings
}

/// `name={"key"={…}}` with all keys, or `None` if there are none. Each entry must be valid on its own: if
/// `config.toml` has a mistake, Codex first reads the settings without it, and would report the entry instead.
fn table<T>(
    name: &str,
    entries: &BTreeMap<String, T>,
    value: impl Fn(&T) -> String,
) -> Option<String> {
    let entries = entries
        .iter()
        .map(|(key, entry)| format!("{}={{{}}}", quoted(key), value(entry)));
    let entries = entries.collect::<Vec<_>>().join(",");
    (!entries.is_empty()).then(|| format!("{name}={{{entries}}}"))
}

/// The path of the catalogue of models.
pub(super) fn catalogue(folder: &Folder) -> PathBuf {
    folder.file("catalogue.json")
}

/// Whether Codex may log into its database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogDatabase {
    /// Something else is in the place of the file.
    Blocked,
    /// Codex does not work otherwise.
    Allowed,
}

/// An empty folder for the databases of one worker.
pub(super) fn databases(folder: &Folder, log: LogDatabase) -> std::io::Result<TempDir> {
    let databases = tempfile::Builder::new()
        .prefix("databases-")
        .tempdir_in(folder.file(""))?;
    // Codex logs some 50 kB a turn into a database that it never empties, and no setting prevents that.
    // If it finds a folder in the file's place, it works without the database; versions before 0.169 end.
    if log == LogDatabase::Blocked {
        std::fs::create_dir(databases.path().join("logs_2.sqlite"))?;
    }
    Ok(databases)
}

#[cfg(test)]
mod tests;
