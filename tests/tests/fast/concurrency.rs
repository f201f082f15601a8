//! The test endpoint: counts of the moment, under the names that scripts read, and which clients may read them.

use codex_gateway_tests::gateway::{Gateway, KEY, Setup};
use serde_json::{Value, json};

use crate::{endless, fake, old_fake};

const PATH: &str = "/__test/conc";

async fn counts(gateway: &Gateway) -> Value {
    let url = format!("{}{PATH}", gateway.origin);
    let answer = gateway.client.get(url).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.json().await.unwrap()
}

async fn counts_a_stream(setup: Setup) {
    let gateway = setup
        .var("PROXY_TEST_ENDPOINTS", "true")
        .var("WORKER_MAX_CONCURRENCY", "3")
        .start()
        .await;
    let rest = counts(&gateway).await;
    assert_eq!(rest["conc"], 0, "{rest}");
    assert_eq!(rest["turns"], json!({"running": 0, "waiting": 0}), "{rest}");
    assert_eq!(rest["permits"]["turns"], json!({"free": 3, "total": 3}));
    let room = &rest["permits"]["body_bytes"];
    assert_eq!(room["free"], room["total"], "{rest}");
    assert!(rest["connections"].as_u64().unwrap() >= 1, "{rest}");

    let [one, two] = [endless(&gateway).await, endless(&gateway).await];
    let busy = counts(&gateway).await;
    assert_eq!(busy["conc"], 2, "{busy}");
    assert_eq!(busy["turns"]["running"], 2, "{busy}");
    assert_eq!(busy["permits"]["turns"], json!({"free": 1, "total": 3}));

    drop([one, two]);
    let all_over = async {
        loop {
            let now = counts(&gateway).await;
            let is_over = now["conc"] == 0 && now["permits"]["turns"]["free"] == 3;
            if is_over && now["turns"] == rest["turns"] {
                return;
            }
        }
    };
    let limit = std::time::Duration::from_secs(30);
    let in_time = tokio::time::timeout(limit, all_over).await;
    in_time.expect("the streams are over");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn open_streams_turns_and_permits_are_counted() {
    counts_a_stream(fake()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_counted_for_an_old_codex_too() {
    counts_a_stream(old_fake()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_has_no_permits_for_turns() {
    let gateway = Setup::demo()
        .var("PROXY_TEST_ENDPOINTS", "true")
        .start()
        .await;
    assert_eq!(counts(&gateway).await["permits"].get("turns"), None);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_test_endpoint_is_not_there_by_default() {
    let gateway = Setup::demo()
        .var("PROXY_METRICS_TOKEN", "look-at-me")
        .start()
        .await;
    for token in [KEY, "look-at-me"] {
        let request = gateway.get(PATH).bearer_auth(token);
        assert_eq!(request.send().await.unwrap().status(), 404, "{token}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_test_endpoint_is_for_this_machine_or_the_token_of_the_metrics() {
    for (loopback, metrics) in [("true", "false"), ("false", "false"), ("false", "true")] {
        let gateway = Setup::demo()
            .var("PROXY_TEST_ENDPOINTS", "true")
            .var("PROXY_METRICS_TOKEN", "look-at-me")
            .var("PROXY_METRICS_ALLOW_LOOPBACK", loopback)
            .var("PROXY_ENABLE_METRICS", metrics)
            // Metrics that everybody may read do not open the test endpoint.
            .var("PROXY_METRICS_ALLOW_UNAUTH", "true")
            .start()
            .await;
        let ask = |token: &str, header: Option<&str>| {
            let url = format!("{}{PATH}", gateway.origin);
            let request = gateway.client.get(url).bearer_auth(token);
            match header {
                Some(header) => request.header(header, "127.0.0.1").send(),
                None => request.send(),
            }
        };
        let here = if loopback == "true" { 200 } else { 403 };
        assert_eq!(ask("", None).await.unwrap().status(), here);
        assert_eq!(ask(KEY, None).await.unwrap().status(), here);
        for header in ["x-forwarded-for", "x-real-ip", "forwarded", "via"] {
            let refused = ask(KEY, Some(header)).await.unwrap();
            assert_eq!(refused.status(), 403, "{header}");
            let body: Value = refused.json().await.unwrap();
            assert_eq!(body["error"]["code"], "test_endpoint_denied");
            let answered = ask("look-at-me", Some(header)).await.unwrap();
            assert_eq!(answered.status(), 200, "{header}");
        }
        gateway.stop().await;
    }
}
