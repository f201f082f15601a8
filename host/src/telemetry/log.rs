//! The log: events go to stderr, the access line of each request to stdout.

mod queue;
mod streams;
mod terminal;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::IsTerminal;
use std::panic::PanicHookInfo;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, ParseError};

use super::Summary;
pub use streams::{Stream, dropped, flush, open, say};
use terminal::Terminal;

/// The target of access lines, as in `PROXY_LOG`.
const ACCESS: &str = "access";

/// The target of the lines about operators.
const AUDIT: &str = "audit";

/// The targets of the gateway's own lines; the targets of modules are below the first.
pub const TARGETS: [&str; 6] = [
    "codex_gateway",
    ACCESS,
    AUDIT,
    "activity",
    "policy",
    "codex",
];

/// The settings of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The lines that are logged.
    pub filter: Filter,
    /// One JSON object per line.
    pub json: bool,
}

/// A valid level or valid directives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter(String);

impl Default for Filter {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

/// The reason why a filter is invalid.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// A single word that is no level would be taken for a target, which turns all other lines off.
    #[error("`{0}` is no level")]
    NoLevel(String),
    /// No line can have that target.
    #[error("`{0}` is no target; directives are separated by commas")]
    NoTarget(String),
    /// The filter would turn all lines off without a warning.
    #[error(
        "nothing would be logged: it has no level for all, and names none of {}", TARGETS.join(", ")
    )]
    Silent,
    /// It is not a directive of `tracing`.
    #[error(transparent)]
    Directive(#[from] ParseError),
}

impl Filter {
    /// Parses a level, or directives such as `codex_gateway=debug,policy=info`.
    ///
    /// # Errors
    /// If it is invalid.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        EnvFilter::builder().parse(text)?;
        let filter = Self(text.to_owned());
        let mut is_silent = true;
        for Directive {
            target,
            is_of_span,
            level,
        } in filter.directives()
        {
            let is_for_all = level.is_none() && target.parse::<LevelFilter>().is_ok();
            if level.is_none() && !is_for_all && !is_of_span && !is_ours(target) {
                return Err(FilterError::NoLevel(target.to_owned()));
            }
            let is_plain = |letter: char| letter.is_alphanumeric() || "_:.-".contains(letter);
            if !target.chars().all(is_plain) {
                return Err(FilterError::NoTarget(target.to_owned()));
            }
            is_silent &= is_of_span || !(is_for_all || is_ours(target));
        }
        match is_silent {
            true => Err(FilterError::Silent),
            false => Ok(filter),
        }
    }

    /// The targets to which it gives a level.
    pub fn targets(&self) -> impl Iterator<Item = &str> {
        let levelled = self
            .directives()
            .filter(|directive| directive.level.is_some());
        levelled.map(|directive| directive.target)
    }

    fn directives(&self) -> impl Iterator<Item = Directive<'_>> {
        // Filters of spans contain commas themselves.
        let mut depth = 0_usize;
        let parts = self.0.split(move |letter| {
            match letter {
                '[' | '{' => depth += 1,
                ']' | '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            letter == ',' && depth == 0
        });
        let written = parts.map(str::trim).filter(|part| !part.is_empty());
        written.map(|part| {
            let (target, span) = match part.split_once('[') {
                Some((target, span)) => (
                    target,
                    Some(span.rsplit_once(']').map_or("", |(_, after)| after)),
                ),
                None => (part, None),
            };
            let (target, level) = match (span, target.split_once('=')) {
                (Some(after), _) => (target, after.strip_prefix('=')),
                (None, Some((target, level))) => (target, Some(level)),
                (None, None) => (target, None),
            };
            Directive {
                target: target.trim(),
                is_of_span: span.is_some(),
                level,
            }
        })
    }
}

/// One directive of a filter.
struct Directive<'a> {
    /// The target, or a level for all.
    target: &'a str,
    /// It filters by a span.
    is_of_span: bool,
    level: Option<&'a str>,
}

/// Whether a word is one of our targets, or the target of a module below one.
fn is_ours(word: &str) -> bool {
    TARGETS.iter().any(|target| {
        let below = word.strip_prefix(target);
        below.is_some_and(|below| below.is_empty() || below.starts_with("::"))
    })
}

