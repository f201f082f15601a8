//! All attacks at once: no honest request is lost, and all resources are released. The long form, with figures, is
//! `cargo bench -p codex-gateway-tests --bench attack`.

use std::time::Duration;

use codex_gateway_tests::attack::{Plan, run};

#[tokio::test(flavor = "multi_thread")]
async fn honest_clients_are_served_beside_every_attack_at_once() {
    let _turn = crate::alone().await;
    let plan = Plan {
        program: env!("CARGO_BIN_EXE_gateway").into(),
        quiet: Duration::from_secs(3),
        attack: Duration::from_secs(20),
    };
    let report = run(&plan).await;
    println!("{report}");
    let problems = report.problems();
    let some = &problems[..problems.len().min(20)];
    assert!(
        problems.is_empty(),
        "{} problems, as {some:#?} in\n{report}",
        problems.len()
    );
}
