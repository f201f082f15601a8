//! Many turns on the real Codex, at once and one after another: each gets its own answer; memory and disk stay bounded.

use codex_gateway_tests::crowd::{Footprint, at_once, in_turn};
use codex_gateway_tests::real::real;

/// The number of streams at once, of one second each.
const CROWD: usize = 64;

/// The number of turns after which everything that is allocated once has been allocated.
const WARM: usize = 100;
const TURNS: usize = 300;

/// The KiB that [`TURNS`] more turns may add: far less than if each left a thread (1.2 MB) or its history.
const MAY_GROW_KIB: u64 = 64 << 10;

/// The KiB that may be written to disk: Codex logs some 60 kB a turn.
const MAY_WRITE_KIB: u64 = 40 << 10;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn sixty_four_streams_at_once_are_each_answered_right() {
    let (gateway, provider) = real().await;
    at_once(&gateway, CROWD).await;
    assert_eq!(provider.counts().finished, CROWD);
    gateway.idle().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn hundreds_of_turns_leave_little_memory_and_no_files() {
    let (gateway, provider) = real().await;
    in_turn(&gateway, WARM).await;
    provider.forget();
    let warm = Footprint::of(&gateway);
    in_turn(&gateway, TURNS).await;
    provider.forget();
    gateway.idle().await;
    let status = gateway.backend.status();
    assert_eq!(
        (status.recycled, status.restarts),
        (0, 0),
        "one child did it all"
    );
    let now = Footprint::of(&gateway);
    let codex = now.codex_kib.saturating_sub(warm.codex_kib);
    let own = now.own_kib.saturating_sub(warm.own_kib);
    assert!(codex.max(own) < MAY_GROW_KIB, "{warm:?}, then {now:?}");
    let written = now.disk_kib.saturating_sub(warm.disk_kib);
    assert!(written < MAY_WRITE_KIB, "{warm:?}, then {now:?}");
    assert!(now.files <= warm.files, "{warm:?}, then {now:?}");
    gateway.stop().await;
}
