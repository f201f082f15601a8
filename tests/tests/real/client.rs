//! The real Codex as a client of the gateway, which is then the model provider of another Codex.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use codex_gateway_tests::gateway::{Gateway, KEY, Setup};
use codex_gateway_tests::real::variable;
use tokio::process::Command;

/// The environment variable from which Codex reads the gateway's key.
const KEY_VARIABLE: &str = "GATEWAY_KEY";

/// The timeout of `codex exec`, and of the count of its requests.
const PATIENCE: Duration = Duration::from_secs(120);

/// Codex's configuration: the gateway is a provider that may be asked over a WebSocket, as OpenAI is.
fn config(origin: &str) -> String {
    format!(
        r#"model = "codex-5"
model_provider = "gateway"
check_for_update_on_startup = false
analytics.enabled = false
[model_providers.gateway]
name = "gateway"
base_url = "{origin}/v1"
wire_api = "responses"
env_key = "{KEY_VARIABLE}"
supports_websockets = true
"#
    )
}

/// Runs `codex exec` with a prompt; all that it wrote.
async fn exec(home: &Path, prompt: &str) -> String {
    let mut program = Command::new(variable("TEST_CODEX_BIN"));
    program
        .args(["exec", "--skip-git-repo-check", "--ephemeral", prompt])
        .env_clear()
        .env("PATH", variable("PATH"))
        .env("HOME", home)
        .env("CODEX_HOME", home)
        .env(KEY_VARIABLE, KEY)
        .current_dir(home)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, program.output()).await;
    let output = output.expect("Codex ends").expect("Codex starts");
    let [said, errors] = [output.stdout, output.stderr].map(|bytes| {
        let text = String::from_utf8_lossy(&bytes);
        text.into_owned()
    });
    format!("{said}\n{errors}")
}

/// Method, status and number of the requests for responses, as the gateway counted them.
async fn counted(gateway: &Gateway) -> Vec<(String, String, u64)> {
    let metrics = gateway.get("/metrics").send().await.expect("an answer");
    let metrics = metrics.text().await.expect("metrics");
    let lines = metrics.lines();
    let counts = lines.filter_map(|line| {
        let labels = line.strip_prefix(r#"codex_requests_total{route="/v1/responses",method=""#)?;
        let (method, labels) = labels.split_once(r#"",status=""#)?;
        let (status, labels) = labels.split_once('"')?;
        let (_, count) = labels.rsplit_once(' ')?;
        Some((method.to_owned(), status.to_owned(), count.parse().ok()?))
    });
    counts.collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn codex_asks_for_a_websocket_once_and_then_posts() {
    let setup = Setup::demo().var("PROXY_ENABLE_METRICS", "true");
    let gateway = setup.start().await;
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("config.toml"), config(&gateway.origin)).unwrap();
    let said = exec(home.path(), "Say hello.").await;
    // A request is counted a moment after its client has the answer.
    let counted = async {
        loop {
            let counted = counted(&gateway).await;
            if counted.iter().any(|(method, ..)| method == "POST") {
                return counted;
            }
        }
    };
    let counted = tokio::time::timeout(PATIENCE, counted).await;
    let counted = counted.unwrap_or_else(|_| panic!("no request: {said}"));
    let (gets, posts): (Vec<_>, Vec<_>) = counted.iter().partition(|(method, ..)| method == "GET");
    let upgrade = ("GET".to_owned(), "426".to_owned(), 1);
    assert_eq!(gets, [&upgrade], "{said}");
    let [(method, status, 1)] = posts.as_slice() else {
        panic!("{posts:?}: {said}")
    };
    assert_eq!(method, "POST");
    // Some of the tools that Codex offers to its model are types that the gateway may refuse; Codex shows the reason.
    match status.as_str() {
        "200" => assert!(!said.contains("ERROR: "), "{said}"),
        "400" => assert!(said.contains("invalid_request_error"), "{said}"),
        other => panic!("{other}: {said}"),
    }
    gateway.stop().await;
}
