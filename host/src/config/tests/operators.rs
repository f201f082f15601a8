//! Metrics, test endpoints and the protocol log: for few readers, and for fewer in production.

use super::*;

#[test]
fn test_endpoints_are_for_somebody_and_a_mistake_in_prod() {
    let on = ("PROXY_TEST_ENDPOINTS", "true");
    assert!(read(&[]).unwrap().api.test_endpoints.is_none());
    assert!(read(&[on]).unwrap().api.test_endpoints.is_some());
    let nobody = [
        on,
        ("PROXY_METRICS_ALLOW_LOOPBACK", "false"),
        ("PROXY_METRICS_ALLOW_UNAUTH", "true"),
    ];
    assert_eq!(
        read(&nobody).unwrap_err()[0].variable,
        "PROXY_METRICS_TOKEN"
    );
    let in_prod = |value| {
        let vars = [
            ("PROXY_TEST_ENDPOINTS", value),
            ("PROXY_ENV", "prod"),
            ("PROXY_API_KEY", "sk-0123456789abcdef"),
            ("CODEX_BACKEND", "demo"),
        ];
        read(&vars).err().unwrap_or_default()
    };
    let names = |problems: Vec<Problem>| problems.iter().map(|it| it.variable).collect::<Vec<_>>();
    assert_eq!(names(in_prod("true")), ["PROXY_TEST_ENDPOINTS"]);
    assert!(in_prod("false").is_empty());
}

#[test]
fn metrics_are_for_somebody_and_in_prod_not_for_everybody() {
    let on = ("PROXY_ENABLE_METRICS", "true");
    let nobody = read(&[on, ("PROXY_METRICS_ALLOW_LOOPBACK", "false")]).unwrap_err();
    assert_eq!(nobody[0].variable, "PROXY_METRICS_TOKEN");
    let everybody = read(&[
        on,
        ("PROXY_METRICS_ALLOW_UNAUTH", "true"),
        ("PROXY_ENV", "prod"),
        ("PROXY_API_KEY", "sk-x"),
        ("CODEX_BACKEND", "demo"),
    ]);
    let named: Vec<_> = everybody
        .unwrap_err()
        .iter()
        .map(|problem| problem.variable)
        .collect();
    assert!(named.contains(&"PROXY_METRICS_ALLOW_UNAUTH"), "{named:?}");
    let token = read(&[on, ("PROXY_METRICS_TOKEN", "look-at-me")]).unwrap();
    assert!(!format!("{token:?}").contains("look-at-me"));
}

#[test]
fn the_protocol_log_needs_a_file_and_in_prod_has_no_content() {
    let program = ("CODEX_BIN", "/bin/sh");
    let on = ("PROXY_DEBUG_PROTO", "true");
    let log = |vars: &[(&str, &str)]| match read(vars).unwrap().codex {
        Codex::Program(codex, _) => codex.protocol_log,
        Codex::Demo => None,
    };
    let file = ("PROTO_LOG_PATH", "proto.ndjson");
    assert_eq!(log(&[program]), None);
    assert_eq!(log(&[program, file]), None);
    let recorded = log(&[program, on, file]).unwrap();
    assert!(!recorded.bodies);
    assert_eq!(
        (recorded.journal.max_bytes, recorded.journal.max_files),
        (16 << 20, 5)
    );
    let bodies = ("PROXY_DEBUG_PROTO_BODIES", "true");
    assert!(log(&[program, on, file, bodies]).unwrap().bodies);

    let mistakes = |vars: &[(&str, &str)]| {
        let problems = read(vars).err().unwrap_or_default();
        problems.iter().map(|it| it.variable).collect::<Vec<_>>()
    };
    assert_eq!(mistakes(&[program, on]), ["PROTO_LOG_PATH"]);
    let nowhere = ("PROTO_LOG_PATH", "/no/such/folder/proto.ndjson");
    assert_eq!(mistakes(&[program, on, nowhere]), ["PROTO_LOG_PATH"]);
    let prod = [
        program,
        on,
        file,
        ("PROXY_ENV", "prod"),
        ("PROXY_API_KEY", "sk-0123456789abcdef"),
    ];
    assert!(mistakes(&prod).is_empty());
    let with_bodies = [&prod[..], &[bodies]].concat();
    assert_eq!(mistakes(&with_bodies), ["PROXY_DEBUG_PROTO_BODIES"]);

    let warned = |vars: &[(&str, &str)]| {
        let key = [("PROXY_API_KEY", "sk-0123456789abcdef")];
        let warnings = read(&[vars, &key].concat()).unwrap().warnings;
        warnings.into_iter().map(|it| it.name).collect::<Vec<_>>()
    };
    assert_eq!(warned(&[program, file]), ["PROTO_LOG_PATH"]);
    assert_eq!(warned(&[on, file]), ["PROXY_DEBUG_PROTO"], "the demo");
    assert!(warned(&[program, on, file]).is_empty());
}

