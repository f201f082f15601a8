//! The configuration: read once from the environment and a `.env` file; all mistakes are reported together.
//!
//! `env` declares the variables, `read` reads them and notes mistakes; each part of the program has a file of its own.

mod admin;
mod agent;
mod api;
mod codex;
mod dotenv;
pub mod env;
mod key;
mod policies;
mod problem;
mod read;
mod report;
pub mod retired;
mod telemetry;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::listen;
use crate::policy;
use crate::secret::Secret;
use crate::spelling;
pub use admin::{Admin, operators};
pub use dotenv::DotEnv;
use env::Vars;
pub use key::PUBLISHED;
use policies::Policies;
pub use problem::{Problem, Warning};
use read::Reader;
pub use report::Setting;

/// The environment the gateway runs in: decides which model names are listed, and how strict the start is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// `dev`
    Dev,
    /// `prod`
    Prod,
}

impl Environment {
    /// The words that `PROXY_ENV` may have.
    const WORDS: [(&str, Self); 4] = [
        ("dev", Self::Dev),
        ("development", Self::Dev),
        ("prod", Self::Prod),
        ("production", Self::Prod),
    ];

    /// The name for policies and health.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Prod => "prod",
        }
    }
}

/// The program that answers turns.
#[derive(Debug, Clone)]
pub enum Codex {
    /// A Codex program.
    Program(Box<crate::codex::Config>, crate::codex::BackendChoice),
    /// The built-in demo: configured, or used because this machine has no Codex.
    Demo,
}

/// Everything that the gateway needs to start.
#[derive(Debug, Clone)]
pub struct Config {
    /// `PROXY_ENV`
    pub environment: Environment,
    /// The addresses to listen on.
    pub listen: listen::Wanted,
    /// The random key of this run, if the operator set none.
    pub random_key: Option<Secret>,
    /// The program that answers turns.
    pub codex: Codex,
    /// `CODEX_MODEL`
    pub model: Option<String>,
    /// `POLICY_DIR`
    pub policy_dir: Option<PathBuf>,
    /// Settings of the slots without a settings file.
    pub policy_defaults: policy::Defaults,
    /// `POLICY_TRUSTED_KEYS`
    pub policy_trust: policy::Trust,
    /// `POLICY_RECORD`
    pub records: Option<policy::RecordConfig>,
    /// `PROXY_STATE_DIR`
    pub state_dir: Option<PathBuf>,
    /// `PROXY_CACHE_DIR`, or the default folder, if there is one.
    pub cache_dir: Option<PathBuf>,
    /// This executable, which compiles heavy policies in a child process; if absent, they are compiled in this process.
    pub program: Option<PathBuf>,
    /// The settings of the HTTP API.
    pub api: crate::api::Config,
    /// The operators, for the address in `listen`; absent without one.
    pub admin: Option<Admin>,
    /// How long requests are still accepted after the signal to stop.
    pub drain_delay: Duration,
    /// How long streams may take to finish after that.
    pub shutdown_grace: Duration,
    /// The settings of log, usage and traces.
    pub telemetry: crate::telemetry::Config,
    /// Warnings about values that are valid but probably not intended.
    pub warnings: Vec<Warning>,
}

impl Config {
    fn protocol_log(&self) -> Option<&crate::file::journal::Config> {
        match &self.codex {
            Codex::Program(codex, _) => Some(&codex.protocol_log.as_ref()?.journal),
            Codex::Demo => None,
        }
    }

    /// Reads the whole configuration.
    ///
    /// # Errors
    /// All mistakes.
    pub fn read(vars: &dyn Vars) -> Result<Self, Vec<Problem>> {
        let (config, problems) = Self::read_all(vars);
        match problems.is_empty() {
            true => Ok(config),
            false => Err(problems),
        }
    }

