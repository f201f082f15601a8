//! `codex-gateway admin` as an operator tries, serves and takes back policies with it; each act is a line of the log.

use super::folders::{Site, fingerprint, status};
use super::operators::{admin, on_socket};
use super::*;

const BOB: &str = "sk-of-bob";

/// An `auth.json` with the key of bob only.
fn bobs() -> String {
    json!({"keys": [{"id": "bob", "sha256": fingerprint(BOB)}]}).to_string()
}

#[test]
#[expect(clippy::too_many_lines, reason = "one story, step by step")]
fn an_edited_policy_is_tried_promoted_explained_and_taken_back_by_commands() {
    let folder = tempfile::tempdir().unwrap();
    let edited = folder.path().join("auth.json");
    std::fs::write(&edited, bobs()).unwrap();
    let file = format!("auth={}", edited.display());
    let site = Site::new();
    let vars = site.vars();
    let mut vars: Vec<_> = vars
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    vars.push(("PROXY_LOG_FORMAT", "text"));
    let (mut running, address) = on_socket(folder.path(), &vars);
    let vars = [("ADMIN_ADDR", address.as_str())];
    let done = |arguments: &[&str]| {
        let told = admin(arguments, &vars);
        assert_eq!(
            (told.code, told.err.as_str()),
            (Some(0), ""),
            "{arguments:?}"
        );
        told.out
    };
    assert_eq!(status(&running, folders::KEY), 200);
    assert!(done(&["candidates"]).starts_with("no candidates"));
    let mut watching = gateway(&vars).args(["admin", "watch"]).spawn().unwrap();
    let mut events = BufReader::new(watching.stdout.take().unwrap());
    let mut begun = String::new();
    let mut told = BufReader::new(watching.stderr.take().unwrap());
    told.read_line(&mut begun).unwrap();
    assert!(begun.starts_with("events from now on"), "{begun}");

    let told = done(&["upload", &file]);
    let lines: Vec<_> = told.lines().collect();
    let digest = lines[0].split(' ').next().unwrap().to_owned();
    assert!(
        lines[0].contains("  ready  auth  by unix socket "),
        "{told}"
    );
    assert!(
        lines[1].contains(" past decisions differ, 0 faults"),
        "{told}"
    );
    assert!(lines[3].contains("caller alice"), "{told}");
    let told = done(&[
        "shadow",
        &digest,
        "--for",
        "1h",
        "--min-decisions",
        "7",
        "--max-differ",
        "3",
    ]);
    assert!(told.contains("  shadow  auth  by unix socket "), "{told}");
    let told = done(&["status"]);
    assert!(
        told.contains("SHADOW    ") && told.contains("of 7 decisions seen, "),
        "{told}"
    );
    assert!(told.contains("… 1 key  "), "{told}");
    let json: Value = serde_json::from_str(&done(&["candidates", &digest, "--json"])).unwrap();
    assert_eq!(
        (&json["gate"]["max_differ"], &json["stage"]),
        (&json!(3), &json!("shadow"))
    );

    let told = done(&["promote", &digest]);
    assert!(
        told.starts_with(&format!("generation 2  {digest}  ")),
        "{told}"
    );
    assert!(
        told.contains("pinned by unix socket") && told.contains("not looked at"),
        "{told}"
    );
    assert!(
        told.contains("   probation ") && told.contains(" left: 0 faults   "),
        "{told}"
    );
    let answer = running.get("/v1/models/demo", Some(folders::KEY));
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    let (_, id) = answer.split_once("x-request-id: ").unwrap();
    let told = done(&["explain", id.split("\r\n").next().unwrap()]);
    assert!(told.contains("denied 401 invalid_api_key"), "{told}");
    assert!(told.contains(&format!("\n{digest}  auth  ")), "{told}");
    assert!(
        told.contains("auth authenticate saw credential: {"),
        "{told}"
    );
    assert!(
        told.contains("auth authenticate answered denied: code: invalid_api_key, "),
        "{told}"
    );
    assert!(!told.contains("\"Err\""), "{told}");
    assert!(done(&["rollback"]).starts_with("generation 3  "));
    assert_eq!(status(&running, folders::KEY), 200);
    assert!(done(&["follow"]).contains("the policy folder decides"));
    let told = done(&["upload", &file, "--shadow", "1h"]);
    assert!(told.contains("  shadow  auth  "), "{told}");
    assert!(done(&["drop", &digest]).ends_with(" is dropped\n"));

    for what in [
        "ready",
        "shadow",
        "promoted",
        "rolled-back",
        "followed",
        "ready",
        "shadow",
        "dropped",
    ] {
        let mut line = String::new();
        events.read_line(&mut line).unwrap();
        assert!(line.contains(&format!("Z  {what} ")), "{what}: {line}");
        assert!(line.ends_with("  by unix socket\n"), "{line}");
    }
    watching.kill().unwrap();
    watching.wait().unwrap();
    for act in [
        "method=\"POST\" path=\"/admin/v1/candidates\" status=201",
        "/shadow\" status=200",
        "/promote\" status=200",
        "path=\"/admin/v1/rollback\" status=200",
        "path=\"/admin/v1/follow\" status=200",
        "path=\"/admin/v1/candidates\" status=201",
        "/shadow\" status=200",
        "method=\"DELETE\"",
    ] {
        let line = running.line_with(" audit: ");
        assert!(
            line.contains(act) && line.contains("operator=\"unix socket\""),
            "{act}: {line}"
        );
    }
    let rules = folder.path().join("rollout.toml");
    std::fs::write(&rules, "[shadow]\nfor = \"1h\"\nmax_differ = 0\n").unwrap();
    let told = done(&["upload", &file, rules.to_str().unwrap()]);
    assert!(told.contains("\nby itself: in shadow for 1h\n"), "{told}");
    assert_eq!(status(&running, folders::KEY), 200);
    let line = running.line_with("policies failed ");
    assert!(line.contains("1 decisions differ (at most 0)"), "{line}");
}

