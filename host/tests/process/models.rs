//! Settings that name models which Codex does not list: a start warns of them, and goes on.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::folders::Site;
use super::*;

/// A program that lists this model as Codex does, and never answers as a worker.
fn codex(site: &Site, model: &str) -> PathBuf {
    let path = site.state.path().join("codex");
    let listed = json!({"models": [
        {"slug": model, "visibility": "list", "priority": 1, "supported_reasoning_levels": []},
    ]});
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in\n--version) echo codex-cli 0.169.0 ;;\n\
         --help) printf 'Commands:\\n  exec        Run\\n  app-server  Run the app server\\n' ;;\n\
         'debug models --bundled') echo '{listed}' ;;\n*) exec /bin/sleep 1000 ;;\nesac\n"
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path
}

fn command(site: &Site, model: &str) -> Command {
    let program = codex(site, model).to_string_lossy().into_owned();
    let [(name, folder), (state, memory)] = site.vars();
    gateway(&[
        (name, &folder),
        (state, &memory),
        ("CODEX_BIN", &program),
        ("PORT", "0"),
    ])
}

/// Runs a gateway until its policies serve, and returns its log.
fn started(mut command: Command) -> String {
    let mut child = command.spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("policies serve") && log.read_line(&mut said).unwrap() > 0 {}
    // The warning about doubtful settings is the next line.
    log.read_line(&mut said).unwrap();
    let sent = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
    log.read_to_string(&mut said).unwrap();
    child.wait().unwrap();
    said
}

#[test]
fn a_start_and_config_say_the_same_of_models_that_codex_does_not_list() {
    let site = Site::new();
    site.write(
        "model.json",
        r#"{"default": "gpt-nope", "aliases": {"fast": "gpt-5", "theirs": {"model": "x", "provider": "y"}},
            "access": [{"models": ["gpt-nope", "gpt-no"]}]}"#,
    );
    let output = command(&site, "fake-tiny").arg("config").output().unwrap();
    let config = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{config}");
    let start = started(command(&site, "fake-tiny"));
    for words in [
        "model.json: default `gpt-nope`: Codex lists no such model",
        "model.json: aliases.fast `gpt-5`: Codex lists no such model",
        "model.json: access[0].models `gpt-no`: there is no such model",
    ] {
        for said in [&config, &start] {
            assert!(said.contains(words), "`{words}` is missing in:\n{said}");
        }
    }
    assert!(!config.contains("theirs"), "{config}");
}

#[test]
fn a_codex_that_drops_a_model_does_not_end_the_next_start() {
    let site = Site::new();
    site.write("model.json", r#"{"default": "fake-mini"}"#);
    let said = started(command(&site, "fake-mini"));
    assert!(
        said.contains("policies serve") && !said.contains("lists no such"),
        "{said}"
    );
    let said = started(command(&site, "fake-tiny"));
    assert!(said.contains("policies serve"), "{said}");
    assert!(
        said.contains("default `fake-mini`: Codex lists no such model"),
        "{said}"
    );
}
