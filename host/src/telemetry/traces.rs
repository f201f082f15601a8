//! Traces: sends each request, its policy decisions and its turns as spans to a collector, by OTLP over HTTP.

mod client;
mod losses;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{
    Event, Span, SpanBuilder, SpanKind, Status, TraceContextExt, TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::Request;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracer, SdkTracerProvider,
};

use super::{Decision, Summary, Turn, breakage};
use losses::{Bounded, Counted, Losses};

/// How long the last spans may take to be sent.
const LAST_SPANS: Duration = Duration::from_secs(5);

/// OpenTelemetry's own default for the most spans that wait to be sent.
pub const QUEUE: usize = 2_048;

/// The collector that gets the spans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The collector's base URL, without a trailing slash: `/v1/traces` is appended.
    pub endpoint: String,
    /// The service name of the gateway in the spans.
    pub service: String,
    /// The most spans that wait to be sent.
    pub queue: usize,
}

/// Whether it can be a collector's base URL: an `http://` URL to which a path can be appended.
#[must_use]
pub fn is_endpoint(text: &str) -> bool {
    let request = Request::post(text).body(());
    request.is_ok_and(|request| {
        let uri = request.uri();
        // `port()` is absent for an invalid port too; then the authority does not end with the host.
        let authority = uri.authority().is_some_and(|authority| {
            authority.port().is_some() || authority.as_str().ends_with(authority.host())
        });
        uri.scheme_str() == Some("http") && authority && uri.query().is_none()
    })
}

/// Exports spans. They wait in a bounded queue, and a thread of its own sends them: no request waits.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    propagator: TraceContextPropagator,
    losses: Arc<Losses>,
}

