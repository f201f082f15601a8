//! Reads the settings of the HTTP API.

use super::read::{Reader, switch_word};
use super::{Environment, env};
use crate::api;
use crate::secret::{Secret, is_sendable};

/// The largest body limit. Codex repeats every message in a line, and a line of more than 64 MiB loses the child, with
/// everybody's turns.
const LARGEST_BODY: u64 = 60 << 20;

pub(super) fn read(reader: &mut Reader<'_>, environment: Environment) -> api::Config {
    let max_body = reader.number(env::PROXY_MAX_BODY_BYTES, 1_024..=LARGEST_BODY, 16 << 20);
    let [metrics, test_endpoints] = operators(reader, environment);
    api::Config {
        max_body: usize::try_from(max_body).unwrap_or(usize::MAX),
        timers: timers(reader),
        kill_on_disconnect: reader.switch_on(env::PROXY_KILL_ON_DISCONNECT),
        trusted: trusted(reader),
        origins: origins(reader),
        max_choices: choices(reader, env::PROXY_MAX_CHAT_CHOICES, 5),
        max_completion_choices: choices(reader, env::PROXY_MAX_COMPLETION_CHOICES, 20),
        output_mode: reader.choice(
            env::PROXY_OUTPUT_MODE,
            &api::OutputMode::WORDS,
            api::OutputMode::ObsidianXml,
        ),
        metrics,
        test_endpoints,
        responses_output_mode: reader.choice(
            env::PROXY_RESPONSES_OUTPUT_MODE,
            &api::OutputMode::WORDS,
            api::OutputMode::Text,
        ),
        block_delimiter: block_delimiter(reader),
        responses: reader.switch_on(env::PROXY_ENABLE_RESPONSES),
        aliases: reader.switch_on(env::PROXY_URL_ALIASES),
        sockets: sockets(reader),
        max_prompt_tokens: limit(reader, env::PROXY_MAX_PROMPT_TOKENS),
        reading: api::Reading {
            stream: reader.switch(env::PROXY_DEFAULT_STREAM),
            ignore_instructions: reader.switch(env::PROXY_IGNORE_CLIENT_SYSTEM_PROMPT),
            response_max_tokens: limit(reader, env::PROXY_RESPONSES_DEFAULT_MAX_TOKENS),
            refuse_hosted_tools: reader.switch(env::PROXY_REFUSE_HOSTED_TOOLS),
        },
    }
}

/// Reads the limits for WebSockets. They are checked even if there are none.
fn sockets(reader: &mut Reader<'_>) -> Option<api::SocketLimits> {
    let enabled = reader.switch_on(env::PROXY_ENABLE_WEBSOCKET);
    let most = reader.number(env::PROXY_WEBSOCKET_MAX_PER_CALLER, 1..=10_000, 1_000);
    let limits = api::SocketLimits {
        age: reader.millis(env::PROXY_WEBSOCKET_MAX_AGE_MS, 1, 3_600_000),
        silence: reader.millis(env::PROXY_WEBSOCKET_IDLE_MS, 1, 900_000),
        per_caller: usize::try_from(most).unwrap_or(usize::MAX),
    };
    enabled.then_some(limits)
}

/// Reads a limit of the answers to one request.
fn choices(reader: &mut Reader<'_>, variable: env::Variable, default: u64) -> u32 {
    u32::try_from(reader.number(variable, 1..=128, default)).unwrap_or(1)
}

/// Reads the trusted proxies. The predecessor's hop counts and `true` would trust every peer, so they are refused.
fn trusted(reader: &mut Reader<'_>) -> api::TrustedProxies {
    const NAMES: &str =
        "`loopback`, `linklocal`, `uniquelocal`, `none`, or addresses and CIDRs, comma-separated";
    let listed = reader.list(env::PROXY_TRUST_PROXY);
    if let [word] = listed.as_slice()
        && switch_word(word) == Some(false)
    {
        return api::TrustedProxies::none();
    }
    api::TrustedProxies::parse(&listed).unwrap_or_else(|found| {
        let believes_all = switch_word(&found) == Some(true) || found.parse::<u64>().is_ok();
        let expected = if believes_all {
            format!("the networks of your proxies ({NAMES}), since with this any client may choose its address")
        } else {
            NAMES.to_owned()
        };
        reader.note(env::PROXY_TRUST_PROXY, expected, format!("`{found}`"));
        api::TrustedProxies::default()
    })
}

