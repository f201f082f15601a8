//! The configuration: read from the environment once, every mistake reported together.

pub mod env;
mod read;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::secret::Secret;
use crate::{api, codex, policy};
use env::Vars;
pub use read::Problem;
use read::Reader;

/// Which model names are listed, and how strict the start is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// `dev`
    Dev,
    /// `prod`
    Prod,
}

impl Environment {
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
    Program(Box<codex::Config>, codex::Choice),
    /// The built-in demo: asked for, or because there is no Codex on this machine.
    Demo,
}

/// How lines are logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// A level or directives.
    pub filter: String,
    /// One JSON object a line.
    pub json: bool,
}

/// Everything the gateway needs to start.
#[derive(Debug, Clone)]
pub struct Config {
    /// `PROXY_ENV`
    pub environment: Environment,
    /// `PROXY_HOST`
    pub host: IpAddr,
    /// `PORT`
    pub port: u16,
    /// `AUTH_PORT`
    pub auth_port: Option<u16>,
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
    /// The HTTP surface.
    pub api: api::Config,
    /// How long streams may finish.
    pub shutdown_grace: std::time::Duration,
    /// Logging.
    pub log: Log,
}

impl Config {
    /// Reads everything.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn read(vars: &dyn Vars) -> Result<Self, Vec<Problem>> {
        let mut reader = Reader::new(vars);
        let environment = reader.choice(
            env::PROXY_ENV,
            &[("dev", Environment::Dev), ("prod", Environment::Prod)],
            Environment::Dev,
        );
        let policy_dir = policy_dir(&mut reader);
        let has_auth = policy_dir
            .as_deref()
            .is_some_and(|dir| dir.join("auth.json").exists() || dir.join("auth.wasm").exists());
        let key = reader.text(env::PROXY_API_KEY).map(Secret::new);
        if key.is_none() && !has_auth && environment == Environment::Prod {
            reader.note(
                env::PROXY_API_KEY,
                "a key, or an auth.json in POLICY_DIR, when PROXY_ENV is prod",
                "none",
            );
        }
        let random_key = (key.is_none() && !has_auth).then(|| Secret::random("sk-local-"));
        let protect_models = reader.switch(env::PROXY_PROTECT_MODELS);
        let policy_defaults = policy::Defaults {
            auth: auth_settings(key.as_ref().or(random_key.as_ref()), protect_models),
            model: Map::new(),
            rate_limit: rate_limit_settings(&mut reader),
            tool_stop: tool_stop_settings(&mut reader),
        };
        let model = reader.text(env::CODEX_MODEL);
        let config = Self {
            environment,
            host: host(&mut reader),
            port: reader.port(env::PORT).unwrap_or(11_435),
            auth_port: reader.port(env::AUTH_PORT),
            random_key,
            codex: codex(&mut reader, vars, environment, model.clone()),
            model,
            policy_dir,
            policy_defaults,
            api: api_config(&mut reader),
            shutdown_grace: reader.millis(env::PROXY_SHUTDOWN_GRACE_MS, 0, 30_000),
            log: Log {
                filter: reader
                    .text(env::PROXY_LOG)
                    .unwrap_or_else(|| "info".to_owned()),
                json: reader.choice(
                    env::PROXY_LOG_FORMAT,
                    &[("text", false), ("json", true)],
                    false,
                ),
            },
        };
        if reader.problems.is_empty() {
            Ok(config)
        } else {
            Err(reader.problems)
        }
    }
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

fn policy_dir(reader: &mut Reader<'_>) -> Option<PathBuf> {
    let dir = PathBuf::from(reader.text(env::POLICY_DIR)?);
    if !dir.is_dir() {
        reader.note(
            env::POLICY_DIR,
            "a folder",
            format!("`{}`, which is none", dir.display()),
        );
    }
    Some(dir)
}

