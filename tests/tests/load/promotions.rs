//! Two hundred promotions and roll-backs under load: no request fails or meets two generations, memory and descriptors stay flat.

use std::sync::Arc;

use codex_gateway::policy::{Slot, SlotFiles};
use codex_gateway_tests::gateway::{Gateway, Setup};
use codex_gateway_tests::guests::EVERY;
use serde_json::json;

use crate::swap_load::{Load, anonymous_kib};

/// Promotions, each of another candidate.
const PROMOTIONS: u64 = 8;
/// The roll-backs after each, to and fro.
const ROLL_BACKS: u64 = 24;
/// The promotions after which everything that is allocated once has been allocated, the kept decisions included.
const WARM: u64 = 4;
/// The KiB that the others may add.
const MAY_GROW_KIB: u64 = 96 << 10;

fn stamped(stamp: u64) -> [SlotFiles; Slot::COUNT] {
    let settings = json!({ "stamp": stamp }).to_string();
    let mut files: [SlotFiles; Slot::COUNT] = Default::default();
    for slot in [Slot::Auth, Slot::Model] {
        files[slot as usize] = SlotFiles {
            component: Some(EVERY.into()),
            settings: Some(settings.as_bytes().into()),
        };
    }
    files
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// A promotion, and roll-backs to what served before, back again, and so on.
async fn round(gateway: &Gateway, number: u64) {
    let before = gateway.live.current().digest();
    let candidate = gateway
        .live
        .offer(stamped(2 + number), None, "ops")
        .await
        .unwrap();
    let promoted = gateway
        .live
        .promote(&candidate.digest.to_string(), "ops")
        .await
        .unwrap();
    assert_eq!(promoted.digest(), candidate.digest);
    for turn in 0..ROLL_BACKS {
        let back = gateway.live.roll_back(None, "ops").await.unwrap();
        let expected = if turn % 2 == 0 {
            before
        } else {
            candidate.digest
        };
        assert_eq!(back.digest(), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_promotions_and_roll_backs_lose_and_mix_nothing_and_keep_nothing() {
    let _turn = crate::alone().await;
    let setup = Setup::demo().policy("auth.json", br#"{"stamp": 1}"#);
    let setup = setup.policy("auth.wasm", EVERY);
    let setup = setup.policy("model.json", br#"{"stamp": 1}"#);
    let gateway = Arc::new(setup.policy("model.wasm", EVERY).start().await);
    let load = Load::start(&gateway);
    let mut warm = (0, 0);
    for number in 0..PROMOTIONS {
        round(&gateway, number).await;
        if number == WARM {
            warm = (anonymous_kib(), descriptors());
        }
    }
    let grown = anonymous_kib().saturating_sub(warm.0);
    let opened = descriptors().saturating_sub(warm.1);
    let answered = load.end().await;
    assert!(answered > PROMOTIONS, "the load was real");
    assert_eq!(
        gateway.live.current().number(),
        1 + PROMOTIONS * (1 + ROLL_BACKS)
    );
    assert!(grown < MAY_GROW_KIB, "{grown} KiB more");
    assert!(opened < 20, "{opened} descriptors more");
    Arc::into_inner(gateway).unwrap().stop().await;
}
