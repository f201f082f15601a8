//! Tests of finding and probing the program, with small scripts in place of Codex.

use std::os::unix::fs::symlink;

use super::*;

/// Makes an executable shell script. Another process writes the file: a file that any process has open for writing
/// cannot be run, and a process that starts at the same moment would inherit our open file.
pub(in crate::codex) fn script(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let write = r#"printf %s "$2" > "$1" && chmod 755 "$1""#;
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", write, "sh"]).arg(path).arg(text);
    assert!(shell.status().unwrap().success());
}

fn here() -> (&'static str, &'static str) {
    let (.., package, triple) = PLATFORMS
        .iter()
        .find(|(os, arch, ..)| *os == std::env::consts::OS && *arch == std::env::consts::ARCH)
        .unwrap();
    (package, triple)
}

#[test]
fn a_name_is_looked_up_and_only_what_can_be_run_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    std::fs::create_dir(&first).unwrap();
    std::fs::write(first.join("codex"), "not executable").unwrap();
    script(&second.join("codex"), "#!/bin/sh\n");
    let path = format!("{}::{}", first.display(), second.display());
    assert_eq!(locate("codex", Some(&path)), Some(second.join("codex")));
    assert_eq!(locate("codex", Some("/nonexistent")), None);
    assert_eq!(locate("codex", None), None);
    assert_eq!(
        locate(second.join("codex"), None),
        Some(second.join("codex"))
    );
    assert_eq!(locate(first.join("codex"), None), None);
    assert_eq!(locate(folder.path(), None), None, "a folder is no program");
}

#[test]
fn the_native_program_is_found_behind_npms_launcher() {
    let (package, triple) = here();
    for native in [
        format!("node_modules/@openai/codex-{package}/vendor/{triple}/bin/codex"),
        format!(
            "node_modules/@openai/codex/node_modules/@openai/codex-{package}/vendor/{triple}/bin/codex"
        ),
        format!("node_modules/@openai/codex/vendor/{triple}/codex/codex"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let launcher = root.join("node_modules/@openai/codex/bin/codex.js");
        script(&launcher, "#!/usr/bin/env node\n");
        std::fs::create_dir(root.join("bin")).unwrap();
        symlink(&launcher, root.join("bin/codex")).unwrap();
        let path = root.join("bin").display().to_string();
        assert_eq!(
            locate("codex", Some(&path)),
            Some(root.join("bin/codex")),
            "without it, the script"
        );
        script(&root.join(&native), "native");
        assert_eq!(locate("codex", Some(&path)), Some(root.join(&native)));
    }
}

#[tokio::test]
async fn a_program_tells_its_version_and_its_servers() {
    let folder = tempfile::tempdir().unwrap();
    let bin = folder.path().join("codex");
    script(
        &bin,
        "#!/bin/sh\ncase $1 in --version) echo codex-cli 0.169.0;; *) printf 'Commands:\\n  exec   Run\\n  app-server  Run the app server, not proto\\n';; esac\n",
    );
    let found = probe(&bin).await.unwrap();
    assert_eq!(
        found,
        Probe {
            version: "0.169.0".to_owned(),
            app_server: true,
            proto: false
        }
    );
}

#[tokio::test]
async fn what_is_not_codex_is_refused_with_its_words() {
    let folder = tempfile::tempdir().unwrap();
    let bin = folder.path().join("codex");
    script(&bin, "#!/bin/sh\necho Python 3.12\n");
    assert!(
        matches!(probe(&bin).await, Err(ProbeError::NotCodex { said, .. }) if said == "Python 3.12")
    );
    script(&bin, "#!/bin/sh\necho broken >&2; exit 3\n");
    assert!(
        matches!(probe(&bin).await, Err(ProbeError::Failed { stderr, .. }) if stderr == "broken")
    );
    assert!(matches!(
        probe(Path::new("/nonexistent/codex")).await,
        Err(ProbeError::Run { .. })
    ));
}

#[test]
fn a_failure_that_may_pass_is_no_mistake_of_the_operators() {
    use std::os::unix::process::ExitStatusExt;
    let bin = || PathBuf::from("codex");
    let run = |source| ProbeError::Run { bin: bin(), source };
    let errno = std::io::Error::from_raw_os_error;
    let failed = |status| ProbeError::Failed {
        bin: bin(),
        status: std::process::ExitStatus::from_raw(status),
        stderr: String::new(),
    };
    let (no_file, forbidden, no_program) = (2, 13, 8);
    for error in [no_file, forbidden, no_program].map(|code| run(errno(code))) {
        assert!(error.is_configuration(), "{error}");
    }
    assert!(failed(2 << 8).is_configuration());
    let (busy, no_process, killed) = (26, 11, 9);
    for error in [run(errno(busy)), run(errno(no_process)), failed(killed)] {
        assert!(!error.is_configuration(), "{error}");
    }
}

#[tokio::test]
async fn a_probed_program_sees_no_variables_of_ours() {
    let folder = tempfile::tempdir().unwrap();
    let bin = folder.path().join("codex");
    let seen = folder.path().join("seen");
    script(
        &bin,
        &format!("#!/bin/sh\nenv > {}\necho codex-cli 1\n", seen.display()),
    );
    probe(&bin).await.unwrap();
    let seen = std::fs::read_to_string(seen).unwrap();
    assert!(seen.contains("PATH="));
    assert!(!seen.contains("CARGO"), "{seen}");
}
