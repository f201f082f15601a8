//! Telemetry for operators: the log, the access line of each request, metrics, usage and traces.

pub mod callers;
mod log;
mod metrics;
mod pace;
pub mod traces;
pub mod usage;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use callers::Callers;
pub use log::{
    Act, Filter, FilterError, Log, Stream, TARGETS, audit, dropped as log_lines_dropped,
    flush as flush_log, open as open_streams, say, start as start_log,
};
pub use metrics::{Format, Metrics, Present};
pub use pace::{Pace, Recent};
use serde::Serialize;
use traces::Traces;
use usage::UsageLog;

use crate::file;

/// The settings of the log, usage and traces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The settings of the log.
    pub log: Log,
    /// Where usage is recorded; absent if it is not.
    pub usage: Option<usage::Config>,
    /// Where spans are sent; absent if they are not.
    pub traces: Option<traces::Config>,
}

/// The reason why a part of the telemetry cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The usage log cannot be opened.
    #[error("TOKEN_LOG_PATH: cannot write {path}: {cause}")]
    Usage {
        /// The file.
        path: PathBuf,
        /// The system's error.
        cause: std::io::Error,
    },
    /// The exporter of traces cannot be built.
    #[error("traces cannot be exported: {0}")]
    Traces(#[from] opentelemetry_otlp::ExporterBuildError),
}

impl StartError {
    /// Whether the error is one of configuration, so that a restart without a change cannot help.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Usage { cause, .. } => file::is_misplaced(cause),
            Self::Traces(_) => true,
        }
    }
}

/// Metrics, usage log and traces. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Telemetry {
    /// Absent if metrics are not kept.
    pub metrics: Option<Arc<Metrics>>,
    /// Absent if no operator can ask for it.
    pub pace: Option<Arc<Pace>>,
    /// As `pace`.
    pub callers: Option<Arc<Callers>>,
    /// Absent if usage is not recorded.
    pub usage: Option<Arc<UsageLog>>,
    /// Absent if traces are not exported.
    pub traces: Option<Arc<Traces>>,
    /// Answers that are being streamed.
    streaming: Arc<AtomicUsize>,
}

/// One decision of a policy.
#[derive(Debug, Clone, Copy)]
pub struct Decision {
    /// The policy's slot.
    pub slot: &'static str,
    /// The question that the policy decided.
    pub question: &'static str,
    /// `answered`, `denied` or `fault`.
    pub outcome: &'static str,
    /// The kind of fault, if it was one.
    pub fault: Option<&'static str>,
    /// The answer was kept from the same question before.
    pub from_memo: bool,
    /// The start, counted from the request's first byte.
    pub began: Duration,
    /// The time that the decision took.
    pub elapsed: Duration,
}

/// A refusal by a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The policy's slot.
    pub slot: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// OpenAI's `error.code`.
    pub code: String,
    /// The text for a person.
    pub message: String,
    /// The rules whose buckets had no room; empty if it was not about limits.
    pub rules: Vec<String>,
}

/// The tokens that a request or turn cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Prompt tokens, the cached ones included.
    pub input: u64,
    /// Prompt tokens that came from the provider's cache.
    pub cached_input: u64,
    /// Answer tokens, reasoning included.
    pub output: u64,
    /// Answer tokens spent on reasoning.
    pub reasoning: u64,
    /// Whether any of these numbers is an estimate instead of the provider's count.
    pub estimated: bool,
}

/// One turn. Its times are counted from the request's first byte.
#[derive(Debug, Clone, Copy, Default)]
pub struct Turn {
    /// When a worker was asked for.
    pub began: Duration,
    /// When the first of the answer's content came.
    pub first_token: Option<Duration>,
    /// When the turn was over.
    pub ended: Duration,
    /// As in [`Summary`].
    pub finish: Option<&'static str>,
    /// The tokens that it cost.
    pub tokens: Tokens,
}

