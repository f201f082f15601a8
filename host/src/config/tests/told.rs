//! The reports to an operator: unknown variables, weak keys, defaults, and effective values.

use super::*;

/// Every variable name in the predecessor's documentation; the test does not check a name that is missing here.
const PREDECESSOR: &str = "
    PORT PROXY_HOST PROXY_API_KEY PROXY_ENV NODE_ENV PROXY_PROTECT_MODELS PROXY_TRUST_PROXY CODEX_MODEL CODEX_BIN CODEX_HOME
    CODEX_FORCE_PROVIDER PROXY_SANDBOX_MODE PROXY_CODEX_WORKDIR PROXY_APPROVAL_POLICY CODEX_APPROVAL_POLICY
    PROXY_USE_APP_SERVER PROXY_ENABLE_RESPONSES PROXY_DEFAULT_STREAM PROXY_SSE_KEEPALIVE_MS PROXY_SSE_MAX_CONCURRENCY
    PROXY_KILL_ON_DISCONNECT PROXY_STOP_AFTER_TOOLS PROXY_STOP_AFTER_TOOLS_MODE PROXY_STOP_AFTER_TOOLS_GRACE_MS
    PROXY_SUPPRESS_TAIL_AFTER_TOOLS PROXY_TOOL_BLOCK_MAX PROXY_TOOL_BLOCK_DEDUP PROXY_TOOL_BLOCK_DELIMITER
    PROXY_ENABLE_PARALLEL_TOOL_CALLS PROXY_OUTPUT_MODE PROXY_RESPONSES_OUTPUT_MODE PROXY_RESPONSES_DEFAULT_MAX_TOKENS
    PROXY_COPILOT_AUTO_DETECT PROXY_AUTH_LOGIN_URL PROXY_AUTH_LOGIN_URL_MODE PROXY_IGNORE_CLIENT_SYSTEM_PROMPT
    PROXY_TITLE_GEN_INTERCEPT PROXY_TITLE_SUMMARY_EXEC_MODEL PROXY_TITLE_SUMMARY_EXEC_REASONING_EFFORT
    PROXY_INGRESS_GUARDRAIL PROXY_SANITIZE_METADATA PROXY_TIMEOUT_MS PROXY_IDLE_TIMEOUT_MS PROXY_PROTO_IDLE_MS
    PROXY_STREAM_IDLE_TIMEOUT_MS PROXY_NONSTREAM_TRUNCATE_AFTER_MS PROXY_MAX_PROMPT_TOKENS PROXY_MAX_CHAT_CHOICES
    PROXY_RATE_LIMIT_ENABLED PROXY_RATE_LIMIT_WINDOW_MS PROXY_RATE_LIMIT_MAX PROXY_ENABLE_CORS PROXY_CORS_ALLOWED_ORIGINS
    PROXY_LOG_CORS_ORIGIN PROXY_ENABLE_METRICS PROXY_METRICS_ALLOW_UNAUTH PROXY_METRICS_ALLOW_LOOPBACK PROXY_METRICS_TOKEN
    PROXY_MAINTENANCE_MODE PROXY_USAGE_ALLOW_UNAUTH PROXY_TEST_ENDPOINTS PROXY_TEST_ALLOW_REMOTE PROXY_DEBUG_PROTO
    PROXY_LOG_PROTO PROXY_TRACE_REQUIRED PROXY_TRACE_BODY_LIMIT PROXY_DEBUG_WIRE TOKEN_LOG_PATH PROTO_LOG_PATH
    SANITIZER_LOG_PATH SANITIZER_LOG_BASE_DIR PROXY_CAPTURE_CHAT_TRANSCRIPTS PROXY_CAPTURE_CHAT_DIR
    PROXY_CAPTURE_CHAT_RAW_TRANSCRIPTS PROXY_CAPTURE_CHAT_RAW_DIR PROXY_CAPTURE_RESPONSES_TRANSCRIPTS
    PROXY_CAPTURE_RESPONSES_DIR PROXY_CAPTURE_RESPONSES_RAW_TRANSCRIPTS PROXY_CAPTURE_RESPONSES_RAW_DIR PROXY_ENABLE_OTEL
    OTEL_ENABLED PROXY_OTEL_EXPORTER_URL OTEL_EXPORTER_OTLP_ENDPOINT PROXY_OTEL_SERVICE_NAME WORKER_BACKOFF_INITIAL_MS
    WORKER_BACKOFF_MAX_MS WORKER_RESTART_MAX WORKER_STARTUP_TIMEOUT_MS WORKER_HANDSHAKE_TIMEOUT_MS
    WORKER_SHUTDOWN_GRACE_MS WORKER_MAX_CONCURRENCY WORKER_REQUEST_TIMEOUT_MS PROXY_STREAM_MODE STREAM_RELEASE_FILE
    CHILD_PID_FILE STREAM_READY_FILE FAKE_CODEX_MODE AUTH_REALM";

