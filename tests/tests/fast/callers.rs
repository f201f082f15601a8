//! The callers that operators see: their keys, models and buckets as they are now, what they used, and their last refusal.

use codex_gateway::secret::fingerprint;
use codex_gateway_tests::gateway::{Gateway, QUICK, Setup, say};
use codex_gateway_tests::guests::EVERY;
use reqwest::Method;
use serde_json::{Value, json};

use crate::admin::{TOKEN, operated};
use codex_gateway_tests::operator::answer;

/// A name with characters that have a meaning in URLs, as the auth policy of tests takes it from a header.
const ODD: &str = "sets a/b c%2F?#&=..";

/// A window so long that no bucket refills during a test.
const LONG_MS: u64 = 31 * 24 * 3_600_000;

fn rules(limit: u64) -> String {
    let one = json!({"name": "few", "unit": "requests", "limit": limit, "window_ms": LONG_MS, "per": "caller"});
    let places =
        json!({"name": "places", "unit": "concurrent", "limit": 3, "per": ["caller", "model"]});
    json!({"rules": [one, places]}).to_string()
}

/// A gateway that knows bob, who may call three times, and ann, each by its name as a key.
fn limited() -> Setup {
    let key = |id: &str| json!({"id": id, "sha256": fingerprint(id.as_bytes())});
    let mut bob = key("bob");
    bob["tenant"] = json!("acme");
    bob["groups"] = json!(["staff"]);
    bob["expires_at"] = json!(4_000_000_000_u64);
    let mut old = bob.clone();
    old["sha256"] = json!(fingerprint(b"old"));
    old["expires_at"] = json!(1);
    let keys = json!({"keys": [bob, old, key("ann")]});
    let access = json!({"access": [{"callers": ["bob"], "models": ["codex-5"]}]});
    operated()
        .policy("auth.json", keys.to_string().as_bytes())
        .policy("model.json", access.to_string().as_bytes())
        .policy("rate-limit.json", rules(3).as_bytes())
}

async fn chat(gateway: &Gateway, key: &str, model: &str) -> u16 {
    let mut body = say(QUICK);
    body["model"] = json!(model);
    let url = format!("{}/v1/chat/completions", gateway.origin);
    let request = gateway.client.post(url).bearer_auth(key).json(&body);
    let response = request.header("x-request-id", format!("of-{key}")).send();
    let response = response.await.unwrap();
    let status = response.status().as_u16();
    response.bytes().await.unwrap();
    status
}

async fn get(gateway: &Gateway, path: &str) -> (u16, Value) {
    answer(gateway.operate(Method::GET, path, TOKEN)).await
}

/// The one caller of this id.
async fn caller(gateway: &Gateway, id: &str) -> Value {
    let (status, told) = get(gateway, &format!("callers/{id}")).await;
    assert_eq!(status, 200, "{told}");
    let callers = told["data"].as_array().unwrap();
    assert_eq!(callers.len(), 1, "{told}");
    callers[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "one story, step by step")]