#[test]
fn mistakes_of_an_upload_are_told_at_once_and_on_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let (running, address) = on_socket(folder.path(), &[]);
    let vars = [("ADMIN_ADDR", address.as_str())];
    let broken = folder.path().join("model.wasm");
    std::fs::write(&broken, "no component").unwrap();
    let broken = broken.to_str().unwrap();
    let settings = folder.path().join("x.json");
    std::fs::write(&settings, r#"{"kyes": []}"#).unwrap();
    let settings = format!("auth={}", settings.display());
    let rules = folder.path().join("rollout.toml");
    std::fs::write(&rules, "probation = 7\nshadow.fro = \"1m\"\n").unwrap();
    let rules = rules.to_str().unwrap();
    for (arguments, words) in [
        (
            vec!["upload", broken, settings.as_str()],
            ["auth.json: ", "model.wasm: "],
        ),
        (
            vec!["upload", "auth=/none.json", "auht=y.json"],
            ["/none.json: No such file", "expected SLOT=FILE"],
        ),
        (
            vec!["upload", settings.as_str(), rules],
            [
                "line 1, probation: expected ",
                "line 2, [shadow] fro: expected ",
            ],
        ),
        (
            vec!["upload", settings.as_str(), rules, "--shadow", "1h"],
            ["--shadow and rollout.toml", "give one of them"],
        ),
        (
            vec!["upload", settings.as_str(), "--promote"],
            ["conditions of a shadow", "--shadow 10m"],
        ),
        (
            vec!["promote", "77aa"],
            ["No candidate has a digest", "77aa"],
        ),
        (vec!["canary", "77aa"], ["whose requests?", "--tenant NAME"]),
        (vec!["rollback"], ["No other policies served", "upload"]),
        (
            vec!["explain", "none"],
            ["No decision on a request 'none'", "x-request-id"],
        ),
    ] {
        let told = admin(&arguments, &vars);
        assert_eq!(
            (told.code, told.out.as_str()),
            (Some(1), ""),
            "{arguments:?}"
        );
        for words in words {
            assert!(told.err.contains(words), "{words}: {}", told.err);
        }
        assert_eq!(told.err.lines().count(), 1, "{}", told.err);
    }
    drop(running);
}
