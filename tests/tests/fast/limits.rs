//! Rate limits as clients see them: charges and buckets, headers, settlement, and state kept between runs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use codex_gateway_tests::gateway::{Gateway, KEY, QUICK, Setup, say, stream};
use codex_gateway_tests::guests::deploy;
use codex_gateway_tests::sse::Events;
use reqwest::Response;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

/// A window so long that no bucket refills during a test.
const LONG_MS: u64 = 31 * 24 * 3_600_000;

fn rules(rules: &Value) -> Vec<u8> {
    json!({ "rules": rules }).to_string().into_bytes()
}

async fn limited(by: &Value) -> Gateway {
    let setup = Setup::demo().policy("rate-limit.json", &rules(by));
    setup.start().await
}

/// Auth settings in which each caller's key is its name.
fn keys(callers: &[Value]) -> Vec<u8> {
    let fingerprint =
        |id: &Value| codex_gateway::secret::fingerprint(id.as_str().unwrap().as_bytes());
    let keys: Vec<_> = callers
        .iter()
        .map(|caller| {
            let mut key = caller.clone();
            key["sha256"] = fingerprint(&caller["id"]).into();
            key
        })
        .collect();
    json!({ "keys": keys }).to_string().into_bytes()
}

/// Sends a chat request with this key.
async fn chat(gateway: &Gateway, key: &str, body: &Value) -> Response {
    let request = gateway
        .client
        .post(format!("{}/v1/chat/completions", gateway.origin));
    request.bearer_auth(key).json(body).send().await.unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    let value = response.headers().get(name);
    value.map_or("", |value| value.to_str().unwrap())
}

async fn code(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    (status, body["error"]["code"].as_str().unwrap().to_owned())
}