/// A key that draws no warning by itself.
const OWN_KEY: (&str, &str) = ("PROXY_API_KEY", "sk-0123456789abcdef");

/// Variables that shells, systemd, containers, clouds and build systems set, and that other programs read.
const USUAL: &str = "
    PATH HOME USER LOGNAME SHELL PWD OLDPWD SHLVL TERM COLORTERM LANG LC_ALL LC_CTYPE TZ EDITOR VISUAL PAGER MAIL DISPLAY _
    TMPDIR TEMP TMP HOSTNAME HOSTTYPE OSTYPE LINES COLUMNS PS1 DEBIAN_FRONTEND SSH_AUTH_SOCK SSH_CONNECTION SSH_TTY SUDO_USER
    XDG_RUNTIME_DIR XDG_CONFIG_HOME XDG_STATE_HOME XDG_SESSION_ID DBUS_SESSION_BUS_ADDRESS WAYLAND_DISPLAY INVOCATION_ID
    JOURNAL_STREAM NOTIFY_SOCKET LISTEN_FDS LISTEN_PID LISTEN_FDNAMES MAINPID STATE_DIRECTORY RUNTIME_DIRECTORY WATCHDOG_USEC
    HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY http_proxy https_proxy no_proxy all_proxy FTP_PROXY RUST_LOG RUST_BACKTRACE
    CARGO_HOME RUSTUP_HOME RUSTFLAGS GOPATH JAVA_HOME CONDA_PREFIX VIRTUAL_ENV PYTHONPATH NODE_PATH NODE_OPTIONS NODE_VERSION
    NPM_CONFIG_PREFIX npm_config_user_agent YARN_VERSION NVM_DIR PNPM_HOME HOST PORTS API_KEY API_PORT APP_ENV LOG_LEVEL LOG_FORMAT
    LOG_PATH LOGIN_PORT OAUTH_PORT AUTH_HOST AUTH_URL AUTH_TOKEN AUTH_TYPE POLICY_FILE POLICY_URL TOKEN TOKEN_PATH WORKER_CLASS
    WORKER_CONNECTIONS WORKER_COUNT WORKERS WEB_CONCURRENCY SERVER_PORT HTTP_PORT METRICS_PORT GRPC_PORT
    CI GITHUB_TOKEN GITHUB_ACTIONS GITLAB_CI DOCKER_HOST COMPOSE_PROJECT_NAME KUBECONFIG VAULT_TOKEN AWS_ACCESS_KEY_ID
    AWS_SECRET_ACCESS_KEY AWS_REGION AZURE_OPENAI_ENDPOINT GOOGLE_APPLICATION_CREDENTIALS OPENAI_API_KEY OPENAI_BASE_URL
    OPENAI_MODEL ANTHROPIC_API_KEY GEMINI_API_KEY XAI_API_KEY OPENROUTER_API_KEY GROQ_API_KEY DATABASE_URL REDIS_URL SENTRY_DSN
    CODEX_API_KEY CODEX_ACCESS_TOKEN CODEX_CA_CERTIFICATE CODEX_SANDBOX CODEX_SANDBOX_NETWORK_DISABLED CODEX_SQLITE_HOME
    CODEX_INTERNAL_ORIGINATOR_OVERRIDE CODEX_THREAD_ID CODEX_MANAGED_BY_NPM CODEX_CI CODEX_HOST CODEX_URL
    OTEL_EXPORTER_OTLP_HEADERS OTEL_EXPORTER_OTLP_TRACES_ENDPOINT OTEL_EXPORTER_OTLP_METRICS_ENDPOINT OTEL_EXPORTER_OTLP_PROTOCOL
    OTEL_RESOURCE_ATTRIBUTES OTEL_TRACES_SAMPLER OTEL_SERVICE_VERSION OTEL_SERVICE_NAMESPACE OTEL_LOG_LEVEL OTEL_SDK_DISABLED
    KUBERNETES_SERVICE_HOST KUBERNETES_SERVICE_PORT KUBERNETES_SERVICE_PORT_HTTPS KUBERNETES_PORT=tcp://10.96.0.1:443
    KUBERNETES_PORT_443_TCP=tcp://10.96.0.1:443 KUBERNETES_PORT_443_TCP_PROTO=tcp KUBERNETES_PORT_443_TCP_ADDR=10.96.0.1
    CODEX_GATEWAY_SERVICE_HOST CODEX_GATEWAY_SERVICE_PORT CODEX_GATEWAY_PORT=tcp://10.96.0.2:11435
    CODEX_GATEWAY_PORT_11435_TCP=tcp://10.96.0.2:11435 CODEX_GATEWAY_PORT_11435_TCP_PORT=11435
    PROXY_SERVICE_HOST PROXY_SERVICE_PORT PROXY_PORT=tcp://10.96.0.3:80 PROXY_PORT_80_TCP=tcp://10.96.0.3:80
    PROXY_PORT_80_TCP_PROTO=tcp PROXY_PORT_80_TCP_PORT=80 PROXY_PORT_80_TCP_ADDR=10.96.0.3
    AUTHZ_PORT=tcp://10.96.0.4:80";

