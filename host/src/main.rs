//! The `codex-gateway` program: reads the configuration, builds the app, serves until a signal stops it.

#[path = "main/admin.rs"]
mod admin;
#[path = "main/banner.rs"]
mod banner;
#[path = "main/history.rs"]
mod history;
#[path = "main/policy.rs"]
mod policy;
#[path = "main/text.rs"]
mod text;

use std::io::{ErrorKind, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use banner::Banner;
use clap::{Parser, Subcommand};
use codex_gateway::app::{self, App, StartError};
use codex_gateway::config::env::{Process, Vars};
use codex_gateway::config::{Codex, Config, DotEnv, Problem, Warning};
use codex_gateway::listen::Handed;
use codex_gateway::policy::{SUBCOMMAND, compile_component};
use codex_gateway::secret::{Secret, fingerprint, is_sendable};
use codex_gateway::telemetry::{self, Stream};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Your Codex, as an OpenAI-compatible API whose rules you change while it runs.
#[derive(Parser)]
#[command(
    version,
    after_help = "Settings are environment variables, or lines of a file .env in the working directory:\n`codex-gateway config` shows them all, docs/src/settings.md explains them."
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve (the default).
    Serve,
    /// Show the settings as they hold, and where each comes from; exits with 78 if there are mistakes.
    Config,
    /// Show which policies served when, and why some were taken back; the last line is what serves.
    History {
        /// Only so many of the last activations.
        #[arg(long, default_value_t = 20, value_name = "COUNT")]
        last: usize,
        /// As JSON, one object a line.
        #[arg(long)]
        json: bool,
    },
    /// Look at a running gateway, and operate it, through its listener for operators (ADMIN_ADDR).
    Admin(admin::Admin),
    /// Try policies without serving.
    Policy {
        #[command(subcommand)]
        what: policy::Policy,
    },
    /// Compile a component for the gateway that started this.
    #[command(name = SUBCOMMAND, hide = true)]
    Compile {
        /// The compile cache.
        cache: PathBuf,
        /// The use it is compiled for.
        purpose: String,
    },
    /// Make keys, and entries for an `auth.json`.
    Key {
        #[command(subcommand)]
        what: Key,
    },
}

#[derive(Subcommand)]
enum Key {
    /// Make a key, and print it with its entry.
    New {
        /// The caller that the key belongs to: its name in logs and limits.
        #[arg(default_value = "caller")]
        id: String,
    },
    /// Read a key from standard input, and print its fingerprint.
    Hash,
}

/// The most bytes of a key on standard input.
const MAX_KEY: u64 = 64 << 10;

/// The exit code for a wrong configuration (EX_CONFIG of sysexits.h).
const EXIT_CONFIG: u8 = 78;

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    // The panic's message is in the log, whose last lines are still to be written.
    let code = std::panic::catch_unwind(|| run(command)).unwrap_or(ExitCode::FAILURE);
    telemetry::flush_log();
    code
}

fn run(command: Option<Command>) -> ExitCode {
    match command {
        None | Some(Command::Serve) => start(),
        Some(Command::Config) => show_config(),
        Some(Command::History { last, json }) => match show_history(last, json) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        },
        Some(Command::Admin(admin)) => match admin::run(&admin) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        },
        Some(Command::Policy { what }) => policy::run(&what),
        Some(Command::Compile { cache, purpose }) => {
            ExitCode::from(compile_component(&cache, &purpose))
        }
        Some(Command::Key { what }) => match print_key(&what) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        },
    }
}

/// Writes one line to stderr.
fn complain(what: &dyn std::fmt::Display) {
    telemetry::say(Stream::Err, &format!("codex-gateway: {what:#}\n"));
}

/// Writes text to stdout. A reader that closed the pipe early is not an error.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(anyhow::anyhow!("cannot write to standard output: {error}"))
        }
        _ => Ok(()),
    }
}

fn fail(error: &anyhow::Error) -> ExitCode {
    complain(error);
    ExitCode::FAILURE
}

fn print_key(what: &Key) -> anyhow::Result<()> {
    match what {
        Key::New { id } => {
            let key = Secret::random("sk-");
            let entry = serde_json::json!({"id": id, "sha256": key.fingerprint()});
            let key = key.reveal();
            print(&format!(
                "key for the client, shown this once:\n  {key}\nentry for `keys` in auth.json:\n  {entry}\n"
            ))?;
        }
        Key::Hash => {
            let key = read_key()?;
            print(&format!("{}\n", fingerprint(key.as_bytes())))?;
        }
    }
    Ok(())
}

/// Reads a key from standard input.
fn read_key() -> anyhow::Result<String> {
    let mut key = String::new();
    std::io::stdin().take(MAX_KEY).read_to_string(&mut key)?;
    key.truncate(key.trim_end_matches(['\r', '\n']).len());
    anyhow::ensure!(
        !key.is_empty(),
        "expected a key on standard input, found nothing"
    );
    anyhow::ensure!(
        is_sendable(&key),
        "expected a key in printable ASCII without blanks at its ends, as a client can send it, found other \
         characters; `codex-gateway key new` makes one"
    );
    Ok(key)
}

fn report(problems: &[Problem]) {
    for problem in problems {
        complain(problem);
    }
}

fn runtime() -> Result<Runtime, ExitCode> {
    let runtime = Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| fail(&anyhow::anyhow!("the runtime cannot start: {error}")))
}

