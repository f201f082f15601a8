//! A real browser: the OpenAI SDK and LangChain.js in pages of other origins, allowed ones and one that is not.

use codex_gateway_tests::gateway::{KEY, Setup};
use codex_gateway_tests::real::{node_folder, succeed, variable};
use tokio::process::Command;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Chromium and the Node SDKs"]
async fn pages_talk_to_a_gateway_that_lets_them_and_to_no_other() {
    let open = Setup::demo().start().await;
    let closed = Setup::demo()
        .var("PROXY_CORS_ALLOWED_ORIGINS", "app://obsidian.md")
        .start()
        .await;
    let folder = node_folder();
    let mut script = Command::new("node");
    script
        .arg(folder.path().join("browser.mjs"))
        .args([&open, &closed].map(|gateway| format!("{}/v1", gateway.origin)))
        .args([KEY, &variable("TEST_CHROMIUM_BIN")]);
    succeed(script).await;
    open.stop().await;
    closed.stop().await;
}
