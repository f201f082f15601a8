//! The parameters of the requests that the gateway sends.

use std::borrow::Cow;
use std::path::Path;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::super::tool_schema;
use super::super::workspace::{PROFILE, Workspace};
use crate::codex::names::for_codex;
use crate::codex::{Item, Part, Plan, Role, Tool};

/// The handshake. Without `experimentalApi` Codex refuses most of what the gateway uses.
pub(in super::super) fn initialize() -> Value {
    serde_json::json!({
        "clientInfo": {"name": "codex_gateway", "title": "codex-gateway", "version": env!("CARGO_PKG_VERSION")},
        "capabilities": {
            "experimentalApi": true,
            "optOutNotificationMethods": [
                "thread/started", "thread/status/changed", "thread/settings/updated",
                "account/rateLimits/updated", "remoteControl/status/changed", "configWarning",
            ],
        },
    })
}

/// `thread/start`: a thread that leaves no trace. For chat it has only the client's tools; for an agent, with a
/// workspace, Codex's own as well.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in super::super) struct ThreadStart<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_provider: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'a str>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    config: Map<String, Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dynamic_tools: Vec<DynamicTool<'a>>,
    approval_policy: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sandbox: Option<&'static str>,
    /// The permission profile in place of a sandbox mode: the two exclude each other.
    #[serde(skip_serializing_if = "Option::is_none")]
    permissions: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cwd: Option<&'a Path>,
    ephemeral: bool,
    #[serde(flatten)]
    bare: Option<Bare>,
    experimental_raw_events: bool,
}

/// The parameters that take an agent's tools and prompts away.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Bare {
    /// Empty: there is no place to run commands.
    environments: [Value; 0],
    /// Empty, like the next: no prompt comes before the client's, neither Codex's nor the operator's.
    base_instructions: &'static str,
    developer_instructions: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DynamicTool<'a> {
    r#type: &'static str,
    name: Cow<'a, str>,
    description: &'a str,
    input_schema: Value,
}

impl<'a> ThreadStart<'a> {
    pub(in super::super) fn new(plan: &'a Plan, workspace: Option<&'a Workspace>) -> Self {
        let mut config = workspace.map(Workspace::settings).unwrap_or_default();
        if let Some(verbosity) = &plan.verbosity {
            config.insert("model_verbosity".to_owned(), verbosity.as_str().into());
        }
        let (sandbox, permissions) = match workspace {
            Some(workspace) if workspace.is_sandboxed() => (None, Some(PROFILE)),
            Some(_) => (Some("danger-full-access"), None),
            None => (Some("read-only"), None),
        };
        Self {
            model: &plan.model,
            model_provider: plan.provider.as_deref(),
            service_tier: plan.service_tier.as_deref(),
            config,
            dynamic_tools: plan.tools.iter().map(DynamicTool::new).collect(),
            approval_policy: "never",
            sandbox,
            permissions,
            cwd: workspace.map(Workspace::cwd),
            ephemeral: true,
            bare: workspace.is_none().then(Bare::default),
            experimental_raw_events: true,
        }
    }
}

/// `thread/fork`: a thread for chat whose cache key is that of a stored one.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in super::super) struct ThreadFork<'a> {
    /// Empty: the path counts.
    thread_id: &'static str,
    /// The file of a [`StoredThread`].
    path: &'a Path,
    exclude_turns: bool,
    /// As of `thread/start`.
    #[serde(flatten)]
    start: Map<String, Value>,
}

impl<'a> ThreadFork<'a> {
    /// With the parameters of `thread/start`.
    pub(in super::super) fn new(start: &RawValue, path: &'a Path) -> serde_json::Result<Self> {
        let mut start: Map<String, Value> = serde_json::from_str(start.get())?;
        // No parameter of a fork.
        start.remove("experimentalRawEvents");
        Ok(Self {
            thread_id: "",
            path,
            exclude_turns: true,
            start,
        })
    }
}

/// A thread as Codex stores it, with no conversation in it: the only line of a file that is forked. A fork has the id of its
/// origin as the key of the provider's cache.
#[derive(Debug, Serialize)]
pub(in super::super) struct StoredThread<'a> {
    timestamp: &'static str,
    r#type: &'static str,
    payload: StoredMeta<'a>,
}