    /// Reads the whole configuration, with a default in place of each mistake, so that everything else can be checked, too.
    pub fn read_all(vars: &dyn Vars) -> (Self, Vec<Problem>) {
        let mut reader = Reader::new(vars);
        reader.problems.extend(vars.problems());
        note_garbled(&mut reader, vars);
        let environment = reader.choice(env::PROXY_ENV, &Environment::WORDS, Environment::Dev);
        let state_dir = state_dir(&mut reader);
        let Policies {
            dir: policy_dir,
            defaults: policy_defaults,
            random_key,
        } = policies::read(&mut reader, environment, state_dir.as_deref());
        let model = reader.text(env::CODEX_MODEL);
        let mut listen = listen(&mut reader);
        let admin = admin::read(&mut reader, environment, &mut listen);
        let mut config = Self {
            environment,
            listen,
            admin,
            random_key,
            codex: codex::read(&mut reader, vars, environment, model.clone()),
            model,
            policy_dir,
            policy_defaults,
            policy_trust: policies::trust(&mut reader),
            cache_dir: policies::cache_dir(&mut reader, vars, state_dir.as_deref()),
            records: policies::records(&mut reader),
            program: None,
            state_dir,
            api: api::read(&mut reader, environment),
            drain_delay: reader.millis(env::PROXY_DRAIN_DELAY_MS, 0, 0),
            shutdown_grace: reader.millis(env::PROXY_SHUTDOWN_GRACE_MS, 0, 30_000),
            telemetry: telemetry::read(&mut reader, environment),
            warnings: Vec::new(),
        };
        agent::judge(&mut reader, &mut config, vars.file());
        let journals = [
            (env::TOKEN_LOG_PATH, config.telemetry.usage.as_ref()),
            (env::PROTO_LOG_PATH, config.protocol_log()),
        ];
        telemetry::judge_journals(&mut reader, &journals);
        warn_of_others(&mut reader, vars);
        let Reader {
            warnings, problems, ..
        } = reader;
        (Self { warnings, ..config }, problems)
    }
}

/// Reads the state folder. A folder that cannot be written is only a warning, and the gateway serves.
fn state_dir(reader: &mut Reader<'_>) -> Option<PathBuf> {
    let folder = reader.folder(env::PROXY_STATE_DIR)?;
    if folder.is_dir() && !read::is_writable(&folder) {
        let what = format!(
            "this user cannot write {}: counters and the last good policies are not remembered",
            folder.display()
        );
        reader.warn(env::PROXY_STATE_DIR.name, what);
    }
    Some(folder)
}

fn listen(reader: &mut Reader<'_>) -> listen::Wanted {
    let wanted = listen::Wanted {
        host: host(reader),
        port: reader.port(env::PORT).unwrap_or(11_435),
        auth_port: reader.port(env::AUTH_PORT),
        admin: None,
        reuse_port: reader.switch(env::PROXY_REUSE_PORT),
    };
    if wanted.port != 0 && wanted.auth_port == Some(wanted.port) {
        let expected = "another port than PORT, which has the same address";
        reader.note(env::AUTH_PORT, expected, format!("`{}`", wanted.port));
    }
    wanted
}

fn host(reader: &mut Reader<'_>) -> IpAddr {
    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    let Some(text) = reader.text(env::PROXY_HOST) else {
        return LOOPBACK;
    };
    if text.eq_ignore_ascii_case("localhost") {
        return LOOPBACK;
    }
    text.trim_matches(['[', ']']).parse().unwrap_or_else(|_| {
        reader.note(
            env::PROXY_HOST,
            "an IP address, as 127.0.0.1, 0.0.0.0 or ::",
            format!("`{text}`"),
        );
        LOOPBACK
    })
}

/// Notes variables that are not UTF-8. `PATH` is checked because Codex is looked up there.
fn note_garbled(reader: &mut Reader<'_>, vars: &dyn Vars) {
    let names = env::ALL.iter().map(|variable| variable.name);
    let garbled = names.chain(["PATH"]).filter(|name| vars.is_garbled(name));
    reader.problems.extend(garbled.map(|variable| Problem {
        variable,
        expected: "text in UTF-8".to_owned(),
        found: "other bytes".to_owned(),
    }));
}

/// Warns about variables that look like the gateway's and are not, in the order of their names.
fn warn_of_others(reader: &mut Reader<'_>, vars: &dyn Vars) {
    reader.warnings.extend(vars.warning());
    let mut all = vars.all();
    all.sort();
    for (name, value) in all {
        if let Some(what) = judge_other(&name, &value, vars) {
            reader.warn(name, what);
        }
    }
}