/// Starts the log on the opened streams. Has no effect if the process has a log already (in tests).
pub fn start(log: &Log) {
    let filter = EnvFilter::builder().parse_lossy(&log.filter.0);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(streams::ByTarget);
    // The first log of a process stays.
    let _ = if log.json {
        builder.json().flatten_event(true).try_init()
    } else if std::io::stderr().is_terminal() && std::io::stdout().is_terminal() {
        builder.event_format(Terminal::new(true)).try_init()
    } else {
        builder.with_ansi(false).try_init()
    };
    // The default hook writes to stderr directly, and so waits for the reader of stderr.
    std::panic::set_hook(Box::new(log_panic));
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let backtrace = Backtrace::capture();
    let backtrace = matches!(backtrace.status(), BacktraceStatus::Captured).then_some(backtrace);
    tracing::error!(
        thread = std::thread::current().name(),
        location = panic.location().map(tracing::field::display),
        backtrace = backtrace.as_ref().map(tracing::field::display),
        "panicked: {}",
        panic.payload_as_str().unwrap_or_default()
    );
}

/// Writes the access line of a request, with the id of its trace. The line has none of the request's content, and no header but
/// the user agent.
pub(super) fn access(request: &Summary<'_>, trace: Option<&str>) {
    let tokens = request.tokens;
    tracing::info!(
        target: ACCESS,
        request = request.id,
        trace,
        method = request.method,
        route = request.route,
        path = shorten(request.path),
        status = request.status,
        client = request.client,
        user_agent = request.user_agent.map(shorten),
        caller = request.caller,
        tenant = request.tenant,
        model = request.model,
        runs = request.runs,
        user = request.user,
        metadata = request.metadata,
        stream = request.stream,
        generation = request.generation,
        digest = request.digest,
        duration_ms = millis(request.duration),
        first_token_ms = request.first_token.map(millis),
        policy_us = u64::try_from(request.policies.as_micros()).unwrap_or(u64::MAX),
        finish = request.finish,
        error = request.error,
        input_tokens = tokens.map(|tokens| tokens.input),
        cached_tokens = tokens.map(|tokens| tokens.cached_input),
        output_tokens = tokens.map(|tokens| tokens.output),
        reasoning_tokens = tokens.map(|tokens| tokens.reasoning),
        estimated = tokens.map(|tokens| tokens.estimated),
        bytes = request.bytes,
        complete = request.complete,
        "request"
    );
}

/// An act of an operator, or a request to the operator's API that was refused.
#[derive(Debug, Clone, Copy)]
pub struct Act<'a> {
    /// The operator's id; absent if it is not known.
    pub operator: Option<&'a str>,
    /// The operator's role.
    pub role: Option<&'a str>,
    /// The HTTP method.
    pub method: &'a str,
    /// The path, without the query.
    pub path: &'a str,
    /// The status of the answer.
    pub status: u16,
    /// Where the request came from.
    pub remote: &'a str,
    /// The code of an error answer.
    pub error: Option<&'a str>,
    /// The time it took.
    pub duration: std::time::Duration,
}

/// Writes the audit line of an act. It has no header of the request, so that no token is in it.
pub fn audit(act: &Act<'_>) {
    macro_rules! write {
        ($level:ident, $what:literal) => {
            tracing::$level!(
                target: AUDIT,
                operator = act.operator,
                role = act.role,
                method = act.method,
                path = shorten(act.path),
                status = act.status,
                remote = act.remote,
                error = act.error.map(shorten),
                duration_ms = millis(act.duration),
                $what
            )
        };
    }
    match act.status {
        ..=399 => write!(info, "operator acted"),
        401 | 403 => write!(warn, "operator refused"),
        _ => write!(warn, "operator's request failed"),
    }
}

pub(super) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Shortens a text that a client made up, so that a log line cannot grow without limit.
pub(super) fn shorten(text: &str) -> &str {
    const MOST: usize = 256;
    &text[..text.floor_char_boundary(MOST)]
}
