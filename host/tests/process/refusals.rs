//! A running gateway reports refused files in as much detail as a start.

use super::folders::{KEY, Site, auth, status};
use super::*;

#[test]
fn a_running_gateway_tells_of_every_refused_file_and_of_it_once() {
    let site = Site::new();
    drop(site.start());
    site.write("auth.json", "{");
    site.write(
        "rate-limit.json",
        r#"{"rules": [{"name": "x", "unit": "requests", "limit": 0}]}"#,
    );
    let mut running = site.start();
    let refused = |running: &Running| {
        let answer = running.get("/healthz", None);
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let health: Value = serde_json::from_str(body).unwrap();
        let refused = health["refused"].as_array().unwrap().clone();
        let files = refused
            .iter()
            .map(|refusal| refusal["file"].as_str().unwrap().to_owned());
        files.collect::<Vec<_>>()
    };
    let both = ["auth.json", "rate-limit.json"];
    assert_eq!(refused(&running), both);
    for file in both {
        running.log_until(&format!(
            "policy refused, the last good ones serve: {file} "
        ));
    }
    site.write("rate_limit.json", "{}");
    let mut said = String::new();
    while !said.contains("rate_limit.json: no slot reads it; rename it to rate-limit.json") {
        assert!(running.log.read_line(&mut said).unwrap() > 0, "{said}");
    }
    assert!(
        !said.contains("policy refused"),
        "it was told before: {said}"
    );
    assert_eq!(refused(&running), both);
    let health = running.get("/healthz", None);
    for words in ["rate_limit.json", "the last good policies serve instead"] {
        assert!(health.contains(words), "`{words}` is missing in {health}");
    }
    // A repaired file beside a refused one waits to be loaded, and is no longer reported.
    site.write("rate-limit.json", "{}");
    running.log_until("policy refused, the old ones go on: auth.json");
    assert_eq!(refused(&running), ["auth.json"]);
    std::fs::remove_file(site.policies.path().join("rate_limit.json")).unwrap();
    site.write("auth.json", &auth().replace("alice", "bob"));
    running.log_until("generation=2");
    assert_eq!(status(&running, KEY), 200);
    assert!(!running.get("/healthz", None).contains("no slot reads it"));
}