impl Traces {
    /// Starts the exporter. Must be called within a Tokio runtime, which sends the spans.
    ///
    /// # Errors
    /// If OpenTelemetry's own variables are invalid.
    pub fn start(config: &Config) -> Result<Self, ExporterBuildError> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client::OnRuntime::new())
            .with_endpoint(format!("{}/v1/traces", config.endpoint))
            .build()?;
        let losses = Arc::<Losses>::default();
        let exporter = Counted {
            exporter,
            losses: Arc::clone(&losses),
        };
        let batches = BatchConfigBuilder::default().with_max_queue_size(config.queue);
        let processor = Bounded {
            processor: BatchSpanProcessor::builder(exporter)
                .with_batch_config(batches.build())
                .build(),
            losses: Arc::clone(&losses),
            room: config.queue,
        };
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource = Resource::builder()
            .with_service_name(config.service.clone())
            .with_attribute(version)
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_resource(resource)
            .build();
        Ok(Self {
            tracer: provider.tracer("codex-gateway"),
            provider,
            propagator: TraceContextPropagator::new(),
            losses,
        })
    }

    /// The number of spans that were lost: the queue was full, or the collector did not take them.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.losses.lost()
    }

    /// Queues the spans of a request that is over. Returns the id of its trace, unless its client asked not to be sampled.
    pub(super) fn ended(&self, request: &Summary<'_>) -> Option<String> {
        let parent = self.parent(request);
        let root = SpanBuilder::from_name(format!("{} {}", request.method, request.route))
            .with_kind(SpanKind::Server)
            .with_start_time(began(request))
            .with_attributes(attributes(request))
            .start_with_context(&self.tracer, &parent);
        let context = parent.with_span(root);
        let span = context.span();
        if !span.is_recording() {
            return None;
        }
        for decision in request.decisions {
            self.decision(request, decision, &context);
        }
        for turn in request.turns {
            self.turn(request, turn, &context);
        }
        // A request without a turn has no finish, and `breakage` would call it cancelled.
        let broke = request.stream.is_some() && breakage(request.finish).is_some();
        if request.status >= 500 || broke {
            let cause = request.error.or(request.finish).unwrap_or("error");
            span.set_status(Status::error(cause.to_owned()));
        }
        span.end_with_timestamp(began(request) + request.duration);
        Some(span.span_context().trace_id().to_string())
    }

    /// The client's span that this request belongs to, if it names one.
    fn parent(&self, request: &Summary<'_>) -> Context {
        let given: HashMap<String, String> = ["traceparent", "tracestate"]
            .into_iter()
            .zip(request.trace)
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect();
        self.propagator
            .extract_with_context(&Context::new(), &given)
    }

    fn decision(&self, request: &Summary<'_>, decision: &Decision, context: &Context) {
        let Decision { slot, question, .. } = decision;
        let began = began(request) + decision.began;
        let mut attributes = vec![
            KeyValue::new("codex.policy.slot", *slot),
            KeyValue::new("codex.policy.outcome", decision.outcome),
            KeyValue::new("codex.policy.from_memo", decision.from_memo),
        ];
        attributes.extend(decision.fault.map(|kind| KeyValue::new("error.type", kind)));
        let mut span = SpanBuilder::from_name(format!("policy {slot} {question}"))
            .with_kind(SpanKind::Internal)
            .with_start_time(began)
            .with_attributes(attributes)
            .start_with_context(&self.tracer, context);
        if let Some(kind) = decision.fault {
            span.set_status(Status::error(kind));
        }
        span.end_with_timestamp(began + decision.elapsed);
    }

    fn turn(&self, request: &Summary<'_>, turn: &Turn, context: &Context) {
        let operation = request.operation();
        let model = request.model.unwrap_or_default();
        let mut attributes = vec![
            KeyValue::new("gen_ai.operation.name", operation),
            KeyValue::new("gen_ai.provider.name", super::PROVIDER),
            KeyValue::new("gen_ai.request.model", model.to_owned()),
            KeyValue::new(
                "gen_ai.response.model",
                request.runs.unwrap_or_default().to_owned(),
            ),
            KeyValue::new("gen_ai.usage.input_tokens", count(turn.tokens.input)),
            KeyValue::new("gen_ai.usage.output_tokens", count(turn.tokens.output)),
        ];
        let broken = breakage(turn.finish);
        match (broken, turn.finish) {
            (Some(code), _) => attributes.push(KeyValue::new("error.type", code)),
            (None, Some(reason)) => attributes.push(KeyValue::new(
                "gen_ai.response.finish_reasons",
                opentelemetry::Value::Array(vec![opentelemetry::StringValue::from(reason)].into()),
            )),
            (None, None) => {}
        }
        let first = turn
            .first_token
            .map(|first| Event::new("first token", began(request) + first, Vec::new(), 0));
        let mut span = SpanBuilder::from_name(format!("{operation} {model}"))
            .with_kind(SpanKind::Client)
            .with_start_time(began(request) + turn.began)
            .with_attributes(attributes)
            .with_events(first.into_iter().collect())
            .start_with_context(&self.tracer, context);
        if let Some(code) = broken {
            span.set_status(Status::error(code));
        }
        span.end_with_timestamp(began(request) + turn.ended);
    }

    /// Sends the queued spans, and ends. Blocks for some seconds at most.
    pub fn close(&self) {
        if let Err(error) = self.provider.shutdown_with_timeout(LAST_SPANS) {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

fn began(request: &Summary<'_>) -> SystemTime {
    SystemTime::UNIX_EPOCH + request.began
}

/// The attributes of a request, with OpenTelemetry's names where they exist.
fn attributes(request: &Summary<'_>) -> Vec<KeyValue> {
    let mut attributes = vec![
        KeyValue::new("http.request.method", request.method.to_owned()),
        KeyValue::new("http.route", request.route.to_owned()),
        KeyValue::new("http.response.status_code", i64::from(request.status)),
        KeyValue::new("client.address", request.client.to_owned()),
        KeyValue::new("codex.request.id", request.id.to_owned()),
        KeyValue::new("codex.policy.generation", count(request.generation)),
        KeyValue::new("codex.policy.digest", request.digest.to_owned()),
    ];
    let caller = request
        .caller
        .map(|id| KeyValue::new("enduser.id", id.to_owned()));
    let error = request
        .error
        .map(|code| KeyValue::new("error.type", code.to_owned()));
    attributes.extend(caller.into_iter().chain(error));
    attributes
}

fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
