//! `codex-gateway policy deploy` and `bench`: a policy comes to serve, and is compared with the built-in one.

use std::io::{Read, Write};
use std::net::TcpListener;

use codex_gateway_tests::gateway::Setup;
use serde_json::{Value, json};

use super::Desk;

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_deployed_when_it_serves() {
    let desk = Desk::new();
    let gateway = Setup::demo().start().await;
    let address = gateway.origin.trim_start_matches("http://").to_owned();
    let to = gateway.policies().to_owned();
    let deploy = |file: &str, more: &[&str]| {
        let base = [
            "deploy",
            file,
            "--to",
            to.to_str().unwrap(),
            "--gateway",
            &address,
        ];
        let arguments = [&base[..], more].concat();
        tokio::task::block_in_place(|| desk.policy(&arguments))
    };
    let said = deploy("every.wasm", &["--slot", "tool-stop", "--json"]);
    assert_eq!(said.code, Some(0), "{}", said.all());
    let told = said.json();
    assert_eq!(told["generation"], 2, "{told}");
    assert!(to.join("tool-stop.wasm").is_file());

    // A file that a start would refuse is not written.
    desk.write("model.json", &json!({"alias": {}}));
    let said = deploy("model.json", &[]);
    assert_eq!(said.code, Some(78), "{}", said.all());
    assert!(
        said.err.contains("model.json (model policy): ") && !to.join("model.json").exists(),
        "{}",
        said.err
    );

    // Without a gateway the reason is told, and the file is there.
    desk.write("model.json", &json!({"owned_by": "acme"}));
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let line = format!(
        "deploy model.json --wait 1 --gateway {nobody} --to {}",
        to.display()
    );
    let said = tokio::task::block_in_place(|| desk.line(&line));
    assert_eq!(said.code, Some(1), "{}", said.all());
    let words = "it is written, and does not serve: no gateway answers at ";
    assert!(said.err.contains(words), "{}", said.err);
    assert!(to.join("model.json").is_file());
}

/// Its auth slot has a key that no other process knows.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_deployed_to_a_gateway_that_made_its_key() {
    let desk = Desk::new();
    let gateway = Setup::demo().without("PROXY_API_KEY").start().await;
    let address = gateway.origin.trim_start_matches("http://").to_owned();
    desk.write("model.json", &json!({"owned_by": "acme"}));
    let line = format!(
        "deploy model.json --json --gateway {address} --to {}",
        gateway.policies().display()
    );
    let said = tokio::task::block_in_place(|| desk.line(&line));
    assert_eq!(said.code, Some(0), "{}", said.all());
    let digest = &said.json()["digest"];
    let health = gateway.health().await;
    assert_eq!(&health["policies"][1]["digest"], digest, "{health}");
}

/// Answers as a gateway: once each with these, then with the last. `None` closes the connection.
fn gateway(answers: Vec<Option<Value>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut answers = answers.iter().peekable();
        while let Ok((mut wire, _)) = listener.accept() {
            let now = *answers.peek().unwrap();
            if answers.len() > 1 {
                answers.next();
            }
            let Some(body) = now.as_ref().map(Value::to_string) else {
                continue;
            };
            let mut asked = [0; 1 << 10];
            let _ = wire.read(&mut asked);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}", body.len());
            let _ = write!(wire, "{head}\r\nconnection: close\r\n\r\n{body}");
        }
    });
    address
}