#[test]
fn every_variable_of_the_predecessor_holds_or_is_retired() {
    for name in PREDECESSOR.split_whitespace() {
        let holds = env::ALL.iter().any(|variable| variable.name == name);
        let retired = retired::find(name).is_some();
        assert!(holds != retired, "{name}: {holds} {retired}");
    }
}

#[test]
fn what_is_retired_or_misspelt_is_told_by_name() {
    let config = read(&[
        ("PROXY_MAINTENANCE_MODE", "true"),
        ("PROXY_STOP_AFTER_TOOL", "true"),
        ("FAKE_CODEX_MODE", "x"),
        ("EDITOR", "vi"),
        ("PROXY_API_KEY", "sk-0123456789abcdef"),
    ]);
    let told: Vec<_> = config
        .unwrap()
        .warnings
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].starts_with("FAKE_CODEX_MODE: has no effect any more."));
    assert!(told[1].starts_with("PROXY_MAINTENANCE_MODE: has no effect any more."));
    let expected =
        "PROXY_STOP_AFTER_TOOL: there is no such variable; did you mean PROXY_STOP_AFTER_TOOLS?";
    assert_eq!(told[2], expected);
}

#[test]
fn a_variable_that_is_nearly_one_is_told_with_the_name_that_was_meant() {
    for (name, meant) in [
        ("CODEX_MODLE", Some("CODEX_MODEL")),
        ("CODEX_BAKCEND", Some("CODEX_BACKEND")),
        ("CODEX_WORKER", Some("CODEX_WORKERS")),
        ("POLICYDIR", Some("POLICY_DIR")),
        ("PORXY_HOST", Some("PROXY_HOST")),
        ("proxy_api_key", Some("PROXY_API_KEY")),
        ("TOKEN_LOG_PAHT", Some("TOKEN_LOG_PATH")),
        (
            "WORKER_RECYCLE_MEMORY_MIB",
            Some("WORKER_RECYCLE_MEMORY_MB"),
        ),
        (
            "OTEL_EXPORTER_OLTP_ENDPOINT",
            Some("OTEL_EXPORTER_OTLP_ENDPOINT"),
        ),
        ("PROXY_HTTP_TIMEOUT", None),
        ("PROXY_PORT", Some("PORT")),
        ("PROXY_LOG_LEVEL", Some("PROXY_LOG")),
        ("PROXY_POLICY_DIR", Some("POLICY_DIR")),
        ("PROXY_CODEX_MODLE", Some("CODEX_MODEL")),
        ("POLICY_FOLDER", Some("POLICY_DIR")),
        ("POLICY_DIRECTORY", Some("POLICY_DIR")),
    ] {
        let warnings = read(&[(name, "x"), OWN_KEY]).unwrap().warnings;
        let told: Vec<_> = warnings.iter().map(ToString::to_string).collect();
        let remedy = meant.map_or("is it misspelt?".to_owned(), |meant| {
            format!("did you mean {meant}?")
        });
        let expected = format!("{name}: there is no such variable; {remedy}");
        assert_eq!(told, [expected]);
    }
}

