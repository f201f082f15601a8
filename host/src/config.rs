//! The configuration: read from the environment and a `.env` file once, every mistake reported together.

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
pub use dotenv::DotEnv;
use env::Vars;
pub use key::PUBLISHED;
use policies::Policies;
pub use problem::{Problem, Warning};
use read::Reader;
pub use report::Setting;

/// Which model names are listed, and how strict the start is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// `dev`
    Dev,
    /// `prod`
    Prod,
}

impl Environment {
    /// What `PROXY_ENV` may say.
    const WORDS: [(&str, Self); 4] = [
        ("dev", Self::Dev),
        ("development", Self::Dev),
        ("prod", Self::Prod),
        ("production", Self::Prod),
    ];

    /// As policies and health know it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Prod => "prod",
        }
    }
}

/// Who answers.
#[derive(Debug, Clone)]
pub enum Codex {
    /// A Codex program.
    Program(Box<crate::codex::Config>, crate::codex::Choice),
    /// The built-in demo: asked for, or because there is no Codex on this machine.
    Demo,
}

/// Everything the gateway needs to start.
#[derive(Debug, Clone)]
pub struct Config {
    /// `PROXY_ENV`
    pub environment: Environment,
    /// Where to listen.
    pub listen: listen::Wanted,
    /// The random key of this run, where the operator gave none.
    pub random_key: Option<Secret>,
    /// Who answers.
    pub codex: Codex,
    /// `CODEX_MODEL`
    pub model: Option<String>,
    /// `POLICY_DIR`
    pub policy_dir: Option<PathBuf>,
    /// Settings of the slots without a settings file.
    pub policy_defaults: policy::Defaults,
    /// `PROXY_STATE_DIR`
    pub state_dir: Option<PathBuf>,
    /// `PROXY_CACHE_DIR`, or where there is room for it.
    pub cache_dir: Option<PathBuf>,
    /// This program, which compiles heavy policies in a process of its own; absent: in this process.
    pub program: Option<PathBuf>,
    /// The HTTP surface.
    pub api: crate::api::Config,
    /// How long requests are still taken when it is told to stop.
    pub drain_delay: Duration,
    /// How long streams may finish after that.
    pub shutdown_grace: Duration,
    /// What operators see.
    pub telemetry: crate::telemetry::Config,
    /// What is not wrong, but hardly meant.
    pub warnings: Vec<Warning>,
}

impl Config {
    /// Reads everything.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn read(vars: &dyn Vars) -> Result<Self, Vec<Problem>> {
        let (config, problems) = Self::read_all(vars);
        match problems.is_empty() {
            true => Ok(config),
            false => Err(problems),
        }
    }

    /// Reads everything, with a default in the place of each mistake: what does not depend on it can be judged, too.
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
        let mut config = Self {
            environment,
            listen: listen(&mut reader),
            random_key,
            codex: codex::read(&mut reader, vars, environment, model.clone()),
            model,
            policy_dir,
            policy_defaults,
            cache_dir: policies::cache_dir(&mut reader, vars, state_dir.as_deref()),
            program: None,
            state_dir,
            api: api::read(&mut reader, environment),
            drain_delay: reader.millis(env::PROXY_DRAIN_DELAY_MS, 0, 0),
            shutdown_grace: reader.millis(env::PROXY_SHUTDOWN_GRACE_MS, 0, 30_000),
            telemetry: telemetry::read(&mut reader),
            warnings: Vec::new(),
        };
        agent::judge(&mut reader, &mut config, vars.file());
        warn_of_others(&mut reader, vars);
        let Reader {
            warnings, problems, ..
        } = reader;
        (Self { warnings, ..config }, problems)
    }
}

/// One that cannot be written is no reason not to serve.
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

/// Notes what cannot be read. `PATH` is where Codex is looked for.
fn note_garbled(reader: &mut Reader<'_>, vars: &dyn Vars) {
    let names = env::ALL.iter().map(|variable| variable.name);
    let garbled = names.chain(["PATH"]).filter(|name| vars.is_garbled(name));
    reader.problems.extend(garbled.map(|variable| Problem {
        variable,
        expected: "text in UTF-8".to_owned(),
        found: "other bytes".to_owned(),
    }));
}

/// Warns of variables that look like ours and are not, in the order of their names.
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

/// What is to be said of a variable that is not ours, if anything.
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
        // The first word of most of ours, and not of all.
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

/// Who else may use a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Usage {
    /// Hardly anybody: in the process environment, too, it means ours.
    OfOurs,
    /// Many programs.
    Common,
}

/// The variable that has another name elsewhere. A name that many use counts only where it is asked for.
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

/// The variable that a name in our own file means. Other programs read the process environment, but hardly that file: a name
/// without its first word is one of ours, too, and so is a short one with a slip.
fn meant_in_file(name: &str) -> Option<&'static str> {
    let known = || env::ALL.iter().map(|variable| variable.name);
    // `PATH`, `HOME` and the like are everybody's.
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

/// Kubernetes and Docker tell a container of its neighbours by variables that begin with their names: `PROXY_PORT` is an
/// address of a neighbour called `proxy`.
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