fn codex(
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
    let defaults = codex::Config::default();
    let config = codex::Config {
        home: directory(reader, env::CODEX_HOME),
        model,
        force_provider: reader.text(env::CODEX_FORCE_PROVIDER),
        workdir: reader.text(env::PROXY_CODEX_WORKDIR).map(PathBuf::from),
        pass_env: reader.list(env::PROXY_CODEX_ENV),
        parent_env: vars.all().into_iter().collect(),
        rpc_timeout: reader.millis(env::WORKER_REQUEST_TIMEOUT_MS, 100, 30_000),
        startup_timeout: reader.millis(env::WORKER_STARTUP_TIMEOUT_MS, 100, 8_000),
        backoff_initial: reader.millis(env::WORKER_BACKOFF_INITIAL_MS, 1, 500),
        backoff_max: reader.millis(env::WORKER_BACKOFF_MAX_MS, 1, 5_000),
        shutdown_grace: reader.millis(env::WORKER_SHUTDOWN_GRACE_MS, 0, 5_000),
        max_turns: usize::try_from(reader.number(env::WORKER_MAX_CONCURRENCY, 1..=1_000, 64))
            .unwrap_or(64),
        ..defaults
    };
    let choice = reader.choice(env::CODEX_BACKEND, &BACKENDS, Some(codex::Choice::Auto));
    let Some(choice) = choice else {
        return Codex::Demo;
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
        (None, None) if environment == Environment::Prod => {
            let expected = "a Codex program when PROXY_ENV is prod (npm install -g @openai/codex)";
            reader.note(env::CODEX_BIN, expected, "no `codex` in PATH");
        }
        (None, None) => {}
    }
    Codex::Demo
}

/// What `CODEX_BACKEND` may say; none is the demo.
const BACKENDS: [(&str, Option<codex::Choice>); 4] = [
    ("auto", Some(codex::Choice::Auto)),
    ("app-server", Some(codex::Choice::AppServer)),
    ("proto", Some(codex::Choice::Proto)),
    ("demo", None),
];

fn directory(reader: &mut Reader<'_>, variable: env::Variable) -> Option<PathBuf> {
    let path = PathBuf::from(reader.text(variable)?);
    if !path.is_dir() {
        reader.note(
            variable,
            "a folder",
            format!("`{}`, which is none", path.display()),
        );
    }
    Some(std::path::absolute(&path).unwrap_or(path))
}

fn api_config(reader: &mut Reader<'_>) -> api::Config {
    let trust = reader.list(env::PROXY_TRUST_PROXY);
    let trusted = api::TrustedProxies::parse(&trust).unwrap_or_else(|found| {
        reader.note(
            env::PROXY_TRUST_PROXY,
            "`loopback`, `none`, or addresses and CIDRs, comma-separated",
            format!("`{found}`"),
        );
        api::TrustedProxies::default()
    });
    let max_body = reader.number(env::PROXY_MAX_BODY_BYTES, 1_024..=1 << 30, 16 << 20);
    api::Config {
        max_body: usize::try_from(max_body).unwrap_or(usize::MAX),
        turn_timeout: reader.millis(env::PROXY_TIMEOUT_MS, 1, 300_000),
        idle_timeout: reader.millis(env::PROXY_STREAM_IDLE_TIMEOUT_MS, 1, 300_000),
        keepalive: reader.millis(env::PROXY_SSE_KEEPALIVE_MS, 0, 15_000),
        trusted,
        max_choices: u32::try_from(reader.number(env::PROXY_MAX_CHAT_CHOICES, 1..=128, 5))
            .unwrap_or(1),
        output_mode: reader.choice(
            env::PROXY_OUTPUT_MODE,
            &api::OutputMode::WORDS,
            api::OutputMode::default(),
        ),
    }
}

fn auth_settings(key: Option<&Secret>, protect_models: bool) -> Map<String, Value> {
    let keys: Vec<_> = key
        .map(|key| json!({"sha256": key.fingerprint(), "id": "default"}))
        .into_iter()
        .collect();
    let anonymous: &[&str] = if protect_models { &[] } else { &["/v1/models"] };
    object(json!({"keys": keys, "anonymous": anonymous}))
}

