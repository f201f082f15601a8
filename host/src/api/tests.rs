//! A panic in a request's handler ends that request alone, with an answer and a line in the access log.

use std::io::Write;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use parking_lot::Mutex;

use super::*;
use crate::policy::{Defaults, Engine, Facts, Source};
use crate::quota::Memory;

fn config() -> Config {
    let second = Duration::from_secs(1);
    Config {
        max_body: 1 << 20,
        timers: Timeouts {
            total: second,
            first_token: None,
            stream_idle: second,
            idle: second,
            proto_idle: second,
            keepalive: second,
        },
        kill_on_disconnect: true,
        trusted: TrustedProxies::parse(&[]).unwrap(),
        origins: None,
        max_choices: 1,
        max_completion_choices: 1,
        output_mode: OutputMode::OpenaiJson,
        metrics: None,
        test_endpoints: None,
        responses_output_mode: OutputMode::OpenaiJson,
        block_delimiter: None,
        responses: false,
        aliases: true,
        sockets: None,
        max_prompt_tokens: None,
        reading: Reading::default(),
    }
}

/// A gateway with the built-in policies and the demo backend.
pub(super) async fn shared() -> Shared {
    let engine = Engine::new(None).unwrap();
    let source = Source::new(None, Defaults::default());
    let live = Live::resume(engine, &source, &Facts::default()).await;
    Shared::new(Parts {
        config: config(),
        live: Arc::new(live.unwrap()),
        backend: Backend::demo(),
        connections: Connections::of_descriptors(0),
        bodies: Bodies::new(1),
        requests: TaskTracker::new(),
        responses: Responses::default(),
        sockets: Sockets::default(),
        telemetry: Telemetry::default(),
        counters: Arc::new(Memory::default()),
        operators: None,
        draining: CancellationToken::new(),
        ending: CancellationToken::new(),
    })
}

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_panic_in_a_handler_is_answered_and_logged() {
    let shared = shared().await;
    let defect = async || -> String { panic!("a defect of the gateway") };
    let routes = surface(
        Router::new().route("/defect", get(defect)),
        ["/defect"],
        shared,
    );
    let written = Written::default();
    let writer = written.clone();
    let log = tracing_subscriber::fmt().with_ansi(false);
    let log = log.with_writer(move || writer.clone()).finish();
    let _log = tracing::subscriber::set_default(log);
    let request = Request::get("/defect").header("host", "gateway");
    let request = request.body(Body::empty()).unwrap();
    let answer = routes.answer(request).await;
    assert_eq!(answer.status(), 500);
    let body = to_bytes(answer.into_body(), 1 << 10).await.unwrap();
    let body = String::from_utf8_lossy(&body).into_owned();
    assert!(body.contains("internal_error"), "{body}");
    let lines = String::from_utf8_lossy(&written.0.lock()).into_owned();
    let line = lines.lines().find(|line| line.contains("path=\"/defect\""));
    let line = line.unwrap_or_else(|| panic!("no access line: {lines}"));
    assert!(line.contains("status=500"), "{line}");
    assert!(line.contains("error=\"internal_error\""), "{line}");
}
