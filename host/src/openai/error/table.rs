//! Every error of the gateway's own: its status, `type`, code and sentence. docs/src/errors.md is made of this table.

/// The part that is the same for every occurrence of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The HTTP status, where the answer has not begun.
    pub status: u16,
    /// The API's `type`.
    pub kind: &'static str,
    /// The API's `code`.
    pub code: &'static str,
    /// When it happens, one sentence.
    pub when: &'static str,
    /// Whether the client is told when to try again.
    pub retry: Retry,
}

/// Whether another try is worth it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Not said: clients go by the status.
    Unsaid,
    /// After so many milliseconds: `retry-after` and `retry-after-ms`.
    After(u64),
    /// Another try will not help before somebody has acted: `x-should-retry: false`.
    Never,
}

/// A sentence that says when, then `Variant { fields } = status, type, code, message`, and whether to try again.
macro_rules! errors {
    ($(
        #[doc = $when:literal]
        $name:ident $({ $($field:ident: $of:ty),+ })? = $status:literal, $kind:expr, $code:literal, $sentence:tt $(, $retry:expr)?;
    )*) => {
        /// An error of the gateway's own, with what differs between its occurrences.
        #[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
        pub(crate) enum GatewayError {
            $(#[doc = $when] #[error($sentence)] $name $({ $($field: $of),+ })?,)*
        }

        impl GatewayError {
            /// Its row of the table.
            pub(crate) const fn row(&self) -> Row {
                match self {
                    $(Self::$name { .. } => errors!(@row $status, $kind, $code, $when $(, $retry)?),)*
                }
            }
        }

        /// The whole table.
        pub const ROWS: &[Row] = &[$(errors!(@row $status, $kind, $code, $when $(, $retry)?)),*];
    };
    (@row $status:expr, $kind:expr, $code:expr, $when:expr) => {
        errors!(@row $status, $kind, $code, $when, Retry::Unsaid)
    };
    (@row $status:expr, $kind:expr, $code:expr, $when:expr, $retry:expr) => {
        Row { status: $status, kind: $kind, code: $code, when: $when, retry: $retry }
    };
}

const INVALID: &str = "invalid_request_error";
const SERVER: &str = "server_error";
const BACKEND: &str = "backend_unavailable";
const TIMEOUT: &str = "timeout_error";

/// A lease is usually free, or another instance up, within a second.
const SOON: Retry = Retry::After(1_000);

errors! {
    // Requests that cannot be read.

    /// No HTTP request was sent.
    InvalidHttp = 400, INVALID, "invalid_http", "What was sent is no HTTP request: its first line, a header or its length cannot be read.";
    /// The head of a request did not arrive within ten seconds.
    HeadTooSlow = 408, TIMEOUT, "request_timeout", "The request's head did not arrive within ten seconds.";
    /// The URL is too long.
    UriTooLong = 414, INVALID, "uri_too_long", "The URL is too long for this gateway.";
    /// The request has too many headers, or too long ones.
    HeadTooLarge { headers: usize, bytes: usize } = 431, INVALID, "request_header_fields_too_large", "The request has more or longer headers than this gateway takes: at most {headers}, and {bytes} bytes.";
    /// The request has another version than HTTP/1.1 or HTTP/2.
    HttpVersion = 505, INVALID, "http_version_not_supported", "This gateway speaks HTTP/1.1 and HTTP/2.";
    /// `Host` is missing, repeated, invalid, or another than the target's.
    InvalidHost { why: String } = 400, INVALID, "invalid_host", "{why}";
    /// `X-Forwarded-For` and `Forwarded` name different clients.
    AmbiguousClient = 400, INVALID, "ambiguous_client_address", "`X-Forwarded-For` and `Forwarded` name different clients. Send neither; the proxy in front of the gateway should remove the one it does not write.";
    /// No endpoint has this URL.
    UnknownUrl { method: String, path: String, remedy: String } = 404, INVALID, "unknown_url", "Unknown request URL: {method} {path}. {remedy}";
    /// The endpoint does not take this method.
    WrongMethod { method: String, path: String } = 405, INVALID, "method_not_supported", "Not allowed to {method} on {path}.";
    /// The request asks for a WebSocket elsewhere than at `/v1/responses`, or `PROXY_ENABLE_WEBSOCKET` is `false`.
    NoWebSocket = 426, INVALID, "websocket_not_supported", "No WebSocket is spoken here: send a POST request, with `stream` for events.";
    /// The request for a WebSocket is not one of RFC 6455, version 13.
    InvalidHandshake { why: &'static str } = 400, INVALID, "invalid_websocket_handshake", "This is no request for a WebSocket: {why}.";
    /// A web page asks for a WebSocket whose origin `PROXY_CORS_ALLOWED_ORIGINS` does not allow.
    OriginNotAllowed = 403, "permission_error", "origin_not_allowed", "Pages of this origin may not use this gateway; its operator names those that may in PROXY_CORS_ALLOWED_ORIGINS.";
    /// The caller has as many WebSockets as `PROXY_WEBSOCKET_MAX_PER_CALLER` allows.
    TooManySockets { most: usize } = 429, "rate_limit_error", "too_many_websockets", "You have {most} WebSockets open, the limit of this gateway: close one, or send POST requests.", SOON;
    /// A WebSocket has been open for `PROXY_WEBSOCKET_MAX_AGE_MS`.
    SocketExpired { minutes: u64 } = 400, INVALID, "websocket_connection_limit_reached", "Responses websocket connection limit reached ({minutes} minutes). Create a new websocket connection to continue.";
    /// Too many messages of a WebSocket wait for the turns before them.
    TooManyTurns { most: usize } = 429, "rate_limit_error", "too_many_waiting_responses", "At most {most} requests of a WebSocket may wait for the one before them, with 65536 bytes in all.", SOON;
    /// The query cannot be read.
    InvalidQuery { why: String } = 400, INVALID, "invalid_query", "The query of this request makes no sense: {why}.";
    /// The id in the path cannot be decoded.
    InvalidId = 400, INVALID, "invalid_value", "The id in the path is not UTF-8 after decoding.";
    /// The body is compressed otherwise than with gzip, br or zstd, or several times.
    Encoded = 415, INVALID, "unsupported_encoding", "This gateway reads request bodies that are compressed once, with gzip, br or zstd: send another 'Content-Encoding', or none.";
    /// The body cannot be decompressed.
    BrokenEncoding { coding: &'static str } = 400, INVALID, "invalid_encoding", "The request body cannot be decompressed: it is not in {coding}, as its 'Content-Encoding' says, or not complete.";
    /// The body is larger than `PROXY_MAX_BODY_BYTES`, decompressed.
    BodyTooLarge { limit: usize } = 413, INVALID, "request_too_large", "The request body is larger than {limit} bytes, the limit of this gateway.";
    /// The body arrives too slowly.
    BodyTooSlow = 408, TIMEOUT, "request_timeout", "The request body arrived too slowly.";
    /// The body ends before it is complete.
    BodyAborted = 400, INVALID, "request_aborted", "The request body ended before it was complete.";
    /// The gateway has as many large requests as it can hold.
    NoRoom = 503, SERVER, "overloaded", "The gateway has as many large requests as it can hold; try again in a moment.", Retry::After(2_000);

    // Requests for things that cannot be had.

    /// There is no body.
    NoBody = 400, INVALID, "invalid_json", "The request has no body; a JSON object was expected.";
    /// The body is no JSON.
    InvalidJson { why: String } = 400, INVALID, "invalid_json", "The request body is not valid JSON: {why}.";
    /// The body is nested too deeply.
    TooDeep { most: usize } = 400, INVALID, "too_deeply_nested", "The request is nested more than {most} levels deep, the limit of this gateway: send less deep schemas.";
    /// The body has too many JSON values.
    TooManyValues { most: usize } = 400, INVALID, "too_many_values", "The request has more than {most} JSON values, the limit of this gateway: send fewer messages, parts or tools.";
    /// The body is no JSON object.
    BodyType { expected: &'static str, found: &'static str } = 400, INVALID, "invalid_type", "The request body must be {expected}, but it is {found}.";
    /// A member has another JSON type.
    InvalidType { param: String, expected: &'static str, found: &'static str } = 400, INVALID, "invalid_type", "Invalid type for '{param}': expected {expected}, but got {found}.";
    /// A required member is missing.
    Missing { param: String } = 400, INVALID, "missing_required_parameter", "Missing required parameter: '{param}'.";
    /// A member, or a parameter of the URL, has a value that it cannot have.
    InvalidValue { message: String } = 400, INVALID, "invalid_value", "{message}";
    /// A member asks for what this gateway does not do.
    UnsupportedValue { message: String } = 400, INVALID, "unsupported_value", "{message}";
    /// A number is less than 1.
    BelowMinimum { name: String, found: String } = 400, INVALID, "integer_below_min_value", "Invalid value for '{name}': it must be at least 1, not {found}.";
    /// `n` is more than `PROXY_MAX_CHAT_CHOICES`.
    TooManyChoices { most: u32, found: u32 } = 400, INVALID, "integer_above_max_value", "Invalid value for 'n': it must be from 1 to {most}, not {found}.";
    /// The prompts of a completion, each `n` times, are more than `PROXY_MAX_COMPLETION_CHOICES`.
    TooManyCompletions { most: u32, prompts: usize, samples: u64 } = 400, INVALID, "too_many_choices", "Too many answers: {prompts} prompts with 'n' {samples} are more than {most} in one request.";
    /// `model`, the `name` of a message, or a `stream_id` is too long.
    StringTooLong { param: String, most: usize, found: usize } = 400, INVALID, "string_above_max_length", "Invalid '{param}': at most {most} bytes, not {found}.";
    /// There are too many `stop` sequences.
    TooManyStops { most: usize, found: usize } = 400, INVALID, "array_above_max_length", "Invalid 'stop': at most {most} sequences, not {found}.";
    /// A string is empty that must not be: a `stop` sequence, the id of a tool call.
    EmptyString { param: String } = 400, INVALID, "empty_string", "Invalid '{param}': empty string. Expected a string with minimum length 1, but got an empty string instead.";
    /// An array is empty that must not be.
    EmptyArray { param: String, needed: &'static str } = 400, INVALID, "empty_array", "Invalid '{param}': {needed}.";
    /// An image is no data URL.
    ImageNotInline = 400, INVALID, "invalid_image_url", "This gateway fetches no images: send the image itself, as a data URL (data:image/png;base64,…).";
    /// The data URL of an image is not in base64.
    ImageNotBase64 = 400, INVALID, "invalid_image_url", "A data URL of an image has to be in base64 (data:image/png;base64,…).";
    /// The base64 of an image is broken.
    ImageBroken { why: String } = 400, INVALID, "invalid_base64_image", "The image is not valid base64: {why}.";
    /// An image is larger than 20 MiB.
    ImageTooLarge = 400, INVALID, "image_too_large", "An image may have at most 20 MiB.";
    /// An image has more than 50 million pixels.
    ImageTooManyPixels { width: usize, height: usize } = 400, INVALID, "image_too_large", "An image may have at most 50 million pixels; this one has {width} times {height}.";
    /// All images of a conversation together have more than 250 million pixels.
    ImagesTooManyPixels = 400, INVALID, "image_too_large", "All images of a conversation together may have at most 250 million pixels: send fewer or smaller ones.";
    /// The head of an image does not tell its size.
    ImageSizeUnknown = 400, INVALID, "image_parse_error", "The width and height of the image cannot be read: save it anew, as PNG or JPEG.";
    /// An image is empty.
    ImageEmpty = 400, INVALID, "empty_image_file", "The image is empty.";
    /// An image is neither PNG, JPEG, GIF nor WebP.
    ImageUnknown { found: String } = 400, INVALID, "unsupported_image_media_type", "Codex cannot read {found}: send PNG, JPEG, GIF or WebP.";
    /// The prompt is longer than `PROXY_MAX_PROMPT_TOKENS`. The type is the predecessor's.
    PromptTooLong { tokens: u64, most: u64 } = 403, "tokens_exceeded_error", "context_length_exceeded", "The context length is exceeded: the prompt has about {tokens} tokens, and this gateway takes {most}.";
    /// The gateway does not have this response, or not for this caller.
    ResponseNotFound { id: String } = 404, INVALID, "response_not_found", "Response with id '{id}' not found.";
    /// A response is fetched as a stream that was not made with `background` and `stream`.
    NotStreamed = 400, INVALID, "unsupported_value", "This response cannot be streamed because it was not created with background=true and stream=true: fetch it without 'stream'.";
    /// The events of a response in the background that the client asks for, or has not read in time, are not kept any more.
    EventsGone = 400, INVALID, "events_not_kept", "These events of the response are not kept any more: fetch it without 'stream'.";
    /// A client wants the events after one that there is not yet.
    EventsAhead { count: u64 } = 400, INVALID, "invalid_value", "This response has {count} events so far, the first with the number 0: send the 'sequence_number' of the last one that you have.";
    /// A response whose events were being read was deleted, or is not kept any more.
    ResponseDeleted = 404, INVALID, "response_not_found", "The response was deleted, or is not kept any more.";
    /// The client has too many responses in the background.
    BackgroundFull { most: usize } = 429, "rate_limit_error", "too_many_background_responses", "You have too many responses in the background, at most {most}, or their requests are too large: wait for one to end, or cancel one.", Retry::After(5_000);
    /// A response that is not in the background is to be cancelled.
    NotInBackground = 400, INVALID, "not_in_background", "Cannot cancel a synchronous response.";
    /// The gateway does not have the response that the request continues.
    PreviousNotFound { id: String } = 400, INVALID, "previous_response_not_found", "Previous response with id '{id}' not found.";
    /// The gateway does not have the item that the request refers to.
    ItemNotFound { id: String } = 400, INVALID, "item_not_found", "This gateway does not have the item '{id}' (any more): send the item itself. Clients do so if 'store' is false.";

    /// A request of Anthropic's API asks for a thread, or goes on with one: its SDKs then send the whole conversation.
    ThreadsNotKept = 400, INVALID, "thread_unsupported_request", "This gateway keeps no threads: send the whole conversation, without 'thread'.";

    // Usage, metrics, forward authentication.

    /// `TOKEN_LOG_PATH` is not set.
    UsageNotRecorded = 404, INVALID, "usage_not_recorded", "This gateway records no usage (TOKEN_LOG_PATH is not set).";
    /// A usage report would have too many buckets.
    TooManyBuckets = 400, INVALID, "too_many_buckets", "That would be too many buckets: narrow it with 'start' and 'end'.";
    /// `/metrics` is asked for from another machine, without the token.
    MetricsDenied = 403, INVALID, "metrics_access_denied", "The metrics are for this machine, or for whoever sends PROXY_METRICS_TOKEN.";
    /// A test endpoint is asked for from another machine, without the token.
    TestEndpointDenied = 403, INVALID, "test_endpoint_denied", "The test endpoints are for this machine, or for whoever sends PROXY_METRICS_TOKEN.";
    /// A peer that is no trusted proxy asks for a verification.
    UntrustedProxy = 403, "permission_error", "untrusted_proxy", "Only trusted proxies may ask; the gateway's operator names them in PROXY_TRUST_PROXY.";
    /// A proxy does not say which request it asks about.
    NoOriginal { header: &'static str } = 400, INVALID, "missing_original_request", "The proxy does not say which request it asks about: {header} is missing.";
    /// A proxy does not say clearly which request it asks about.
    MalformedOriginal { header: &'static str, why: &'static str } = 400, INVALID, "malformed_original_request", "The proxy does not say clearly which request it asks about: {header}. {why}";

    // The operator's API.

    /// A request to the operator's API has no token, or none that is known.
    NotAnOperator = 401, INVALID, "invalid_admin_token", "This is the operator's API: send the token of an operator as 'Authorization: Bearer TOKEN'. A client's key is none.";
    /// The operator's role does not allow the act.
    RoleForbids { role: &'static str } = 403, "permission_error", "role_not_sufficient", "Your role is '{role}', and this needs the role 'operate'.";
    /// No generation that the gateway remembers has this digest.
    GenerationNotFound { first: String } = 404, INVALID, "generation_not_found", "No generation in the history has a digest that begins with '{first}'.";
    /// Several generations have digests that begin so.
    AmbiguousDigest { first: String, found: String } = 409, INVALID, "ambiguous_digest", "More than one digest begins with '{first}': {found}. Send more digits.";
    /// No candidate, or no generation that can serve again at once, has this digest.
    PoliciesNotFound { what: &'static str, first: String } = 404, INVALID, "policies_not_found", "No {what} has a digest that begins with '{first}'. Candidates are gone once other policies serve, and only the last generations are kept ready: upload the files again.";
    /// Several candidates, or several generations that can serve again at once, have digests that begin so.
    AmbiguousPolicies { first: String } = 409, INVALID, "ambiguous_digest", "More than one digest begins with '{first}'. Send more digits.";
    /// An upload is not `multipart/form-data`, has parts that are not files of policies, or a `rollout.toml` with mistakes.
    InvalidUpload { why: String } = 400, INVALID, "invalid_upload", "The upload is not right: {why}. Send multipart/form-data with a part for each file, named 'auth.wasm', 'auth.json' and so on, and 'rollout.toml' for its own rules.";
    /// The gateway cannot serve with the files of an upload.
    CandidateRefused { why: String } = 422, INVALID, "candidate_refused", "The candidate is refused: {why}";
    /// The files of an upload are those that serve.
    AlreadyServing = 409, INVALID, "already_serving", "These policies serve already.";
    /// Other policies serve by now than those that a candidate was made for.
    CandidateStale = 409, INVALID, "candidate_stale", "Other policies serve by now than those that the candidate was made for: upload it again.";
    /// Other policies began to serve while a roll-back was under way.
    PoliciesOvertaken = 409, INVALID, "policies_overtaken", "Other policies began to serve meanwhile, and nothing was changed: look at what serves, and ask again if it is still wanted.";
    /// Another candidate is in shadow.
    ShadowTaken { digest: String } = 409, INVALID, "shadow_taken", "The candidate {digest} is in shadow, and only one can be: drop it first, or wait for its gate.";
    /// The same files are in shadow or have a canary, with other rules.
    CandidateOnTrial { digest: String } = 409, INVALID, "candidate_on_trial", "The candidate {digest} has the same files, and is in shadow or has a canary with other rules: drop it first, or wait for the end of that.";
    /// The candidate failed at its gate, or on a canary's request.
    CandidateFailed { why: String } = 409, INVALID, "candidate_failed", "The candidate failed: {why}. Drop it, and upload one that is mended.";
    /// Another candidate has a canary.
    CanaryTaken { digest: String } = 409, INVALID, "canary_taken", "The candidate {digest} has a canary, and only one can: end that first.";
    /// A canary has too many names, or too large a share.
    CanaryBounds = 400, INVALID, "invalid_value", "A canary has at most 256 callers and 256 tenants, and 0 to 100 percent of all callers.";
    /// A canary names nobody.
    CanaryOfNobody = 400, INVALID, "invalid_value", "Whose requests? A canary needs 'callers', 'tenants', or a 'percent' above 0.";
    /// A roll-back has nothing to go back to.
    NothingBefore = 409, INVALID, "nothing_before", "No other policies served that are kept: upload those that are wanted.";
    /// The built-in policies or the variables of a generation that served before are others by now.
    PastChanged { digest: String } = 409, INVALID, "past_changed", "The generation {digest} had built-in policies or variables that are others by now: upload the files that are wanted.";
    /// The files of policies that served before, in `PROXY_STATE_DIR`, are gone or damaged.
    PastUnreadable { why: String } = 500, SERVER, "past_unreadable", "The files of policies that served before cannot be read: {why}. Roll back to others, or upload those that are wanted.";
    /// The decisions on a request are not in memory.
    RequestNotKept { id: String } = 404, INVALID, "request_not_kept", "No decision on a request '{id}' is in memory: the gateway keeps the last ones since its start. The id is that of 'x-request-id' in the answer; send the request again.";
    /// No caller of this id was seen since the start.
    CallerNotSeen { id: String } = 404, INVALID, "caller_not_seen", "No caller '{id}' was seen since the gateway started: its first request has to be over.";
    /// As many operators read events as the gateway lets.
    TooManyReaders { most: usize } = 503, SERVER, "too_many_readers", "{most} operators read events already: end one, or try again later.", Retry::After(5_000);
    /// The machine is short of threads or memory.
    Shortage = 503, SERVER, "overloaded", "The machine is short of threads or memory now; try again in a moment.", Retry::After(2_000);
    /// The history in `PROXY_STATE_DIR` cannot be read.
    HistoryUnreadable { why: String } = 500, SERVER, "history_unreadable", "The history of activations cannot be read: {why}.";
    /// An answer of the operator's API took longer than 30 seconds.
    AdminTooSlow = 504, TIMEOUT, "request_timeout", "The gateway could not answer in time: a disk that hangs?";
    /// An act takes longer than two minutes, and goes on.
    AdminUnderWay = 504, TIMEOUT, "still_under_way", "This takes longer than two minutes, and goes on: the status shows when it is done.";

    // The gateway itself.

    /// The gateway failed; its log has the cause.
    Internal = 500, SERVER, "internal_error", "The gateway failed to handle the request.";
    /// A policy could not decide.
    PolicyFault = 503, SERVER, "policy_unavailable", "A policy of this gateway could not answer.";
    /// The gateway is starting.
    Starting = 503, SERVER, "starting", "The gateway is starting. Try again in a moment.", Retry::After(5_000);
    /// The gateway is shutting down.
    Draining = 503, SERVER, "shutting_down", "The gateway is shutting down.", SOON;

    // Codex.

    /// No Codex worker is ready.
    WorkerNotReady = 503, BACKEND, "worker_not_ready", "No Codex worker is ready; try again in a moment.", SOON;
    /// Every Codex worker is at its limit, and so is the queue or the wait in it.
    WorkerBusy = 503, BACKEND, "worker_busy", "Every Codex worker is busy; try again in a moment.", SOON;
    /// The Codex worker exited during the turn.
    WorkerExited = 503, BACKEND, "worker_exited", "The Codex worker exited during the answer.", SOON;
    /// The Codex worker did not respond to a request of the gateway's.
    WorkerTimeout = 504, TIMEOUT, "worker_request_timeout", "The Codex worker did not respond in time.";
    /// The Codex worker refused a request of the gateway's.
    WorkerRefused = 502, SERVER, "worker_error", "The Codex worker could not run the request.";
    /// Codex is not signed in.
    NotSignedIn = 503, SERVER, "codex_not_signed_in", "Codex is not signed in: the operator of this gateway has to run `codex login` on its machine.", Retry::Never;
    /// The client reads more slowly than Codex writes.
    SlowReader = 503, SERVER, "slow_reader", "The answer was read too slowly.";
    /// Codex began the answer again after part of it had been sent.
    Restarted = 502, SERVER, "upstream_restarted", "The answer broke off, and cannot be continued.";
    /// Codex interrupted the turn.
    Interrupted = 502, SERVER, "turn_interrupted", "Codex ended the answer before it was complete.";
    /// A JSON object was asked for, and the complete answer is none.
    NotJson = 502, SERVER, "answer_not_json", "The model's answer is not the JSON object that was asked for.";
    /// The answer took longer than `PROXY_TIMEOUT_MS`: another try would cost as much, and most probably end the same way.
    TotalTimeout = 504, TIMEOUT, "request_timeout", "The answer took longer than this gateway allows.", Retry::Never;
    /// The answer did not begin within `PROXY_FIRST_TOKEN_TIMEOUT_MS`.
    FirstTokenTimeout = 504, TIMEOUT, "first_token_timeout", "The answer did not begin within the time this gateway allows.";
    /// Codex was silent for longer than `PROXY_STREAM_IDLE_TIMEOUT_MS`, in a stream.
    StreamIdleTimeout = 504, TIMEOUT, "stream_idle_timeout", "Codex was silent for longer than this gateway allows.";
    /// Codex was silent for longer than `PROXY_IDLE_TIMEOUT_MS`, not in a stream.
    IdleTimeout = 504, TIMEOUT, "idle_timeout", "Codex was silent for longer than this gateway allows.";
    /// An old Codex was silent for longer than `PROXY_PROTO_IDLE_MS`, not in a stream.
    ProtoIdleTimeout = 504, TIMEOUT, "proto_idle_timeout", "Codex was silent for longer than this gateway allows.";

    // The model provider behind Codex.

    /// The prompt does not fit the model's context window.
    ContextLength = 400, INVALID, "context_length_exceeded", "The prompt exceeds the model's context window.";
    /// The provider does not have the model.
    ModelNotFound = 404, INVALID, "model_not_found", "The model provider does not offer this model.";
    /// The provider limits requests; `retry-after` has its own time, if it says one.
    RateLimited = 429, "rate_limit_error", "rate_limit_exceeded", "The model provider is limiting requests; try again later.";
    /// The gateway's Codex account has used up its quota.
    Quota = 429, "insufficient_quota", "insufficient_quota", "The Codex account of this gateway has used up its quota.", Retry::Never;
    /// The model is at capacity; `retry-after` has the provider's time, if it says one.
    Overloaded = 503, SERVER, "overloaded", "The model is at capacity; try again later.";
    /// The provider finds the request invalid, and says why. Its own 413 or 422 is kept, and so are the `code` and `param` it names.
    ProviderInvalid { message: String } = 400, INVALID, "invalid_request_error", "{message}";
    /// The provider refuses the content.
    ContentPolicy = 400, INVALID, "content_policy_violation", "The model provider refused this content.";
    /// The provider refuses Codex's login.
    Credential = 503, SERVER, "backend_unauthorized", "The gateway's own Codex login was refused; its operator has to sign in again.", Retry::Never;
    /// The provider could not be reached.
    Unreachable = 502, SERVER, "upstream_error", "The model provider could not be reached.";
    /// The provider broke off the answer.
    Disconnected = 502, SERVER, "upstream_error", "The model provider broke off the answer.";
    /// The provider failed.
    ProviderFailed = 502, SERVER, "upstream_error", "The model provider failed to answer.";
}