/// The warning about a variable that is not the gateway's, if there is one.
fn judge_other(name: &str, value: &str, vars: &dyn Vars) -> Option<String> {
    let known = || env::ALL.iter().map(|variable| variable.name);
    if known().any(|known| known == name) || is_of_a_service(name, value) {
        return None;
    }
    if let Some(retired) = retired::find(name) {
        let (why, instead) = (retired.why, retired.instead);
        return Some(format!("has no effect any more. {why} Instead: {instead}."));
    }
    let nearest = || spelling::nearest(name, known());
    if let Some(meant) = nearest().or_else(|| meant_by_others(name, Usage::OfOurs)) {
        return Some(format!("there is no such variable; did you mean {meant}?"));
    }
    if let Some(bare) = name.strip_prefix("PROXY_") {
        // Most of the gateway's names begin with `PROXY_`, but not all.
        let meant = known().find(|known| *known == bare);
        let meant = meant
            .or_else(|| meant_by_others(bare, Usage::Common))
            .or_else(|| spelling::nearest(bare, known()));
        return Some(match meant {
            Some(meant) => format!("there is no such variable; did you mean {meant}?"),
            None => "there is no such variable; is it misspelt?".to_owned(),
        });
    }
    if vars.origin(name) != env::Origin::File {
        return None;
    }
    if name.starts_with("OTEL_") {
        let what = "has no effect in .env: OpenTelemetry reads it from the process environment";
        return Some(what.to_owned());
    }
    let is_for_codex = vars.get(env::PROXY_CODEX_ENV.name);
    let is_for_codex = is_for_codex
        .is_some_and(|names| names.split(',').any(|for_codex| for_codex.trim() == name));
    let meant = meant_in_file(name).filter(|_| !is_for_codex)?;
    Some(format!("there is no such variable; did you mean {meant}?"))
}

/// Whether other programs use a name, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Usage {
    /// Hardly any do: the name means the gateway's variable in the process environment, too.
    OfOurs,
    /// Many programs use it.
    Common,
}

/// The gateway's variable for a name from elsewhere. A name that many programs use counts only with [`Usage::Common`].
fn meant_by_others(name: &str, usage: Usage) -> Option<&'static str> {
    const ELSEWHERE: [(&str, Usage, env::Variable); 7] = [
        ("LOG_LEVEL", Usage::Common, env::PROXY_LOG),
        ("RUST_LOG", Usage::Common, env::PROXY_LOG),
        ("STATE_FOLDER", Usage::Common, env::PROXY_STATE_DIR),
        ("POLICY_FOLDER", Usage::OfOurs, env::POLICY_DIR),
        ("POLICY_DIRECTORY", Usage::OfOurs, env::POLICY_DIR),
        ("POLICIES_DIR", Usage::OfOurs, env::POLICY_DIR),
        ("POLICIES_FOLDER", Usage::OfOurs, env::POLICY_DIR),
    ];
    let found = ELSEWHERE.iter().find(|(other, ..)| *other == name);
    let found = found.filter(|(_, of, _)| usage == Usage::Common || *of == usage);
    found.map(|(.., variable)| variable.name)
}

/// The variable that a name in the `.env` file means. Hardly any other program reads that file, so a name without its first word,
/// or a short name with one typing error, means the gateway's variable, too.
fn meant_in_file(name: &str) -> Option<&'static str> {
    let known = || env::ALL.iter().map(|variable| variable.name);
    // `PATH`, `HOME` and the like belong to all programs.
    let is_ours = name.contains('_') || ["HOST", "LOG"].contains(&name);
    let shortened = |known: &&str| {
        if !is_ours {
            return false;
        }
        let first = known.strip_suffix(name);
        first.is_some_and(|first| first.ends_with('_'))
    };
    meant_by_others(name, Usage::Common)
        .or_else(|| known().find(shortened))
        .or_else(|| spelling::near_short(name, known()))
}

/// Whether Kubernetes or Docker set the variable. They describe a container's neighbours in variables that begin with the
/// neighbours' names: `PROXY_PORT` is an address of a neighbour called `proxy`.
fn is_of_a_service(name: &str, value: &str) -> bool {
    let is_address = ["tcp://", "udp://", "sctp://"]
        .iter()
        .any(|scheme| value.starts_with(scheme));
    is_address
        || name.contains("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || ["_TCP", "_UDP", "_SCTP"].iter().any(|protocol| {
            let port = name.split_once("_PORT_").map(|(_, port)| port);
            port.is_some_and(|port| port.contains(protocol))
        })
}

#[cfg(test)]
mod tests;
