//! Each operation needs a key, and is charged to the caller's limits, exactly as the document says.

use codex_gateway_tests::gateway::{Gateway, KEY, QUICK, Setup, say};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::document;

/// An operation of the document.
struct Operation {
    method: String,
    path: String,
    about: Value,
}

impl Operation {
    fn all(document: &Value) -> Vec<Self> {
        let mut operations = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, about) in item.as_object().unwrap() {
                if about.get("responses").is_some() {
                    operations.push(Self {
                        method: method.to_uppercase(),
                        path: path.clone(),
                        about: about.clone(),
                    });
                }
            }
        }
        operations
    }

    /// Whether every request has to send a key, whatever the settings are.
    fn needs_key(&self) -> bool {
        let ways = self.about["security"].as_array();
        ways.is_some_and(|ways| !ways.is_empty() && !ways.contains(&json!({})))
    }

    fn has(&self, status: &str) -> bool {
        self.about["responses"].get(status).is_some()
    }

    fn begins_no_turn(&self) -> bool {
        let paths = [
            "/v1/messages/count_tokens",
            "/v1/responses/input_tokens",
            "/v1/responses/{id}/cancel",
        ];
        paths.contains(&self.path.as_str())
    }

    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// A request whose body starts a turn on each endpoint that generates.
    fn request(&self, gateway: &Gateway) -> RequestBuilder {
        let path = self.path.replace("{id}", "x").replace("{path}", "x");
        let method = Method::from_bytes(self.method.as_bytes()).unwrap();
        let request = gateway
            .client
            .request(method, format!("{}{path}", gateway.origin));
        match (self.method.as_str(), self.path.as_str()) {
            ("POST", "/v1/chat/completions") => request.json(&say(QUICK)),
            ("POST", "/v1/completions") => request.json(&json!({"prompt": QUICK})),
            ("POST", "/v1/responses/compact") => {
                request.json(&json!({"input": QUICK, "model": "codex-5"}))
            }
            ("POST", "/v1/messages" | "/v1/messages/count_tokens") => request.json(&say(QUICK)),
            ("POST", _) => request.json(&json!({"input": QUICK})),
            // Edge proxies name the request they ask about so, each in its own way.
            _ => request
                .header("x-forwarded-method", "GET")
                .header("x-forwarded-uri", "/x")
                .header("x-original-method", "GET")
                .header("x-original-uri", "/x"),
        }
    }

    async fn status(&self, request: RequestBuilder) -> u16 {
        request.send().await.unwrap().status().as_u16()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_exactly_the_operations_that_say_so_are_refused() {
    for protect_models in ["true", "false"] {
        let gateway = Setup::demo()
            .var("PROXY_PROTECT_MODELS", protect_models)
            .var("PROXY_ENABLE_METRICS", "true")
            .start()
            .await;
        for operation in Operation::all(&document(&gateway).await) {
            let name = operation.name();
            let status = operation.status(operation.request(&gateway)).await;
            let is_closed = operation.path.starts_with("/v1/");
            // Where the key is optional, a setting decides whether requests without one pass.
            match protect_models {
                "true" => {
                    assert_eq!(status == 401, operation.has("401"), "{name}: {status}");
                    assert!(status == 401 || !is_closed, "{name}: {status}");
                }
                _ => assert!(
                    status == 401 || !operation.needs_key(),
                    "{name}: {status} without a key"
                ),
            }
        }
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_without_requests_left_is_refused_at_every_closed_endpoint() {
    let rule = json!({"name": "one", "unit": "requests", "limit": 1, "window_ms": 86_400_000});
    let mut everywhere = rule.clone();
    everywhere["endpoints"] = json!(["/*"]);
    // A rule that names no endpoint counts those that start a turn.
    for (rule, counts_all) in [(everywhere, true), (rule, false)] {
        let rules = json!({ "rules": [rule] }).to_string();
        let setup = Setup::demo().policy("rate-limit.json", rules.as_bytes());
        let gateway = setup.start().await;
        let first = gateway.chat(&say(QUICK)).send().await.unwrap();
        assert_eq!(first.status(), 200);
        drop(first.bytes().await.unwrap());
        for operation in Operation::all(&document(&gateway).await) {
            if !operation.path.starts_with("/v1/") {
                continue;
            }
            // A probe by `HEAD` begins nothing, and is charged nothing.
            let counts = match operation.method.as_str() {
                "POST" if operation.begins_no_turn() => counts_all,
                "POST" => true,
                "HEAD" => false,
                _ => counts_all,
            };
            let request = operation.request(&gateway).bearer_auth(KEY);
            let status = operation.status(request).await;
            let name = operation.name();
            assert_eq!(status == 429, counts, "{name}: {status}");
            assert!(operation.has("429"), "{name}");
        }
        gateway.stop().await;
    }
}
