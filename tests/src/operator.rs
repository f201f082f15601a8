//! An operator of a test gateway: its listener, uploads, and requests to the API below `/admin/v1`.

use codex_gateway::secret::fingerprint;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::gateway::{Gateway, QUICK, Setup, say};

/// The token of the operator `operator`.
pub const TOKEN: &str = "sk-operator-0123456789";

/// Adds a listener for operators, on a port.
#[must_use]
pub fn operated(setup: Setup) -> Setup {
    setup
        .var("ADMIN_ADDR", "127.0.0.1:0")
        .var("ADMIN_TOKEN", TOKEN)
}

/// Auth settings in which each caller's key is its name; a name with a dot has a tenant before it.
#[must_use]
pub fn keys(callers: &[&str]) -> String {
    let key = |name: &&str| {
        let sha256 = fingerprint(name.as_bytes());
        match name.split_once('.') {
            Some((tenant, id)) => json!({"id": id, "tenant": tenant, "sha256": sha256}),
            None => json!({"id": name, "sha256": sha256}),
        }
    };
    json!({"keys": callers.iter().map(key).collect::<Vec<_>>()}).to_string()
}

/// A chat request of a caller for `codex-5`, answered whole: the status, and this header of the answer.
///
/// # Panics
/// If there is no answer, or no such header.
pub async fn chat(gateway: &Gateway, key: &str, header: &str) -> (u16, String) {
    let url = format!("{}/v1/chat/completions", gateway.origin);
    let mut body = say(QUICK);
    body["model"] = json!("codex-5");
    let request = gateway.client.post(url).bearer_auth(key).json(&body);
    let response = request.send().await.expect("an answer");
    let header = response.headers()[header].to_str().expect("a text");
    let found = (response.status().as_u16(), header.to_owned());
    response.bytes().await.expect("the whole answer");
    found
}

/// An upload of these files.
pub fn upload(gateway: &Gateway, files: &[(&str, &[u8])]) -> RequestBuilder {
    let mut body = Vec::new();
    for (name, bytes) in files {
        let head = format!(
            "--files\r\ncontent-disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--files--\r\n");
    let request = gateway.operate(Method::POST, "candidates", TOKEN);
    request
        .header("content-type", "multipart/form-data; boundary=files")
        .body(body)
}

/// Sends a request: the status and the JSON of its answer.
///
/// # Panics
/// If the answer is not JSON.
pub async fn answer(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    (status, response.json().await.expect("JSON"))
}

/// Sends a request, with a body unless that is `null`: the status and the JSON of its answer.
pub async fn ask(gateway: &Gateway, method: Method, path: &str, body: Value) -> (u16, Value) {
    let request = gateway.operate(method, path, TOKEN);
    answer(match body.is_null() {
        true => request,
        false => request.json(&body),
    })
    .await
}

/// Reads something.
pub async fn get(gateway: &Gateway, path: &str) -> (u16, Value) {
    ask(gateway, Method::GET, path, Value::Null).await
}

/// Does something, with a body unless that is `null`.
pub async fn post(gateway: &Gateway, path: &str, body: Value) -> (u16, Value) {
    ask(gateway, Method::POST, path, body).await
}