/// The facts about a request when it is over, without any of its content.
#[derive(Debug, Clone, Default)]
pub struct Summary<'a> {
    /// The id in `x-request-id`.
    pub id: &'a str,
    /// The HTTP method.
    pub method: &'a str,
    /// The route's template; `other` if no route matched.
    pub route: &'a str,
    /// The path, without the query.
    pub path: &'a str,
    /// The status sent; 499 if the client left before there was one.
    pub status: u16,
    /// The client's address, after trusted proxies.
    pub client: &'a str,
    /// The `User-Agent` header.
    pub user_agent: Option<&'a str>,
    /// The caller's id, from the auth policy.
    pub caller: Option<&'a str>,
    /// The caller's tenant.
    pub tenant: Option<&'a str>,
    /// The caller's groups.
    pub groups: &'a [String],
    /// The model's name in the answer.
    pub model: Option<&'a str>,
    /// The model Codex ran.
    pub runs: Option<&'a str>,
    /// The client's name for its own user.
    pub user: Option<&'a str>,
    /// The request's `metadata`, as JSON.
    pub metadata: Option<&'a str>,
    /// Whether the answer is a stream; absent if no turn was begun.
    pub stream: Option<bool>,
    /// The generation that decided.
    pub generation: u64,
    /// The first digits of its digest.
    pub digest: &'a str,
    /// The W3C `traceparent` and `tracestate` the client sent.
    pub trace: [Option<&'a str>; 2],
    /// When the first byte came, since 1970.
    pub began: Duration,
    /// From the first byte to the last.
    pub duration: Duration,
    /// From the first byte to the first of the answer's content.
    pub first_token: Option<Duration>,
    /// The time spent in policies; parallel decisions for several choices are added up.
    pub policies: Duration,
    /// Each decision; collected for traces only.
    pub decisions: &'a [Decision],
    /// The turns, in no particular order.
    pub turns: &'a [Turn],
    /// How the turn ended: OpenAI's finish reason, or the code of the error that ended it.
    pub finish: Option<&'static str>,
    /// The code of an error answer.
    pub error: Option<&'a str>,
    /// The refusal, if a policy refused the request.
    pub refusal: Option<&'a Refusal>,
    /// Absent if no turn was begun.
    pub tokens: Option<Tokens>,
    /// Bytes of the answer's body.
    pub bytes: u64,
    /// Whether the last byte was handed over; otherwise the client left.
    pub complete: bool,
}

impl Summary<'_> {
    /// Whether it is a successful probe. Probes come every few seconds and are logged only when they fail.
    fn is_probe(&self) -> bool {
        let is_one = matches!(
            self.route,
            "/healthz" | "/readyz" | "/livez" | "/metrics" | "/__test/conc"
        );
        self.status == 200 && is_one
    }

    /// OpenTelemetry's name for the operation.
    fn operation(&self) -> &'static str {
        match self.route {
            "/v1/completions" => "text_completion",
            _ => "chat",
        }
    }
}

/// OpenTelemetry's name for the provider of the model.
const PROVIDER: &str = "openai";

/// The code of the error that ended a turn, unless it ended normally.
fn breakage(finish: Option<&'static str>) -> Option<&'static str> {
    match finish {
        Some("stop" | "length" | "tool_calls" | "content_filter") => None,
        Some(code) => Some(code),
        // The client left first.
        None => Some("cancelled"),
    }
}

impl Telemetry {
    /// Starts the configured parts, within a Tokio runtime.
    ///
    /// # Errors
    /// If a file cannot be written, or OpenTelemetry's own variables are invalid.
    pub fn start(config: Config, metrics: Option<Metrics>) -> Result<Self, StartError> {
        let usage = config.usage.map(|usage| {
            let path = usage.path.clone();
            UsageLog::open(usage).map_err(|cause| StartError::Usage { path, cause })
        });
        let traces = config.traces.as_ref().map(Traces::start);
        Ok(Self {
            metrics: metrics.map(Arc::new),
            pace: None,
            callers: None,
            usage: usage.transpose()?.map(Arc::new),
            traces: traces.transpose()?.map(Arc::new),
            streaming: Arc::default(),
        })
    }

    /// Also counts recent decisions in these slots, and callers.
    #[must_use]
    pub fn for_operators(self, slots: &[&'static str]) -> Self {
        Self {
            pace: Some(Arc::new(Pace::new(slots))),
            callers: Some(Arc::default()),
            ..self
        }
    }

    /// Writes and sends the queued usage and spans. Blocks for some seconds at most.
    pub fn close(&self) {
        if let Some(usage) = &self.usage {
            usage.close();
        }
        if let Some(traces) = &self.traces {
            traces.close();
        }
    }

    /// Counts a request that began.
    pub fn began(&self) {
        if let Some(metrics) = &self.metrics {
            metrics.began();
        }
    }

    /// Counts an answer that is going to be a stream.
    pub fn streams(&self) {
        self.streaming.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of answers that are being streamed.
    #[must_use]
    pub fn streaming(&self) -> usize {
        self.streaming.load(Ordering::Relaxed)
    }

    /// Counts a policy's decision.
    pub fn decided(&self, decision: &Decision) {
        if let Some(metrics) = &self.metrics {
            metrics.decided(decision);
        }
        if let Some(pace) = &self.pace {
            pace.decided(decision);
        }
    }

    /// Records a request that is over.
    pub fn ended(&self, request: &Summary<'_>) {
        if request.stream == Some(true) {
            self.streaming.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(metrics) = &self.metrics {
            metrics.ended(request);
        }
        if let Some(usage) = &self.usage {
            usage.ended(request);
        }
        if let Some(callers) = &self.callers {
            callers.ended(request);
        }
        if request.is_probe() {
            return;
        }
        let traces = self.traces.as_ref();
        let trace = traces.and_then(|traces| traces.ended(request));
        log::access(request, trace.as_deref());
    }
}
