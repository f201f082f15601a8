//! A million decisions of policies that decide alike raise no alarm: `cargo test --workspace --test load alike`.

use codex_gateway_tests::alike::compare;

#[tokio::test(flavor = "multi_thread")]
async fn a_million_decisions_alike_differ_in_none() {
    let _turn = crate::alone().await;
    compare(1_000_000).await;
}
