//! Measures the time to the first piece of an answer, through the gateway and from an app-server without one, in turns:
//! `TEST_CODEX_BIN=… cargo bench -p codex-gateway-tests --bench first_token`.
//!
//! The app-server without a gateway is timed twice: from the request for a thread, and from the conversation sent to that thread.

use std::time::{Duration, Instant};

use codex_gateway_tests::bare::Bare;
use codex_gateway_tests::gateway::Gateway;
use codex_gateway_tests::real::{is_set, script, set_up};
use codex_gateway_tests::sse::{self, Events};
use serde_json::json;

const MODEL: &str = "gpt-5.4";
const WARM: usize = 10;
const TURNS: usize = 100;

fn main() {
    if !is_set("TEST_CODEX_BIN") {
        return println!("TEST_CODEX_BIN is not set: not measured");
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let (setup, _provider) = set_up("TEST_CODEX_BIN", MODEL).await;
        let gateway = setup.start().await;
        let mut bare = Bare::like(&gateway).await;
        let (mut ours, mut theirs, mut prepared) = (Vec::new(), Vec::new(), Vec::new());
        for turn in 0..WARM + TURNS {
            let through = through(&gateway).await;
            let text = script(json!({}), true)["messages"][0]["content"].clone();
            let first = bare.turn(MODEL, text.as_str().expect("a text")).await;
            if turn >= WARM {
                ours.push(through);
                theirs.push(first.after_thread);
                prepared.push(first.after_history);
            }
        }
        let gateway_median = print("gateway", ours);
        for (what, times) in [("bare", theirs), ("bare, thread at hand", prepared)] {
            let median = print(what, times);
            let ratio = gateway_median.as_secs_f64() / median.as_secs_f64();
            println!("gateway / {what}: {ratio:.2}");
        }
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        println!("load average {}", load.trim());
        drop(bare);
        gateway.stop().await;
    });
}

/// The time from the request to the first piece; reads the answer to its end.
async fn through(gateway: &Gateway) -> Duration {
    let started = Instant::now();
    let response = gateway.chat(&script(json!({}), true)).send().await;
    let mut events = Events::of(response.expect("an answer"));
    let mut first = None;
    while let Some(event) = events.next().await {
        if first.is_none() && !sse::text(&[event]).is_empty() {
            first = Some(started.elapsed());
        }
    }
    first.expect("an answer has a first piece")
}

/// Prints the median and the 95th percentile, and returns the median.
fn print(what: &str, mut times: Vec<Duration>) -> Duration {
    times.sort();
    let median = times[times.len() / 2];
    let slow = times[times.len() * 95 / 100];
    println!("{what}: first piece after {median:.2?} (median), {slow:.2?} (95 of 100)");
    median
}
