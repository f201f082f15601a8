//! The output of the subcommands, and the effect of a `.env` file.

use super::*;

/// The exit code and output of a subcommand with `input` on standard input.
fn run(arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut command = gateway(&[]);
    command.args(arguments).stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn keys_are_made_with_their_entry_and_hashed_as_the_entry_has_it() {
    let (code, made, _) = run(&["key", "new", "alice"], "");
    assert_eq!(code, Some(0));
    let key = made.lines().nth(1).unwrap().trim();
    let entry = made.lines().nth(3).unwrap();
    assert!(
        key.starts_with("sk-") && entry.contains("\"id\":\"alice\""),
        "{made}"
    );
    let (code, hash, _) = run(&["key", "hash"], &format!("{key}\n"));
    assert_eq!(code, Some(0));
    assert!(entry.contains(hash.trim()), "{entry} has not {hash}");
    for other in ["ключ\n", " sk-x\n", "two\nlines\n"] {
        let (code, hash, error) = run(&["key", "hash"], other);
        assert_eq!((code, hash.as_str()), (Some(1), ""), "{other}");
        assert!(
            error.contains("printable ASCII") && !error.contains(other.trim()),
            "{error}"
        );
    }
    let (code, _, error) = run(&["key", "hash"], "");
    assert_eq!(code, Some(1));
    assert!(
        error.contains("expected a key on standard input"),
        "{error}"
    );
}

/// A working folder with this `.env`, which only its owner may read.
fn folder_with(dot_env: &str) -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".env");
    std::fs::write(&path, dot_env).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
    folder
}

#[test]
fn the_settings_are_shown_with_where_they_come_from() {
    let folder = folder_with(
        "PORT=8080\nPROXY_HOST=::1 # not this one\nPROXY_API_KEY='sk-0123456789$abcdef'\n",
    );
    let show = |vars: &[(&str, &str)]| {
        let mut command = gateway(vars);
        let output = command
            .current_dir(folder.path())
            .arg("config")
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let (code, settings, warnings) = show(&[("PROXY_HOST", "127.0.0.2")]);
    assert_eq!((code, warnings.as_str()), (Some(0), ""));
    let line = |name: &str| -> Vec<String> {
        let line = settings
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")));
        line.unwrap()
            .split_whitespace()
            .skip(1)
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(line("PORT"), [".env", "8080"]);
    assert_eq!(line("PROXY_HOST"), ["environment", "127.0.0.2"]);
    assert_eq!(line("PROXY_API_KEY"), [".env", "***"]);
    assert_eq!(line("PROXY_LOG"), ["default", "info"]);
    assert_eq!(line("CODEX_BIN")[0], "derived");
    assert!(!settings.contains("0123456789"), "{settings}");
    assert_eq!(show(&[("PROXY_HOST", "127.0.0.2")]).1, settings);

    let (code, settings, mistakes) = show(&[("PROXY_ENV", "test"), ("PROXY_LOG_FORMAT", "")]);
    assert_eq!((code, settings.as_str()), (Some(78), ""));
    for name in ["PROXY_ENV", "PROXY_LOG_FORMAT"] {
        assert!(
            mistakes.contains(&format!("codex-gateway: {name}: expected ")),
            "{mistakes}"
        );
    }
}

#[test]
fn a_broken_env_file_is_told_by_its_line() {
    let folder = folder_with("PORT=0\nsk-very-secret\n");
    for arguments in [&["config"][..], &[]] {
        let mut command = gateway(&[]);
        let output = command
            .current_dir(folder.path())
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(78));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.starts_with("codex-gateway: .env: expected ") && said.ends_with("line 2\n"),
            "{said}"
        );
        assert!(!said.contains("secret"), "{said}");
    }
}

#[test]
fn it_serves_as_the_env_file_says_and_warns_of_what_has_no_effect() {
    let folder =
        folder_with("PORT=0\nPROXY_API_KEY=sk-0123456789abcdef\nPROXY_MAINTENANCE_MODE=true\n");
    let path = folder.path().join(".env");
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let mut command = gateway(&[]);
    let (log, shown) = told_until("listening address=", command.current_dir(folder.path()));
    for words in [
        "PROXY_MAINTENANCE_MODE: has no effect any more",
        ".env: every user of this machine may read it",
    ] {
        assert!(log.contains(words), "`{words}` is missing in:\n{log}");
    }
    assert_eq!(shown, "", "the key was given, none is made");
}

