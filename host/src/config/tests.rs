//! The configuration that an environment gives, and the mistakes that are reported.

mod operators;
mod told;
mod variables;

use std::collections::HashMap;

use super::*;
use crate::codex::{Mode, Sandbox};

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
        (config.listen.host.to_string().as_str(), config.listen.port),
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
        ("PROXY_ENV", "staging"),
        ("PROXY_API_KEY", ""),
        ("POLICY_DIR", "/nowhere"),
        ("CODEX_BIN", "/no/codex"),
        ("PROXY_STOP_AFTER_TOOLS", "maybe"),
        // A larger body than Codex can repeat in a line.
        ("PROXY_MAX_BODY_BYTES", "62914561"),
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
        "PROXY_MAX_BODY_BYTES",
    ] {
        assert!(names.contains(&name), "{name} is missing in {names:?}");
    }
}

#[test]
fn a_collector_is_spoken_to_in_plain_http() {
    let name = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let problems = read(&[(name, "https://collector.example")]).unwrap_err();
    assert_eq!(problems[0].variable, name);
    let config = read(&[(name, "http://127.0.0.1:4318/")]).unwrap();
    assert_eq!(
        config.telemetry.traces.unwrap().endpoint,
        "http://127.0.0.1:4318"
    );
}

#[test]
fn words_of_the_predecessor_mean_what_they_meant() {
    let trusted = |word| {
        let config = read(&[("PROXY_TRUST_PROXY", word)]);
        config.map(|config| config.api.trusted)
    };
    assert_eq!(trusted("false"), Ok(crate::api::TrustedProxies::none()));
    assert_ne!(trusted("uniquelocal, 203.0.113.9"), trusted("uniquelocal"));
    for unbounded in ["true", "1", "2", "loopback, yes"] {
        let problems = trusted(unbounded).unwrap_err();
        assert!(problems[0].expected.contains("networks"), "{problems:?}");
    }
    let environment = |word| read(&[("PROXY_ENV", word)]).map(|config| config.environment);
    assert_eq!(environment("Development"), Ok(Environment::Dev));
    let named: Vec<_> = environment("production")
        .unwrap_err()
        .iter()
        .map(|problem| problem.variable)
        .collect();
    assert_eq!(named, ["PROXY_API_KEY", "CODEX_BIN"]);
}

#[test]
fn to_stop_at_the_first_call_needs_no_other_switch() {
    let mode = |pairs: &[(&str, &str)]| {
        let config = read(pairs).unwrap();
        config.policy_defaults.tool_stop["mode"].clone()
    };
    let [first, burst] = ["first", "burst"].map(|mode| ("PROXY_STOP_AFTER_TOOLS_MODE", mode));
    let switch = |on| ("PROXY_STOP_AFTER_TOOLS", on);
    assert_eq!(mode(&[]), "off");
    assert_eq!(mode(&[burst]), "off");
    assert_eq!(mode(&[first]), "first");
    assert_eq!(mode(&[first, switch("false")]), "off");
    assert_eq!(mode(&[switch("true")]), "burst");
}

#[test]
fn a_list_that_names_nothing_is_a_mistake() {
    for name in [
        "PROXY_CORS_ALLOWED_ORIGINS",
        "PROXY_TRUST_PROXY",
        "PROXY_CODEX_ENV",
    ] {
        for nothing in [",", " , ,"] {
            let problems = read(&[(name, nothing)]).unwrap_err();
            let names: Vec<_> = problems.iter().map(|problem| problem.variable).collect();
            assert_eq!(names, [name]);
        }
    }
}

