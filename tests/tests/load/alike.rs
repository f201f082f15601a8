//! Many decisions of policies that decide alike raise no alarm: `just alike` compares a million.

use codex_gateway_tests::alike::compare;

/// Decisions by default; `TEST_INPUTS` multiplies them.
const DECISIONS: u64 = 100_000;

#[expect(
    clippy::disallowed_methods,
    reason = "the length of this test is no setting of the gateway"
)]
#[tokio::test(flavor = "multi_thread")]
async fn decisions_alike_differ_in_none() {
    let _turn = crate::alone().await;
    let factor = std::env::var("TEST_INPUTS").ok();
    let factor = factor.map_or(1, |factor| factor.parse().unwrap());
    compare(DECISIONS * factor).await;
}
