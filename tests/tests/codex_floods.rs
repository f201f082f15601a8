//! A Codex child that writes too much: what is an answer arrives whole, what is none costs the child, and nobody waits.

use codex_gateway_tests::gateway::{Gateway, Setup, say, stream};
use codex_gateway_tests::sse::{self, Event, Events, error, finishes};
use serde_json::{Value, json};

async fn fake() -> Gateway {
    Setup::codex(env!("CARGO_BIN_EXE_fake-codex")).start().await
}

fn script(script: Value) -> String {
    json!({"fake": script}).to_string()
}

async fn whole(gateway: &Gateway, answer: Value) -> (u16, Value) {
    let response = gateway.chat(&say(&script(answer))).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_deltas_arrives_whole_and_others_are_served_meanwhile() {
    const DELTAS: usize = 50_000;
    let gateway = fake().await;
    let flood = stream(&script(json!({"flood": DELTAS})));
    let flooded = async {
        let response = gateway.chat(&flood).send().await.unwrap();
        Events::of(response).rest().await
    };
    let served = async {
        for number in 0..20 {
            let text = format!("{number}");
            let (status, answer) = whole(&gateway, json!({"text": [text]})).await;
            assert_eq!(status, 200, "{answer}");
            assert_eq!(answer["choices"][0]["message"]["content"], text);
        }
    };
    let (events, ()) = tokio::join!(flooded, served);
    assert_eq!(sse::text(&events), "x".repeat(DELTAS));
    assert_eq!(finishes(&events), ["stop"]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_without_end_costs_the_child_and_its_turns_only() {
    let gateway = fake().await;
    let home = gateway.home();
    let before = codex_gateway_tests::remains::children(&home);
    let endless = stream(&script(
        json!({"text": ["x "], "repeat": 1_000_000, "delay_ms": 20}),
    ));
    let mut running = Events::of(gateway.chat(&endless).send().await.unwrap());
    assert!(running.next().await.is_some());
    let (status, body) = whole(&gateway, json!({"long_line": 80 << 20})).await;
    let code = &body["error"]["code"];
    assert_eq!((status, code), (503, &json!("worker_exited")));
    // Whatever else ran on that child ends honestly, too.
    let rest = running.rest().await;
    assert_eq!(
        error(&rest).expect("an error frame")["code"],
        "worker_exited"
    );
    assert!(!rest.contains(&Event::Done));
    gateway.backend.ready().await;
    assert_eq!(whole(&gateway, json!({"text": ["fine"]})).await.0, 200);
    let gone = |pid| !codex_gateway_tests::remains::exists(pid);
    assert!(
        before.iter().any(|child| gone(child.pid)),
        "the child is reaped"
    );
    gateway.stop().await;
}
