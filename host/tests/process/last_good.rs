//! The last good policies: only those of the right folder serve, and the log and `/healthz` report it while they do.

use std::path::PathBuf;

use super::folders::{KEY, Site, auth, status};
use super::*;

/// The file with the names of the last good policies.
fn pointer(site: &Site) -> PathBuf {
    let entries = std::fs::read_dir(site.state.path().join("policies")).unwrap();
    let mut paths = entries.map(|entry| entry.unwrap().path());
    let named = |path: &PathBuf| path.to_string_lossy().ends_with(".json");
    paths.find(named).unwrap()
}

/// The exit code and log of a start that ends by itself, or of a subcommand such as `config`.
fn said(site: &Site, arguments: &[&str]) -> (Option<i32>, String) {
    let vars = site.vars();
    let mut vars = vars
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()))
        .to_vec();
    vars.extend([("PORT", "0"), ("PROXY_API_KEY", "sk-0123456789abcdef")]);
    let output = gateway(&vars).args(arguments).output().unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[test]
fn two_policy_folders_share_a_state_folder() {
    let one = Site::new();
    let other = Site {
        state: one.state,
        policies: tempfile::tempdir().unwrap(),
    };
    let one = Site {
        state: tempfile::tempdir().unwrap(),
        policies: one.policies,
    };
    // Both sites use the same state folder.
    let vars = |site: &Site| {
        let [policies, _] = site.vars();
        [policies, other.vars()[1].clone()]
    };
    let start = |site: &Site| {
        let vars = vars(site);
        Running::start(&vars.each_ref().map(|(name, value)| (*name, value.as_str())))
    };
    assert_eq!(status(&start(&one), KEY), 200);
    drop(start(&other));
    std::fs::remove_file(one.policies.path().join("auth.json")).unwrap();
    let running = start(&one);
    assert_eq!(
        (status(&running, KEY), status(&running, "sk-test")),
        (200, 401)
    );
}

#[test]
fn a_link_to_the_policy_folder_is_the_same_folder() {
    let site = Site::new();
    drop(site.start());
    std::fs::remove_file(site.policies.path().join("auth.json")).unwrap();
    let links = tempfile::tempdir().unwrap();
    let link = links.path().join("policies");
    std::os::unix::fs::symlink(site.policies.path(), &link).unwrap();
    let [_, (state, folder)] = site.vars();
    let running = Running::start(&[
        ("POLICY_DIR", &link.to_string_lossy()),
        (state, folder.as_str()),
    ]);
    assert_eq!(
        (status(&running, KEY), status(&running, "sk-test")),
        (200, 401)
    );
}

#[test]
fn a_link_that_is_pointed_elsewhere_keeps_its_past() {
    let site = Site::new();
    let (next, links) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(
        next.path().join("auth.json"),
        auth().replace("alice", "bob"),
    )
    .unwrap();
    let (link, new) = (links.path().join("current"), links.path().join("new"));
    std::os::unix::fs::symlink(site.policies.path(), &link).unwrap();
    let [_, (state, folder)] = site.vars();
    let start = |policies: &std::path::Path| {
        Running::start(&[
            ("POLICY_DIR", &policies.to_string_lossy()),
            (state, folder.as_str()),
        ])
    };
    let mut running = start(&link);
    std::os::unix::fs::symlink(next.path(), &new).unwrap();
    std::fs::rename(&new, &link).unwrap();
    running.log_until("generation=2");
    // The policies are stored a moment after they begin to serve.
    while kept(&site) < 2 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    drop(running);
    std::fs::remove_file(next.path().join("auth.json")).unwrap();
    for policies in [&link, next.path()] {
        let mut running = start(policies);
        running.log_until("it served and is gone");
        assert_eq!(
            (status(&running, KEY), status(&running, "sk-test")),
            (200, 401)
        );
    }
}

/// The number of stored policy files.
fn kept(site: &Site) -> usize {
    let blobs = site.state.path().join("policies/blobs");
    std::fs::read_dir(blobs).unwrap().count()
}

