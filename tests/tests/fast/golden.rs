//! Replays what users sent to the predecessor: every difference is intended, with its reason in `differences.md`.

use std::collections::BTreeMap;

use codex_gateway_tests::gateway::{Gateway, stream};
use codex_gateway_tests::replay::facts::{self, differences};
use codex_gateway_tests::replay::table::rows;
use codex_gateway_tests::replay::{Answer, Case, Door, Group, groups};
use codex_gateway_tests::sse::Events;
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::fake;

const KEY: &str = "sk-replay-0123456789";

async fn launch(group: &Group) -> Gateway {
    let mut setup = fake().var("PROXY_API_KEY", KEY);
    // The predecessor of September had its test endpoints in production, too: that is a mistake here.
    let is_test = group.vars.contains_key("PROXY_TEST_ENDPOINTS");
    let vars = group.vars.iter();
    for (name, value) in vars.filter(|(name, _)| !(is_test && *name == "PROXY_ENV")) {
        setup = setup.var(name, value);
    }
    let write = |name: &str, content: &Value| {
        std::fs::write(setup.home().join(name), content.to_string()).unwrap();
    };
    write("fake-turn.json", &group.turn);
    if group.start.is_null() {
        return setup.start().await;
    }
    write("fake-start.json", &group.start);
    setup.launch().await
}

async fn send(gateway: &Gateway, case: &Case) -> Answer {
    let origin = match case.door {
        Door::Main => &gateway.origin,
        Door::Auth => gateway.auth_origin.as_ref().unwrap(),
    };
    let request = &case.request;
    let url = format!("{origin}{}", request.path);
    // One connection per request, as in the recording.
    let client = reqwest::Client::builder()
        .pool_max_idle_per_host(0)
        .build()
        .unwrap();
    let mut sent = client.request(request.method.parse().unwrap(), url);
    for (name, value) in &request.headers {
        sent = sent.header(name, value);
    }
    if let Some(body) = request.bytes() {
        sent = sent.body(body);
    }
    let response = sent
        .send()
        .await
        .unwrap_or_else(|error| panic!("{}: {error:?}", case.name));
    let headers = response.headers().iter();
    Answer {
        status: response.status().as_u16(),
        headers: headers
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect(),
        // A stream may be cut on purpose.
        body: response.text().await.unwrap_or_default(),
    }
}

/// Opens a stream that stays open until it is dropped.
async fn hold(gateway: &Gateway) -> Events {
    let endless = json!({"fake": {"text": ["held", "never"], "gate": "/nonexistent/gate"}});
    let request = gateway
        .client
        .post(format!("{}/v1/chat/completions", gateway.origin));
    let request = request.bearer_auth(KEY).json(&stream(&endless.to_string()));
    let opened = async {
        loop {
            let answer = request.try_clone().unwrap().send().await.unwrap();
            // The end of a stream that was held before is counted a moment after it.
            if answer.status() != 429 {
                return answer;
            }
        }
    };
    let in_time = tokio::time::timeout(std::time::Duration::from_secs(30), opened).await;
    let mut events = Events::of(in_time.expect("the stream is admitted"));
    assert!(events.next().await.is_some());
    events
}

/// The differences of each case.
async fn replay(group: Group) -> Vec<(String, Vec<String>)> {
    let gateway = launch(&group).await;
    let mut found = Vec::new();
    for case in &group.cases {
        for _ in 0..case.first {
            send(&gateway, case).await;
        }
        let mut held = Vec::new();
        for _ in 0..case.held {
            held.push(hold(&gateway).await);
        }
        let answer = send(&gateway, case).await;
        drop(held);
        let method = &case.request.method;
        let differences = differences(
            &facts::of(method, &case.answer),
            &facts::of(method, &answer),
        );
        found.push((case.name.clone(), differences));
        if group.start.is_null() {
            gateway
                .until(|gateway| gateway.backend.status().ready, "ready child")
                .await;
        }
    }
    gateway.stop().await;
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn every_difference_to_the_predecessor_is_meant() {
    let replays = groups().into_iter().map(replay);
    let found: BTreeMap<String, Vec<String>> = futures_util::stream::iter(replays)
        .buffer_unordered(4)
        .concat()
        .await
        .into_iter()
        .collect();
    let rows = rows();
    let mut unexplained = Vec::new();
    for (case, differences) in &found {
        for difference in differences {
            if !rows.iter().any(|row| row.explains(case, difference)) {
                unexplained.push(format!("| `{case}` | `{difference}` |"));
            }
        }
    }
    let idle = rows.iter().filter(|row| match row.left_out() {
        Some(case) => found.contains_key(case),
        None => !found
            .iter()
            .any(|(case, differences)| differences.iter().any(|line| row.explains(case, line))),
    });
    let idle: Vec<String> = idle
        .map(codex_gateway_tests::replay::table::Row::what)
        .collect();
    assert!(
        unexplained.is_empty(),
        "{} without a reason:\n{}",
        unexplained.len(),
        unexplained.join("\n")
    );
    assert!(
        idle.is_empty(),
        "rows whose difference is gone:\n{}",
        idle.join("\n")
    );
}
