//! `codex-gateway policy deploy` and `bench`: a policy comes to serve, and is compared with the built-in one.

use codex_gateway_tests::gateway::Setup;
use serde_json::json;

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
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let base = [
        "deploy",
        "model.json",
        "--to",
        to.to_str().unwrap(),
        "--gateway",
        &nobody,
    ];
    let said = tokio::task::block_in_place(|| desk.policy(&base));
    assert_eq!(said.code, Some(1), "{}", said.all());
    assert!(
        said.err
            .contains("it is written, and does not serve: no gateway answers at"),
        "{}",
        said.err
    );
    assert!(to.join("model.json").is_file());
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