#[test]
fn a_deployment_outlasts_old_refusals_and_failed_looks() {
    let desk = Desk::new();
    std::fs::create_dir(desk.path("policies")).unwrap();
    desk.write("auth.json", &json!({"keys": []}));
    let written = desk.line("deploy auth.json --to policies --wait 0 --json");
    let digest = written.json()["digest"].clone();
    let health = |refused: &[&str], digest: &Value| {
        let refused = refused.iter();
        let refused: Vec<_> = refused
            .map(|problem| json!({"file": "auth.json", "slot": "auth", "problem": problem}))
            .collect();
        let policies =
            json!([{"slot": "auth", "digest": digest}, {"slot": "model", "digest": "m"}]);
        Some(json!({"draining": false, "generation": 7, "refused": refused, "policies": policies}))
    };
    let old = || health(&["old"], &json!("o"));
    let deploy = |answers, wait| {
        let address = gateway(answers);
        desk.line(&format!(
            "deploy auth.json --to policies --json --wait {wait} --gateway {address}"
        ))
    };
    // More looks than those after which a new refusal counts.
    let mut slow: Vec<_> = (0..15).map(|_| old()).collect();
    slow.extend([None, None, health(&[], &digest)]);
    let said = deploy(slow, 60);
    assert_eq!(said.code, Some(0), "{}", said.all());
    assert_eq!(said.json()["generation"], 7, "{}", said.all());

    let said = deploy(vec![old(), health(&["new"], &json!("o"))], 60);
    assert_eq!(said.code, Some(1), "{}", said.all());
    assert_eq!(said.json()["why_not"], "auth.json: new");

    // The old one stands at the end of the wait.
    let said = deploy(vec![old()], 1);
    assert_eq!(said.code, Some(1), "{}", said.all());
    assert_eq!(said.json()["why_not"], "auth.json: old");
}

#[test]
fn only_files_are_deployed_and_only_with_the_options_of_their_folder() {
    let desk = Desk::new();
    std::fs::create_dir(desk.path("policies")).unwrap();
    desk.write("auth.json", &json!({"keys": []}));
    for (line, code, words) in [
        (
            "deploy auth --to policies --wait 0",
            78,
            "auth: expected a file",
        ),
        (
            "deploy auth.json --settings auth.json --to policies --wait 0",
            78,
            "--settings: auth.json is of settings itself",
        ),
        (
            "deploy auth.json --warm --to policies",
            2,
            "unexpected argument '--warm'",
        ),
        (
            "deploy auth.json --grant credential --to policies",
            2,
            "unexpected argument '--grant'",
        ),
    ] {
        let said = desk.line(line);
        assert_eq!(said.code, Some(code), "{}", said.all());
        assert!(said.err.contains(words), "{}", said.err);
    }
    let left = std::fs::read_dir(desk.path("policies")).unwrap().count();
    assert_eq!(left, 0);
}

#[test]
fn a_policy_is_measured_beside_the_built_in_one() {
    let desk = Desk::new();
    let said = desk.policy(&[
        "bench",
        "every.wasm",
        "--slot",
        "auth",
        "--seconds",
        "1",
        "--json",
        "--request",
        "GET /v1/models",
        "--key",
        "sk-x",
    ]);
    assert_eq!(said.code, Some(0), "{}", said.all());
    let measured = said.json();
    let [own, built_in] = measured["measured"].as_array().unwrap().as_slice() else {
        panic!("{measured}")
    };
    assert_eq!(
        (&own["file"], &built_in["file"]),
        (&json!("every.wasm"), &json!("built-in"))
    );
    for one in [own, built_in] {
        assert!(
            one["p50_ns"].as_u64() > Some(0) && one["p99_ns"].as_u64() >= one["p50_ns"].as_u64(),
            "{one}"
        );
        assert!(
            one["freeze_ms"].as_u64() > Some(0) && one["image_bytes"].as_u64() > Some(0),
            "{one}"
        );
    }
}

#[test]
fn a_case_says_what_is_measured() {
    let desk = Desk::new();
    let case = json!({
        "settings": {"default": "codex-5"},
        "calls": [{"input": {"ask": {"requested": null}}, "expect": {}}],
    });
    desk.write("right.case.json", &case);
    desk.write("wrong.case.json", &json!({"refusal": "no"}));
    let said = desk.line("bench model --case right.case.json --seconds 1 --json");
    assert_eq!(said.code, Some(0), "{}", said.all());
    let measured = said.json();
    let [only] = measured["measured"].as_array().unwrap().as_slice() else {
        panic!("{measured}")
    };
    assert_eq!(
        (&only["file"], &only["faults"]),
        (&json!("built-in"), &json!(0))
    );
    let said = desk.line("bench model --case wrong.case.json");
    assert_eq!(said.code, Some(78), "{}", said.all());
    assert!(
        said.err.contains("wrong.case.json: expected `calls`"),
        "{}",
        said.err
    );
}
