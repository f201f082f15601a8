//! The environment variables: their names and documentation, and the only place that reads them.

use std::path::Path;

use super::problem::{Problem, Warning};

/// A variable that the gateway reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// The value that applies if it is not set, as text for people.
    pub default: &'static str,
    /// Its effect, in one sentence.
    pub what: &'static str,
}

impl Variable {
    /// Whether its value must not be shown.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        let endings = ["_KEY", "_TOKEN", "_SECRET", "_PASSWORD", "_HEADERS"];
        endings.iter().any(|ending| self.name.ends_with(ending))
    }
}

macro_rules! variables {
    ($($name:ident, $default:literal, $what:literal;)*) => {
        $(#[doc = $what] pub const $name: Variable = Variable { name: stringify!($name), default: $default, what: $what };)*
        /// All variables, in the order of docs/src/settings.md.
        pub const ALL: &[Variable] = &[$($name),*];
    };
}

variables! {
    PROXY_HOST, "127.0.0.1", "Address to listen on.";
    PORT, "11435", "Port to listen on; 0 takes any free one.";
    AUTH_PORT, "none", "A further port for edge proxies only (`/verify`, `/auth-request`, `/ext-authz`, `/healthz`); 0 takes any free one.";
    PROXY_REUSE_PORT, "false", "Whether another gateway of the same user may listen on the same ports meanwhile (`SO_REUSEPORT`), to replace this one (see [Two at once](operating.md#two-at-once)). It then listens when it can answer, not before.";
    PROXY_ENV, "dev", "`dev` (or `development`) or `prod` (or `production`): which model names are listed, and how strict the start is.";
    PROXY_API_KEY, "a random key, printed at start", "The key clients send as `Authorization: Bearer KEY`. Superseded by an `auth.json`.";
    PROXY_PROTECT_MODELS, "false", "Whether `/v1/models` needs the key, too. Superseded by an `auth.json`.";
    AUTH_REALM, "api", "The realm named to callers without a right key. Superseded by an `auth.json`.";
    PROXY_TRUST_PROXY, "loopback", "Peers whose `X-Forwarded-…`, `Forwarded` and `X-Original-…` are believed: `loopback`, `linklocal`, `uniquelocal` (private networks), `none`, or addresses and CIDRs, comma-separated.";
    PROXY_ENABLE_CORS, "true", "Whether web pages may call at all; see [From a web page](clients.md#from-a-web-page).";
    PROXY_CORS_ALLOWED_ORIGINS, "*", "The web pages that may call: `*` for all (without cookies), or origins as `https://app.example,app://obsidian.md`, comma-separated; `http://localhost` is all its ports.";
    ADMIN_ADDR, "none", "Where operators reach the gateway ([Admin](admin.md)): an address as `127.0.0.1:11436`, or a Unix socket as `unix:/run/codex-gateway/admin.sock`, which the gateway's user alone may open.";
    ADMIN_TOKEN, "none", "The token of the operator `operator`, who may do everything at `ADMIN_ADDR`. `codex-gateway admin` sends it.";
    ADMIN_FILE, "none", "A file with further operators: a list of `{\"id\", \"sha256\", \"role\"}`, with the role `view` or `operate`. Changes are noticed within two seconds.";
    POLICY_DIR, "none", "A folder whose `auth.wasm`, `auth.json`, … override the built-in policies, slot by slot, while the gateway runs.";
    POLICY_TRUSTED_KEYS, "none", "Public keys of minisign, or files with one, comma-separated: files of policies that none of them signed are refused at every door (see [Trust](policies/trust.md)). Without it no file needs a signature.";
    POLICY_RECORD, "none", "A folder where every decision is recorded, to be decided again with other policies (see [Records](records.md)); made if it is not there, for the gateway's user alone.";
    POLICY_RECORD_MAX_BYTES, "1073741824", "The most bytes of the files in `POLICY_RECORD` together, 4194304 at least; the oldest are removed.";
    PROXY_STATE_DIR, "none", "A folder where rate limits and the last good policies are remembered between two runs.";
    PROXY_CACHE_DIR, "`cache` in PROXY_STATE_DIR, else `~/.cache/codex-gateway`", "A folder where compiled policies are kept, so that a start does not compile them again; made if it is not there, for the gateway's user alone. `none`: nowhere.";
    CODEX_BIN, "codex", "The Codex program: a path, or a name looked up in PATH.";
    CODEX_BACKEND, "auto", "How to speak to Codex: `auto` as the program offers, `app-server`, `proto` (CLIs up to 0.42: text only), or `demo`, the built-in script.";
    CODEX_MODE, "chat", "`chat`: Codex is a plain chat model with the client's tools only. `agent`: it keeps its own tools and works in a folder (see [Agent mode](agents.md)).";
    PROXY_SANDBOX_MODE, "read-only", "The rights of an agent's commands: `read-only`, `workspace-write` (write in their folder), `danger-full-access` (anything the gateway's user may).";
    CODEX_HOME, "Codex's own (`~/.codex`)", "Codex's folder, with its login and `config.toml`.";
    CODEX_MODEL, "Codex's default", "The model that the `codex-5` names and a request without a model mean.";
    CODEX_FORCE_PROVIDER, "Codex's default", "A model provider of Codex's `config.toml`.";
    PROXY_CODEX_WORKDIR, "an empty folder", "The Codex child's working directory. Agents all work in it; without it each turn has a new folder, deleted with the turn.";
    CODEX_QUICK_ROOTS, "auto", "`auto`: with a tested Codex version, on Linux, Codex gets its root certificates in a form that it reads fast; `true`: with any version; `false`: never (see [Root certificates](operating.md#root-certificates)).";
    PROXY_CODEX_ENV, "none", "Further variables the Codex child gets, by name, comma-separated; its environment is otherwise rebuilt from a short list and what its `config.toml` refers to.";
    PROXY_RATE_LIMIT_ENABLED, "false", "Limits requests per caller. Superseded by a `rate-limit.json`.";
    PROXY_RATE_LIMIT_WINDOW_MS, "60000", "The window of `PROXY_RATE_LIMIT_MAX`, in milliseconds. Superseded by a `rate-limit.json`.";
    PROXY_RATE_LIMIT_MAX, "60", "Requests one caller may send in a window, with `PROXY_RATE_LIMIT_ENABLED`. Superseded by a `rate-limit.json`.";
    PROXY_SSE_MAX_CONCURRENCY, "0", "Streams one caller may have open at once; 0 is no limit. Superseded by a `rate-limit.json`.";
    PROXY_STOP_AFTER_TOOLS, "false", "Ends a turn after its tool calls. Superseded by a `tool-stop.json`.";
    PROXY_STOP_AFTER_TOOLS_MODE, "burst", "`first`: at the first call, also if `PROXY_STOP_AFTER_TOOLS` is not set; `burst`: when no further call came within `PROXY_STOP_AFTER_TOOLS_GRACE_MS`. Superseded by a `tool-stop.json`.";
    PROXY_STOP_AFTER_TOOLS_GRACE_MS, "300", "The time for further calls in the mode `burst`, in milliseconds. Superseded by a `tool-stop.json`.";
    PROXY_TOOL_BLOCK_MAX, "0", "Tool calls after which a turn ends; 0 is no limit. Superseded by a `tool-stop.json`.";
    PROXY_SUPPRESS_TAIL_AFTER_TOOLS, "false", "Withholds text that follows a tool call. Superseded by a `tool-stop.json`.";
    PROXY_TOOL_BLOCK_DEDUP, "false", "Leaves out a tool call that the turn made before, with the same arguments. Superseded by a `tool-stop.json`.";
    PROXY_TOOL_BLOCK_DELIMITER, "none", "The text between two `<use_tool>` blocks of an answer that follow each other: `true` for a blank line, or the text itself, with `\\n` for a new line. Without it the model's own.";
    PROXY_DEFAULT_STREAM, "false", "Whether a chat request that has no `stream` is answered as a stream.";
    PROXY_ENABLE_RESPONSES, "true", "Whether `/v1/responses` is there.";
    PROXY_URL_ALIASES, "true", "Whether the endpoints under `/v1` are also served at the URLs of clients with another base URL: without `/v1`, with it twice, with slashes too many, or as Azure's have it. With `false` these are a 404 that names the right URL.";
    PROXY_ENABLE_WEBSOCKET, "true", "Whether `/v1/responses` also answers over a WebSocket. With `false` clients that ask for one get a 426.";
    PROXY_WEBSOCKET_MAX_AGE_MS, "3600000", "How long a WebSocket takes new turns; then it is closed. Code `websocket_connection_limit_reached`.";
    PROXY_WEBSOCKET_IDLE_MS, "900000", "The longest a WebSocket may be open without a turn.";
    PROXY_WEBSOCKET_MAX_PER_CALLER, "1000", "The most WebSockets one caller may have open.";
    PROXY_IGNORE_CLIENT_SYSTEM_PROMPT, "false", "Drops `system` and `developer` messages and `instructions`, unless nothing else was said.";
    PROXY_REFUSE_HOSTED_TOOLS, "false", "Refuses a `/v1/responses` or `/v1/messages` request that offers a tool which OpenAI or Anthropic runs itself, like `web_search`. Otherwise the tool is left out, and the header `x-codex-left-out` names it.";
    PROXY_MAX_PROMPT_TOKENS, "0", "The longest prompt with its tools, at four characters a token; longer ones are refused before the caller's limits are charged. 0 is no limit.";
    PROXY_RESPONSES_DEFAULT_MAX_TOKENS, "0", "`max_output_tokens` of a `/v1/responses` request that has none; 0 is no limit.";
    PROXY_MAX_CHAT_CHOICES, "5", "The most answers (`n`) a chat request may ask for; each is a turn of its own. No request has more turns under way at once.";
    PROXY_MAX_COMPLETION_CHOICES, "20", "The most answers a request to `/v1/completions` may ask for: its prompts, each `n` times. Each is a turn of its own.";
    PROXY_OUTPUT_MODE, "obsidian-xml", "The form of tool calls that the model writes as `<use_tool>` text: `obsidian-xml` leaves them text, and asks the tool-stop policy about them, `openai-json` makes those of tools that the request offers `tool_calls` (all, if it offers none), `text` does not look for them. The header `x-proxy-output-mode` overrides it for one request.";
    PROXY_RESPONSES_OUTPUT_MODE, "text", "As `PROXY_OUTPUT_MODE`, for `/v1/responses` and `/v1/messages`.";
    PROXY_MAX_BODY_BYTES, "16777216", "The largest request body, 62914560 at most.";
    PROXY_TIMEOUT_MS, "300000", "The longest a whole answer may take. Code `request_timeout`.";
    PROXY_FIRST_TOKEN_TIMEOUT_MS, "0", "The longest an answer may take to begin, with reasoning or text; 0 is no limit. Code `first_token_timeout`.";
    PROXY_STREAM_IDLE_TIMEOUT_MS, "300000", "The longest Codex may be silent within a streamed answer. Code `stream_idle_timeout`.";
    PROXY_IDLE_TIMEOUT_MS, "300000", "The longest Codex may be silent within an answer in one piece: models think in silence for minutes. Code `idle_timeout`.";
    PROXY_PROTO_IDLE_MS, "120000", "As `PROXY_IDLE_TIMEOUT_MS`, with a Codex up to 0.42 (`proto`), if it is shorter. Code `proto_idle_timeout`.";
    PROXY_KILL_ON_DISCONNECT, "true", "Whether a turn ends when its client has gone, streamed or not. With `false` it runs to its end, and keeps its worker for so long.";
    PROXY_SSE_KEEPALIVE_MS, "15000", "Silence after which a stream gets a comment line, so that proxies keep it open; 0 is never. Never for a User-Agent with `Obsidian` or `Electron`, `X-No-Keepalive: 1` or `?no_keepalive=1`.";
    PROXY_DRAIN_DELAY_MS, "0", "How long requests are still taken after SIGTERM, in milliseconds, while `/readyz` already says no: load balancers turn away first. Then the grace begins.";
    PROXY_SHUTDOWN_GRACE_MS, "30000", "How long streams may finish after SIGTERM.";
    PROXY_LOG, "info", "The events that are logged: a level, or directives as `codex_gateway=debug,policy=info`.";
    PROXY_LOG_FORMAT, "text", "`text` or `json`; with `PROXY_ENV=prod` the default is `json`.";
    PROXY_ENABLE_METRICS, "false", "Serves `/metrics`.";
    PROXY_METRICS_TOKEN, "none", "A scraper that sends it as `Authorization: Bearer TOKEN` may read the metrics; a client's key may not.";
    PROXY_METRICS_ALLOW_LOOPBACK, "true", "Whether this machine may read the metrics without `PROXY_METRICS_TOKEN`. Wrong behind a proxy on the same machine that sends no `X-Forwarded-For`.";
    PROXY_METRICS_ALLOW_UNAUTH, "false", "Whether everybody may read the metrics. A mistake with `PROXY_ENV=prod`.";
    PROXY_TEST_ENDPOINTS, "false", "Serves `/__test/conc`, which counts turns, permits and connections, to the readers of the metrics: this machine, or with `PROXY_METRICS_TOKEN`. A mistake with `PROXY_ENV=prod`.";
    TOKEN_LOG_PATH, "none", "A file that the usage of each turn is appended to, one JSON object a line. Without it nothing is recorded, and `/v1/usage` says so.";
    TOKEN_LOG_MAX_BYTES, "16777216", "The largest size of the file of `TOKEN_LOG_PATH`; then it becomes `….1`, the one before `….2`, and so on. A file that cannot be renamed grows to twice this size.";
    TOKEN_LOG_MAX_FILES, "5", "How many files of `TOKEN_LOG_PATH` are kept, the newest included.";
    PROXY_DEBUG_PROTO, "false", "Records each message between the gateway and Codex in the file of `PROTO_LOG_PATH`: names, ids, sizes and times, not the content (see [The protocol log](operating.md#the-protocol-log)).";
    PROXY_DEBUG_PROTO_BODIES, "false", "Whether `PROXY_DEBUG_PROTO` also records what callers and models say. A mistake with `PROXY_ENV=prod`.";
    PROTO_LOG_PATH, "none", "The file for `PROXY_DEBUG_PROTO`, one JSON object a line.";
    PROTO_LOG_MAX_BYTES, "16777216", "The largest size of the file of `PROTO_LOG_PATH`; then it becomes `….1`, the one before `….2`, and so on. A file that cannot be renamed grows to twice this size.";
    PROTO_LOG_MAX_FILES, "5", "How many files of `PROTO_LOG_PATH` are kept, the newest included.";
    OTEL_EXPORTER_OTLP_ENDPOINT, "none", "The collector that traces are sent to by OTLP over HTTP, as `http://127.0.0.1:4318`; `/v1/traces` is appended, unless it is there.";
    OTEL_SERVICE_NAME, "codex-gateway", "The name of the gateway in traces.";
    WORKER_STARTUP_TIMEOUT_MS, "8000", "The longest a Codex child may take to be ready.";
    WORKER_REQUEST_TIMEOUT_MS, "30000", "The longest a Codex child may take to answer one request of ours.";
    WORKER_BACKOFF_INITIAL_MS, "500", "The wait before a child that failed is started again; doubles each time. The first restart is at once.";
    WORKER_BACKOFF_MAX_MS, "5000", "The longest wait before a child that failed is started again.";
    WORKER_SHUTDOWN_GRACE_MS, "5000", "How long a child may take to end before it is killed.";
    WORKER_MAX_CONCURRENCY, "64", "Turns one child runs at once (`proto`: turns, and so children, at once).";
    CODEX_WORKERS, "1", "Codex app-server children that share the turns; each takes the next one when it is the least loaded.";
    PROXY_QUEUE_MAX, "64", "Turns that may wait, in order, while every child is at its limit; further ones get a 503 with `retry-after`.";
    PROXY_QUEUE_WAIT_MS, "30000", "The longest a turn may wait while every child is at its limit.";
    WORKER_PROBE_INTERVAL_MS, "10000", "How often an app-server child is asked for a sign of life, its memory and its disk use.";
    WORKER_RECYCLE_TURNS, "5000", "Turns after which a fresh child takes over; the old one leaves after its last turn. 0 is never.";
    WORKER_RECYCLE_MEMORY_MB, "1024", "A child's memory, in MiB, at which a fresh child takes over; 0 is never. A fresh child takes some 120.";
    WORKER_RECYCLE_DISK_MB, "512", "The size of a child's own files, in MiB, at which a fresh child takes over; 0 is never.";
}

/// The source of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The process environment.
    Environment,
    /// The `.env` file.
    File,
    /// Not set by the operator: the default.
    Default,
    /// Not set by the operator: derived from other values, or found on this machine.
    Derived,
}

