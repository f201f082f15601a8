//! Measures how the cost of an answer grows with its length: `cargo bench -p codex-gateway-tests --bench answer`.
//!
//! An answer of 64,000 deltas should cost about 16 times one of 4,000. Each is measured five times in turns, the best counts.

use std::time::{Duration, Instant};

use codex_gateway_tests::gateway::{Gateway, Setup, say, stream};
use futures_util::StreamExt;
use serde_json::{Value, json};

const SHORT: usize = 4_000;
const LONG: usize = 64_000;
const ROUNDS: usize = 5;

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        println!("deltas: {SHORT} and {LONG}, a ratio of 16 is linear; best of {ROUNDS}");
        let gateway = Setup::demo().start().await;
        measure(
            "demo backend",
            &gateway,
            |deltas| json!({"demo": {"deltas": deltas, "text": "word "}}),
        )
        .await;
        gateway.stop().await;
        let gateway = Setup::codex(env!("CARGO_BIN_EXE_fake-codex")).start().await;
        measure(
            "app-server protocol, fake child",
            &gateway,
            |deltas| json!({"fake": {"text": ["word "], "repeat": deltas}}),
        )
        .await;
        gateway.stop().await;
    });
}

async fn measure(what: &str, gateway: &Gateway, script: impl Fn(usize) -> Value) {
    for (form, body) in [("streamed", stream as fn(&str) -> Value), ("whole", say)] {
        let (mut short, mut long) = (Duration::MAX, Duration::MAX);
        for _ in 0..ROUNDS {
            short = short.min(time(gateway, &body(&script(SHORT).to_string())).await);
            long = long.min(time(gateway, &body(&script(LONG).to_string())).await);
        }
        let ratio = long.as_secs_f64() / short.as_secs_f64();
        let each = long.as_micros() as f64 / LONG as f64;
        println!(
            "{what}, {form}: {short:.1?} and {long:.1?}, ratio {ratio:.1}, {each:.2} us a delta"
        );
    }
}

async fn time(gateway: &Gateway, body: &Value) -> Duration {
    let started = Instant::now();
    let response = gateway.chat(body).send().await.expect("an answer");
    assert_eq!(response.status(), 200);
    let mut bytes = response.bytes_stream();
    let mut length = 0;
    while let Some(piece) = bytes.next().await {
        length += piece.expect("the whole answer").len();
    }
    assert!(length > SHORT * "word ".len());
    started.elapsed()
}
