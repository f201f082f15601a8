//! Builds the command of every Codex process: environment, process group, settings on the command line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use super::Config;
use super::home::Home;
use super::start_error::StartError;

/// Variables that Codex always gets, if the gateway has them; also all `LC_*`.
const ENVIRONMENT: [&str; 18] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "TZ",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CODEX_CA_CERTIFICATE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
];

/// The prefix of the gateway's own settings, some of which are keys: Codex never gets them.
const OURS: &str = "PROXY_";

/// The operator's `config.toml`, from the folder where Codex will read it.
pub(super) fn read_home(config: &Config) -> Home {
    home_folder(config).map_or_else(Home::default, |folder| Home::read(&folder))
}

/// Codex's own folder: the configured one, or its default.
pub(super) fn home_folder(config: &Config) -> Option<PathBuf> {
    let default = || Some(Path::new(config.parent_env.get("HOME")?).join(".codex"));
    config.home.clone().or_else(default)
}

/// A Codex command with only the allowed environment; the child is killed when its handle is dropped.
pub(super) fn command(config: &Config, home: &Home) -> Command {
    let mut command = Command::new(&config.bin);
    command
        .env_clear()
        .envs(environment(config, home))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    // A Ctrl-C in the terminal must reach only the gateway, which lets running turns finish.
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

/// Takes stdin, stdout and stderr of a child that was started with all three as pipes.
pub(super) fn pipes(child: &mut Child) -> std::io::Result<(ChildStdin, ChildStdout, ChildStderr)> {
    match (child.stdin.take(), child.stdout.take(), child.stderr.take()) {
        (Some(stdin), Some(stdout), Some(stderr)) => Ok((stdin, stdout, stderr)),
        _ => Err(std::io::Error::other("it has no pipes")),
    }
}

/// Warns that Codex adds the instructions in its own folder to every conversation; no setting prevents it.
pub(super) fn warn_of_instructions(config: &Config) {
    let folder = home_folder(config).unwrap_or_default();
    for file in ["AGENTS.override.md", "AGENTS.md"].map(|name| folder.join(name)) {
        if file.metadata().is_ok_and(|found| found.len() > 0) {
            tracing::warn!(file = %file.display(), "Codex sends this file with every request: move it away, or set CODEX_HOME");
        }
    }
}

/// `name="value"`, the form that `-c` takes.
pub(super) fn setting(name: &str, value: &str) -> String {
    format!("{name}={}", quoted(value))
}

/// A TOML basic string. JSON's escapes are valid in TOML, but TOML also requires one for U+007F.
pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// Makes the folder that the operator chose for Codex to work in.
pub(super) fn make_workdir(config: &Config) -> Result<(), StartError> {
    let Some(path) = &config.workdir else {
        return Ok(());
    };
    std::fs::create_dir_all(path).map_err(|cause| StartError::Workdir {
        path: path.clone(),
        cause,
    })
}

#[cfg(test)]
mod tests;