#[test]
fn with_a_damaged_memory_the_variables_key_is_not_let_in() {
    let site = Site::new();
    site.write("rate-limit.json", "{}");
    drop(site.start());
    let pointer = pointer(&site);
    let newer = std::fs::read_to_string(&pointer).unwrap();
    let newer = newer.replace("\"version\":1", "\"version\":2");
    for (memory, found) in [
        ("garbage", "expected value"),
        (newer.as_str(), "expected version 1, found 2"),
    ] {
        for name in ["auth.json", "rate-limit.json"] {
            site.write(name, "{}");
        }
        // First the file with the keys is missing, then every file.
        for gone in ["auth.json", "rate-limit.json"] {
            std::fs::remove_file(site.policies.path().join(gone)).unwrap();
            std::fs::write(&pointer, memory).unwrap();
            for arguments in [&["config"][..], &[]] {
                let (code, said) = said(&site, arguments);
                assert_eq!(code, Some(78), "{said}");
                let words = format!(
                    "codex-gateway: PROXY_STATE_DIR: {}: {found}",
                    pointer.display()
                );
                assert!(
                    said.contains(&words) && said.contains("remove this file"),
                    "{said}"
                );
                assert!(!said.contains("kept aside"), "{said}");
            }
        }
    }
    site.write("policies.toml", "[auth]\nbuilt_in = true\n");
    assert_eq!(status(&site.start(), "sk-test"), 200);
}

#[test]
fn with_policies_there_a_damaged_memory_is_told_and_kept_aside() {
    let site = Site::new();
    drop(site.start());
    let pointer = pointer(&site);
    std::fs::write(&pointer, "garbage").unwrap();
    let (code, warned) = said(&site, &["config"]);
    assert_eq!(code, Some(0));
    let words = "whether a file that served is gone from POLICY_DIR is not known\n";
    assert!(
        warned.contains(words) && warned.contains(pointer.to_str().unwrap()),
        "`config` moves nothing: {warned}"
    );
    let mut running = site.start();
    running.log_until("is not known; it is kept aside");
    assert_eq!(status(&running, KEY), 200);
    assert!(running.get("/healthz", None).contains("kept aside"));
    assert_eq!(
        std::fs::read(pointer.with_extension("damaged")).unwrap(),
        b"garbage"
    );
    assert_ne!(std::fs::read(&pointer).unwrap(), b"garbage");
}

#[test]
fn a_damaged_blob_is_written_anew() {
    let site = Site::new();
    drop(site.start());
    let blobs = site.state.path().join("policies/blobs");
    for blob in std::fs::read_dir(&blobs).unwrap() {
        std::fs::write(blob.unwrap().path(), "garbage").unwrap();
    }
    let mut running = site.start();
    running.log_until("what was kept of a policy was damaged");
    drop(running);
    site.write("auth.json", "{");
    let mut running = site.start();
    running.log_until("the last good ones serve");
    assert_eq!(status(&running, KEY), 200);
}

#[test]
fn a_lost_blob_is_named() {
    let site = Site::new();
    drop(site.start());
    let blobs = site.state.path().join("policies/blobs");
    let blob = std::fs::read_dir(&blobs)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    std::fs::remove_file(&blob).unwrap();
    site.write("auth.json", "{");
    let blob = blob.canonicalize().unwrap_or(blob);
    let name = blob.file_name().unwrap().to_string_lossy().into_owned();
    for arguments in [&["config"][..], &[]] {
        let (code, said) = said(&site, arguments);
        assert_eq!(code, Some(78), "{said}");
        let told = said
            .lines()
            .find(|line| line.contains("the last good policies cannot serve either"));
        assert!(told.is_some_and(|line| line.contains(&name)), "{said}");
    }
}

