//! Usage: one record per turn, shown to the caller it belongs to, kept in few files.

use std::path::PathBuf;

use codex_gateway_tests::gateway::{Gateway, QUICK, Setup, say, stream};
use codex_gateway_tests::sse::Events;
use serde_json::{Value, json};

/// A gateway with three callers, one of them an admin, and its usage file.
struct Recorded {
    gateway: Gateway,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

async fn recorded(vars: &[(&str, &str)]) -> Recorded {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("usage.ndjson");
    let keys: Vec<Value> = [("alice", "staff"), ("bob", "staff"), ("root", "admin")]
        .into_iter()
        .map(|(id, group)| {
            let sha256 = codex_gateway::secret::fingerprint(format!("sk-{id}").as_bytes());
            json!({"id": id, "sha256": sha256, "groups": [group], "tenant": "lab"})
        })
        .collect();
    let setup = Setup::demo()
        .policy("auth.json", json!({"keys": keys}).to_string().as_bytes())
        .var("TOKEN_LOG_PATH", &path.to_string_lossy());
    let setup = vars
        .iter()
        .fold(setup, |setup, (name, value)| setup.var(name, value));
    Recorded {
        gateway: setup.start().await,
        path,
        _folder: folder,
    }
}

impl Recorded {
    async fn chat(&self, caller: &str, body: &Value) {
        let url = format!("{}/v1/chat/completions", self.gateway.origin);
        let request = self.gateway.client.post(url).json(body);
        let answer = request.bearer_auth(format!("sk-{caller}")).send().await;
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 200);
        answer.bytes().await.unwrap();
    }