/// A number of tokens; 0 is no limit.
fn limit(reader: &mut Reader<'_>, variable: env::Variable) -> Option<u64> {
    let tokens = reader.number(variable, 0..=1_000_000_000, 0);
    (tokens > 0).then_some(tokens)
}

fn block_delimiter(reader: &mut Reader<'_>) -> Option<String> {
    let text = reader.verbatim(env::PROXY_TOOL_BLOCK_DELIMITER)?;
    match switch_word(text.trim()) {
        Some(blank_line) => blank_line.then(|| "\n\n".to_owned()),
        None => Some(text.replace("\\n", "\n")),
    }
}

/// Reads the allowed origins. They are checked even if CORS is off, so that a mistake is found before it is switched on.
fn origins(reader: &mut Reader<'_>) -> Option<api::Origins> {
    let enabled = reader.switch_on(env::PROXY_ENABLE_CORS);
    let listed = reader.list(env::PROXY_CORS_ALLOWED_ORIGINS);
    if listed.is_empty() {
        return enabled.then_some(api::Origins::Any);
    }
    let origins = api::Origins::parse(&listed).unwrap_or_else(|found| {
        let expected = "`*`, or origins as https://app.example or app://obsidian.md, comma-separated \
             (`null` is any sandboxed page: only `*` allows it)";
        reader.note(env::PROXY_CORS_ALLOWED_ORIGINS, expected, format!("`{found}`"));
        api::Origins::Any
    });
    enabled.then_some(origins)
}

fn timers(reader: &mut Reader<'_>) -> api::Timeouts {
    let first_token = reader.millis(env::PROXY_FIRST_TOKEN_TIMEOUT_MS, 0, 0);
    api::Timeouts {
        total: reader.millis(env::PROXY_TIMEOUT_MS, 1, 300_000),
        first_token: (!first_token.is_zero()).then_some(first_token),
        stream_idle: reader.millis(env::PROXY_STREAM_IDLE_TIMEOUT_MS, 1, 300_000),
        idle: reader.millis(env::PROXY_IDLE_TIMEOUT_MS, 1, 300_000),
        proto_idle: reader.millis(env::PROXY_PROTO_IDLE_MS, 1, 120_000),
        keepalive: reader.millis(env::PROXY_SSE_KEEPALIVE_MS, 0, 15_000),
    }
}

fn metrics_token(reader: &mut Reader<'_>) -> Option<Secret> {
    let token = reader.text(env::PROXY_METRICS_TOKEN)?;
    if !is_sendable(&token) {
        let expected = "printable ASCII, as a scraper can send it";
        reader.note(env::PROXY_METRICS_TOKEN, expected, "other characters");
    }
    Some(Secret::new(token))
}

/// The access rules of `/metrics` and of the test endpoints, as far as they are enabled.
fn operators(
    reader: &mut Reader<'_>,
    environment: Environment,
) -> [Option<api::OperatorAccess>; 2] {
    let metrics = reader.switch(env::PROXY_ENABLE_METRICS);
    let tests = reader.switch(env::PROXY_TEST_ENDPOINTS);
    let access = api::OperatorAccess {
        anybody: reader.switch(env::PROXY_METRICS_ALLOW_UNAUTH),
        loopback: reader.switch_on(env::PROXY_METRICS_ALLOW_LOOPBACK),
        token: metrics_token(reader),
    };
    let is_prod = environment == Environment::Prod;
    if metrics && access.anybody && is_prod {
        let expected = "a PROXY_METRICS_TOKEN instead, when PROXY_ENV is prod";
        reader.note(env::PROXY_METRICS_ALLOW_UNAUTH, expected, "`true`");
    }
    if tests && is_prod {
        let expected = "`false` when PROXY_ENV is prod: /metrics has the same counts";
        reader.note(env::PROXY_TEST_ENDPOINTS, expected, "`true`");
    }
    let for_tests = api::OperatorAccess {
        anybody: false,
        ..access.clone()
    };
    let is_for_nobody = |access: &api::OperatorAccess| {
        !access.anybody && !access.loopback && access.token.is_none()
    };
    if metrics && is_for_nobody(&access) || tests && is_for_nobody(&for_tests) {
        let expected = "a token, since nobody else may read the metrics";
        reader.note(env::PROXY_METRICS_TOKEN, expected, "none");
    }
    [metrics.then_some(access), tests.then_some(for_tests)]
}