#[test]
fn a_policy_folder_that_is_away_is_no_mistake_while_the_last_good_policies_are_there() {
    let site = Site::new();
    drop(site.start());
    let away = site.policies.path().with_extension("away");
    std::fs::rename(site.policies.path(), &away).unwrap();
    let mut running = site.start();
    running.log_until("the last good policies serve");
    assert_eq!(
        (status(&running, KEY), status(&running, "sk-test")),
        (200, 401)
    );
    std::fs::rename(&away, site.policies.path()).unwrap();
    running.log_until("in order again");
    drop(running);

    let nowhere = site.policies.path().join("nowhere");
    let [_, (state, folder)] = site.vars();
    let vars = [
        ("POLICY_DIR", nowhere.to_str().unwrap()),
        (state, folder.as_str()),
    ];
    let output = gateway(&vars).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
}

#[test]
fn what_cannot_be_remembered_is_told_as_long_as_that_holds() {
    let site = Site::new();
    let place = site.state.path().join("policies");
    std::fs::write(&place, "in the way").unwrap();
    let mut running = site.start();
    running.log_until("a start whose POLICY_DIR is refused would end with exit code 78");
    assert!(
        running
            .get("/healthz", None)
            .contains("cannot be remembered")
    );
    std::fs::remove_file(&place).unwrap();
    running.log_until("what serves is remembered again");
    assert!(
        !running
            .get("/healthz", None)
            .contains("cannot be remembered")
    );
    drop(running);

    // If older policies are stored, the log says that those would serve.
    let aside = site.state.path().join("aside");
    let mut running = site.start();
    std::fs::rename(place.join("blobs"), &aside).unwrap();
    std::fs::write(place.join("blobs"), "in the way").unwrap();
    site.write("auth.json", &auth().replace("alice", "bob"));
    running.log_until("cannot be remembered");
    drop(running);
    std::fs::remove_file(place.join("blobs")).unwrap();
    std::fs::rename(&aside, place.join("blobs")).unwrap();
    site.write("auth.json", "{");
    let mut running = site.start();
    running.log_until("policy refused, the last good ones serve: auth.json");
    assert!(
        running
            .get("/healthz", None)
            .contains("those that served since 20")
    );
}

#[test]
fn warnings_outlive_a_refusal() {
    let site = Site::new();
    site.write(
        "tool-stop.json",
        r#"{"rules": [{"callers": ["alcie"], "mode": "first"}]}"#,
    );
    drop(site.start());
    site.write("auth.json", "{");
    site.write("rate_limit.json", "{}");
    let words = ["rules[0].callers `alcie`", "rename it to rate-limit.json"];
    let running = site.start();
    let health = running.get("/healthz", None);
    let (code, said) = said(&site, &["config"]);
    assert_eq!(code, Some(78));
    assert!(
        health.contains(words[0]) && health.contains(words[1]),
        "{health}"
    );
    assert!(said.contains(words[1]), "{said}");
    assert!(
        said.contains("the last good policies serve instead"),
        "{said}"
    );
}

#[test]
fn a_folder_without_policies_or_without_a_memory_is_worth_a_word() {
    let site = Site::new();
    let [(name, folder), (state, memory)] = site.vars();
    let said = |vars: &[(&str, &str)]| {
        let output = gateway(vars).arg("config").output().unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    let key = ("PROXY_API_KEY", "sk-0123456789abcdef");
    let told = said(&[(name, folder.as_str())]);
    assert!(
        told.starts_with("codex-gateway: PROXY_STATE_DIR: not set: "),
        "{told}"
    );
    assert_eq!(
        said(&[(name, folder.as_str()), (state, memory.as_str())]),
        ""
    );
    std::fs::remove_file(site.policies.path().join("auth.json")).unwrap();
    let told = said(&[(name, folder.as_str()), key]);
    assert!(
        told.starts_with("codex-gateway: POLICY_DIR: there is no policy in it yet: "),
        "{told}"
    );
    // This is the start that README describes: the message is information, not a warning.
    let mut command = gateway(&[(name, folder.as_str()), key, ("PORT", "0")]);
    let (log, _) = told_until("listening address=", &mut command);
    let line = log
        .lines()
        .find(|line| line.contains("no policy in it yet"));
    assert!(line.is_some_and(|line| line.contains(" INFO ")), "{log}");
}