    async fn get(&self, caller: &str, path: &str) -> (u16, Value) {
        let url = format!("{}{path}", self.gateway.origin);
        let request = self.gateway.client.get(url);
        let answer = request.bearer_auth(format!("sk-{caller}")).send().await;
        let answer = answer.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Waits until this many events are recorded, a moment after the client has the last byte.
    async fn until(&self, events: u64) {
        let told = async {
            while self.get("root", "/v1/usage").await.1["total_requests"] != events {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(30), told)
            .await
            .unwrap_or_else(|_| panic!("no {events} events"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_see_their_own_usage_and_admins_everybodys() {
    let recorded = recorded(&[]).await;
    recorded.chat("alice", &say(QUICK)).await;
    recorded.chat("alice", &stream(QUICK)).await;
    recorded.chat("bob", &say(QUICK)).await;
    recorded.until(3).await;
    let (_, alice) = recorded.get("alice", "/v1/usage?group=caller").await;
    assert_eq!(alice["total_requests"], 2);
    assert_eq!(alice["buckets"].as_array().unwrap().len(), 1);
    assert_eq!(alice["buckets"][0]["caller"], "alice");
    assert_eq!(alice["buckets"][0]["requests"], 2);
    let (_, all) = recorded.get("root", "/v1/usage?group=caller").await;
    assert_eq!(all["total_requests"], 3);
    let callers: Vec<_> = all["buckets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bucket| &bucket["caller"])
        .collect();
    assert_eq!(callers, ["alice", "bob"]);
    assert!(all["prompt_tokens_est"].as_u64() > Some(0));
    let sum =
        all["prompt_tokens_est"].as_u64().unwrap() + all["completion_tokens_est"].as_u64().unwrap();
    assert_eq!(all["total_tokens_est"], sum);
    let (_, events) = recorded.get("bob", "/v1/usage/raw").await;
    assert_eq!(
        (&events["count"], events["events"].as_array().unwrap().len()),
        (&json!(1), 1)
    );
    let (_, events) = recorded.get("root", "/v1/usage/raw?limit=2").await;
    assert_eq!(events["count"], 2);
    let last = &events["events"][1];
    for (member, value) in [
        ("caller", json!("bob")),
        ("tenant", json!("lab")),
        ("route", json!("/v1/chat/completions")),
        ("requested_model", json!("codex-5")),
        ("effective_model", json!("demo")),
        ("stream", json!(false)),
        ("status", json!(200)),
        ("finish_reason", json!("stop")),
        ("complete", json!(true)),
    ] {
        assert_eq!(last[member], value, "{member} in {last}");
    }
    recorded.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_grouped_by_time_and_model_within_a_range() {
    let recorded = recorded(&[]).await;
    let mut low = say(QUICK);
    low["model"] = json!("codex-5-low");
    recorded.chat("alice", &low).await;
    recorded.chat("alice", &say(QUICK)).await;
    recorded.until(2).await;
    let (_, models) = recorded.get("alice", "/v1/usage?group=model").await;
    let names: Vec<_> = models["buckets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bucket| &bucket["model"])
        .collect();
    assert_eq!(names, ["codex-5", "codex-5-low"]);
    let (_, days) = recorded.get("alice", "/v1/usage?group=day").await;
    let ts = days["buckets"][0]["ts"].as_str().unwrap();
    assert!(
        ts.ends_with("T00:00:00.000Z") && ts.starts_with("20"),
        "{ts}"
    );
    assert_eq!((&days["start"], &days["group"]), (&json!(0), &json!("day")));
    let (_, hours) = recorded
        .get("alice", &format!("/v1/usage?group=hour&start={ts}"))
        .await;
    assert_eq!(hours["total_requests"], 2, "{hours}");
    for range in [
        "start=2025-01-01&end=2025-01-02T00:00:00Z",
        "end=1735689600000",
    ] {
        let (status, none) = recorded.get("alice", &format!("/v1/usage?{range}")).await;
        assert_eq!(
            (status, &none["total_requests"]),
            (200, &json!(0)),
            "{range}"
        );
        assert!(none.get("buckets").is_none() && none.get("group").is_none());
    }
    recorded.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_that_make_no_sense_are_told_what_would() {
    let recorded = recorded(&[]).await;
    for (query, param) in [
        ("?start=yesterday", "start"),
        ("?end=2026-13-01", "end"),
        ("?group=week", "group"),
        ("/raw?limit=0", "limit"),
        ("/raw?limit=many", "limit"),
        ("/raw?limit=10001", "limit"),
    ] {
        let (status, body) = recorded.get("alice", &format!("/v1/usage{query}")).await;
        assert_eq!(
            (status, &body["error"]["param"]),
            (400, &json!(param)),
            "{query}"
        );
        assert!(
            body["error"]["message"]
                .as_str()
                .unwrap()
                .contains("expected")
        );
    }
    for path in ["/v1/usage", "/v1/usage/raw"] {
        assert_eq!(recorded.get("mallory", path).await.0, 401);
    }
    recorded.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_used_is_on_disk_when_the_gateway_has_stopped_and_nothing_that_was_said() {
    let recorded = recorded(&[]).await;
    recorded.chat("alice", &say("mellon")).await;
    recorded.until(1).await;
    recorded.chat("bob", &say("mellon")).await;
    recorded.gateway.stop().await;
    let text = std::fs::read_to_string(&recorded.path).unwrap();
    let events: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let callers: Vec<_> = events.iter().map(|event| &event["caller"]).collect();
    assert_eq!(callers, ["alice", "bob"]);
    assert!(!text.contains("mellon") && !text.contains("sk-"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_outlives_its_client_is_recorded_whole() {
    let recorded = recorded(&[("PROXY_KILL_ON_DISCONNECT", "false")]).await;
    let slow = stream(r#"{"demo":{"deltas":20,"text":"word ","delay_ms":20}}"#);
    let url = format!("{}/v1/chat/completions", recorded.gateway.origin);
    let request = recorded.gateway.client.post(url).json(&slow);
    let answer = request.bearer_auth("sk-alice").send().await.unwrap();
    let mut events = Events::of(answer);
    assert!(events.next().await.is_some());
    drop(events);
    recorded.until(1).await;
    let (_, raw) = recorded.get("alice", "/v1/usage/raw").await;
    let event = &raw["events"][0];
    assert_eq!(event["finish_reason"], "stop", "the turn came to its end");
    assert_eq!(event["complete"], false, "the client did not see it");
    assert_eq!(
        (
            &event["estimated"],
            event["completion_tokens_est"].as_u64() > Some(10)
        ),
        (&json!(false), true),
        "{event}"
    );
    recorded.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_records_nothing_says_so() {
    let gateway = Setup::demo().start().await;
    for path in ["/v1/usage", "/v1/usage/raw"] {
        let answer = gateway.get(path).send().await.unwrap();
        assert_eq!(answer.status(), 404);
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["error"]["code"], "usage_not_recorded");
    }
    gateway.stop().await;
}
