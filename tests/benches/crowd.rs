//! Measures many turns on one real Codex: `TEST_CODEX_BIN=… cargo bench -p codex-gateway-tests --bench crowd`.
//!
//! 64 one-second streams at once should end in under 2.5 s on two cores, and 1,600 turns should leave memory and disk
//! as they were. It also prints the machine's load, as other programs on the machine change the figures.

use std::time::{Duration, Instant};

use codex_gateway_tests::crowd::{Footprint, at_once, in_turn};
use codex_gateway_tests::gateway::Gateway;
use codex_gateway_tests::provider::Provider;
use codex_gateway_tests::real::{is_set, set_up};

const ROUNDS: usize = 3;
const CROWDS: [usize; 4] = [1, 4, 16, 64];
const TURNS: [usize; 5] = [100, 100, 200, 400, 800];

fn main() {
    if !is_set("TEST_CODEX_BIN") {
        return println!("TEST_CODEX_BIN is not set: not measured");
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let (setup, provider) = set_up("TEST_CODEX_BIN", "gpt-5.4").await;
        let gateway = setup.start().await;
        println!("{}", load());
        for crowd in CROWDS {
            for _ in 0..ROUNDS {
                side_by_side(&gateway, crowd).await;
            }
        }
        one_after_another(&gateway, &provider).await;
        println!("{}", load());
        gateway.stop().await;
    });
}

async fn side_by_side(gateway: &Gateway, crowd: usize) {
    let started = Instant::now();
    let mut first = at_once(gateway, crowd).await;
    let all = started.elapsed();
    first.sort();
    println!(
        "{crowd} one-second streams at once: {all:.2?}, first piece after {:.0?} (median), {:.0?} (worst)",
        first[first.len() / 2],
        first.last().copied().unwrap_or_default(),
    );
}

async fn one_after_another(gateway: &Gateway, provider: &Provider) {
    let (mut done, mut took) = (0, Duration::ZERO);
    provider.forget();
    print(done, took, gateway);
    for turns in TURNS {
        let started = Instant::now();
        in_turn(gateway, turns).await;
        took += started.elapsed();
        provider.forget();
        done += turns;
        print(done, took, gateway);
    }
}

fn print(turns: usize, took: Duration, gateway: &Gateway) {
    let Footprint {
        own_kib,
        codex_kib,
        disk_kib,
        files,
    } = Footprint::of(gateway);
    println!(
        "{turns} turns, {took:.1?}: gateway and provider {own_kib} KiB, Codex {codex_kib} KiB, on disk {disk_kib} KiB \
         in {files} files"
    );
}

fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!("load average {}", load.trim())
}
