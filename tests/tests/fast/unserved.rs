//! Operations of OpenAI's that the gateway does not have.

use codex_gateway_tests::gateway::{KEY, Setup};
use reqwest::Method;
use serde_json::{Value, json};

async fn refusal(response: reqwest::Response) -> (u16, String) {
    let (status, error) = error(response).await;
    (status, error["code"].as_str().unwrap().to_owned())
}

async fn error(response: reqwest::Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let body: Value = response.json().await.expect("errors are JSON");
    (status, body["error"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_that_are_not_served_are_unknown_and_a_websocket_is_refused() {
    let gateway = Setup::demo().start().await;
    let send = |method: Method, path: &str| {
        let url = format!("{}{path}", gateway.origin);
        gateway.client.request(method, url).bearer_auth(KEY)
    };
    for (method, path) in [
        (Method::POST, "/v1/embeddings"),
        (Method::GET, "/v1/files/file-1/content"),
    ] {
        let (status, error) = error(send(method, path).send().await.unwrap()).await;
        assert_eq!(
            (status, &error["code"]),
            (404, &json!("unknown_url")),
            "{path}"
        );
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("this gateway does not have"), "{message}");
    }
    let typo = send(Method::POST, "/v1/chats").send().await.unwrap();
    let message = error(typo).await.1["message"].to_string();
    assert!(message.contains("check the URL for typos"), "{message}");
    let upgrade = send(Method::GET, "/v1/chat/completions")
        .header("connection", "Upgrade")
        .header("upgrade", "WebSocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    let response = upgrade.send().await.unwrap();
    assert_eq!(response.headers()["upgrade"], "HTTP/1.1");
    let expected = (426, "websocket_not_supported".to_owned());
    assert_eq!(refusal(response).await, expected);
    let plain = send(Method::GET, "/v1/responses").send().await.unwrap();
    assert_eq!(refusal(plain).await.0, 405);
    gateway.stop().await;
}
