//! Reads where Codex is, how to speak to it, and its limits.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::env::{self, Vars};
use super::read::{Reader, is_writable};
use super::{Codex, Environment, telemetry};
use crate::codex;

pub(super) fn read(
    reader: &mut Reader<'_>,
    vars: &dyn Vars,
    environment: Environment,
    model: Option<String>,
) -> Codex {
    let named = reader.text(env::CODEX_BIN);
    let path = vars.get("PATH");
    let found = codex::locate(
        Path::new(named.as_deref().unwrap_or("codex")),
        path.as_deref(),
    );
    let mode = read_mode(reader);
    let config = codex::Config {
        mode,
        home: home(reader),
        model,
        force_provider: reader.text(env::CODEX_FORCE_PROVIDER),
        workdir: workdir(reader),
        pass_env: reader.list(env::PROXY_CODEX_ENV),
        parent_env: vars.all().into_iter().collect(),
        quick_roots: reader.choice(env::CODEX_QUICK_ROOTS, &QUICK_ROOTS, None),
        protocol_log: protocol_log(reader, environment),
        ..bounds(reader)
    };
    let choice = reader.choice(
        env::CODEX_BACKEND,
        &BACKENDS,
        Some(codex::BackendChoice::Auto),
    );
    if let (codex::Mode::Agent(_), None | Some(codex::BackendChoice::Proto)) = (mode, choice) {
        let expected =
            "`chat` with CODEX_BACKEND `demo` or `proto`, which have no tools of their own";
        reader.note(env::CODEX_MODE, expected, "`agent`");
    }
    let is_recorded = config.protocol_log.is_some();
    let demo = |reader: &mut Reader<'_>| {
        if is_recorded {
            let what = "has no effect: the built-in demo answers, to which there are no messages";
            reader.warn(env::PROXY_DEBUG_PROTO.name, what);
        }
        Codex::Demo
    };
    let Some(choice) = choice else {
        return demo(reader);
    };
    match (found, named) {
        (Some(bin), _) => {
            let config = codex::Config { bin, ..config };
            return Codex::Program(Box::new(config), choice);
        }
        (None, Some(name)) => {
            let expected = "an executable file, or the name of one in PATH";
            reader.note(env::CODEX_BIN, expected, format!("`{name}`"));
        }
        (None, None) => {
            if let Some(why) = needs_program(environment, mode, choice) {
                let expected = format!("a Codex program when {why} (npm install -g @openai/codex)");
                reader.note(env::CODEX_BIN, expected, "no `codex` in PATH");
            }
        }
    }
    demo(reader)
}

/// The setting that requires a Codex program, so that the demo cannot stand in for it.
fn needs_program(
    environment: Environment,
    mode: codex::Mode,
    choice: codex::BackendChoice,
) -> Option<&'static str> {
    match choice {
        codex::BackendChoice::AppServer => return Some("CODEX_BACKEND is app-server"),
        codex::BackendChoice::Proto => return Some("CODEX_BACKEND is proto"),
        codex::BackendChoice::Auto => {}
    }
    if environment == Environment::Prod {
        return Some("PROXY_ENV is prod");
    }
    (mode != codex::Mode::Chat).then_some("CODEX_MODE is agent")
}

/// Codex's folder. One that cannot be written is only a warning: the gateway serves, and Codex as soon as it can be written.
fn home(reader: &mut Reader<'_>) -> Option<PathBuf> {
    let folder = reader.folder(env::CODEX_HOME)?;
    if folder.is_dir() && !is_writable(&folder) {
        let what = format!(
            "this user cannot write {}: Codex keeps its login and its sessions there, and ends without",
            folder.display()
        );
        reader.warn(env::CODEX_HOME.name, what);
    }
    Some(folder)
}

/// Where the messages to and from Codex are recorded, if they are.
fn protocol_log(
    reader: &mut Reader<'_>,
    environment: Environment,
) -> Option<codex::ProtocolLogConfig> {
    let is_on = reader.switch(env::PROXY_DEBUG_PROTO);
    let bodies = reader.switch(env::PROXY_DEBUG_PROTO_BODIES);
    let limits = [env::PROTO_LOG_MAX_BYTES, env::PROTO_LOG_MAX_FILES];
    let journal = telemetry::journal(reader, env::PROTO_LOG_PATH, limits);
    if bodies && environment == Environment::Prod {
        let expected = "`false` when PROXY_ENV is prod: it records what callers say";
        reader.note(env::PROXY_DEBUG_PROTO_BODIES, expected, "`true`");
    }
    if !is_on {
        for variable in [env::PROXY_DEBUG_PROTO_BODIES, env::PROTO_LOG_PATH] {
            if reader.is_set(variable) {
                reader.warn(
                    variable.name,
                    "has no effect without PROXY_DEBUG_PROTO=true",
                );
            }
        }
        return None;
    }
    if journal.is_none() {
        let expected = "a file for the messages, with PROXY_DEBUG_PROTO=true";
        reader.note(env::PROTO_LOG_PATH, expected, "none");
    }
    let journal = journal?;
    Some(codex::ProtocolLogConfig { journal, bodies })
}