fn rate_limit_settings(reader: &mut Reader<'_>) -> Map<String, Value> {
    let enabled = reader.switch(env::PROXY_RATE_LIMIT_ENABLED);
    let window = reader
        .millis(env::PROXY_RATE_LIMIT_WINDOW_MS, 1, 60_000)
        .as_millis();
    let limit = reader.number(env::PROXY_RATE_LIMIT_MAX, 1..=1_000_000_000, 60);
    let streams = reader.number(env::PROXY_SSE_MAX_CONCURRENCY, 0..=1_000_000, 0);
    let mut rules = Vec::new();
    if enabled {
        let window = u64::try_from(window).unwrap_or(u64::MAX);
        rules.push(json!({"name": "requests", "unit": "requests", "limit": limit, "window_ms": window, "per": "caller"}));
    }
    if streams > 0 {
        rules.push(json!({"name": "streams", "unit": "concurrent", "limit": streams, "per": "caller", "streaming_only": true}));
    }
    object(if rules.is_empty() {
        json!({})
    } else {
        json!({"rules": rules})
    })
}

fn tool_stop_settings(reader: &mut Reader<'_>) -> Map<String, Value> {
    let enabled = reader.switch(env::PROXY_STOP_AFTER_TOOLS);
    let mode = reader.choice(
        env::PROXY_STOP_AFTER_TOOLS_MODE,
        &[("burst", "burst"), ("first", "first")],
        "burst",
    );
    object(json!({
        "mode": if enabled { mode } else { "off" },
        "grace_ms": reader.number(env::PROXY_STOP_AFTER_TOOLS_GRACE_MS, 0..=60_000, 300),
        "max_calls": reader.number(env::PROXY_TOOL_BLOCK_MAX, 0..=10_000, 0),
        "suppress_tail": reader.switch(env::PROXY_SUPPRESS_TAIL_AFTER_TOOLS),
    }))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Config, Vec<Problem>> {
        let vars: HashMap<String, String> = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        Config::read(&vars)
    }

    #[test]
    fn nothing_set_is_a_working_configuration_with_a_key_of_its_own() {
        let config = read(&[]).unwrap();
        assert_eq!(
            (config.host.to_string().as_str(), config.port),
            ("127.0.0.1", 11_435)
        );
        assert!(matches!(config.codex, Codex::Demo));
        let key = config.random_key.unwrap();
        assert_eq!(
            config.policy_defaults.auth["keys"][0]["sha256"],
            key.fingerprint()
        );
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let problems = read(&[
            ("PORT", "99999"),
            ("PROXY_ENV", "production"),
            ("PROXY_API_KEY", ""),
            ("POLICY_DIR", "/nowhere"),
            ("CODEX_BIN", "/no/codex"),
            ("PROXY_STOP_AFTER_TOOLS", "maybe"),
        ])
        .unwrap_err();
        let names: Vec<_> = problems.iter().map(|problem| problem.variable).collect();
        for name in [
            "PORT",
            "PROXY_ENV",
            "PROXY_API_KEY",
            "POLICY_DIR",
            "CODEX_BIN",
            "PROXY_STOP_AFTER_TOOLS",
        ] {
            assert!(names.contains(&name), "{name} is missing in {names:?}");
        }
    }

    #[test]
    fn prod_needs_a_key_and_a_codex() {
        let names: Vec<_> = read(&[("PROXY_ENV", "prod")])
            .unwrap_err()
            .iter()
            .map(|p| p.variable)
            .collect();
        assert_eq!(names, ["PROXY_API_KEY", "CODEX_BIN"]);
    }

    #[test]
    fn the_key_is_not_printed() {
        let config = read(&[("PROXY_API_KEY", "sk-very-secret")]).unwrap();
        assert!(!format!("{config:?}").contains("sk-very-secret"));
    }
}
