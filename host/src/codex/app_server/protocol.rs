//! The part of the app-server's JSON-RPC that the gateway uses: what it sends, and the parts it reads.

mod notifications;
mod requests;
mod work;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

pub(super) use notifications::{
    COMMENTARY, DoneItem, Notification, Params, RawItem, StartedItem, TurnState,
};
pub(super) use requests::{
    InjectItems, StoredThread, Thread, ThreadFork, ThreadStart, TurnInterrupt, TurnStart,
    initialize,
};
pub(super) use work::{FileUpdate, WorkItem};

/// A method that the gateway calls. Each is named here once, because errors and logs name it too.
pub(super) type Method = &'static str;

pub(super) const INITIALIZE: Method = "initialize";
pub(super) const AUTH_STATUS: Method = "getAuthStatus";
pub(super) const COMMAND_EXEC: Method = "command/exec";
pub(super) const CONFIG_READ: Method = "config/read";
pub(super) const THREAD_START: Method = "thread/start";
pub(super) const THREAD_FORK: Method = "thread/fork";
pub(super) const INJECT_ITEMS: Method = "thread/inject_items";
pub(super) const END_COMMANDS: Method = "thread/backgroundTerminals/clean";
pub(super) const UNSUBSCRIBE: Method = "thread/unsubscribe";
pub(super) const TURN_START: Method = "turn/start";
pub(super) const TURN_INTERRUPT: Method = "turn/interrupt";
pub(super) const DIAGNOSTICS: Method = "server/diagnostics";

/// Codex's error code for a method it does not know, and for many other mistakes.
pub(super) const INVALID_REQUEST: i64 = -32600;

/// A request of the gateway.
#[derive(Debug, Serialize)]
pub(super) struct Request<'a, P: ?Sized> {
    pub(super) id: u64,
    pub(super) method: Method,
    pub(super) params: &'a P,
}

/// The empty parameters of a method that has none.
#[derive(Debug, Serialize)]
pub(super) struct Nothing {}

/// The parameters of [`AUTH_STATUS`]: asks for no secret, and for no renewal.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AuthStatus {
    pub(super) include_token: bool,
    pub(super) refresh_token: bool,
}

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

/// The part of a request for the output of a call that the gateway uses.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ToolCall<'a> {
    #[serde(borrow)]
    pub(super) thread_id: Cow<'a, str>,
    pub(super) call_id: String,
}

/// A JSON-RPC error.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct RpcError {
    pub(super) code: i64,
    pub(super) message: String,
}

/// The gateway's answer to a request from the worker.
#[derive(Debug, Serialize)]
pub(super) struct Answered {
    pub(super) id: Value,
    #[serde(flatten)]
    pub(super) reply: Reply,
}

/// The answer in the request's own form, or a JSON-RPC error.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Reply {
    Result(Value),
    Error(RpcError),
}

/// The answer to `thread/start`, and to `thread/fork`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ThreadStarted {
    pub(super) thread: Named,
    /// The permission profile that restricts its commands.
    #[serde(default)]
    pub(super) active_permission_profile: Option<Named>,
}

/// The answer to `turn/start`.
#[derive(Debug, Deserialize)]
pub(super) struct TurnStarted {
    pub(super) turn: Named,
}

/// The members of the answer to `server/diagnostics` that the gateway uses.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Diagnostics {
    pub(super) process: ProcessDiagnostics,
}

/// See [`Diagnostics`].
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ProcessDiagnostics {
    /// Bytes of memory in use.
    pub(super) resident_memory_bytes: Option<u64>,
}

/// A thread or a turn, by its id.
#[derive(Debug, Deserialize)]
pub(super) struct Named {
    pub(super) id: String,
}
