//! Tests that every member OpenAI documents may be `null`: SDKs send members as `null` that were not set.

use serde_json::{Map, Value, json};

use crate::openai::Reading;
use crate::openai::chat::ChatRequest;
use crate::openai::completions::CompletionRequest;
use crate::openai::messages::MessagesRequest;
use crate::openai::responses::ResponsesRequest;

/// Chat completions' members, from the parameters of OpenAI's Python SDK 3.54.0, and the older ones before `tools`.
const CHAT: &str = "audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens \
    metadata modalities model moderation n parallel_tool_calls prediction presence_penalty prompt_cache_key \
    prompt_cache_options prompt_cache_retention reasoning_effort response_format safety_identifier seed service_tier \
    stop store stream stream_options temperature tool_choice tools top_logprobs top_p user verbosity \
    web_search_options";

/// The members of responses, from the same source.
const RESPONSES: &str = "access_programs background background_options context_management conversation image include \
    instructions max_output_tokens max_tool_calls metadata model moderation parallel_tool_calls previous_response_id \
    prompt prompt_cache_key prompt_cache_options prompt_cache_retention reasoning safety_identifier service_tier store \
    stream stream_options temperature text tool_choice tools top_logprobs top_p truncation user";

/// The members of completions, from the same source.
const COMPLETIONS: &str = "best_of echo frequency_penalty logit_bias logprobs max_tokens model n presence_penalty seed \
    stop stream stream_options suffix temperature top_p user";

/// The members of messages, from the parameters of Anthropic's Python SDK 2.14.0, and those of its beta resource.
const MESSAGES: &str = "cache_control compaction container context_management diagnostics inference_geo max_tokens mcp_servers metadata \
    model output_config output_format service_tier speed stop_sequences stream system temperature thinking thread tool_choice \
    tools top_k top_p user_profile_id";

/// The request with each of the members as `null` alone, and with all of them.
fn with_nulls(plain: &Value, members: &str) -> Vec<Vec<u8>> {
    let null = |name: &str| (name.to_owned(), Value::Null);
    let each = members.split_whitespace();
    let each = each.map(|name| Map::from_iter([null(name)]));
    let all: Map<String, Value> = members.split_whitespace().map(null).collect();
    let bodies = each.chain([all]).map(|nulls: Map<String, Value>| {
        let mut body = plain.as_object().expect("an object").clone();
        body.extend(nulls);
        Value::Object(body).to_string().into_bytes()
    });
    bodies.collect()
}

#[test]
fn null_is_as_good_as_absent_in_every_dialect() {
    let chat = json!({"messages": [{"role": "user", "content": "hi"}]});
    let plain = ChatRequest::parse(chat.to_string().as_bytes(), &Reading::default());
    for body in with_nulls(&chat, CHAT) {
        assert_eq!(
            ChatRequest::parse(&body, &Reading::default()),
            plain,
            "{}",
            body.escape_ascii()
        );
    }
    let responses = json!({"input": "hi"});
    let plain = ResponsesRequest::parse(responses.to_string().as_bytes(), &Reading::default());
    for body in with_nulls(&responses, RESPONSES) {
        assert_eq!(
            ResponsesRequest::parse(&body, &Reading::default()),
            plain,
            "{}",
            body.escape_ascii()
        );
    }
    let messages = json!({"messages": [{"role": "user", "content": "hi"}]});
    let plain = MessagesRequest::parse(messages.to_string().as_bytes(), &Reading::default());
    for body in with_nulls(&messages, MESSAGES) {
        assert_eq!(
            MessagesRequest::parse(&body, &Reading::default()),
            plain,
            "{}",
            body.escape_ascii()
        );
    }
    assert!(plain.is_ok());
    let completions = json!({"prompt": "hi"});
    let plain = CompletionRequest::parse(completions.to_string().as_bytes());
    for body in with_nulls(&completions, COMPLETIONS) {
        assert_eq!(
            CompletionRequest::parse(&body),
            plain,
            "{}",
            body.escape_ascii()
        );
    }
    assert!(plain.is_ok());
}

#[test]
fn null_within_a_member_is_as_good_as_absent() {
    let function = json!({"name": "f", "description": null, "parameters": null, "strict": null});
    let tool = json!({"type": "function", "function": function});
    let call = json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": null}});
    let said = json!({"role": "assistant", "content": null, "refusal": null, "name": null, "audio": null,
        "function_call": null, "tool_calls": [call], "reasoning_content": null, "annotations": null});
    let body = json!({
        "messages": [
            {"role": "system", "content": "s", "name": null},
            {"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": null}], "name": null},
            said,
            {"role": "tool", "tool_call_id": "c", "content": "out"},
            {"role": "assistant", "content": "done", "tool_calls": null},
        ],
        "tools": [tool],
        "stream_options": {"include_usage": null, "include_obfuscation": null},
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "strict": null, "description": null}},
        "reasoning": {"effort": null, "summary": null},
    });
    ChatRequest::parse(body.to_string().as_bytes(), &Reading::default()).expect("a request");
    let format = json!({"type": "json_schema", "name": "n", "schema": {}, "strict": null, "description": null});
    let body = json!({
        "input": [
            {"type": "message", "role": "user", "content": "hi", "id": null, "status": null, "phase": null},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", "id": null, "status": null},
            {"type": "function_call_output", "call_id": "c", "output": "out", "id": null, "status": null},
        ],
        "tools": [{"type": "function", "name": "f", "description": null, "parameters": null, "strict": null}],
        "text": {"format": format, "verbosity": null},
        "reasoning": {"effort": null, "summary": null, "generate_summary": null},
    });
    ResponsesRequest::parse(body.to_string().as_bytes(), &Reading::default()).expect("a request");
}
