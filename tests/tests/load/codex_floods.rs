//! A Codex child that writes too much: deltas arrive complete, other output ends the child or is left out of the log.

use std::process::Stdio;
use std::time::Duration;

use codex_gateway_tests::gateway::{Gateway, KEY, Setup, say, script, stream};
use codex_gateway_tests::sse::{self, Event, Events, error, finishes};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

async fn fake() -> Gateway {
    Setup::codex(env!("CARGO_BIN_EXE_fake-codex")).start().await
}

async fn whole(gateway: &Gateway, answer: Value) -> (u16, Value) {
    let response = gateway.chat(&say(&script(answer))).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_deltas_arrives_whole_and_others_are_served_meanwhile() {
    let _turn = crate::alone().await;
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
    let _turn = crate::alone().await;
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
    // Other turns on that child end with an error, too.
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

#[tokio::test(flavor = "multi_thread")]
async fn garbage_without_end_is_a_few_lines_of_the_log() {
    let _turn = crate::alone().await;
    let home = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_gateway"))
        .env_clear()
        .envs([("PORT", "0"), ("PROXY_API_KEY", KEY)])
        .env("CODEX_BIN", env!("CARGO_BIN_EXE_fake-codex"))
        .env("CODEX_HOME", home.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = loop {
        let line = log.next_line().await.unwrap().expect("it listens");
        if let Some((_, address)) = line.split_once("listening address=") {
            break address.trim().to_owned();
        }
    };
    let reading = tokio::spawn(async move {
        let mut lines = Vec::new();
        while let Some(line) = log.next_line().await.unwrap() {
            lines.push(line);
        }
        lines
    });
    let client = reqwest::Client::new();
    let garbage = script(json!({"text": ["clean"], "garbage_lines": 200_000}));
    let answer = loop {
        let asked = client.post(format!("http://{address}/v1/chat/completions"));
        let answer = asked.bearer_auth(KEY).json(&say(&garbage)).send().await;
        let answer = answer.unwrap();
        // The first worker may not be ready yet.
        if answer.status() != 503 {
            break answer.json::<Value>().await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(
        answer["choices"][0]["message"]["content"], "clean",
        "{answer}"
    );
    let pid = child.id().unwrap().to_string();
    let told = Command::new("kill").args(["-TERM", &pid]).status().await;
    assert!(told.unwrap().success());
    assert!(child.wait().await.unwrap().success());
    let lines = reading.await.unwrap();
    let garbage = lines.iter().filter(|line| line.contains("not JSON-RPC"));
    let count = garbage.clone().count();
    // One line every ten seconds, and one at the end.
    assert!((2..20).contains(&count), "{count} lines");
    let counted =
        garbage.filter_map(|line| line.split_once("left_out=")?.1.trim().parse::<usize>().ok());
    let left_out: usize = counted.sum();
    assert!((199_980..200_000).contains(&left_out), "{left_out}");
}
