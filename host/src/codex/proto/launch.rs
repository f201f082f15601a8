//! Starts `codex proto`: its arguments, and the instructions that go with them.

use std::path::PathBuf;
use std::process::Stdio;

use tokio::process::Command;

use crate::codex::command::{command, setting};
use crate::codex::folder::Folder;
use crate::codex::home::Home;
use crate::codex::login::AuthFile;
use crate::codex::{Config, Plan};

/// Settings that make Codex as plain a chat model as these versions can be.
const SETTINGS: [&str; 12] = [
    "sandbox_mode=\"read-only\"",
    "approval_policy=\"never\"",
    "project_doc_max_bytes=0",
    "history.persistence=\"none\"",
    "tools.web_search=false",
    "tools.view_image=false",
    "mcp_servers={}",
    "notify=[]",
    "show_raw_agent_reasoning=true",
    // Codex must not shorten the conversation on its own.
    "model_context_window=2000000000",
    "model_auto_compact_token_limit=1900000000",
    // The shell tool cannot be removed, and commands that Codex considers harmless (`cat auth.json` is one) run
    // without approval and without a sandbox. They are looked up by name: without a PATH none is found.
    "shell_environment_policy={inherit=\"none\",set={PATH=\"/nonexistent\"}}",
];

/// Instructions in place of Codex's own 27 kB for a coding agent.
const INSTRUCTIONS: &str = "You are a helpful assistant. You answer the last message of the conversation you are given. \
    There are no tools: the shell does not work.\n";

/// Settings that can only be chosen when a process is started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wish {
    provider: Option<String>,
    verbosity: Option<String>,
}

impl Wish {
    /// The settings that a plan needs and a spare process does not have, if any.
    pub(super) fn of(plan: &Plan, config: &Config) -> Option<Self> {
        let wish = Self {
            provider: plan
                .provider
                .clone()
                .filter(|provider| Some(provider) != config.force_provider.as_ref()),
            verbosity: plan.verbosity.clone(),
        };
        (wish != Self::default()).then_some(wish)
    }
}

/// Makes the folder for temporary files, and writes the instructions that the processes will read.
pub(super) fn prepare(folder: &Folder) -> std::io::Result<()> {
    std::fs::create_dir(temporary(folder))?;
    std::fs::write(instructions(folder), INSTRUCTIONS)
}

/// The command that starts a process.
pub(super) fn process(config: &Config, home: &Home, folder: &Folder, wish: &Wish) -> Command {
    let mut command = command(config, home);
    command.arg("proto");
    for setting in SETTINGS {
        command.args(["-c", setting]);
    }
    for setting in own_settings(config, home, folder, wish) {
        command.args(["-c", &setting]);
    }
    command
        .env("TMPDIR", temporary(folder))
        .current_dir(workdir(config, folder))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// The folder where Codex works.
pub(super) fn workdir(config: &Config, folder: &Folder) -> PathBuf {
    config.workdir.clone().unwrap_or_else(|| folder.work())
}

/// The settings that depend on the operator and on the turn.
fn own_settings(config: &Config, home: &Home, folder: &Folder, wish: &Wish) -> Vec<String> {
    let provider = wish.provider.as_ref().or(config.force_provider.as_ref());
    let mut settings = Vec::new();
    settings.extend(config.model.as_deref().map(|model| setting("model", model)));
    settings.extend(provider.map(|provider| setting("model_provider", provider)));
    settings.extend(
        wish.verbosity
            .as_deref()
            .map(|verbosity| setting("model_verbosity", verbosity)),
    );
    let provider = provider.or(home.model_provider.as_ref());
    if takes_instructions(config, home, provider.map(String::as_str)) {
        settings.push(setting(
            "experimental_instructions_file",
            &instructions(folder).display().to_string(),
        ));
    }
    // A retry would send text again that the client has already seen. A table here would replace the whole provider, and
    // Codex cuts a path at its dots even if quoted: a provider with an unusual name keeps its retries.
    let plain = |name: &&String| {
        name.chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
    };
    for name in home.model_providers.keys().filter(plain) {
        settings.push(format!("model_providers.{name}.request_max_retries=0"));
        settings.push(format!("model_providers.{name}.stream_max_retries=0"));
    }
    settings
}

/// Whether the provider takes instructions other than Codex's own: with a ChatGPT login it does not ("Instructions are
/// not valid").
fn takes_instructions(config: &Config, home: &Home, provider: Option<&str>) -> bool {
    let provider = provider.and_then(|name| home.model_providers.get(name));
    let is_chatgpt = || AuthFile::read(config).is_ok_and(|file| file.is_chatgpt());
    provider.is_some_and(|provider| !provider.requires_openai_auth) || !is_chatgpt()
}

/// The folder for temporary files: a process that is killed leaves a folder there.
fn temporary(folder: &Folder) -> PathBuf {
    folder.file("tmp")
}

fn instructions(folder: &Folder) -> PathBuf {
    folder.file("instructions.md")
}

#[cfg(test)]
mod tests;
