//! Policies that deny a little more than those before are taken back soon, and those that decide alike never are.

use std::collections::BTreeSet;

use codex_gateway::secret::fingerprint;
use codex_gateway_tests::gateway::{Gateway, Setup};
use codex_gateway_tests::guests::deploy;
use serde_json::json;

/// The callers of these tests; each one's key is its name.
const CALLERS: usize = 1_000;

fn caller(number: usize) -> String {
    format!("caller-{number}")
}

/// Auth settings without every caller whose number is among these.
fn keys(without: &BTreeSet<usize>) -> String {
    let callers = (0..CALLERS).filter(|number| !without.contains(number));
    let key = |id: String| json!({"id": id, "sha256": fingerprint(id.as_bytes())});
    let keys: Vec<_> = callers.map(caller).map(key).collect();
    json!({ "keys": keys }).to_string()
}

async fn status(gateway: &Gateway, number: usize) -> u16 {
    let url = format!("{}/v1/models", gateway.origin);
    let request = gateway.client.get(url).bearer_auth(caller(number));
    request.send().await.unwrap().status().as_u16()
}

async fn gateway() -> Gateway {
    let setup = Setup::demo().policy("auth.json", keys(&BTreeSet::new()).as_bytes());
    setup
        .policy("policies.toml", b"[rollout]\nmax_denials = 0\n")
        .start()
        .await
}

/// The next of the callers, in an order that visits each once a round and has no pattern.
fn next(number: usize) -> usize {
    (number * 421 + 1) % CALLERS
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mutant_is_taken_back_as_soon_as_it_denied_one_request_more() {
    for denied in [1, 10, 100] {
        let gateway = gateway().await;
        let before = gateway.live.current().digest();
        let without: BTreeSet<_> = (0..denied)
            .map(|number| number * (CALLERS / denied) + 7)
            .collect();
        deploy(gateway.policies(), "auth.json", keys(&without).as_bytes());
        gateway.generation(2).await;
        // One round meets every caller: a tenth of a per cent is one of a thousand.
        let (mut number, mut asked) = (0, 1);
        while status(&gateway, number).await == 200 {
            number = next(number);
            asked += 1;
        }
        assert!(without.contains(&number) && asked <= CALLERS, "{asked}");
        gateway.generation(3).await;
        assert_eq!(gateway.live.current().digest(), before);
        assert_eq!(gateway.live.taken_back(), 1);
        for number in &without {
            assert_eq!(status(&gateway, *number).await, 200);
        }
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_that_decide_alike_raise_no_alarm() {
    let gateway = gateway().await;
    // Other settings with the same meaning: the keys in another order.
    let mut settings: serde_json::Value = serde_json::from_str(&keys(&BTreeSet::new())).unwrap();
    settings["keys"].as_array_mut().unwrap().reverse();
    deploy(
        gateway.policies(),
        "auth.json",
        settings.to_string().as_bytes(),
    );
    gateway.generation(2).await;
    let mut number = 0;
    for _ in 0..2 * CALLERS {
        assert_eq!(status(&gateway, number).await, 200);
        number = next(number);
    }
    let stranger = gateway.client.get(format!("{}/v1/models", gateway.origin));
    assert_eq!(
        stranger
            .bearer_auth("sk-stranger")
            .send()
            .await
            .unwrap()
            .status(),
        401
    );
    assert_eq!(gateway.live.current().number(), 2);
    assert_eq!(gateway.live.taken_back(), 0);
    gateway.stop().await;
}