async fn a_caller_is_shown_with_what_it_used_and_what_it_may_use_now() {
    let gateway = limited().start().await;
    for expected in [200, 200, 200, 429] {
        assert_eq!(chat(&gateway, "bob", "codex-5").await, expected);
    }
    let bob = caller(&gateway, "bob").await;
    for (name, expected) in [
        ("id", json!("bob")),
        ("tenant", json!("acme")),
        ("groups", json!(["staff"])),
        ("requests", json!(4)),
        ("denied", json!(1)),
        ("faults", json!([])),
    ] {
        assert_eq!(bob[name], expected, "{name}: {bob}");
    }
    let refusal = &bob["refusal"];
    for (name, expected) in [
        ("slot", json!("rate-limit")),
        ("status", json!(429)),
        ("code", json!("rate_limited")),
        ("rules", json!(["few"])),
        ("request", json!("of-bob")),
        ("path", json!("/v1/chat/completions")),
    ] {
        assert_eq!(refusal[name], expected, "{name}: {bob}");
    }
    assert!(
        refusal["message"]
            .as_str()
            .unwrap()
            .starts_with("Rate limit reached")
    );
    let usage = &bob["usage"][0];
    assert_eq!(
        (&usage["model"], &usage["requests"]),
        (&json!("codex-5"), &json!(4))
    );
    assert_eq!(usage["tokens"], bob["tokens"]);
    assert!(bob["tokens"]["output"].as_u64() > Some(0), "{bob}");
    let keys = bob["keys"].as_array().unwrap();
    let sha256 = &fingerprint(b"bob")[..12];
    let key = json!({"sha256": sha256, "expires_at": "2096-10-02T07:06:40Z", "expired": false, "disabled": false});
    assert_eq!((&keys[0], keys[1]["expired"].as_bool()), (&key, Some(true)));
    assert_eq!(bob["models"], json!(["codev-5"]), "as it is listed");
    let buckets = |bob: &Value| {
        let buckets = bob["buckets"].as_array().unwrap().clone();
        let of = |bucket: &Value| {
            (
                bucket["rule"].clone(),
                bucket["limit"].clone(),
                bucket["remaining"].clone(),
            )
        };
        buckets.iter().map(of).collect::<Vec<_>>()
    };
    let places = (json!("places"), json!(3), json!(3));
    assert_eq!(
        buckets(&bob),
        [(json!("few"), json!(3), json!(0)), places.clone()]
    );
    assert_eq!(bob["buckets"][1]["reset_ms"], Value::Null);
    // As the policies that serve have it: other limits, of which as much is spent; and to look at them spends nothing.
    std::fs::write(gateway.policies().join("rate-limit.json"), rules(9)).unwrap();
    gateway.generation(2).await;
    for _ in 0..3 {
        let bob = caller(&gateway, "bob").await;
        assert_eq!(
            buckets(&bob),
            [(json!("few"), json!(9), json!(6)), places.clone()]
        );
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_are_listed_latest_first_with_the_refusals_of_policies() {
    let gateway = limited().start().await;
    assert_eq!(get(&gateway, "callers").await.1["known"], 0);
    assert_eq!(chat(&gateway, "ann", "codex-5").await, 404, "no access");
    assert_eq!(chat(&gateway, "bob", "codex-5").await, 200);
    assert_eq!(chat(&gateway, "nobody", "codex-5").await, 401);
    assert_eq!(chat(&gateway, "old", "codex-5").await, 401);
    let (_, list) = get(&gateway, "callers").await;
    let ids: Vec<_> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|caller| &caller["id"])
        .collect();
    assert_eq!(
        (ids, &list["known"]),
        (vec![&json!("bob"), &json!("ann")], &json!(2))
    );
    assert_eq!(list["data"][1]["refusal"]["slot"], "model");
    assert_eq!(list["data"][0]["refusal"], Value::Null);
    assert_eq!(list["data"][0].get("buckets"), None, "only of one caller");
    let (_, list) = get(&gateway, "callers?last=1").await;
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
    for (path, status, code) in [
        ("callers?last=0", 400, "invalid_value"),
        ("callers/none", 404, "caller_not_seen"),
        ("callers/%ff", 400, "invalid_value"),
    ] {
        let (found, told) = get(&gateway, path).await;
        assert_eq!(
            (found, &told["error"]["code"]),
            (status, &json!(code)),
            "{path}"
        );
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auth_policy_may_name_callers_as_it_likes_and_need_not_tell_its_keys() {
    let gateway = operated().policy("auth.wasm", EVERY).start().await;
    let request = gateway.chat(&say(QUICK)).header("x-hostile", ODD);
    assert_eq!(request.send().await.unwrap().status(), 200);
    let encoded: String = ODD.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let found = caller(&gateway, &encoded).await;
    assert_eq!((&found["id"], &found["keys"]), (&json!(ODD), &Value::Null));
    gateway.stop().await;
}
