//! Clients people use, each in conversation with the real Codex: tools, streams, structured answers, errors.

use codex_gateway_tests::real::{node, python};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex and the Python SDKs"]
async fn the_openai_python_sdk_chats() {
    python("openai_chat.py").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex and the Python SDKs"]
async fn the_openai_python_sdk_calls_tools() {
    python("openai_tools.py").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex and the Python SDKs"]
async fn the_openai_python_sdk_gets_responses() {
    python("openai_responses.py").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex and the Python SDKs"]
async fn langchain_is_at_home() {
    python("langchain_openai_models.py").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex and the Python SDKs"]
async fn the_openai_agents_sdk_runs_agents() {
    python("agents_runs.py").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex and the Node SDKs"]
async fn the_openai_node_sdk_is_at_home() {
    node("openai.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex and the Node SDKs"]
async fn the_vercel_ai_sdk_chats() {
    node("ai-sdk-chat.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex and the Node SDKs"]
async fn the_vercel_ai_sdk_gets_responses() {
    node("ai-sdk-responses.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "temporary"]
async fn serve_by_hand() {
    let (gateway, provider) = codex_gateway_tests::real::real().await;
    std::fs::write("/tmp/sdk-origin", format!("{}/v1", gateway.origin)).unwrap();
    while std::path::Path::new("/tmp/sdk-origin").exists() {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let all: Vec<String> = provider.requests().iter().map(|r| r.body.to_string()).collect();
        std::fs::write("/tmp/sdk-requests.ndjson", all.join("\n")).unwrap();
    }
    gateway.stop().await;
}
