//! `config` reports all mistakes and doubtful settings at once; a start ends with 78 if another try cannot help.

use std::os::unix::process::CommandExt;

use super::folders::Site;
use super::*;

fn output(mut command: Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

fn config(vars: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = gateway(vars);
    command.env_remove("PROXY_CACHE_DIR").arg("config");
    output(command)
}

#[test]
fn config_finds_all_mistakes_in_one_go() {
    let site = Site::new();
    site.write("auth.json", r#"{"keys":["#);
    site.write("model.json", r#"{"acess": []}"#);
    site.write(
        "rate-limit.json",
        r#"{"rules": [{"name": "x", "unit": "requests", "limit": 0}]}"#,
    );
    site.write(
        "policies.toml",
        "[tool-stop]\nsettings = \"gone.json\"\nmemory_mib = 0\n[tool_stop]\n[rollout]\npromote = true\n[rollout.canary]\npercent = 0\n",
    );
    let [(name, folder), (state, memory)] = site.vars();
    let (code, said) = config(&[
        (name, &folder),
        (state, &memory),
        ("PORT", "abc"),
        ("PROXY_ENV", "prod"),
        ("CODEX_BIN", "/bin/echo"),
        ("TOKEN_LOG_PATH", "/nowhere/usage.jsonl"),
    ]);
    assert_eq!(code, Some(78));
    for words in [
        "PORT: expected ",
        "TOKEN_LOG_PATH: expected ",
        "/bin/echo does not look like Codex",
        "policies.toml: line 3, [tool-stop] memory_mib: expected ",
        "policies.toml: line 4, [tool_stop]: expected ",
        "policies.toml: line 7, [rollout] canary: expected `callers`, `tenants`, or a `percent` above 0, found none",
        "policies.toml: line 7, [rollout] canary: expected a member `for`",
        "policies.toml (tool-stop policy): line 2, [tool-stop] settings: expected the name of a file in the same folder, \
         found no `gone.json` there",
        "auth.json (auth policy): ",
        "model.json (model policy): ",
        "rate-limit.json (rate-limit policy): ",
    ] {
        assert!(
            said.contains(&format!("codex-gateway: {words}")),
            "`{words}` is missing in:\n{said}"
        );
    }
    assert!(
        !said.contains("PROXY_API_KEY"),
        "who may call is the folder's business: {said}"
    );
}

#[test]
fn what_cannot_be_written_is_found_without_writing() {
    let site = Site::new();
    let usage = site.state.path().join("usage.jsonl");
    std::fs::write(&usage, "").unwrap();
    for path in [&usage, site.state.path()] {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o555))
            .unwrap();
    }
    let [(name, folder), (state, memory)] = site.vars();
    std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let auth = format!("{folder}/auth.json");
    std::fs::set_permissions(auth, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let command = |path: &str| {
        let vars = [
            (name, folder.as_str()),
            (state, memory.as_str()),
            ("TOKEN_LOG_PATH", path),
            ("CODEX_HOME", memory.as_str()),
            ("PORT", "0"),
        ];
        let mut command = gateway(&vars);
        // Root may write anywhere, so the program runs as another user.
        if std::fs::write(site.state.path().join("probe"), "").is_ok() {
            command.uid(65_534).gid(65_534);
        }
        command
    };
    let new = site.state.path().join("new.jsonl");
    for path in [&usage, &new] {
        for arguments in [&["config"][..], &[]] {
            let mut command = command(&path.to_string_lossy());
            command.args(arguments);
            let (code, said) = output(command);
            assert_eq!(code, Some(78), "{said}");
            assert!(
                said.contains("TOKEN_LOG_PATH: expected ") && said.contains("cannot write"),
                "{said}"
            );
            if !arguments.is_empty() {
                for name in ["PROXY_STATE_DIR", "CODEX_HOME"] {
                    let warning = format!("{name}: this user cannot write ");
                    assert!(said.contains(&warning), "{said}");
                }
            }
        }
    }
    assert!(!new.exists() && !site.state.path().join("cache").exists());
}

#[test]
fn a_command_that_shows_makes_no_folder() {
    let site = Site::new();
    let vars = site.vars();
    let (code, _) = config(&vars.each_ref().map(|(name, value)| (*name, value.as_str())));
    assert_eq!(code, Some(0));
    assert_eq!(std::fs::read_dir(site.state.path()).unwrap().count(), 0);
}

#[test]
fn a_link_to_what_is_not_mounted_is_a_refusal() {
    let site = Site::new();
    let path = site.policies.path().join("auth.json");
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/nowhere/auth.json", &path).unwrap();
    let [(name, folder), _] = site.vars();
    for arguments in [&["config"][..], &[]] {
        let mut command = gateway(&[(name, folder.as_str()), ("PORT", "0")]);
        command.args(arguments);
        let (code, said) = output(command);
        assert_eq!(code, Some(78));
        let words =
            "auth.json (auth policy): cannot be read: it is a symbolic link to /nowhere/auth.json";
        assert!(
            said.contains(words) && !said.contains("no slot reads"),
            "{said}"
        );
    }
}

#[test]
fn files_that_look_like_ours_and_rules_that_never_hold_are_warned_of() {
    let site = Site::new();
    for name in [
        "auth.JSON",
        "rate-limit.json.txt",
        "rate-limit",
        "tool-stop.yaml",
        "Policies.toml",
    ] {
        site.write(name, "{}");
    }
    std::fs::create_dir(site.policies.path().join("old")).unwrap();
    site.write("old/auth.json", "{}");
    site.write("model.json", r#"{"access": []}"#);
    let rule =
        r#"{"name": "x", "unit": "requests", "limit": 5, "endpoints": ["/v1/chat/completion"]}"#;
    site.write("rate-limit.json", &format!(r#"{{"rules": [{rule}]}}"#));
    let expired = r#"{"id": "a", "sha256": "0000000000000000000000000000000000000000000000000000000000000001", "expires_at": 1}"#;
    site.write("auth.json", &format!(r#"{{"keys": [{expired}]}}"#));
    let vars = site.vars();
    let (code, said) = config(&vars.each_ref().map(|(name, value)| (*name, value.as_str())));
    assert_eq!(code, Some(0), "{said}");
    for words in [
        "auth.JSON: no slot reads it; rename it to auth.json",
        "rate-limit.json.txt: no slot reads it; ",
        "rate-limit: no slot reads it; ",
        "tool-stop.yaml: no slot reads it; ",
        "Policies.toml: nobody reads it; rename it to policies.toml",
        "old/auth.json: folders in POLICY_DIR are not read; ",
        "auth.json: all its `keys` are disabled or have expired",
        "model.json: `access` names no model",
        "rate-limit.json: rules[0].endpoints `/v1/chat/completion`: requests to it are not counted",
    ] {
        let line = format!("codex-gateway: {words}");
        assert!(said.contains(&line), "`{words}` is missing in:\n{said}");
    }
}

#[test]
fn words_of_files_break_no_line_and_no_terminal() {
    let site = Site::new();
    let name = r"\u001b[31mX\n".repeat(20_000);
    site.write("auth.json", &format!(r#"{{"{name}": 1, "{name}": 2}}"#));
    site.write("model.json", &format!(r#"{{"{name}": 1}}"#));
    site.write("auth-x\n2026-11-28T00:00:00Z  INFO forged.json", "{}");
    site.write("policies.toml", &format!("[\"{name}\"]\na = 1\n"));
    let vars = site.vars();
    let (code, said) = config(&vars.each_ref().map(|(name, value)| (*name, value.as_str())));
    assert_eq!(code, Some(78));
    assert!(said.len() < 100_000, "{} bytes", said.len());
    assert!(!said.contains('\u{1b}'), "{said}");
    for line in said.lines() {
        assert!(line.starts_with("codex-gateway: "), "{line}");
    }
}

#[test]
fn a_setting_of_the_wrong_form_is_told_with_its_remedy() {
    let site = Site::new();
    let keys = json!([
        {"id": "a", "sha256": "sk-abc"},
        {"id": "b", "sha256": format!("{:064}", 1), "expires_at": 1_893_456_000_000_u64},
    ]);
    site.write("auth.json", &json!({ "keys": keys }).to_string());
    let vars = site.vars();
    let (code, said) = config(&vars.each_ref().map(|(name, value)| (*name, value.as_str())));
    assert_eq!(code, Some(78));
    for words in [
        "/keys/0/sha256: ",
        "`codex-gateway key hash` prints it",
        "/keys/1/expires_at: ",
        "not milliseconds",
    ] {
        assert!(said.contains(words), "`{words}` is missing in:\n{said}");
    }
    assert!(!said.contains("sk-abc"), "{said}");
}

#[test]
fn config_finds_an_address_of_another_machine_and_a_cache_below_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let cache = file.join("a/b").to_string_lossy().into_owned();
    // An address reserved for documentation: no machine has it.
    let host = ("PROXY_HOST", "192.0.2.1");
    let key = ("PROXY_API_KEY", "sk-0123456789abcdef");
    let (code, said) = config(&[host, key]);
    let remedy = "cannot listen on 192.0.2.1:11435: ";
    assert_eq!(code, Some(1), "as a start: {said}");
    assert!(
        said.contains(remedy) && said.contains("set PROXY_HOST to an address of this machine"),
        "{said}"
    );
    let mut command = gateway(&[key, ("PROXY_CACHE_DIR", &cache)]);
    command.arg("config");
    let (code, said) = output(command);
    assert_eq!(code, Some(78), "{said}");
    let words = format!(
        "PROXY_CACHE_DIR: expected a folder, or `none`, found `{cache}`, below the file {}\n",
        file.display()
    );
    assert!(said.contains(&words), "{said}");
}

#[test]
fn a_state_folder_that_is_the_policy_folder_draws_no_warning() {
    let site = Site::new();
    let [(name, folder), _] = site.vars();
    let vars = [(name, folder.as_str()), ("PROXY_STATE_DIR", &folder)];
    let mut running = Running::start(&vars);
    running.signal("-TERM");
    assert_eq!(running.child.wait().unwrap().code(), Some(0));
    assert!(site.policies.path().join("counters.json").exists());
    assert_eq!(config(&vars), (Some(0), String::new()));
}
