//! How a worker is started: its arguments, its environment, and the folder that holds what it writes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::codex::Config;
use crate::codex::home::Home;

/// Settings that make Codex a plain chat model: no tools, prompts, files or habits of its own.
const SETTINGS: [&str; 21] = [
    "web_search=\"disabled\"",
    "project_doc_max_bytes=0",
    "include_permissions_instructions=false",
    "include_apps_instructions=false",
    "include_collaboration_mode_instructions=false",
    "include_environment_context=false",
    "skills.include_instructions=false",
    "skills.bundled.enabled=false",
    "tools.update_plan.enabled=false",
    "tools.experimental_request_user_input.enabled=false",
    "notify=[]",
    "history.persistence=\"none\"",
    "analytics.enabled=false",
    "feedback.enabled=false",
    "check_for_update_on_startup=false",
    "allow_login_shell=false",
    "show_raw_agent_reasoning=true",
    "thread_unload_delay_secs=0",
    // Codex must not shorten the conversation on its own: both numbers are needed for that.
    "model_context_window=2000000000",
    "model_auto_compact_token_limit=1900000000",
    "tool_output_token_limit=100000000",
];

/// Features that add tools or prompts, reach out, or never give up (`fast_mode` stays: it carries service tiers).
const DISABLED: [&str; 29] = [
    "apps",
    "plugins",
    "multi_agent",
    "goals",
    "image_generation",
    "view_image",
    "shell_tool",
    "unified_exec",
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
];

/// Variables Codex always gets, if we have them. `LC_*` too.
const ENVIRONMENT: [&str; 17] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "TZ",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
];

/// The gateway's own settings, keys among them, begin so.
const OURS: &str = "PROXY_";

/// What a worker writes goes here, and goes away with it. Readable by us alone.
#[derive(Debug)]
pub(super) struct Folder(TempDir);

impl Folder {
    /// Makes the folder, with an empty one to work in.
    pub(super) fn make() -> std::io::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("codex-gateway-")
            .tempdir()?;
        restrict(folder.path())?;
        std::fs::create_dir(folder.path().join("work"))?;
        Ok(Self(folder))
    }

    /// The empty folder to work in.
    pub(super) fn work(&self) -> PathBuf {
        self.0.path().join("work")
    }

    /// Where the catalogue of models lies.
    pub(super) fn catalogue(&self) -> PathBuf {
        self.0.path().join("catalogue.json")
    }

    /// An empty folder for the databases of the next worker; those of the last are deleted.
    pub(super) fn databases(&self) -> std::io::Result<PathBuf> {
        let path = self.0.path().join("databases");
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // Codex logs some 50 kB a turn into a database it never empties, and has no setting against it.
        // Where it finds a folder in the file's place, it goes without.
        std::fs::create_dir_all(path.join("logs_2.sqlite"))?;
        Ok(path)
    }

    /// Deletes it with all that is in it.
    pub(super) fn delete(self) -> std::io::Result<()> {
        self.0.close()
    }
}

#[cfg(unix)]
fn restrict(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
}

#[cfg(not(unix))]
fn restrict(_path: &Path) -> std::io::Result<()> {
    Ok(())
}

/// The operator's `config.toml`, from wherever Codex will read it.
pub(super) fn read_home(config: &Config) -> Home {
    home_folder(config).map_or_else(Home::default, |folder| Home::read(&folder))
}

/// Codex's own folder: the configured one, or its default.
pub(super) fn home_folder(config: &Config) -> Option<PathBuf> {
    let default = || Some(Path::new(config.parent_env.get("HOME")?).join(".codex"));
    config.home.clone().or_else(default)
}

/// The command that starts a worker.
pub(super) fn worker(config: &Config, home: &Home, folder: &Folder) -> std::io::Result<Command> {
    let mut command = command(config, home);
    command.arg("app-server");
    for setting in SETTINGS {
        command.args(["-c", setting]);
    }
    for setting in own_settings(config, home, folder, &folder.databases()?) {
        command.args(["-c", &setting]);
    }
    // As a setting and not by `--disable`, for which a feature another version lacks is fatal.
    let features = DISABLED.map(|feature| format!("{feature}=false")).join(",");
    command.args(["-c", &format!("features={{{features}}}")]);
    command.current_dir(config.workdir.clone().unwrap_or_else(|| folder.work()));
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Ok(command)
}

/// The settings that depend on the operator and on this machine.
fn own_settings(config: &Config, home: &Home, folder: &Folder, databases: &Path) -> Vec<String> {
    let mut settings = vec![
        setting(
            "model_catalog_json",
            &folder.catalogue().display().to_string(),
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
    // A retry repeats what the client has already seen. Built-in providers cannot be told so:
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
    settings.extend(table(
        "mcp_servers",
        &home.mcp_servers,
        |server| match server.url {
            Some(_) => "enabled=false,url=\"http://localhost\"".to_owned(),
            None => "enabled=false,command=\"false\"".to_owned(),
        },
    ));
    settings
}

/// `name={"key"={…}}` with all keys, or nothing without any. Each entry must be valid on its own: where
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

fn setting(name: &str, value: &str) -> String {
    format!("{name}={}", quoted(value))
}

/// A TOML basic string. JSON's escapes are TOML's, but for one character.
fn quoted(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// Codex with the environment it may see and nothing else, killed when forgotten.
pub(super) fn command(config: &Config, home: &Home) -> Command {
    let mut command = Command::new(&config.bin);
    command
        .env_clear()
        .envs(environment(config, home))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    // A Ctrl-C in the terminal is for the gateway, which lets running turns finish.
    #[cfg(unix)]
    command.process_group(0);
    command
}

fn environment(config: &Config, home: &Home) -> BTreeMap<String, String> {
    let wanted = |name: &str| {
        let listed = ENVIRONMENT.contains(&name)
            || name.starts_with("LC_")
            || home.variables().any(|variable| variable == name)
            || config.pass_env.iter().any(|variable| variable == name);
        listed && !name.starts_with(OURS)
    };
    let passed = config.parent_env.iter().filter(|(name, _)| wanted(name));
    let mut environment: BTreeMap<_, _> = passed
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    environment.insert("TERM".to_owned(), "dumb".to_owned());
    if let Some(home) = &config.home {
        environment.insert("CODEX_HOME".to_owned(), home.display().to_string());
    }
    environment
}

#[cfg(test)]
mod tests;