#[test]
fn bytes_that_are_no_text_are_a_mistake() {
    struct Garbled(&'static str);
    impl Vars for Garbled {
        fn get(&self, _: &str) -> Option<String> {
            None
        }
        fn is_garbled(&self, name: &str) -> bool {
            name == self.0
        }
        fn all(&self) -> Vec<(String, String)> {
            Vec::new()
        }
    }
    for name in ["PROXY_API_KEY", "PATH"] {
        let problems = Config::read(&Garbled(name)).unwrap_err();
        let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
        let expected = format!("{name}: expected text in UTF-8, found other bytes");
        assert_eq!(told, [expected]);
    }
}

#[test]
fn what_the_start_would_refuse_is_found_with_everything_else() {
    let problems = read(&[
        ("PROXY_LOG", "codex_gateway=loud"),
        ("TOKEN_LOG_PATH", "/no/such/folder/usage.ndjson"),
        ("PROXY_CODEX_WORKDIR", "/bin/sh/below"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"),
        ("PORT", "8080"),
        ("AUTH_PORT", "8080"),
    ]);
    let names: Vec<_> = problems
        .unwrap_err()
        .iter()
        .map(|problem| problem.variable)
        .collect();
    let expected = [
        "AUTH_PORT",
        "PROXY_CODEX_WORKDIR",
        "PROXY_LOG",
        "TOKEN_LOG_PATH",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
    ];
    assert_eq!(names, expected);
    assert!(read(&[("PORT", "0"), ("AUTH_PORT", "0")]).is_ok());
    assert!(read(&[("TOKEN_LOG_PATH", "usage.ndjson")]).is_ok());
    for wrong in [
        "http://127.0.0.1:4318?x=1",
        "http://a b",
        "127.0.0.1:4318",
        "http://x:99999999",
    ] {
        assert!(
            read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", wrong)]).is_err(),
            "{wrong}"
        );
    }
}

#[test]
fn a_delimiter_may_be_blanks_and_new_lines() {
    let delimiter = |text| {
        let config = read(&[("PROXY_TOOL_BLOCK_DELIMITER", text)]).unwrap();
        config.api.block_delimiter
    };
    for (text, expected) in [
        ("\n\n", Some("\n\n")),
        (r"\n", Some("\n")),
        (" -- ", Some(" -- ")),
        (" true ", Some("\n\n")),
        ("off", None),
    ] {
        assert_eq!(delimiter(text).as_deref(), expected, "{text:?}");
    }
    assert!(read(&[("PROXY_TOOL_BLOCK_DELIMITER", "")]).is_err());
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
fn the_log_is_json_in_prod_unless_text_is_named() {
    let prod = [
        ("PROXY_ENV", "prod"),
        ("PROXY_API_KEY", "sk-0123456789abcdef0123456789"),
        ("CODEX_BACKEND", "demo"),
    ];
    let json = |vars: &[(&str, &str)]| read(vars).unwrap().telemetry.log.json;
    assert!(!json(&[]) && json(&prod));
    assert!(!json(
        &[&prod[..], &[("PROXY_LOG_FORMAT", "text")]].concat()
    ));
}

#[test]
fn a_chosen_backend_without_a_program_is_a_mistake() {
    for backend in ["app-server", "proto"] {
        let problems = read(&[("CODEX_BACKEND", backend)]).unwrap_err();
        let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
        let expected = format!(
            "CODEX_BIN: expected a Codex program when CODEX_BACKEND is {backend} (npm install -g @openai/codex), \
             found no `codex` in PATH"
        );
        assert_eq!(told, [expected]);
    }
    for backend in ["auto", "demo"] {
        let config = read(&[("CODEX_BACKEND", backend)]).unwrap();
        assert!(matches!(config.codex, Codex::Demo), "{backend}");
    }
}

#[test]
fn a_key_that_no_client_can_send_is_a_mistake() {
    let on = ("PROXY_ENABLE_METRICS", "true");
    for name in ["PROXY_API_KEY", "PROXY_METRICS_TOKEN"] {
        let problems = read(&[on, (name, "пароль-0123456789")]).unwrap_err();
        let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
        let [told] = told.as_slice() else {
            panic!("{told:?}")
        };
        assert!(
            told.starts_with(name) && told.ends_with("found other characters"),
            "{told}"
        );
    }
}

#[test]
fn the_key_is_not_printed() {
    let config = read(&[("PROXY_API_KEY", "sk-very-secret")]).unwrap();
    assert!(!format!("{config:?}").contains("sk-very-secret"));
}

#[test]
fn an_origin_that_is_none_keeps_it_from_starting() {
    for wrong in ["obsidian.md", "https://web.example/path", "null"] {
        for enabled in ["true", "false"] {
            let problems = read(&[
                ("PROXY_ENABLE_CORS", enabled),
                (
                    "PROXY_CORS_ALLOWED_ORIGINS",
                    &format!("app://obsidian.md, {wrong}"),
                ),
            ])
            .unwrap_err();
            assert_eq!(problems.len(), 1);
            assert_eq!(problems[0].variable, "PROXY_CORS_ALLOWED_ORIGINS");
            assert_eq!(problems[0].found, format!("`{wrong}`"));
        }
    }
}

#[test]
fn an_agent_needs_a_codex_that_can_work() {
    let names = |pairs: &[(&str, &str)]| -> Vec<_> {
        let problems = read(pairs).unwrap_err();
        problems.iter().map(|problem| problem.variable).collect()
    };
    let agent = ("CODEX_MODE", "agent");
    assert_eq!(names(&[agent]), ["CODEX_BIN"]);
    for backend in ["demo", "proto"] {
        let told = names(&[agent, ("CODEX_BIN", "/bin/sh"), ("CODEX_BACKEND", backend)]);
        assert_eq!(told, ["CODEX_MODE"], "{backend}");
    }
    let program = ("CODEX_BIN", "/bin/sh");
    let mode = |pairs: &[(&str, &str)]| match read(pairs).unwrap().codex {
        Codex::Program(config, _) => config.mode,
        Codex::Demo => panic!("a program was named"),
    };
    assert_eq!(mode(&[program]), Mode::Chat);
    assert_eq!(mode(&[program, agent]), Mode::Agent(Sandbox::ReadOnly));
    let write = ("PROXY_SANDBOX_MODE", "workspace-write");
    assert_eq!(
        mode(&[program, agent, write]),
        Mode::Agent(Sandbox::WorkspaceWrite)
    );
    assert_eq!(
        names(&[program, ("PROXY_SANDBOX_MODE", "none")]),
        ["PROXY_SANDBOX_MODE"]
    );
}

/// The variables with mistakes in an agent's configuration.
fn mistakes(pairs: &[(&str, &str)]) -> Vec<&'static str> {
    let agent = [("CODEX_BIN", "/bin/true"), ("CODEX_MODE", "agent")];
    let read = read(&[&agent, pairs].concat());
    let problems = read.err().unwrap_or_default();
    for problem in &problems {
        let said = problem.to_string();
        assert!(!said.contains("\n") && said.contains('`'), "{said}");
    }
    problems.iter().map(|problem| problem.variable).collect()
}

#[test]
fn an_agent_with_full_access_must_not_write_what_a_start_reads() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().to_str().unwrap();
    let full = ("PROXY_SANDBOX_MODE", "danger-full-access");
    let mode = ["PROXY_SANDBOX_MODE"];
    assert_eq!(mistakes(&[full, ("POLICY_DIR", folder)]), mode);
    assert_eq!(mistakes(&[full, ("PROXY_CACHE_DIR", folder)]), mode);
    // The default cache folder is in it, but is not used.
    assert_eq!(mistakes(&[full, ("PROXY_STATE_DIR", folder)]), mode);
    assert!(mistakes(&[full, ("PROXY_CACHE_DIR", "none")]).is_empty());
    let agent = [("CODEX_BIN", "/bin/true"), ("CODEX_MODE", "agent")];
    let config = read(&[&agent[..], &[full, ("HOME", folder)]].concat()).unwrap();
    assert_eq!(config.cache_dir, None);
    for sandbox in ["read-only", "workspace-write"] {
        let pairs = [("PROXY_SANDBOX_MODE", sandbox), ("POLICY_DIR", folder)];
        assert!(mistakes(&pairs).is_empty(), "{sandbox}");
    }
}

#[test]
fn agents_do_not_work_in_the_gateways_own_folders() {
    let place = tempfile::tempdir().unwrap();
    let folder = |name: &str| {
        let path = place.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (own, inner, apart) = (folder("own"), folder("own/inner"), folder("apart"));
    std::os::unix::fs::symlink(&own, place.path().join("link")).unwrap();
    let link = place.path().join("link").to_str().unwrap().to_owned();
    let write = ("PROXY_SANDBOX_MODE", "workspace-write");
    for variable in ["POLICY_DIR", "PROXY_STATE_DIR", "PROXY_CACHE_DIR"] {
        let mistakes = |workdir: &str, guarded: &str| {
            let none = ("PROXY_CACHE_DIR", "none");
            mistakes(&[
                write,
                none,
                ("PROXY_CODEX_WORKDIR", workdir),
                (variable, guarded),
            ])
        };
        let workdir = ["PROXY_CODEX_WORKDIR"];
        assert_eq!(mistakes(&own, &own), workdir, "{variable}");
        assert_eq!(mistakes(&own, &inner), workdir, "{variable}");
        assert_eq!(mistakes(&inner, &own), workdir, "{variable}");
        assert_eq!(mistakes(&link, &inner), workdir, "{variable}");
        assert_eq!(
            mistakes(&format!("{link}/new"), &own),
            workdir,
            "{variable}"
        );
        assert!(mistakes(&apart, &own).is_empty(), "{variable}");
    }
    let records = format!("{inner}/usage.ndjson");
    for (workdir, found) in [(&own, &["PROXY_CODEX_WORKDIR"][..]), (&apart, &[])] {
        let places = [
            ("PROXY_CODEX_WORKDIR", workdir.as_str()),
            ("TOKEN_LOG_PATH", &records),
        ];
        assert_eq!(mistakes(&[&[write], &places[..]].concat()), found);
        let places = [
            places[0],
            ("PROXY_DEBUG_PROTO", "true"),
            ("PROTO_LOG_PATH", &records),
        ];
        assert_eq!(mistakes(&[&[write], &places[..]].concat()), found);
    }
}
