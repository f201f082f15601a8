//! `codex-gateway policy keygen`, `sign` and `verify`, alone and with the real minisign.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use codex_gateway_tests::real::variable;
use tempfile::TempDir;

/// A folder where the commands run.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        desk.write("folder/policies.toml", "");
        desk.write("folder/auth.json", r#"{"keys": []}"#);
        desk
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).unwrap()
    }

    /// Runs a command in the folder, with this on its standard input: its exit code, and its output with its messages.
    fn run(&self, program: &str, line: &str, input: &str) -> (Option<i32>, String) {
        let mut command = Command::new(program);
        command
            .env_clear()
            .current_dir(self.path())
            .args(line.split(' '))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A command that does not read it may have ended.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let Output {
            status,
            stdout,
            stderr,
        } = child.wait_with_output().unwrap();
        let told = String::from_utf8([stdout, stderr].concat()).unwrap();
        (status.code(), told)
    }

    /// Runs `codex-gateway policy`, which must end so.
    fn policy(&self, line: &str, input: &str, code: i32) -> String {
        let program = env!("CARGO_BIN_EXE_gateway");
        let (found, told) = self.run(program, &format!("policy {line}"), input);
        assert_eq!(found, Some(code), "{line}: {told}");
        told
    }
}

#[test]
fn a_folder_is_signed_at_once_and_verified() {
    let desk = Desk::new();
    let told = desk.policy("keygen -W", "", 0);
    let public = told
        .lines()
        .find_map(|line| line.strip_prefix("POLICY_TRUSTED_KEYS="));
    let verify = format!("verify folder --key {}", public.unwrap());
    let unsigned = desk.policy(&verify, "", 78);
    assert!(
        unsigned.contains("folder: auth.json: expected a signature"),
        "{unsigned}"
    );
    desk.policy("sign folder", "", 0);
    let first = desk.read("folder/policies.toml.minisig");
    let verified = desk.policy(&verify, "", 0);
    assert!(
        verified.contains("folder/auth.json: signed by "),
        "{verified}"
    );

    // A change on a Friday: only its signature is made anew.
    desk.write("folder/auth.json", r#"{"keys": [], "realm": "acme"}"#);
    let altered = desk.policy("verify folder --key policies.pub", "", 78);
    assert!(
        altered.contains("auth.json: it was altered after"),
        "{altered}"
    );
    let signed = desk.policy("sign folder", "", 0);
    assert!(
        signed.contains("folder/policies.toml: signed already"),
        "{signed}"
    );
    assert_eq!(desk.read("folder/policies.toml.minisig"), first);
    desk.policy(&verify, "", 0);
}

#[test]
fn a_file_can_be_signed_for_the_name_that_it_gets() {
    let desk = Desk::new();
    desk.policy("keygen -W", "", 0);
    desk.write("new.json", "{}");
    desk.policy("sign new.json --as auth.json", "", 0);
    desk.policy("verify new.json --as auth.json --key policies.pub", "", 0);
    let told = desk.policy("verify new.json --key policies.pub", "", 78);
    assert!(
        told.contains("one of `auth.json`, not of this file"),
        "{told}"
    );
}

#[test]
fn keys_are_never_overwritten_and_passwords_never_told() {
    let desk = Desk::new();
    desk.policy("keygen --password-file -", "a good one\n", 0);
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(desk.path().join("policies.key"))
            .unwrap()
            .permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    let before = desk.read("policies.key");
    let told = desk.policy("keygen -W", "", 73);
    assert!(told.contains("policies.key is there already"), "{told}");
    assert_eq!(desk.read("policies.key"), before);

    let told = desk.policy("sign folder --password-file -", "a bad one", 1);
    assert!(told.contains("the password is wrong"), "{told}");
    assert!(!told.contains("a bad one"), "{told}");
    desk.write("password", "a good one\n");
    desk.policy("sign folder --password-file password", "", 0);
    desk.policy("verify folder --key policies.pub", "", 0);

    let told = desk.policy("sign folder --key policies.pub", "", 1);
    assert!(told.contains("expected a secret key"), "{told}");
    let told = desk.policy("sign folder --key none.key", "", 1);
    assert!(
        told.contains("none.key (the secret key; --key names another)"),
        "{told}"
    );
    let told = desk.policy("verify folder", "", 78);
    assert!(told.contains("no key is trusted"), "{told}");
}

#[test]
#[ignore = "needs the program minisign"]
fn keys_and_signatures_go_both_ways_with_minisign() {
    let minisign = variable("TEST_MINISIGN_BIN");
    let desk = Desk::new();
    let run = |line: &str, input: &str| {
        let (code, told) = desk.run(&minisign, line, input);
        assert_eq!(code, Some(0), "{line}: {told}");
    };
    // Its keys, its signatures; its keys, our signatures.
    run("-G -W -p theirs.pub -s theirs.key", "");
    for file in ["auth.json", "policies.toml"] {
        run(&format!("-S -s theirs.key -m folder/{file}"), "");
    }
    desk.policy("verify folder --key theirs.pub", "", 0);
    std::fs::remove_file(desk.path().join("folder/auth.json.minisig")).unwrap();
    desk.policy("sign folder --key theirs.key", "", 0);
    run("-V -p theirs.pub -m folder/auth.json", "");

    // Our keys, with a password and without, and both signatures.
    for (name, more, password) in [
        ("ours", "-W", ""),
        ("locked", "--password-file -", "secret\n"),
    ] {
        desk.policy(&format!("keygen {name} {more}"), password, 0);
        let with = if password.is_empty() {
            ""
        } else {
            " --password-file -"
        };
        desk.policy(&format!("sign folder --key {name}.key{with}"), password, 0);
        run(&format!("-V -p {name}.pub -m folder/auth.json"), "");
        run(&format!("-S -s {name}.key -m folder/auth.json"), password);
        desk.policy(&format!("verify folder --key {name}.pub"), "", 0);
    }
}
