//! `codex-gateway policy matrix`: shows which callers may use which models at which endpoints, and what other policies would change.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use codex_gateway::app::{self, MatrixError, Other};
use codex_gateway::config::Config;
use codex_gateway::policy::{Axes, Lines, Slot, SlotFiles, moment};
use serde_json::json;

use super::super::text::harmless;
use super::super::{EXIT_CONFIG, complain, fail, print, print_problems, report};
use super::replay::EXIT_DIFFERS;
use super::subject::{block_on, by_name, config, read, slot_file, wrong};

/// The arguments.
#[derive(Args)]
pub(crate) struct Arguments {
    /// A policy folder in place of POLICY_DIR.
    #[arg(long, value_name = "FOLDER")]
    policies: Option<PathBuf>,
    /// Another policy folder, or a component or settings in place of the configured ones, of the slot that is their name (`model.json`) or
    /// is given (`model=FILE`). Files may be repeated.
    #[arg(long, value_name = "FOLDER|FILE")]
    with: Vec<String>,
    /// Callers: ids of keys in the settings, `anonymous`, or other ids, which are not asked of the auth policy. By default all keys, and
    /// anonymous.
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    callers: Vec<String>,
    /// Models, as clients name them. By default those that any of the callers sees listed.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    models: Vec<String>,
    /// Endpoints, as '/v1/responses' or 'GET /v1/models'. By default those that start a turn.
    #[arg(long, value_name = "ENDPOINT", value_delimiter = ',')]
    endpoints: Vec<String>,
    /// The time, as 2026-12-01T23:30Z; by default it is now.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let (config, problems) = config();
    report(&problems);
    if !problems.is_empty() {
        return ExitCode::from(EXIT_CONFIG);
    }
    let read = arguments
        .other()
        .and_then(|other| Ok((other, arguments.axes()?)));
    let (other, axes) = match read {
        Ok(read) => read,
        Err(mistake) => return wrong(&mistake),
    };
    let config = Config {
        policy_dir: arguments.policies.clone().or(config.policy_dir.clone()),
        ..config
    };
    let compares = other.is_some();
    let (lines, unknown) = match block_on(app::matrix(&config, other, axes)) {
        Ok(Ok(made)) => made,
        Ok(Err(MatrixError::Start(error))) => {
            print_problems(&error);
            return ExitCode::from(EXIT_CONFIG);
        }
        Ok(Err(error)) => return wrong(&error),
        Err(failed) => return failed,
    };
    if let Some(unknown) = unknown {
        complain(&unknown);
    }
    let text = match arguments.json {
        true => format!("{}\n", json!(lines)),
        false => shown(&lines, compares),
    };
    match print(&text) {
        Err(error) => fail(&error),
        Ok(()) if compares && !lines.lines.is_empty() => ExitCode::from(EXIT_DIFFERS),
        Ok(()) => ExitCode::SUCCESS,
    }
}

impl Arguments {
    /// The policies that are compared with.
    ///
    /// # Errors
    /// A line for a person.
    fn other(&self) -> Result<Option<Other>, String> {
        if let Some(folder) = self.policies.as_ref().filter(|folder| !folder.is_dir()) {
            return Err(format!("{}: expected a folder", folder.display()));
        }
        let mut files: [SlotFiles; Slot::COUNT] = Default::default();
        for text in &self.with {
            let (slot, path) = slot_file(text);
            if path.is_dir() {
                return match (&self.with[..], slot) {
                    ([_], None) => Ok(Some(Other::Folder(path.to_owned()))),
                    _ => Err(format!(
                        "--with: expected one folder, or files, found {text}"
                    )),
                };
            }
            let (_, bytes) = read(path)?;
            let slot = slot.or_else(|| by_name(path)).ok_or_else(|| {
                format!(
                    "{text}: expected a file named auth.wasm, model.json or the like, or SLOT=FILE"
                )
            })?;
            let files = &mut files[slot as usize];
            match path.extension().is_some_and(|ending| ending == "json") {
                true => files.settings = Some(bytes),
                false => files.component = Some(bytes),
            }
        }
        Ok((!self.with.is_empty()).then_some(Other::Files(files)))
    }

    fn axes(&self) -> Result<Axes, String> {
        let endpoints = self.endpoints.iter().map(|text| {
            let (method, path) = text.split_once(' ').unwrap_or(("POST", text));
            match path.starts_with('/') {
                true => Ok((method.to_ascii_uppercase(), path.to_owned())),
                false => Err(format!(
                    "--endpoints: expected a path, as '/v1/responses' or 'GET /v1/models', found `{text}`"
                )),
            }
        });
        let now_ms = match &self.at {
            Some(at) => moment("--at", at)?,
            None => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH);
                u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
            }
        };
        Ok(Axes {
            callers: self.callers.clone(),
            models: self.models.clone(),
            endpoints: endpoints.collect::<Result<_, _>>()?,
            now_ms,
        })
    }
}

fn shown(lines: &Lines, compares: bool) -> String {
    let mut text = String::new();
    for line in &lines.lines {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", harmless(&line.sentence));
    }
    if lines.further > 0 {
        let _ = writeln!(
            text,
            "and {} further lines: --json has no more, name fewer callers or models",
            lines.further
        );
    }
    let counts = [&lines.callers, &lines.models, &lines.endpoints].map(Vec::len);
    let [callers, models, endpoints] = counts;
    let asked = format!("{callers} callers, {models} models, {endpoints} endpoints");
    match (compares, lines.lines.is_empty()) {
        (true, true) => format!("nothing changes: {asked}\n"),
        _ => format!("{text}({asked})\n"),
    }
}
