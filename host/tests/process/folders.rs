//! State that outlives a restart: the last good policies, and compiled components.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;

/// A key in the `auth.json` of these tests.
pub(super) const KEY: &str = "sk-of-alice";

/// An `auth.json` with [`KEY`].
pub(super) fn auth() -> String {
    json!({"keys": [{"id": "alice", "sha256": fingerprint(KEY)}]}).to_string()
}

/// The fingerprint of a key, as the program prints it.
pub(super) fn fingerprint(key: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_codex-gateway"))
        .args(["key", "hash"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .and_then(|mut child| {
            child.stdin.take().unwrap().write_all(key.as_bytes())?;
            child.wait_with_output()
        })
        .unwrap();
    let fingerprint = String::from_utf8(output.stdout).unwrap();
    fingerprint.trim().to_owned()
}

/// The status of a request with this key.
pub(super) fn status(running: &Running, key: &str) -> u16 {
    let answer = running.get("/v1/models/demo", Some(key));
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// A state folder and a policy folder with an `auth.json`.
pub(super) struct Site {
    pub(super) state: tempfile::TempDir,
    pub(super) policies: tempfile::TempDir,
}

impl Site {
    pub(super) fn new() -> Self {
        let site = Self {
            state: tempfile::tempdir().unwrap(),
            policies: tempfile::tempdir().unwrap(),
        };
        site.write("auth.json", &auth());
        site
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.policies.path().join(name), text).unwrap();
    }

    pub(super) fn vars(&self) -> [(&'static str, String); 2] {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        [
            ("POLICY_DIR", text(self.policies.path())),
            ("PROXY_STATE_DIR", text(self.state.path())),
        ]
    }

    pub(super) fn start(&self) -> Running {
        let vars = self.vars();
        Running::start(&vars.each_ref().map(|(name, value)| (*name, value.as_str())))
    }

    /// The output of a refused start, or of a subcommand, without a state folder.
    fn refused(&self, arguments: &[&str]) -> String {
        let [(name, value), _] = self.vars();
        let vars = [(name, value.as_str()), ("PORT", "0")];
        let output = gateway(&vars).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(78));
        String::from_utf8(output.stderr).unwrap()
    }
}

#[test]
fn a_start_whose_policies_broke_serves_the_last_good_ones() {
    let site = Site::new();
    let running = site.start();
    assert_eq!(status(&running, KEY), 200);
    drop(running);
    for broken in ["{", r#"{"keyz": []}"#] {
        site.write("auth.json", broken);
        let mut running = site.start();
        running.log_until("policy refused, the last good ones serve: auth.json (auth policy)");
        assert_eq!(status(&running, KEY), 200);
        assert_eq!(
            status(&running, "sk-test"),
            401,
            "PROXY_API_KEY is superseded"
        );
        let health = running.get("/healthz", None);
        assert!(health.contains("\"file\":\"auth.json\"") && health.contains("\"ok\":false"));
    }
    site.write("auth.json", &auth().replace("alice", "bob"));
    let running = site.start();
    assert_eq!(status(&running, KEY), 200);
    assert!(
        !running
            .get("/healthz", None)
            .contains("\"file\":\"auth.json\",\"problem\"")
    );
}

#[test]
fn an_emptied_policy_folder_is_no_change_of_mind() {
    let site = Site::new();
    assert_eq!(status(&site.start(), KEY), 200);
    std::fs::remove_file(site.policies.path().join("auth.json")).unwrap();
    let mut running = site.start();
    running.log_until("it served and is gone");
    assert_eq!(status(&running, KEY), 200);
    assert_eq!(status(&running, "sk-test"), 401);
    drop(running);
    site.write("policies.toml", "[auth]\nbuilt_in = true\n");
    let running = site.start();
    assert_eq!(status(&running, KEY), 401);
    assert_eq!(status(&running, "sk-test"), 200);
}

#[test]
fn without_a_last_good_generation_broken_policies_are_a_mistake_that_config_finds() {
    let site = Site::new();
    site.write("auth.json", r#"{"keys": [], "keys": []}"#);
    site.write("model.json", "[]");
    site.write("policies.toml", "[tool-stop]\nmemory_mib = 0\n");
    for arguments in [&["config"][..], &[]] {
        let said = site.refused(arguments);
        for words in [
            "codex-gateway: policies.toml: line 2, [tool-stop] memory_mib: expected a whole number from 1 to 128, found 0\n",
            "codex-gateway: auth.json (auth policy): ",
        ] {
            assert!(said.contains(words), "`{words}` is missing in:\n{said}");
        }
    }
    site.write("policies.toml", "");
    for arguments in [&["config"][..], &[]] {
        let said = site.refused(arguments);
        for words in [
            "codex-gateway: auth.json (auth policy): expected settings that are a JSON object, found the member `keys` twice",
            "codex-gateway: model.json (model policy): expected settings that are a JSON object, found a list",
        ] {
            assert!(said.contains(words), "`{words}` is missing in:\n{said}");
        }
    }
}

#[test]
fn files_that_nobody_reads_and_names_that_nobody_has_are_warned_of() {
    let site = Site::new();
    site.write("rate_limit.json", "{}");
    site.write("README.md", "");
    site.write(
        "tool-stop.json",
        r#"{"rules": [{"callers": ["alcie", "ali*"], "mode": "first"}]}"#,
    );
    let expected = [
        "rate_limit.json: no slot reads it; rename it to rate-limit.json, or name it under [rate-limit] in policies.toml",
        "tool-stop.json: rules[0].callers `alcie`: no key has this `id` in the auth settings",
    ];
    let vars = site.vars();
    let output = gateway(&vars.each_ref().map(|(name, value)| (*name, value.as_str())))
        .arg("config")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8(output.stderr).unwrap();
    let wanted = expected
        .map(|words| format!("codex-gateway: {words}\n"))
        .concat();
    assert_eq!(said, wanted);
    let mut running = site.start();
    running.log_until(expected[1]);
    assert_eq!(status(&running, KEY), 200);
    let health = running.get("/healthz", None);
    assert!(
        health.contains(r#""file":"rate_limit.json","what":"no slot reads it"#),
        "{health}"
    );
}

/// The compiled components in the cache.
fn kept(folder: &Path) -> BTreeSet<std::path::PathBuf> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(kept(&path));
        // The statistics of the cache change at any time.
        } else if path.extension().is_none() {
            found.insert(path);
        }
    }
    found
}

