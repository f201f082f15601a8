//! Policies that deny a little more than those before are taken back soon, and those that decide alike never are.

use std::collections::BTreeSet;

use codex_gateway_tests::alike::{self, CALLERS, caller, gateway, keys};
use codex_gateway_tests::gateway::Gateway;
use codex_gateway_tests::guests::deploy;

async fn status(gateway: &Gateway, number: usize) -> u16 {
    let url = format!("{}/v1/models", gateway.origin);
    let request = gateway.client.get(url).bearer_auth(caller(number));
    request.send().await.unwrap().status().as_u16()
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
        deploy(
            gateway.policies(),
            "auth.json",
            keys(&without, 0).as_bytes(),
        );
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
    let settings = keys(&BTreeSet::new(), CALLERS / 2);
    deploy(gateway.policies(), "auth.json", settings.as_bytes());
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

/// The load tests compare more, and a million with `just alike`.
#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_decisions_alike_differ_in_none() {
    alike::compare(20_000).await;
}
