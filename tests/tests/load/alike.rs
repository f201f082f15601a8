//! Many decisions of policies that decide alike raise no alarm: `just alike` compares a million.

use codex_gateway_tests::alike::compare;
use codex_gateway_tests::inputs::count;

#[tokio::test(flavor = "multi_thread")]
async fn decisions_alike_differ_in_none() {
    let _turn = crate::alone().await;
    compare(u64::from(count(100_000))).await;
}
