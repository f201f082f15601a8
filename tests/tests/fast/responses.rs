//! The operations of `/v1/responses` beside its answers: the estimate of a prompt, and the input of a response.

use codex_gateway_tests::gateway::{Gateway, KEY, Setup, script};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::fake;

fn request(gateway: &Gateway, method: Method, path: &str) -> RequestBuilder {
    let url = format!("{}/v1/responses{path}", gateway.origin);
    gateway.client.request(method, url).bearer_auth(KEY)
}

fn post(gateway: &Gateway, path: &str, body: &Value) -> RequestBuilder {
    request(gateway, Method::POST, path).json(body)
}

async fn json_of(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn get(gateway: &Gateway, path: &str) -> (u16, Value) {
    json_of(request(gateway, Method::GET, path)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_is_estimated_as_limits_do_without_a_turn() {
    let rule = json!({"name": "one", "unit": "requests", "limit": 1});
    let rules = json!({"rules": [rule]}).to_string();
    let setup = Setup::demo().policy("rate-limit.json", rules.as_bytes());
    let gateway = setup.start().await;
    let body = json!({"input": "x".repeat(396), "instructions": "Obey", "model": "codex-5"});
    for _ in 0..3 {
        let (status, counted) = json_of(post(&gateway, "/input_tokens", &body)).await;
        let expected = json!({"object": "response.input_tokens", "input_tokens": 100});
        assert_eq!((status, counted), (200, expected), "no limit is spent");
    }
    let tool = json!({"type": "function", "name": "f", "description": "x".repeat(400), "parameters": null});
    let offer = json!({"input": "hi", "tools": [tool]});
    let (_, counted) = json_of(post(&gateway, "/input_tokens", &offer)).await;
    assert!(counted["input_tokens"].as_u64().unwrap() > 100, "{counted}");
    let (status, first) = json_of(post(&gateway, "", &json!({"input": "hi"}))).await;
    assert_eq!(status, 200, "{first}");
    let next = json!({"input": "four", "previous_response_id": first["id"]});
    let (_, counted) = json_of(post(&gateway, "/input_tokens", &next)).await;
    assert!(counted["input_tokens"].as_u64().unwrap() > 1, "{counted}");
    for (body, status, param) in [
        (json!({"input": []}), 400, "input"),
        (json!({"input": "hi", "model": "none"}), 404, "model"),
        (
            json!({"input": "hi", "previous_response_id": "resp_none"}),
            400,
            "previous_response_id",
        ),
    ] {
        let (found, error) = json_of(post(&gateway, "/input_tokens", &body)).await;
        assert_eq!(
            (found, &error["error"]["param"]),
            (status, &json!(param)),
            "{error}"
        );
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_input_of_a_response_is_listed_page_by_page_for_its_caller() {
    let alice = codex_gateway::secret::fingerprint(b"sk-test");
    let bob = codex_gateway::secret::fingerprint(b"sk-bob");
    let keys = json!({"keys": [{"id": "alice", "sha256": alice}, {"id": "bob", "sha256": bob}]});
    let setup = fake().policy("auth.json", keys.to_string().as_bytes());
    let gateway = setup.start().await;
    let first = json!({"input": script(json!({"text": ["Forty-two."]})), "instructions": "Obey"});
    let (_, first) = json_of(post(&gateway, "", &first)).await;
    let body = json!({"input": "Why?", "previous_response_id": first["id"]});
    let (_, second) = json_of(post(&gateway, "", &body)).await;
    let path = format!("/{}/input_items", second["id"].as_str().unwrap());

    let (status, all) = get(&gateway, &path).await;
    assert_eq!((status, &all["object"]), (200, &json!("list")), "{all}");
    let roles: Vec<&Value> = all["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["role"])
        .collect();
    assert_eq!(roles, ["user", "assistant", "user"], "the latest first");
    let text = &all["data"][0]["content"][0];
    assert_eq!(text, &json!({"type": "input_text", "text": "Why?"}));
    assert_eq!(all["data"][1]["content"][0]["text"], "Forty-two.");

    let (_, page) = get(&gateway, &format!("{path}?order=asc&limit=2")).await;
    assert_eq!(
        (&page["data"][1], &page["has_more"]),
        (&all["data"][1], &json!(true))
    );
    assert_eq!(page["first_id"], all["last_id"]);
    let after = page["last_id"].as_str().unwrap();
    let (_, rest) = get(&gateway, &format!("{path}?order=asc&limit=2&after={after}")).await;
    assert_eq!(
        (&rest["data"], &rest["has_more"]),
        (&json!([all["data"][0]]), &json!(false))
    );

    for (query, param) in [
        ("order=up", "order"),
        ("limit=0", "limit"),
        ("after=msg_x", "after"),
    ] {
        let (status, error) = get(&gateway, &format!("{path}?{query}")).await;
        assert_eq!((status, &error["error"]["param"]), (400, &json!(param)));
    }
    let url = format!("{}/v1/responses{path}", gateway.origin);
    let strangers = gateway.client.get(url).bearer_auth("sk-bob");
    assert_eq!(json_of(strangers).await.0, 404);
    gateway.stop().await;
}
