//! The real Codex without a login: reported at once, until there is a login.

use std::path::Path;
use std::process::Stdio;

use codex_gateway_tests::gateway::{Gateway, say, sign_in};
use codex_gateway_tests::provider;
use codex_gateway_tests::real::{ask, set_up, whole};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Makes the provider need Codex's own login.
fn needs_login(home: &Path) {
    let path = home.join("config.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    let key = format!("env_key = \"{}\"", provider::KEY_VARIABLE);
    assert!(config.contains(&key));
    std::fs::write(path, config.replace(&key, "requires_openai_auth = true")).unwrap();
}

async fn assert_told(gateway: &Gateway) {
    gateway.backend.ready().await;
    assert_eq!(gateway.backend.status().signed_in, Some(false));
    let (status, body) = ask(gateway, &say("hi")).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (503, &json!("codex_not_signed_in")),
        "{body}"
    );
}

async fn assert_noticed(gateway: &Gateway) {
    gateway
        .until(
            |gateway| gateway.backend.status().signed_in == Some(true),
            "login",
        )
        .await;
    let (status, body) = whole(gateway, json!({"text": ["fine"]})).await;
    assert_eq!(status, 200, "{body}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn a_missing_login_is_told_and_codex_login_is_noticed() {
    let (setup, provider) = set_up("TEST_CODEX_BIN", "gpt-5.4").await;
    needs_login(setup.home());
    let gateway = setup.start().await;
    assert_told(&gateway).await;
    assert!(provider.requests().is_empty());
    #[expect(clippy::disallowed_methods, reason = "no setting of the gateway")]
    let program = std::env::var("TEST_CODEX_BIN").unwrap();
    let mut login = Command::new(program)
        .args(["login", "--with-api-key"])
        .env("CODEX_HOME", gateway.home())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = login.stdin.take().unwrap();
    stdin.write_all(provider::KEY.as_bytes()).await.unwrap();
    drop(stdin);
    assert!(login.wait().await.unwrap().success());
    assert_noticed(&gateway).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn a_provider_with_a_key_of_its_own_needs_no_login() {
    let (setup, _provider) = set_up("TEST_CODEX_BIN", "gpt-5.4").await;
    let gateway = setup.start().await;
    assert_eq!(gateway.backend.status().signed_in, None);
    assert_eq!(whole(&gateway, json!({})).await.0, 200);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn without_any_configuration_the_login_is_what_is_missing() {
    let (setup, _provider) = set_up("TEST_CODEX_BIN", "gpt-5.4").await;
    std::fs::remove_file(setup.home().join("config.toml")).unwrap();
    let gateway = setup.start().await;
    assert_told(&gateway).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex 0.42"]
async fn an_old_codex_tells_by_its_files() {
    let (setup, provider) = set_up("TEST_CODEX_PROTO_BIN", "gpt-5").await;
    needs_login(setup.home());
    let gateway = setup.start().await;
    assert_told(&gateway).await;
    assert!(provider.requests().is_empty());
    sign_in(&gateway.home());
    assert_noticed(&gateway).await;
    gateway.stop().await;
}