#[derive(Debug, Serialize)]
struct StoredMeta<'a> {
    id: &'a str,
    session_id: &'a str,
    timestamp: &'static str,
    cwd: &'static str,
    originator: &'static str,
    cli_version: &'static str,
    source: &'static str,
    /// Otherwise a fork has Codex's tools for more agents.
    multi_agent_version: &'static str,
}

impl<'a> StoredThread<'a> {
    /// The thread with this id.
    pub(in super::super) fn new(id: &'a str) -> Self {
        const LONG_AGO: &str = "1970-01-01T00:00:00Z";
        Self {
            timestamp: LONG_AGO,
            r#type: "session_meta",
            payload: StoredMeta {
                id,
                session_id: id,
                timestamp: LONG_AGO,
                cwd: "/",
                originator: "codex_gateway",
                cli_version: env!("CARGO_PKG_VERSION"),
                source: "vscode",
                multi_agent_version: "disabled",
            },
        }
    }
}

impl<'a> DynamicTool<'a> {
    fn new(tool: &'a Tool) -> Self {
        Self {
            r#type: "function",
            name: for_codex(&tool.name),
            description: tool.description.as_deref().unwrap_or_default(),
            input_schema: tool_schema::in_words(&tool.parameters),
        }
    }
}

/// `thread/unsubscribe`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in super::super) struct Thread<'a> {
    pub(in super::super) thread_id: &'a str,
}

/// After how many bytes of images a request to inject ends: Codex unpacks all images of a request, even if the client has left
/// meanwhile, and 16 million pixels take it 0.4 s. An item is never divided.
const IMAGES_AT_ONCE: usize = 256 << 10;

/// `thread/inject_items`: the conversation so far, or a part of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in super::super) struct InjectItems<'a> {
    thread_id: &'a str,
    items: Vec<ResponseItem<'a>>,
}

impl<'a> InjectItems<'a> {
    /// The requests that inject these items, in order: one, unless there are many bytes of images.
    pub(in super::super) fn parts(
        thread_id: &'a str,
        items: &'a [Item],
    ) -> impl Iterator<Item = Self> {
        let mut images = 0;
        let fits = move |item: &Item, _: &Item| {
            images += bytes_of_images(item);
            if images < IMAGES_AT_ONCE {
                return true;
            }
            images = 0;
            false
        };
        items.chunk_by(fits).map(move |items| Self {
            thread_id,
            items: items.iter().map(ResponseItem::new).collect(),
        })
    }
}

fn bytes_of_images(item: &Item) -> usize {
    let parts = match item {
        Item::Message { parts, .. } | Item::CallOutput { parts, .. } => parts.as_slice(),
        Item::Call { .. } => &[],
    };
    let bytes = parts.iter().map(|part| match part {
        Part::Image { url, .. } => url.len(),
        Part::Text(_) => 0,
    });
    bytes.sum()
}

/// `turn/start`: has Codex answer the injected conversation.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in super::super) struct TurnStart<'a> {
    thread_id: &'a str,
    input: [Value; 0],
    /// Empty for a fork, which does not have that of `thread/start`: there is no place to run commands.
    #[serde(skip_serializing_if = "Option::is_none")]
    environments: Option<[Value; 0]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'a str>,
    summary: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_schema: Option<&'a Value>,
}

impl<'a> TurnStart<'a> {
    pub(in super::super) fn new(thread_id: &'a str, plan: &'a Plan, is_fork: bool) -> Self {
        Self {
            thread_id,
            input: [],
            environments: is_fork.then_some([]),
            effort: plan.effort.as_deref(),
            summary: plan.summary(),
            output_schema: plan.output_schema.as_ref(),
        }
    }
}

/// `turn/interrupt`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in super::super) struct TurnInterrupt<'a> {
    pub(in super::super) thread_id: &'a str,
    pub(in super::super) turn_id: &'a str,
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
        name: Cow<'a, str>,
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
                let role = role.name();
                Self::Message { role, content }
            }
            Item::Call {
                id,
                name,
                arguments,
            } => Self::FunctionCall {
                call_id: id,
                name: for_codex(name),
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