#[test]
fn usual_environments_draw_no_warning() {
    let names = USUAL.split_whitespace();
    let variables = names.map(|line| line.split_once('=').unwrap_or((line, "x")));
    let variables: Vec<_> = variables.chain([OWN_KEY]).collect();
    let warnings = read(&variables).unwrap().warnings;
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn a_log_filter_that_would_switch_the_log_off_is_a_mistake() {
    for wrong in [
        "warning",
        "inof",
        "verbose",
        "info,acess",
        "codex_gateway=debug,warning",
        "gateway=debug",
        "codex-gateway=debug",
        "polcy=info",
        "foo=info",
        "[x]",
        "[span{a=1,b=2}]=debug",
        "info access=off",
        "info;access=off",
        "h2=off",
    ] {
        let problems = read(&[("PROXY_LOG", wrong)]).unwrap_err();
        let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert!(
            told.len() == 1 && told[0].contains("warn,"),
            "{wrong}: {told:?}"
        );
    }
    for right in [
        "WARN",
        "off",
        "warn,access=info",
        "access",
        "codex_gateway::codex",
        "info,h2=off",
        "codex::stderr=debug",
        "info,[span{a=1}]=debug",
    ] {
        let config = read(&[("PROXY_LOG", right), OWN_KEY]).unwrap();
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    }
}

#[test]
fn a_log_target_that_is_nearly_one_of_ours_is_told() {
    let filter = "info,codex_gatewy::api=debug,polcy=warn,acces=off";
    let warnings = read(&[("PROXY_LOG", filter), OWN_KEY]).unwrap().warnings;
    let told: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    let expected = [
        ("codex_gatewy::api", "codex_gateway"),
        ("polcy", "policy"),
        ("acces", "access"),
    ]
    .map(|(target, meant)| {
        format!("PROXY_LOG: nothing is logged as `{target}`: did you mean `{meant}`?")
    });
    assert_eq!(told, expected);
}

#[test]
fn a_key_that_everybody_knows_or_guesses_is_a_mistake_in_production() {
    for key in PUBLISHED.into_iter().chain(["0123456789abcde"]) {
        let problems = read(&[("PROXY_ENV", "prod"), ("PROXY_API_KEY", key)]).unwrap_err();
        let problem = problems
            .iter()
            .find(|problem| problem.variable == "PROXY_API_KEY");
        let problem = problem.unwrap().to_string();
        assert!(problem.contains("codex-gateway key new"), "{problem}");
        assert!(!problem.contains(key), "{problem}");
        let warnings = read(&[("PROXY_API_KEY", key)]).unwrap().warnings;
        assert_eq!(warnings[0].name, "PROXY_API_KEY");
    }
    let own = ("PROXY_API_KEY", "0123456789abcdef");
    assert!(read(&[own]).unwrap().warnings.is_empty());
    let problems = read(&[("PROXY_ENV", "prod"), own]).unwrap_err();
    assert!(
        problems
            .iter()
            .all(|problem| problem.variable != "PROXY_API_KEY")
    );
}

#[test]
fn what_a_settings_file_replaces_is_told() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("policies.toml"),
        "[auth]\nsettings = \"callers.json\"",
    )
    .unwrap();
    std::fs::write(folder.path().join("callers.json"), "{}").unwrap();
    let config = read(&[
        ("POLICY_DIR", &folder.path().to_string_lossy()),
        ("PROXY_STATE_DIR", &std::env::temp_dir().to_string_lossy()),
        ("PROXY_API_KEY", "short"),
        ("PROXY_STOP_AFTER_TOOLS", "true"),
    ])
    .unwrap();
    assert!(config.random_key.is_none());
    let told: Vec<_> = config.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        ["PROXY_API_KEY: has no effect: POLICY_DIR has settings for auth"]
    );
}