/// Reports everything at once: a mistake does not stop the checks that do not depend on it.
fn show_config() -> ExitCode {
    let vars = DotEnv::load();
    let (mut config, problems) = Config::read_all(&vars);
    config.program = std::env::current_exe().ok();
    if problems.is_empty() {
        let settings = config.settings(&vars).into_iter();
        let lines: String = settings.map(|setting| format!("{setting}\n")).collect();
        if let Err(error) = print(&lines) {
            return fail(&error);
        }
    }
    report(&problems);
    for warning in &config.warnings {
        complain(warning);
    }
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(failed) => return failed,
    };
    let (notices, errors) = runtime.block_on(app::check(&config));
    runtime.shutdown_background();
    for notice in &notices {
        complain(notice);
    }
    let mut is_configuration = !problems.is_empty();
    for error in &errors {
        print_problems(error);
        is_configuration |= error.is_configuration();
    }
    match (is_configuration, errors.is_empty()) {
        (true, _) => ExitCode::from(EXIT_CONFIG),
        (false, false) => ExitCode::FAILURE,
        (false, true) => ExitCode::SUCCESS,
    }
}

/// Mistakes of the configuration do not matter here: the gateway may have made its history before them.
fn show_history(last: usize, json: bool) -> anyhow::Result<()> {
    let (config, _) = Config::read_all(&DotEnv::load());
    let entries = app::history(&config)?;
    let entries = entries.context(
        "without PROXY_STATE_DIR there is no history: set it, and POLICY_DIR, as the gateway has them",
    )?;
    let entries = &entries[entries.len().saturating_sub(last)..];
    print(&match json {
        true => history::json(entries),
        false => history::table(entries),
    })
}

fn start() -> ExitCode {
    // The sockets are taken before any other descriptor is opened.
    let sockets = Handed::take(|name| Process.get(name));
    if let Err(error) = telemetry::open_streams() {
        return fail(&anyhow::anyhow!("the log cannot start: {error}"));
    }
    let sockets = match sockets {
        Ok(sockets) => sockets,
        Err(error) => return refuse(&error.into()),
    };
    let mut config = match Config::read(&DotEnv::load()) {
        Ok(config) => config,
        Err(problems) => {
            report(&problems);
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    config.program = std::env::current_exe().ok();
    telemetry::start_log(&config.telemetry.log);
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(failed) => return failed,
    };
    let served = runtime.block_on(serve(config, sockets));
    // A start that was given up may still be compiling policies.
    runtime.shutdown_background();
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match error.downcast::<StartError>() {
            Ok(StartError::Stopped) => ExitCode::SUCCESS,
            Ok(error) => refuse(&error),
            Err(error) => fail(&error),
        },
    }
}

/// Writes one line for each problem.
fn print_problems(error: &StartError) {
    match error {
        StartError::Policies(refusals) => {
            for refusal in &refusals.0 {
                complain(refusal);
            }
        }
        other => complain(other),
    }
}

fn refuse(error: &StartError) -> ExitCode {
    print_problems(error);
    match error.is_configuration() {
        true => ExitCode::from(EXIT_CONFIG),
        false => ExitCode::FAILURE,
    }
}

/// Logs warnings. If the log's filter would drop them, they go to stderr: the filter itself may be their subject.
fn warn(warnings: &[Warning]) {
    for warning in warnings {
        if warning.is_remark {
            tracing::info!("{warning}");
        } else if tracing::enabled!(tracing::Level::WARN) {
            tracing::warn!("{warning}");
        } else {
            complain(warning);
        }
    }
}

async fn serve(config: Config, sockets: Handed) -> anyhow::Result<()> {
    warn(&config.warnings);
    let signals = Signals::listen()?;
    app::outlive_file_limit()?;
    if matches!(config.codex, Codex::Demo) {
        tracing::warn!(
            "the built-in demo answers, no Codex; install one: npm install -g @openai/codex"
        );
    }
    let key = config.random_key.clone();
    let folder = config.policy_dir.clone();
    let is_json = config.telemetry.log.json;
    let app = tokio::select! {
        app = App::build(config, sockets, &signals.first) => app?,
        () = signals.second.cancelled() => anyhow::bail!("ended at once by a second signal"),
    };
    let is_terminal = std::io::stdout().is_terminal();
    if key.is_some() || is_terminal {
        let stopped = signals.first.clone();
        stopped.run_until_cancelled(settled(&app)).await;
        let banner = Banner::of(&app, key.as_ref(), folder.as_deref());
        let text = match is_json && !is_terminal {
            true => banner.line(),
            false => banner.to_string(),
        };
        telemetry::say(Stream::Out, &text);
    }
    tokio::select! {
        served = app.serve(signals.first.cancelled_owned()) => served?,
        () = signals.second.cancelled() => anyhow::bail!("ended at once by a second signal"),
    }
    tracing::info!("stopped");
    Ok(())
}

/// Waits, for a limited time, until it is known whether Codex can answer, so that the banner says so.
async fn settled(app: &App) {
    const PATIENCE: Duration = Duration::from_secs(3);
    let mut status = app.backend().watch();
    let known = status.wait_for(|status| status.ready || status.signed_in == Some(false));
    let _ = tokio::time::timeout(PATIENCE, known).await;
}

/// SIGTERM, SIGINT, SIGHUP and SIGQUIT: the first signal drains, the second ends the process at once.
struct Signals {
    first: CancellationToken,
    second: CancellationToken,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        // By default they would end it without a drain: a terminal that is closed, or an operator who expects a reload.
        let mut hangup = signal(SignalKind::hangup())?;
        let mut quit = signal(SignalKind::quit())?;
        let signals = Self {
            first: CancellationToken::new(),
            second: CancellationToken::new(),
        };
        let (first, second) = (signals.first.clone(), signals.second.clone());
        tokio::spawn(async move {
            for token in [first, second] {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                    _ = hangup.recv() => {}
                    _ = quit.recv() => {}
                }
                token.cancel();
            }
        });
        Ok(signals)
    }
}
