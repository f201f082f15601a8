//! Attacks a gateway with few descriptors in all ways at once, beside honest clients:
//! `cargo bench -p codex-gateway-tests --bench attack -- --minutes 10`.
//!
//! Prints the latency of honest requests without and with the attack, in one run, and the gateway's resources before,
//! during and after; ends with 1 if a request was lost or resources are not released. `tests/load/attack.rs` is its short form.

use std::process::ExitCode;
use std::time::Duration;

use codex_gateway_tests::attack::{Plan, run};

/// The length if `--minutes` is absent, as in a run of all benchmarks.
const MINUTES: u64 = 1;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let given = arguments
        .iter()
        .skip_while(|argument| *argument != "--minutes")
        .nth(1);
    let minutes = given.map_or(MINUTES, |given| {
        given.parse().expect("--minutes takes a number")
    });
    let plan = Plan {
        program: env!("CARGO_BIN_EXE_gateway").into(),
        quiet: Duration::from_secs(20),
        attack: Duration::from_secs(60 * minutes),
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let report = runtime.block_on(run(&plan));
    println!("{report}");
    let problems = report.problems();
    for problem in problems.iter().take(50) {
        println!("{problem}");
    }
    println!("{} problems", problems.len());
    match problems.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