#[test]
fn help_names_every_command_and_where_settings_are_told() {
    for ask in ["help", "--help"] {
        let (code, help, _) = run(&[ask], "");
        assert_eq!(code, Some(0));
        for words in ["serve", "config", "history", "key", ".env", "settings.md"] {
            assert!(help.contains(words), "`{words}` is missing in:\n{help}");
        }
    }
    let (code, version, _) = run(&["--version"], "");
    assert_eq!(code, Some(0));
    assert_eq!(
        version,
        concat!("codex-gateway ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn a_reader_that_leaves_is_no_mistake_and_a_full_disk_is_one() {
    for arguments in [&["config"][..], &["key", "new", "bob"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = gateway(&[]);
        let output = command.args(arguments).stdout(writer).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.as_str()), (Some(0), ""));

        let full = std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let output = gateway(&[]).args(arguments).stdout(full).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(
            said.starts_with("codex-gateway: cannot write to standard output: "),
            "{said}"
        );
    }
}

#[test]
fn with_a_log_in_json_a_made_up_key_is_in_a_line_of_json() {
    let vars = [("PORT", "0"), ("PROXY_LOG_FORMAT", "json")];
    let mut child = gateway(&vars).spawn().unwrap();
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let said: Value = serde_json::from_str(&line).unwrap();
    assert!(said["key"].as_str().unwrap().starts_with("sk-local-"));
    assert!(
        said["base_url"]
            .as_str()
            .unwrap()
            .starts_with("http://127.0.0.1:")
    );
}

#[test]
fn the_history_shows_which_policies_served() {
    let [policies, state] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let text = |folder: &tempfile::TempDir| folder.path().to_string_lossy().into_owned();
    let (policies_dir, state_dir) = (text(&policies), text(&state));
    let vars = [
        ("POLICY_DIR", policies_dir.as_str()),
        ("PROXY_STATE_DIR", state_dir.as_str()),
        ("PROXY_API_KEY", "sk-0123456789abcdef"),
        ("PORT", "0"),
    ];
    for owner in ["one", "two", "two"] {
        let settings = format!(r#"{{"owned_by": "{owner}"}}"#);
        std::fs::write(policies.path().join("model.json"), settings).unwrap();
        told_until("policies serve", &mut gateway(&vars));
    }
    let told = |arguments: &[&str]| {
        let mut command = gateway(&vars);
        let output = command.args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let table = told(&["history"]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(
        lines.len(),
        3,
        "a restart with the same files is none:\n{table}"
    );
    assert!(lines[0].starts_with("NUMBER  SINCE"), "{table}");
    for (line, number) in lines[1..].iter().zip(1..) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [found, _, "start", digest, "model.json"] = words[..] else {
            panic!("{table}");
        };
        assert_eq!((found, digest.len()), (number.to_string().as_str(), 12));
    }
    let json = told(&["history", "--json", "--last", "1"]);
    let entry: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&entry["number"], &entry["door"]),
        (&json!(2), &json!("start"))
    );
    // A history that cannot be read is told before a start, too.
    let folder = std::fs::read_dir(state.path().join("policies")).unwrap();
    let mut paths = folder.map(|entry| entry.unwrap().path());
    let history = paths.find(|path| path.extension().is_some_and(|kind| kind == "ndjson"));
    let history = history.unwrap();
    std::fs::remove_file(&history).unwrap();
    std::fs::create_dir(&history).unwrap();
    let output = gateway(&vars).arg("config").output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains("taken back, or did not pass, are not known"),
        "{told}"
    );

    let output = gateway(&[]).arg("history").output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        error.contains("PROXY_STATE_DIR") && error.lines().count() == 1,
        "{error}"
    );
}

#[test]
fn the_schema_of_each_file_of_rules_is_printed() {
    for (of, accepts) in [
        (vec![], true),
        (vec!["policies"], true),
        (vec!["rollout"], false),
    ] {
        let (code, schema, _) = run(&[vec!["policy", "schema"], of].concat(), "");
        assert_eq!(code, Some(0));
        let schema: Value = serde_json::from_str(&schema).unwrap();
        let members = match schema.get("$ref") {
            Some(_) => &schema["$defs"]["candidate"]["properties"],
            None => &schema["$defs"]["folder"]["properties"],
        };
        assert!(members["shadow"].is_object(), "{schema}");
        assert_eq!(members.get("accept").is_some(), accepts, "{schema}");
    }
}