impl Origin {
    /// The name of the source.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Environment => "environment",
            Self::File => ".env",
            Self::Default => "default",
            Self::Derived => "derived",
        }
    }
}

/// A source of variables: the process environment, with or without a `.env` file, or a map in a test.
pub trait Vars {
    /// The value, if set and valid Unicode.
    fn get(&self, name: &str) -> Option<String>;

    /// Whether it is set to a value that is not Unicode, so that [`Vars::get`] has none.
    fn is_garbled(&self, _name: &str) -> bool {
        false
    }

    /// All variables, from which the environment of the Codex child is chosen.
    fn all(&self) -> Vec<(String, String)>;

    /// The source of a value that is set.
    fn origin(&self, _name: &str) -> Origin {
        Origin::Environment
    }

    /// The file that some values were read from.
    fn file(&self) -> Option<&Path> {
        None
    }

    /// The mistakes of the source itself.
    fn problems(&self) -> Vec<Problem> {
        Vec::new()
    }

    /// A warning about the source itself.
    fn warning(&self) -> Option<Warning> {
        None
    }
}

/// The process's own environment.
#[derive(Debug, Clone, Copy)]
pub struct Process;

impl Vars for Process {
    fn get(&self, name: &str) -> Option<String> {
        #[expect(clippy::disallowed_methods, reason = "this is the one place")]
        std::env::var_os(name)?.into_string().ok()
    }

    fn is_garbled(&self, name: &str) -> bool {
        #[expect(clippy::disallowed_methods, reason = "this is the one place")]
        std::env::var_os(name).is_some_and(|value| value.to_str().is_none())
    }

    fn all(&self) -> Vec<(String, String)> {
        let pairs = std::env::vars_os();
        pairs
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }
}

impl Vars for std::collections::HashMap<String, String> {
    fn get(&self, name: &str) -> Option<String> {
        std::collections::HashMap::get(self, name).cloned()
    }

    fn all(&self) -> Vec<(String, String)> {
        self.iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }
}