/// The tokens left. Its own request is charged a small amount, which is not known exactly.
async fn tokens_left(gateway: &Gateway) -> u64 {
    let response = gateway
        .chat(&say(r#"{"demo":{"deltas":0}}"#))
        .send()
        .await
        .unwrap();
    let left = header(&response, "x-ratelimit-remaining-tokens").parse();
    drop(response.bytes().await.unwrap());
    left.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_rules_the_tightest_is_told_and_the_one_that_refuses() {
    for (early, late, told) in [(300, 2, ["2", "1"]), (4, 300, ["4", "3"])] {
        let gateway = limited(&json!([
            {"name": "knocking", "unit": "requests", "limit": early, "per": "address"},
            {"name": "requests", "unit": "requests", "limit": late},
        ]))
        .await;
        let [limit, left] = told;
        let response = gateway.chat(&say(QUICK)).send().await.unwrap();
        assert_eq!(header(&response, "x-ratelimit-limit-requests"), limit);
        assert_eq!(header(&response, "x-ratelimit-remaining-requests"), left);
        for _ in 0..early.min(late) {
            drop(gateway.chat(&say(QUICK)).send().await.unwrap());
        }
        let refused = gateway.chat(&say(QUICK)).send().await.unwrap();
        assert_eq!(refused.status(), 429);
        assert_eq!(header(&refused, "x-ratelimit-limit-requests"), limit);
        assert_eq!(header(&refused, "x-ratelimit-remaining-requests"), "0");
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_tells_what_is_left_streamed_or_not_granted_or_not() {
    let gateway = limited(&json!([
        {"name": "r", "unit": "requests", "limit": 3, "window_ms": 3_600_000},
        {"name": "t", "unit": "tokens", "limit": 1000},
    ]))
    .await;
    for (body, left) in [(say(QUICK), "2"), (stream(QUICK), "1"), (say(QUICK), "0")] {
        let response = gateway.chat(&body).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(header(&response, "x-ratelimit-limit-requests"), "3");
        assert_eq!(header(&response, "x-ratelimit-remaining-requests"), left);
        assert_eq!(header(&response, "x-ratelimit-limit-tokens"), "1000");
        let tokens: u64 = header(&response, "x-ratelimit-remaining-tokens")
            .parse()
            .unwrap();
        assert!((900..1000).contains(&tokens), "{tokens}");
        assert_eq!(header(&response, "retry-after"), "");
        for unit in ["requests", "tokens"] {
            let reset = header(&response, &format!("x-ratelimit-reset-{unit}"));
            assert!(reset.ends_with('s'), "{reset}");
        }
        drop(response.bytes().await.unwrap());
    }
    for body in [say(QUICK), stream(QUICK)] {
        let response = gateway.chat(&body).send().await.unwrap();
        assert_eq!(header(&response, "x-ratelimit-remaining-requests"), "0");
        assert!(header(&response, "x-ratelimit-reset-requests").starts_with("19m5"));
        let seconds: u64 = header(&response, "retry-after").parse().unwrap();
        let millis: u64 = header(&response, "retry-after-ms").parse().unwrap();
        assert!((1100..=1200).contains(&seconds) && millis.div_ceil(1000) == seconds);
        assert_eq!(code(response).await, (429, "rate_limited".to_owned()));
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_tenants_groups_and_models_have_limits_of_their_own() {
    let long = |mut rule: Value| {
        rule["unit"] = "requests".into();
        rule["window_ms"] = LONG_MS.into();
        rule
    };
    let by = json!([
        long(json!({"name": "each", "limit": 1, "except": {"groups": ["staff"]}})),
        long(json!({"name": "staff", "limit": 3, "only": {"groups": ["staff"]}})),
        long(json!({"name": "acme", "limit": 4, "per": "tenant", "only": {"tenants": ["acme"]}})),
        long(
            json!({"name": "dear", "limit": 1, "per": ["caller", "model"], "only": {"models": ["codex-5-h*"]}})
        ),
    ]);
    let callers = [
        json!({"id": "ann", "tenant": "acme", "groups": ["staff"]}),
        json!({"id": "bob", "tenant": "acme", "groups": ["staff"]}),
        json!({"id": "cid"}),
        json!({"id": "dee"}),
    ];
    let setup = Setup::demo().policy("auth.json", &keys(&callers));
    let gateway = setup.policy("rate-limit.json", &rules(&by)).start().await;
    let mut dear = say(QUICK);
    dear["model"] = "codex-5-high".into();
    let plain = say(QUICK);
    for (key, body, status) in [
        ("cid", &plain, 200),
        ("cid", &plain, 429),
        ("dee", &plain, 200),
        ("ann", &dear, 200),
        ("ann", &dear, 429),
        ("ann", &plain, 200),
        ("ann", &plain, 200),
        ("ann", &plain, 429),
        // The fourth request of this tenant.
        ("bob", &plain, 200),
        ("bob", &plain, 429),
    ] {
        let response = chat(&gateway, key, body).await;
        assert_eq!(response.status(), status, "{key} {}", body["model"]);
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_generate_can_be_limited_too() {
    let gateway = limited(&json!([
        {"name": "r", "unit": "requests", "limit": 2, "window_ms": LONG_MS, "endpoints": ["/v1/models", "/v1/models/*"]},
    ]))
    .await;
    for (path, status) in [
        ("/v1/models", 200),
        ("/v1/models/codev-5", 200),
        ("/v1/models", 429),
    ] {
        assert_eq!(
            gateway.get(path).send().await.unwrap().status(),
            status,
            "{path}"
        );
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_counted_as_used_once_however_the_answer_ended() {
    let gateway = limited(&json!([
        {"name": "t", "unit": "tokens", "limit": 100_000, "window_ms": LONG_MS},
    ]))
    .await;
    let probe = 100_000 - tokens_left(&gateway).await;
    let mut before = tokens_left(&gateway).await;
    // A request with a large estimate and a small usage.
    let mut modest = say(QUICK);
    modest["max_tokens"] = 50_000.into();
    let answer: Value = gateway.answer(&modest).await;
    let used = answer["usage"]["total_tokens"].as_u64().unwrap();
    let after = tokens_left(&gateway).await;
    let spent = before - after;
    assert!(
        (used..used + 4 * probe).contains(&spent),
        "{spent} for {used}"
    );
    // A client that disconnects during its answer, and a model that does not exist.
    before = after;
    let mut endless = stream(r#"{"demo":{"deltas":1000000,"text":"x","delay_ms":10}}"#);
    endless["max_tokens"] = 60_000.into();
    let mut events = Events::of(gateway.chat(&endless).send().await.unwrap());
    assert!(events.next().await.is_some());
    assert!(
        tokens_left(&gateway).await < before - 60_000,
        "held meanwhile"
    );
    drop(events);
    let released = async {
        while tokens_left(&gateway).await < before - 30_000 {
            before -= probe;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), released)
        .await
        .expect("what was held comes back");
    let mut nowhere = say(QUICK);
    nowhere["model"] = "gpt-nope".into();
    assert_eq!(gateway.chat(&nowhere).send().await.unwrap().status(), 404);
    let spent = before - tokens_left(&gateway).await;
    assert!(spent < 1_000, "not the estimate: {spent}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_paid_is_refused_and_what_never_can_is_told_so() {
    let gateway = limited(&json!([
        {"name": "t", "unit": "tokens", "limit": 500, "window_ms": LONG_MS},
    ]))
    .await;
    let mut large = say(QUICK);
    large["max_tokens"] = 501.into();
    let refused = gateway.chat(&large).send().await.unwrap();
    assert_eq!(header(&refused, "retry-after"), "");
    assert_eq!(code(refused).await, (400, "tokens_exceed_limit".to_owned()));
    // An answer that uses more than the estimate leaves a debt.
    let much = say(r#"{"demo":{"deltas":600,"text":"x"}}"#);
    assert_eq!(gateway.chat(&much).send().await.unwrap().status(), 200);
    let refused = gateway.chat(&say(QUICK)).send().await.unwrap();
    assert_eq!(header(&refused, "x-ratelimit-remaining-tokens"), "0");
    assert_eq!(code(refused).await, (429, "tokens_rate_limited".to_owned()));
    gateway.stop().await;
}

/// A rule that allows three requests during a test.
fn three() -> Value {
    json!([{"name": "r", "unit": "requests", "limit": 3, "window_ms": LONG_MS}])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swapped_policy_goes_on_counting() {
    let gateway = limited(&three()).await;
    for _ in 0..2 {
        assert_eq!(
            gateway.chat(&say(QUICK)).send().await.unwrap().status(),
            200
        );
    }
    let mut by = three();
    by[0]["limit"] = 4.into();
    deploy(gateway.policies(), "rate-limit.json", &rules(&by));
    gateway.generation(2).await;
    for status in [200, 200, 429] {
        assert_eq!(
            gateway.chat(&say(QUICK)).send().await.unwrap().status(),
            status
        );
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_counting_where_there_is_a_folder_for_it() {
    let state = tempfile::tempdir().unwrap();
    let folder = state.path().to_str().unwrap();
    let start = || {
        let setup = Setup::demo().var("PROXY_STATE_DIR", folder);
        setup.policy("rate-limit.json", &rules(&three())).start()
    };
    let gateway = start().await;
    for _ in 0..2 {
        assert_eq!(
            gateway.chat(&say(QUICK)).send().await.unwrap().status(),
            200
        );
    }
    gateway.stop().await;
    let gateway = start().await;
    for status in [200, 429] {
        assert_eq!(
            gateway.chat(&say(QUICK)).send().await.unwrap().status(),
            status
        );
    }
    gateway.stop().await;
    std::fs::write(state.path().join("counters.json"), "{").unwrap();
    let gateway = start().await;
    let response = gateway.chat(&say(QUICK)).bearer_auth(KEY);
    assert_eq!(response.send().await.unwrap().status(), 401, "still closed");
    assert_eq!(
        gateway.chat(&say(QUICK)).send().await.unwrap().status(),
        200
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stops_reading_holds_its_place_no_longer_than_an_answer_may_take() {
    let setup = Setup::demo()
        .policy(
            "rate-limit.json",
            &rules(&json!([{"name": "one", "unit": "concurrent", "limit": 1}])),
        )
        .var("PROXY_TIMEOUT_MS", "1500");
    let gateway = setup.start().await;
    let flood = json!({"demo": {"deltas": 1_000_000, "text": "x".repeat(10_000)}}).to_string();
    let body = stream(&flood).to_string();
    let address = gateway.origin.trim_start_matches("http://").to_owned();
    let mut stuck = tokio::net::TcpStream::connect(&address).await.unwrap();
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {KEY}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stuck.write_all(request.as_bytes()).await.unwrap();
    // The answer has begun, and is not read further.
    stuck.readable().await.unwrap();
    let crowded = gateway.chat(&say(QUICK)).send().await.unwrap();
    assert_eq!(
        code(crowded).await,
        (429, "concurrency_exceeded".to_owned())
    );
    let admitted = async {
        while gateway.chat(&say(QUICK)).send().await.unwrap().status() != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let admitted = tokio::time::timeout(Duration::from_secs(20), admitted).await;
    admitted.expect("the place is free again");
    gateway.idle().await;
    drop(stuck);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_is_refused_for_long_says_until_when_as_codex_expects() {
    let rule =
        |window: u64| json!([{"name": "few", "unit": "requests", "limit": 1, "window_ms": window}]);
    for (window, path, kind) in [
        (LONG_MS, "/v1/responses", "usage_limit_reached"),
        (LONG_MS, "/v1/chat/completions", "rate_limit_error"),
        (60_000, "/v1/responses", "rate_limit_error"),
    ] {
        let gateway = limited(&rule(window)).await;
        let mut body = say(QUICK);
        body["input"] = json!(QUICK);
        let request = || {
            let url = format!("{}{path}", gateway.origin);
            gateway.client.post(url).bearer_auth(KEY).json(&body).send()
        };
        assert_eq!(request().await.unwrap().status(), 200, "{path}");
        let response = request().await.unwrap();
        let wait: u64 = header(&response, "retry-after").parse().unwrap();
        let error: Value = response.json().await.unwrap();
        assert_eq!(error["error"]["type"], kind, "{path} {window}: {error}");
        let resets = error["error"]["resets_at"].as_u64();
        assert_eq!(resets.is_some(), kind == "usage_limit_reached", "{error}");
        if let Some(at) = resets {
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap()
                .as_secs();
            assert!((now..=now + wait + 1).contains(&at), "{at} {now} {wait}");
        }
        gateway.stop().await;
    }
}
