//! Popular client libraries with the real Codex: tools, streams, structured output, images, errors.

use codex_gateway_tests::provider::Recorded;
use codex_gateway_tests::real::{
    node, python, python_at, python_script, set_up, succeed, variable,
};
use serde_json::json;

/// Asserts that the model got the results of the client's functions, of one function and of two at once.
fn assert_results_arrived(asked: &[Recorded]) {
    let results = |request: &Recorded| -> Vec<String> {
        let said = request.conversation().into_iter();
        said.filter(|(role, _)| role == "function_call_output")
            .map(|(_, text)| text)
            .collect()
    };
    let told: Vec<Vec<String>> = asked.iter().map(results).collect();
    let two = ["18 degrees", "24 degrees"];
    assert!(told.iter().any(|results| results == &two), "{told:?}");
    assert!(
        told.iter()
            .any(|results| results.ends_with(&["18 degrees".to_owned()])),
        "{told:?}"
    );
}

/// Asserts that the schema of a structured answer was passed on.
fn assert_schema_arrived(asked: &[Recorded]) {
    let has_schema = |request: &Recorded| {
        let schema = &request.body["text"]["format"]["schema"];
        !schema["properties"]["degrees"].is_null()
    };
    assert!(asked.iter().any(has_schema), "no schema arrived");
}

fn assert_picture_arrived(asked: &[Recorded]) {
    let has_picture = |request: &Recorded| {
        let input = request.body["input"].to_string();
        input.contains("\"input_image\"") && input.contains("data:image/png;base64,")
    };
    assert!(asked.iter().any(has_picture), "no picture arrived");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex and the Python SDKs"]
async fn the_openai_python_sdk_chats() {
    let asked = python("openai_chat.py").await;
    assert_schema_arrived(&asked);
    assert_picture_arrived(&asked);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex and the Python SDKs"]
async fn answers_are_as_the_published_schemas_have_them() {
    python("validate_answers.py").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the Python SDKs"]
async fn the_table_of_parameters_has_all_that_the_openai_python_sdk_knows() {
    succeed(python_script("openai_parameters.py")).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex, the Python SDKs and openai-python's own tests"]
async fn openai_pythons_own_tests_pass_or_are_refused_as_the_tables_say() {
    // The script reads it, too: here its absence is reported as that of the other variables.
    assert!(!variable("TEST_OPENAI_SDIST").is_empty());
    let (setup, provider) = set_up("TEST_CODEX_BIN", "gpt-5.4").await;
    // The models that these tests ask for.
    let aliases =
        json!({"gpt-6-astra": "codex-5", "gpt-3.5-turbo-instruct": "codex-5", "model": "codex-5"});
    let settings = json!({ "aliases": aliases }).to_string();
    let gateway = setup
        .policy("model.json", settings.as_bytes())
        .start()
        .await;
    python_at((gateway, provider), "openai_resources.py").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex and the Python SDKs"]
async fn the_openai_python_sdk_calls_tools() {
    assert_results_arrived(&python("openai_tools.py").await);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex and the Python SDKs"]
async fn the_openai_python_sdk_gets_responses() {
    let asked = python("openai_responses.py").await;
    assert_results_arrived(&asked);
    assert_schema_arrived(&asked);
    assert_picture_arrived(&asked);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex and the Python SDKs"]
async fn langchain_is_at_home() {
    let asked = python("langchain_openai_models.py").await;
    assert_results_arrived(&asked);
    assert_schema_arrived(&asked);
    assert_picture_arrived(&asked);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex and the Python SDKs"]
async fn langchains_standard_tests_pass() {
    assert_picture_arrived(&python("langchain_standard.py").await);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex and the Python SDKs"]
async fn the_openai_agents_sdk_runs_agents() {
    let asked = python("agents_runs.py").await;
    assert_results_arrived(&asked);
    assert_schema_arrived(&asked);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex and the Node SDKs"]
async fn the_openai_node_sdk_is_at_home() {
    let asked = node("openai.mjs").await;
    assert_results_arrived(&asked);
    assert_schema_arrived(&asked);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex and the Node SDKs"]
async fn the_codex_sdk_runs_turns() {
    let asked = node("codex.mjs").await;
    let results: Vec<String> = asked.iter().flat_map(Recorded::outputs).collect();
    for expected in ["one-42", "two-43", "three-44"] {
        let arrived = results.iter().any(|result| result.contains(expected));
        assert!(arrived, "{expected}: {results:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex and the Python SDKs"]
async fn the_anthropic_python_sdk_is_at_home() {
    let asked = python("anthropic_messages.py").await;
    assert_results_arrived(&asked);
    assert_schema_arrived(&asked);
    assert_picture_arrived(&asked);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex and the Node SDKs"]
async fn the_anthropic_node_sdk_is_at_home() {
    let asked = node("anthropic.mjs").await;
    assert_results_arrived(&asked);
    assert_picture_arrived(&asked);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex and the Node SDKs"]
async fn the_vercel_ai_sdk_chats() {
    let asked = node("ai-sdk-chat.mjs").await;
    assert_results_arrived(&asked);
    assert_schema_arrived(&asked);
    assert_picture_arrived(&asked);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex and the Node SDKs"]
async fn the_vercel_ai_sdk_gets_responses() {
    let asked = node("ai-sdk-responses.mjs").await;
    assert_results_arrived(&asked);
    assert_schema_arrived(&asked);
    assert_picture_arrived(&asked);
}
