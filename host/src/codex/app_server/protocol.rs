//! The part of the app-server's JSON-RPC we speak: what is sent, and what is read of what comes.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::failure::Failure;
use super::super::{Item, Part, Plan, Role, Tool, Usage};

/// A method we call. Named here once, because errors and logs name it too.
pub(super) type Method = &'static str;

pub(super) const INITIALIZE: Method = "initialize";
pub(super) const CONFIG_READ: Method = "config/read";
pub(super) const THREAD_START: Method = "thread/start";
pub(super) const INJECT_ITEMS: Method = "thread/inject_items";
pub(super) const UNSUBSCRIBE: Method = "thread/unsubscribe";
pub(super) const TURN_START: Method = "turn/start";
pub(super) const TURN_INTERRUPT: Method = "turn/interrupt";
pub(super) const DIAGNOSTICS: Method = "server/diagnostics";

/// What Codex answers to a method it does not know, among much else.
pub(super) const INVALID_REQUEST: i64 = -32600;

/// A request of ours.
#[derive(Debug, Serialize)]
pub(super) struct Request<'a, P> {
    pub(super) id: u64,
    pub(super) method: Method,
    pub(super) params: &'a P,
}

/// The parameters of a method that has none.
#[derive(Debug, Serialize)]
pub(super) struct Nothing {}

/// Any line the worker writes: a response (`id`), a request (`id` and `method`) or a notification (`method`).
#[derive(Debug, Deserialize)]
pub(super) struct Incoming<'a> {
    #[serde(default)]
    pub(super) id: Option<Value>,
    #[serde(borrow, default)]
    pub(super) method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) result: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) error: Option<RpcError>,
}

/// A refusal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct RpcError {
    pub(super) code: i64,
    pub(super) message: String,
}

/// Our answer to a request of the worker's.
#[derive(Debug, Serialize)]
pub(super) struct Refusal {
    pub(super) id: Value,
    pub(super) error: RpcError,
}

/// The handshake. Without `experimentalApi` most of what we use is refused.
pub(super) fn initialize() -> Value {
    serde_json::json!({
        "clientInfo": {"name": "codex_gateway", "title": "codex-gateway", "version": env!("CARGO_PKG_VERSION")},
        "capabilities": {
            "experimentalApi": true,
            "optOutNotificationMethods": [
                "thread/started", "thread/status/changed", "thread/settings/updated", "thread/tokenUsage/updated",
                "account/rateLimits/updated", "remoteControl/status/changed", "configWarning",
            ],
        },
    })
}

/// `thread/start`: a thread that leaves no trace and has no tools but the client's.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ThreadStart<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_provider: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dynamic_tools: Vec<DynamicTool<'a>>,
    approval_policy: &'static str,
    sandbox: &'static str,
    ephemeral: bool,
    /// Empty: nowhere to run commands.
    environments: [Value; 0],
    /// Empty: no prompt before the client's.
    base_instructions: &'static str,
    experimental_raw_events: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DynamicTool<'a> {
    r#type: &'static str,
    name: &'a str,
    description: &'a str,
    input_schema: &'a Value,
}

impl<'a> ThreadStart<'a> {
    pub(super) fn new(plan: &'a Plan) -> Self {
        Self {
            model: &plan.model,
            model_provider: plan.provider.as_deref(),
            service_tier: plan.service_tier.as_deref(),
            config: plan
                .verbosity
                .as_ref()
                .map(|verbosity| serde_json::json!({"model_verbosity": verbosity})),
            dynamic_tools: plan.tools.iter().map(DynamicTool::new).collect(),
            approval_policy: "never",
            sandbox: "read-only",
            ephemeral: true,
            environments: [],
            base_instructions: "",
            experimental_raw_events: true,
        }
    }
}

impl<'a> DynamicTool<'a> {
    fn new(tool: &'a Tool) -> Self {
        Self {
            r#type: "function",
            name: &tool.name,
            description: tool.description.as_deref().unwrap_or_default(),
            input_schema: &tool.parameters,
        }
    }
}

/// The answer to `thread/start`.
#[derive(Debug, Deserialize)]
pub(super) struct ThreadStarted {
    pub(super) thread: Named,
}

/// The answer to `turn/start`.
#[derive(Debug, Deserialize)]
pub(super) struct TurnStarted {
    pub(super) turn: Named,
}

/// A thread or a turn, by its id.
#[derive(Debug, Deserialize)]
pub(super) struct Named {
    pub(super) id: String,
}

/// `thread/unsubscribe`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Thread<'a> {
    pub(super) thread_id: &'a str,
}

/// `thread/inject_items`: the conversation so far.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InjectItems<'a> {
    thread_id: &'a str,
    items: Vec<ResponseItem<'a>>,
}

impl<'a> InjectItems<'a> {
    pub(super) fn new(thread_id: &'a str, history: &'a [Item]) -> Self {
        Self {
            thread_id,
            items: history.iter().map(ResponseItem::new).collect(),
        }
    }
}

