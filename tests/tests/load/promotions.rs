//! A thousand promotions and roll-backs under load: no request fails or meets two generations, memory and descriptors stay flat.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use codex_gateway::policy::{Slot, SlotFiles};
use codex_gateway_tests::gateway::{Gateway, Setup};
use codex_gateway_tests::guests::EVERY;
use serde_json::json;

use crate::swap_load::{anonymous_kib, call_until};

/// Promotions, each followed by a roll-back.
const PAIRS: u64 = 500;
/// The pairs after which everything that is allocated once has been allocated, the kept decisions included.
const WARM: u64 = 200;
/// The KiB that three hundred more pairs may add.
const MAY_GROW_KIB: u64 = 48 << 10;

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

/// A promotion and a roll-back; the next candidate is another one every ten pairs.
async fn pair(gateway: &Gateway, number: u64) {
    let candidate = gateway
        .live
        .offer(stamped(2 + number / 10), "ops")
        .await
        .unwrap();
    let digest = candidate.digest.to_string();
    let before = gateway.live.current().digest();
    let promoted = gateway.live.promote(&digest, "ops").await.unwrap();
    assert_eq!(promoted.digest().to_string(), digest);
    let back = gateway.live.roll_back(None, "ops").await.unwrap();
    assert_eq!(back.digest(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_promotions_and_roll_backs_lose_and_mix_nothing_and_keep_nothing() {
    let _turn = crate::alone().await;
    let setup = Setup::demo().policy("auth.json", br#"{"stamp": 1}"#);
    let setup = setup.policy("auth.wasm", EVERY);
    let setup = setup.policy("model.json", br#"{"stamp": 1}"#);
    let gateway = Arc::new(setup.policy("model.wasm", EVERY).start().await);
    let stop = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicU64::new(0));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            tokio::spawn(call_until(
                Arc::clone(&gateway),
                Arc::clone(&stop),
                Arc::clone(&answered),
            ))
        })
        .collect();
    let mut warm = (0, 0);
    for number in 0..PAIRS {
        pair(&gateway, number).await;
        if number == WARM {
            warm = (anonymous_kib(), descriptors());
        }
    }
    let grown = anonymous_kib().saturating_sub(warm.0);
    let opened = descriptors().saturating_sub(warm.1);
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    assert!(
        answered.load(Ordering::Relaxed) > PAIRS,
        "the load was real"
    );
    assert_eq!(gateway.live.current().number(), 1 + 2 * PAIRS);
    assert!(grown < MAY_GROW_KIB, "{grown} KiB more");
    assert!(opened < 20, "{opened} descriptors more");
    Arc::into_inner(gateway).unwrap().stop().await;
}