/// A folder that exists or can be created.
fn workdir(reader: &mut Reader<'_>) -> Option<PathBuf> {
    let path = PathBuf::from(reader.text(env::PROXY_CODEX_WORKDIR)?);
    let there = path.ancestors().find(|folder| folder.exists());
    if there.is_some_and(|there| !there.is_dir()) {
        let expected = "a folder, or where one can be made";
        reader.note(
            env::PROXY_CODEX_WORKDIR,
            expected,
            format!("`{}`", path.display()),
        );
    }
    Some(path)
}

/// The number of children, the limits of their turns, and their timeouts.
fn bounds(reader: &mut Reader<'_>) -> codex::Config {
    codex::Config {
        rpc_timeout: reader.millis(env::WORKER_REQUEST_TIMEOUT_MS, 100, 30_000),
        startup_timeout: reader.millis(env::WORKER_STARTUP_TIMEOUT_MS, 100, 8_000),
        backoff_initial: reader.millis(env::WORKER_BACKOFF_INITIAL_MS, 1, 500),
        backoff_max: reader.millis(env::WORKER_BACKOFF_MAX_MS, 1, 5_000),
        shutdown_grace: reader.millis(env::WORKER_SHUTDOWN_GRACE_MS, 0, 5_000),
        workers: count(reader, env::CODEX_WORKERS, 1..=64, 1),
        max_turns: count(reader, env::WORKER_MAX_CONCURRENCY, 1..=1_000, 64),
        queue_max: count(reader, env::PROXY_QUEUE_MAX, 0..=100_000, 64),
        queue_wait: reader.millis(env::PROXY_QUEUE_WAIT_MS, 0, 30_000),
        probe_interval: reader.millis(env::WORKER_PROBE_INTERVAL_MS, 10, 10_000),
        recycling: recycling(reader),
        ..codex::Config::default()
    }
}

fn read_mode(reader: &mut Reader<'_>) -> codex::Mode {
    let agent = reader.choice(env::CODEX_MODE, &[("chat", false), ("agent", true)], false);
    let sandbox = reader.choice(
        env::PROXY_SANDBOX_MODE,
        &[
            ("read-only", codex::Sandbox::ReadOnly),
            ("workspace-write", codex::Sandbox::WorkspaceWrite),
            ("danger-full-access", codex::Sandbox::DangerFullAccess),
        ],
        codex::Sandbox::default(),
    );
    if agent {
        codex::Mode::Agent(sandbox)
    } else {
        codex::Mode::Chat
    }
}

fn count(
    reader: &mut Reader<'_>,
    variable: env::Variable,
    range: RangeInclusive<u64>,
    default: u64,
) -> usize {
    usize::try_from(reader.number(variable, range, default)).unwrap_or(usize::MAX)
}

fn recycling(reader: &mut Reader<'_>) -> codex::Recycling {
    let mut mebibytes = |variable, default| reader.number(variable, 0..=1 << 30, default) << 20;
    codex::Recycling {
        memory_bytes: mebibytes(env::WORKER_RECYCLE_MEMORY_MB, 1_024),
        disk_bytes: mebibytes(env::WORKER_RECYCLE_DISK_MB, 512),
        turns: reader.number(env::WORKER_RECYCLE_TURNS, 0..=1_000_000_000, 5_000),
    }
}

/// The words of `CODEX_QUICK_ROOTS`; with `None` the backend decides.
const QUICK_ROOTS: [(&str, Option<bool>); 3] =
    [("auto", None), ("true", Some(true)), ("false", Some(false))];

/// The words of `CODEX_BACKEND`; `None` is the demo.
const BACKENDS: [(&str, Option<codex::BackendChoice>); 4] = [
    ("auto", Some(codex::BackendChoice::Auto)),
    ("app-server", Some(codex::BackendChoice::AppServer)),
    ("proto", Some(codex::BackendChoice::Proto)),
    ("demo", None),
];
