//! The log, a line for each request, metrics, usage and traces: for operators.

mod log;
mod metrics;
pub mod traces;
pub mod usage;

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use log::{
    Filter, FilterError, Log, Stream, TARGETS, dropped as log_lines_dropped, flush as flush_log,
    open as open_streams, say, start as start_log,
};
pub use metrics::{Format, Metrics, Present};
use traces::Traces;
use usage::UsageLog;

/// See the fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How lines are logged.
    pub log: Log,
    /// Where usage is recorded, if it is.
    pub usage: Option<usage::Config>,
    /// Where spans are sent, if they are.
    pub traces: Option<traces::Config>,
}

/// Why something of it cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The usage log.
    #[error("TOKEN_LOG_PATH: cannot write {path}: {cause}")]
    Usage {
        /// The file.
        path: PathBuf,
        /// The system's words.
        cause: std::io::Error,
    },
    /// The exporter of traces.
    #[error("traces cannot be exported: {0}")]
    Traces(#[from] opentelemetry_otlp::ExporterBuildError),
}

impl StartError {
    /// Whether trying again as it is cannot help.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Usage { cause, .. } => matches!(
                cause.kind(),
                ErrorKind::NotFound
                    | ErrorKind::PermissionDenied
                    | ErrorKind::ReadOnlyFilesystem
                    | ErrorKind::IsADirectory
                    | ErrorKind::NotADirectory
            ),
            Self::Traces(_) => true,
        }
    }
}

/// Where everything is told. Clones tell the same.
#[derive(Debug, Clone, Default)]
pub struct Telemetry {
    /// Absent where nobody may read them.
    pub metrics: Option<Arc<Metrics>>,
    /// Absent where it is not recorded.
    pub usage: Option<Arc<UsageLog>>,
    /// Absent where nobody collects them.
    pub traces: Option<Arc<Traces>>,
}

/// One decision of a policy.
#[derive(Debug, Clone, Copy)]
pub struct Decision {
    /// Who was asked.
    pub slot: &'static str,
    /// What was asked.
    pub question: &'static str,
    /// `answered`, `denied` or `fault`.
    pub outcome: &'static str,
    /// The kind of fault, if it was one.
    pub fault: Option<&'static str>,
    /// From the request's first byte.
    pub began: Duration,
    /// What it took.
    pub elapsed: Duration,
}

/// What a request cost.
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
    /// Some of it is not the provider's count.
    pub estimated: bool,
}

/// One exchange with Codex. Times are from the request's first byte.
#[derive(Debug, Clone, Copy, Default)]
pub struct Turn {
    /// When a worker was asked for.
    pub began: Duration,
    /// When the first of the answer's content came.
    pub first_token: Option<Duration>,
    /// When it was over.
    pub ended: Duration,
    /// As in the summary.
    pub finish: Option<&'static str>,
    /// What it cost.
    pub tokens: Tokens,
}

/// Everything that is told of a request when it is over. Nothing of what was said.
#[derive(Debug, Clone, Default)]
pub struct Summary<'a> {
    /// As the client sees it in `x-request-id`.
    pub id: &'a str,
    /// The HTTP method.
    pub method: &'a str,
    /// The route's template; `other` where there is none.
    pub route: &'a str,
    /// The path, without the query.
    pub path: &'a str,
    /// The status sent; 499 if the client left before there was one.
    pub status: u16,
    /// The client's address, after trusted proxies.
    pub client: &'a str,
    /// What the client says it is.
    pub user_agent: Option<&'a str>,
    /// Who the auth policy said it is.
    pub caller: Option<&'a str>,
    /// The caller's tenant.
    pub tenant: Option<&'a str>,
    /// The model, as the answer calls it.
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
    /// The W3C `traceparent` and `tracestate` the client sent.
    pub trace: [Option<&'a str>; 2],
    /// When the first byte came, since 1970.
    pub began: Duration,
    /// From the first byte to the last.
    pub duration: Duration,
    /// From the first byte to the first of the answer's content.
    pub first_token: Option<Duration>,
    /// Spent in policies, the parallel decisions of several choices added up.
    pub policies: Duration,
    /// Each of them; only collected for traces.
    pub decisions: &'a [Decision],
    /// The exchanges with Codex, in no order.
    pub turns: &'a [Turn],
    /// How the turn ended: OpenAI's finish reason, or the code of what broke it.
    pub finish: Option<&'static str>,
    /// The code of the error that was answered.
    pub error: Option<&'a str>,
    /// Absent if no turn was begun.
    pub tokens: Option<Tokens>,
    /// Bytes of the answer's body.
    pub bytes: u64,
    /// The last byte was handed over; otherwise the client left.
    pub complete: bool,
}

impl Summary<'_> {
    /// Probes come every few seconds and say nothing while they succeed.
    fn is_probe(&self) -> bool {
        self.status == 200 && matches!(self.route, "/healthz" | "/readyz" | "/livez" | "/metrics")
    }

    /// What OpenTelemetry calls what was asked of the model.
    fn operation(&self) -> &'static str {
        match self.route {
            "/v1/completions" => "text_completion",
            _ => "chat",
        }
    }
}

/// What OpenTelemetry calls whoever runs the model.
const PROVIDER: &str = "openai";

/// The code of what broke a turn, if it did not end as answers do.
fn breakage(finish: Option<&'static str>) -> Option<&'static str> {
    match finish {
        Some("stop" | "length" | "tool_calls" | "content_filter") => None,
        Some(code) => Some(code),
        // The client left first.
        None => Some("cancelled"),
    }
}

impl Telemetry {
    /// Starts what is configured, within a Tokio runtime.
    ///
    /// # Errors
    /// If a file cannot be written, or OpenTelemetry's own variables make no sense.
    pub fn start(config: Config, metrics: Option<Metrics>) -> Result<Self, StartError> {
        let usage = config.usage.map(|usage| {
            let path = usage.path.clone();
            UsageLog::open(usage).map_err(|cause| StartError::Usage { path, cause })
        });
        let traces = config.traces.as_ref().map(Traces::start);
        Ok(Self {
            metrics: metrics.map(Arc::new),
            usage: usage.transpose()?.map(Arc::new),
            traces: traces.transpose()?.map(Arc::new),
        })
    }

    /// Writes and sends what waits. Blocks for some seconds at most.
    pub fn close(&self) {
        if let Some(usage) = &self.usage {
            usage.close();
        }
        if let Some(traces) = &self.traces {
            traces.close();
        }
    }

    /// A request began.
    pub fn began(&self) {
        if let Some(metrics) = &self.metrics {
            metrics.began();
        }
    }

    /// Its answer is going to be a stream.
    pub fn streams(&self) {
        if let Some(metrics) = &self.metrics {
            metrics.streams();
        }
    }

    /// A policy was asked.
    pub fn decided(&self, decision: &Decision) {
        if let Some(metrics) = &self.metrics {
            metrics.decided(decision);
        }
    }

    /// A request is over.
    pub fn ended(&self, request: &Summary<'_>) {
        if let Some(metrics) = &self.metrics {
            metrics.ended(request);
        }
        if let Some(usage) = &self.usage {
            usage.ended(request);
        }
        if request.is_probe() {
            return;
        }
        let traces = self.traces.as_ref();
        let trace = traces.and_then(|traces| traces.ended(request));
        log::access(request, trace.as_deref());
    }
}