/// The documented default of each variable is the value that applies if it is not set.
#[test]
fn every_documented_default_is_the_true_one() {
    // Skips words that describe a default, and a program that need not exist.
    let is_value = |variable: &&env::Variable| {
        let words = ["none", "Codex's default", "CODEX_HOME", "CODEX_BIN"];
        !variable.default.contains(' ')
            && !words.contains(&variable.default)
            && !words.contains(&variable.name)
    };
    let documented: Vec<_> = env::ALL
        .iter()
        .filter(is_value)
        .map(|variable| (variable.name, variable.default))
        .collect();
    assert!(documented.len() > 30, "{documented:?}");
    let key = ("PROXY_API_KEY", "sk-0123456789abcdef");
    let config = |pairs: &[(&str, &str)]| {
        let mut config = read(&[pairs, &[key]].concat()).unwrap();
        config.warnings.clear();
        format!("{config:?}")
    };
    assert_eq!(config(&documented), config(&[]));
    let backend = [("CODEX_BIN", "/bin/sh")];
    let codex = |pairs: &[(&str, &str)]| match read(&[pairs, &backend].concat()).unwrap().codex {
        Codex::Program(mut config, choice) => {
            config.parent_env.clear();
            let times = [
                config.rpc_timeout,
                config.startup_timeout,
                config.backoff_initial,
                config.backoff_max,
                config.shutdown_grace,
            ];
            format!("{config:?} {choice:?} {times:?}")
        }
        Codex::Demo => panic!("a program was named"),
    };
    assert_eq!(codex(&documented), codex(&[]));
}

#[test]
fn settings_are_shown_with_their_origin_and_without_secrets() {
    let vars: HashMap<_, _> = [
        ("PROXY_API_KEY", "sk-0123456789abcdef"),
        ("PORT", " 8080 "),
        ("PROXY_TOOL_BLOCK_DELIMITER", "\n\n"),
        ("CODEX_BIN", "/bin/sh"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let settings = Config::read(&vars).unwrap().settings(&vars);
    assert_eq!(settings.len(), env::ALL.len());
    let shown = |name: &str| {
        let setting = settings
            .iter()
            .find(|setting| setting.name == name)
            .unwrap();
        (setting.origin.name(), setting.value.as_str())
    };
    assert_eq!(shown("PROXY_API_KEY"), ("environment", "***"));
    assert_eq!(shown("PORT"), ("environment", "8080"));
    let delimiter = shown("PROXY_TOOL_BLOCK_DELIMITER");
    assert_eq!(delimiter, ("environment", r#""\n\n""#));
    assert_eq!(shown("PROXY_HOST"), ("default", "127.0.0.1"));
    let column = |setting: &Setting| setting.to_string().find(setting.origin.name());
    assert!(
        settings
            .iter()
            .all(|setting| column(setting) == column(&settings[0]))
    );
}

#[test]
fn names_in_our_own_file_that_mean_ours_are_told() {
    struct File(std::collections::HashMap<String, String>);
    impl env::Vars for File {
        fn get(&self, name: &str) -> Option<String> {
            self.0.get(name).cloned()
        }
        fn all(&self) -> Vec<(String, String)> {
            env::Vars::all(&self.0)
        }
        fn origin(&self, _: &str) -> env::Origin {
            env::Origin::File
        }
    }
    let told = |name: &str, codex: &str| {
        let vars = [(name, "x"), OWN_KEY, ("PROXY_CODEX_ENV", codex)];
        let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let config = Config::read(&File(vars.into_iter().collect())).unwrap();
        config
            .warnings
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    for (name, meant) in [
        ("RATE_LIMIT_MAX", "PROXY_RATE_LIMIT_MAX"),
        ("TRUST_PROXY", "PROXY_TRUST_PROXY"),
        ("API_KEY", "PROXY_API_KEY"),
        ("HOST", "PROXY_HOST"),
        ("LOG_LEVEL", "PROXY_LOG"),
        ("LOG_FORMAT", "PROXY_LOG_FORMAT"),
        ("STATE_FOLDER", "PROXY_STATE_DIR"),
        ("PORTT", "PORT"),
    ] {
        let expected = format!("{name}: there is no such variable; did you mean {meant}?");
        assert_eq!(told(name, "TZ"), [expected]);
        assert!(told(name, name).is_empty(), "it is for Codex");
    }
    for other in [
        "GATEWAY_CPUS",
        "COMPOSE_PROJECT_NAME",
        "OPENAI_API_KEY",
        "HTTPS_PROXY",
        "TZ",
        "PATH",
        "HOME",
    ] {
        assert!(told(other, "LANG").is_empty(), "{other}");
    }
}