#[test]
fn a_second_start_finds_what_the_first_compiled() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new").to_string_lossy().into_owned();
    let vars = [("PROXY_CACHE_DIR", path.as_str())];
    let running = Running::start(&vars);
    assert!(running.get("/v1/models", None).contains("200 OK"));
    drop(running);
    let first = kept(folder.path());
    // Four components before freezing, four frozen ones.
    assert_eq!(first.len(), 8, "{first:?}");
    let running = Running::start(&vars);
    assert!(running.get("/v1/models", None).contains("200 OK"));
    assert_eq!(kept(folder.path()), first);
}

#[test]
fn a_second_start_with_a_made_up_key_compiles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_string_lossy().into_owned();
    let start = || Running::of(gateway(&[("PROXY_CACHE_DIR", &path), ("PORT", "0")]));
    drop(start());
    let first = kept(folder.path());
    assert!(!first.is_empty());
    let running = start();
    assert!(running.get("/v1/models", None).contains("200 OK"));
    assert_eq!(status(&running, "sk-of-somebody"), 401);
    assert_eq!(kept(folder.path()), first);
}

#[test]
fn a_cache_that_others_could_write_is_not_used() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let path = folder.path().to_string_lossy().into_owned();
    let mut running = Running::start(&[("PROXY_CACHE_DIR", &path)]);
    running.log_until("no compile cache");
    assert!(running.get("/v1/models", None).contains("200 OK"));
    assert!(kept(folder.path()).is_empty());
}
