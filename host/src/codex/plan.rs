//! A fully decided request to Codex, as data free of any wire format.

use std::sync::Arc;

use serde_json::Value;

/// A turn to start.
#[derive(Debug, Clone)]
pub struct Order {
    /// The plan. Several turns of one request share it, so that their conversation is in memory only once.
    pub plan: Arc<Plan>,
    /// Whether the turn takes the place of another one of its request, which has ended: a full queue does not refuse it.
    pub follows: bool,
}

impl From<Plan> for Order {
    fn from(plan: Plan) -> Self {
        let plan = Arc::new(plan);
        let follows = false;
        Self { plan, follows }
    }
}

/// One turn to run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// The id of the client's request, for the protocol log.
    pub request: String,
    /// The caller and its tenant: no two callers share a conversation.
    pub caller: String,
    /// The model Codex is asked to run.
    pub model: String,
    /// Reasoning effort; absent means the model's default.
    pub effort: Option<String>,
    /// The form of the reasoning summary: `auto`, `concise` or `detailed`; absent means `auto`.
    pub summary: Option<String>,
    /// A provider of Codex's configuration; absent means its default.
    pub provider: Option<String>,
    /// `low`, `medium` or `high`.
    pub verbosity: Option<String>,
    /// `flex` or `priority`.
    pub service_tier: Option<String>,
    /// The whole conversation, oldest first.
    pub history: Vec<Item>,
    /// How many items at the end of the history are the gateway's own instructions, and no part of what the client sends again.
    pub closing: usize,
    /// The client's name for requests whose prompts begin alike, for the provider's cache.
    pub cache_key: Option<String>,
    /// Functions the client offers.
    pub tools: Vec<Tool>,
    /// A JSON Schema the answer must follow.
    pub output_schema: Option<Value>,
    /// Whether the answer must be one JSON object; without a schema, the history asks for it in words.
    pub json: bool,
}

impl Plan {
    /// The form of the reasoning summary, as Codex names it. It is always sent: without it Codex uses the model's default,
    /// which is no summary.
    #[must_use]
    pub fn summary(&self) -> &str {
        self.summary.as_deref().unwrap_or("auto")
    }
}

/// The author of a message. OpenAI's `system` is a developer message to Codex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Instructions.
    Developer,
    /// The person.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// Its name in the Responses API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Developer => "developer",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// One entry of the conversation.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// A message.
    Message {
        /// Its author.
        role: Role,
        /// Its content, in order.
        parts: Vec<Part>,
    },
    /// A call the model made earlier.
    Call {
        /// The id that ties the output to the call.
        id: String,
        /// The function.
        name: String,
        /// The arguments as the model wrote them.
        arguments: String,
    },
    /// The output of the client's function.
    CallOutput {
        /// The call's id.
        id: String,
        /// The content, in order.
        parts: Vec<Part>,
    },
}

impl Item {
    /// Whether it is a message with instructions.
    #[must_use]
    pub const fn is_instruction(&self) -> bool {
        matches!(
            self,
            Self::Message {
                role: Role::Developer,
                ..
            }
        )
    }
}

/// A piece of content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Plain text.
    Text(String),
    /// A picture inside the request.
    Image {
        /// A `data:` URL.
        url: String,
        /// `auto`, `high` or `original`: Codex 0.160.0 to 0.171.0 send no picture with `low`.
        detail: Option<String>,
    },
}

/// A function the client offers.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// Its name, as the client wrote it.
    pub name: String,
    /// Its description, for the model.
    pub description: Option<String>,
    /// JSON Schema of its arguments.
    pub parameters: Value,
}