#[test]
fn each_journal_has_files_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| format!("{}/{name}", folder.path().display());
    std::os::unix::fs::symlink(folder.path(), path("link")).unwrap();
    let found = |usage: &str, messages: &str| {
        let vars = [
            ("CODEX_BIN", "/bin/sh"),
            ("PROXY_DEBUG_PROTO", "true"),
            ("TOKEN_LOG_PATH", usage),
            ("PROTO_LOG_PATH", messages),
        ];
        let problems = read(&vars).err().unwrap_or_default();
        problems.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let log = path("x.log");
    for other in ["x.log", "x.log.1", "./x.log", "link/x.log", "link/x.log.12"] {
        for (usage, messages) in [(&log, &path(other)), (&path(other), &log)] {
            let told = found(usage, messages).join("; ");
            let expected = "PROTO_LOG_PATH: expected another file than that of TOKEN_LOG_PATH";
            assert!(told.starts_with(expected), "{other}: {told}");
        }
    }
    for other in ["y.log", "x.log.old", "x.log.1.gz"] {
        assert_eq!(found(&log, &path(other)), [""; 0], "{other}");
    }
}

#[test]
fn a_journal_is_no_pipe_and_is_not_for_everybody() {
    let folder = tempfile::tempdir().unwrap();
    let path = format!("{}/usage.ndjson", folder.path().display());
    let vars = [
        ("TOKEN_LOG_PATH", path.as_str()),
        ("PROXY_API_KEY", "sk-0123456789abcdef"),
    ];
    let warned = || read(&vars).unwrap().warnings.len();
    assert_eq!(warned(), 0);
    std::fs::write(&path, "").unwrap();
    for (mode, warnings) in [(0o600, 0), (0o640, 0), (0o644, 1)] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(&path, mode).unwrap();
        assert_eq!(warned(), warnings);
    }
    std::fs::remove_file(&path).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    let told = read(&vars).unwrap_err()[0].to_string();
    assert!(
        told.starts_with("TOKEN_LOG_PATH: expected ") && told.contains("a pipe"),
        "{told}"
    );
}

#[test]
fn a_file_of_operators_that_others_may_write_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let file = tempfile::NamedTempFile::new().unwrap();
    let sha256 = crate::secret::fingerprint(b"sk-ops");
    let ops = serde_json::json!([{"id": "ops", "sha256": sha256, "role": "operate"}]);
    std::fs::write(file.path(), ops.to_string()).unwrap();
    let vars = [
        ("ADMIN_ADDR", "127.0.0.1:0"),
        ("ADMIN_FILE", file.path().to_str().unwrap()),
    ];
    for (mode, warns) in [(0o600, false), (0o644, false), (0o664, true), (0o606, true)] {
        std::fs::set_permissions(file.path(), PermissionsExt::from_mode(mode)).unwrap();
        let warnings = read(&vars).unwrap().warnings;
        let is_warned = warnings.iter().any(|it| it.name == "ADMIN_FILE");
        assert_eq!(is_warned, warns, "{mode:o}: {warnings:?}");
    }
}