/// `turn/start`: answer what was injected.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TurnStart<'a> {
    thread_id: &'a str,
    input: [Value; 0],
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'a str>,
    summary: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_schema: Option<&'a Value>,
}

impl<'a> TurnStart<'a> {
    pub(super) fn new(thread_id: &'a str, plan: &'a Plan) -> Self {
        Self {
            thread_id,
            input: [],
            effort: plan.effort.as_deref(),
            summary: "auto",
            output_schema: plan.output_schema.as_ref(),
        }
    }
}

/// `turn/interrupt`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TurnInterrupt<'a> {
    pub(super) thread_id: &'a str,
    pub(super) turn_id: &'a str,
}

/// An entry of the conversation as the Responses API writes it.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ResponseItem<'a> {
    Message {
        role: &'static str,
        content: Vec<Content<'a>>,
    },
    FunctionCall {
        call_id: &'a str,
        name: &'a str,
        arguments: &'a str,
    },
    FunctionCallOutput {
        call_id: &'a str,
        output: Output<'a>,
    },
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Content<'a> {
    InputText {
        text: &'a str,
    },
    OutputText {
        text: &'a str,
    },
    InputImage {
        image_url: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<&'a str>,
    },
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Output<'a> {
    Text(&'a str),
    Parts(Vec<Content<'a>>),
}

impl<'a> ResponseItem<'a> {
    fn new(item: &'a Item) -> Self {
        match item {
            Item::Message { role, parts } => {
                let content = parts.iter().map(|part| Content::new(part, *role)).collect();
                let role = match role {
                    Role::Developer => "developer",
                    Role::User => "user",
                    Role::Assistant => "assistant",
                };
                Self::Message { role, content }
            }
            Item::Call {
                id,
                name,
                arguments,
            } => Self::FunctionCall {
                call_id: id,
                name,
                arguments,
            },
            Item::CallOutput { id, parts } => {
                let output = match parts.as_slice() {
                    [] => Output::Text(""),
                    [Part::Text(text)] => Output::Text(text),
                    parts => Output::Parts(
                        parts
                            .iter()
                            .map(|part| Content::new(part, Role::User))
                            .collect(),
                    ),
                };
                Self::FunctionCallOutput {
                    call_id: id,
                    output,
                }
            }
        }
    }
}

impl<'a> Content<'a> {
    fn new(part: &'a Part, role: Role) -> Self {
        match part {
            Part::Text(text) if role == Role::Assistant => Self::OutputText { text },
            Part::Text(text) => Self::InputText { text },
            Part::Image { url, detail } => Self::InputImage {
                image_url: url,
                detail: detail.as_deref(),
            },
        }
    }
}

/// The parameters of every notification we read, in one shape: each uses some of them.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Params<'a> {
    #[serde(borrow)]
    pub(super) thread_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) turn_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) item_id: Option<Cow<'a, str>>,
    pub(super) delta: Option<String>,
    pub(super) summary_index: Option<u64>,
    pub(super) content_index: Option<u64>,
    #[serde(borrow)]
    pub(super) item: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) turn: Option<&'a RawValue>,
    pub(super) usage: Option<TokenUsage>,
    pub(super) error: Option<Failure>,
    pub(super) will_retry: bool,
}

/// A finished item. Only the kinds that matter are told apart.
#[derive(Debug, Deserialize)]
#[serde(tag = "type")]
pub(super) enum DoneItem {
    /// A message of the answer.
    #[serde(rename = "agentMessage")]
    AgentMessage { id: String, text: String },
    /// A reasoning item; its parts.
    #[serde(rename = "reasoning")]
    Reasoning {
        id: String,
        #[serde(default)]
        summary: Vec<String>,
        #[serde(default)]
        content: Vec<String>,
    },
    #[serde(other)]
    Other,
}

/// A finished item as the provider sent it.
#[derive(Debug, Deserialize)]
#[serde(tag = "type")]
pub(super) enum RawItem {
    /// A call of a client's function.
    #[serde(rename = "function_call")]
    FunctionCall {
        call_id: String,
        name: String,
        arguments: String,
    },
    #[serde(other)]
    Other,
}

/// The turn within `turn/started` and `turn/completed`.
#[derive(Debug, Deserialize)]
pub(super) struct TurnState<'a> {
    #[serde(borrow)]
    pub(super) id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) status: Cow<'a, str>,
    #[serde(default)]
    pub(super) error: Option<Failure>,
    #[serde(borrow, default)]
    pub(super) items: Vec<&'a RawValue>,
}

/// What one upstream response cost.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct TokenUsage {
    input_tokens: u64,
    cached_input_tokens: u64,
    output_tokens: u64,
    reasoning_output_tokens: u64,
}

impl From<TokenUsage> for Usage {
    fn from(usage: TokenUsage) -> Self {
        Self {
            input: usage.input_tokens,
            cached_input: usage.cached_input_tokens,
            output: usage.output_tokens,
            reasoning: usage.reasoning_output_tokens,
        }
    }
}
