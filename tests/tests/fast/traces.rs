//! Traces: the spans that a collector gets; requests never wait for a collector.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use codex_gateway_tests::gateway::{QUICK, Setup, say, stream};
use codex_gateway_tests::sse::Events;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{
    ResourceSpans, Span, span::SpanKind, status::StatusCode,
};
use prost::Message;

/// A collector on this machine, with all spans it received.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ResourceSpans>>>);

async fn take(State(collector): State<Collector>, body: Bytes) {
    let request = ExportTraceServiceRequest::decode(body).expect("OTLP");
    collector.0.lock().unwrap().extend(request.resource_spans);
}

impl Collector {
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let router = axum::Router::new()
            .route("/v1/traces", post(take))
            .with_state(collector.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (collector, endpoint)
    }

    fn spans(&self) -> Vec<Span> {
        let got = self.0.lock().unwrap();
        let scopes = got.iter().flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }
}

fn attribute(attributes: &[KeyValue], name: &str) -> Option<Value> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    found.value.clone()?.value
}

fn text(text: &str) -> Option<Value> {
    Some(Value::StringValue(text.to_owned()))
}

/// The spans of one request whose client has a trace, and the request's id.
async fn traced() -> (Collector, Vec<Span>, String) {
    let (collector, endpoint) = Collector::start().await;
    let gateway = Setup::demo()
        .var("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)
        .var("OTEL_SERVICE_NAME", "our-gateway")
        .start()
        .await;
    let request = gateway.chat(&say(QUICK)).header(
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    );
    let answer = request.send().await.unwrap();
    let id = answer.headers()["x-request-id"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(answer.text().await.unwrap().contains("x x x"));
    gateway.stop().await;
    let spans = collector.spans();
    (collector, spans, id)
}

fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let mut found = spans.iter().filter(|span| span.name == name);
    found
        .next()
        .unwrap_or_else(|| panic!("no span {name} in {spans:#?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_belongs_to_its_clients_trace() {
    let (collector, spans, id) = traced().await;
    let resource = collector.0.lock().unwrap()[0].resource.clone().unwrap();
    let service = attribute(&resource.attributes, "service.name");
    assert_eq!(service, text("our-gateway"));
    let root = named(&spans, "POST /v1/chat/completions");
    assert_eq!(root.kind, SpanKind::Server as i32);
    assert_eq!(hex(&root.trace_id), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(hex(&root.parent_span_id), "b7ad6b7169203331");
    assert_eq!(attribute(&root.attributes, "codex.request.id"), text(&id));
    let status = attribute(&root.attributes, "http.response.status_code");
    assert_eq!(status, Some(Value::IntValue(200)));
    let all = format!("{spans:?}");
    assert!(
        !all.contains("x x x") && !all.contains("deltas"),
        "nothing of what was said"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn its_decisions_and_its_turn_are_spans_within_it() {
    let (_, spans, _) = traced().await;
    let root = named(&spans, "POST /v1/chat/completions");
    let auth = named(&spans, "policy auth authenticate");
    let outcome = attribute(&auth.attributes, "codex.policy.outcome");
    assert_eq!(outcome, text("answered"));
    let turn = named(&spans, "chat codex-5");
    assert_eq!(turn.kind, SpanKind::Client as i32);
    let runs = attribute(&turn.attributes, "gen_ai.response.model");
    assert_eq!(runs, text("demo"));
    let output = attribute(&turn.attributes, "gen_ai.usage.output_tokens");
    assert!(matches!(output, Some(Value::IntValue(1..))));
    let others = ["policy model resolve", "policy rate-limit quotas"];
    for span in others
        .iter()
        .map(|name| named(&spans, name))
        .chain([auth, turn])
    {
        let parent = (&span.trace_id, &span.parent_span_id);
        assert_eq!(parent, (&root.trace_id, &root.span_id));
        assert!(root.start_time_unix_nano <= span.start_time_unix_nano);
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
        assert!(span.end_time_unix_nano <= root.end_time_unix_nano);
    }
    assert!(auth.end_time_unix_nano <= turn.start_time_unix_nano);
    let first = &turn.events[0];
    assert_eq!(first.name, "first token");
    let turns = turn.start_time_unix_nano..=turn.end_time_unix_nano;
    assert!(turns.contains(&first.time_unix_nano));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_breaks_is_an_error_and_a_client_that_wants_no_trace_gets_none() {
    let (collector, endpoint) = Collector::start().await;
    let gateway = Setup::demo()
        .var("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)
        .var("PROXY_TIMEOUT_MS", "50")
        .start()
        .await;
    let endless = r#"{"demo":{"deltas":1000000,"text":"x","delay_ms":10}}"#;
    let broken = gateway.chat(&stream(endless)).send().await.unwrap();
    Events::of(broken).rest().await;
    let silent = gateway.chat(&say(QUICK)).header(
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
    );
    silent.send().await.unwrap();
    gateway.stop().await;
    let spans = collector.spans();
    let roots: Vec<_> = spans
        .iter()
        .filter(|span| span.kind == SpanKind::Server as i32)
        .collect();
    assert_eq!(roots.len(), 1, "{roots:#?}");
    assert_eq!(
        roots[0].status.as_ref().unwrap().code,
        StatusCode::Error as i32
    );
    let turn = spans
        .iter()
        .find(|span| span.name == "chat codex-5")
        .unwrap();
    assert_eq!(
        attribute(&turn.attributes, "error.type"),
        text("request_timeout")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_turn_is_no_error() {
    let (collector, endpoint) = Collector::start().await;
    let gateway = Setup::demo()
        .var("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)
        .start()
        .await;
    let models = gateway.get("/v1/models").send().await.unwrap();
    assert_eq!(models.status(), 200);
    let stranger = gateway.chat(&say(QUICK)).bearer_auth("sk-wrong");
    assert_eq!(stranger.send().await.unwrap().status(), 401);
    let mut unknown = say(QUICK);
    unknown["model"] = "no-such-model".into();
    let unknown = gateway.chat(&unknown).send().await.unwrap();
    assert_eq!(unknown.status(), 404);
    gateway.stop().await;
    let spans = collector.spans();
    let roots = spans
        .iter()
        .filter(|span| span.kind == SpanKind::Server as i32);
    let errors: Vec<_> = roots
        .map(|span| span.status.as_ref().map_or(0, |status| status.code))
        .collect();
    assert_eq!(errors, [StatusCode::Unset as i32; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_a_collector_that_says_nothing() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let gateway = Setup::demo()
        .var("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)
        .start()
        .await;
    let answered = async {
        // More spans than the export queue holds; further ones are dropped.
        for _ in 0..400 {
            let answer = gateway.chat(&say(QUICK)).send().await.unwrap();
            assert_eq!(answer.status(), 200);
        }
        gateway.stop().await;
    };
    tokio::time::timeout(Duration::from_secs(60), answered)
        .await
        .expect("requests and the end do not wait");
}
