//! What `/healthz` tells, and whom.

use codex_gateway_tests::gateway::{Gateway, Setup};
use serde_json::Value;

async fn health(gateway: &Gateway, for_another: bool) -> Value {
    let request = gateway.client.get(format!("{}/healthz", gateway.origin));
    let request = match for_another {
        true => request.header("x-forwarded-for", "203.0.113.9"),
        false => request,
    };
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn why_something_is_refused_is_told_to_this_machine_only() {
    let gateway = Setup::demo().start().await;
    codex_gateway_tests::guests::deploy(gateway.policies(), "auth.json", br#"{"keyz": []}"#);
    gateway
        .until(|gateway| !gateway.live.refusals().is_empty(), "refusal")
        .await;
    for for_another in [false, true] {
        let body = health(&gateway, for_another).await;
        assert_eq!(body["ok"], false);
        let refused = &body["refused"][0];
        assert_eq!(
            (&refused["file"], &refused["slot"]),
            (&"auth.json".into(), &"auth".into())
        );
        let problem = refused["problem"].as_str().unwrap();
        assert_eq!(problem.contains("keyz"), !for_another, "{problem}");
    }
    gateway.stop().await;
}
