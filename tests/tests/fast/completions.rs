//! Several prompts, and several answers to each: one turn each, one request for everything else.

use codex_gateway_tests::gateway::{Gateway, KEY, say, script};
use codex_gateway_tests::sse::{Event, Events, finishes};
use serde_json::{Value, json};

use crate::{fake, journal, old_fake};

fn post(gateway: &Gateway, body: &Value) -> reqwest::RequestBuilder {
    let url = format!("{}/v1/completions", gateway.origin);
    gateway.client.post(url).bearer_auth(KEY).json(body)
}

async fn ask(gateway: &Gateway, body: &Value) -> (u16, Value) {
    let response = post(gateway, body).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn events(gateway: &Gateway, body: &Value) -> Vec<Event> {
    Events::of(post(gateway, body).send().await.unwrap())
        .rest()
        .await
}

/// A prompt that is answered with these words.
fn says(words: &[&str]) -> String {
    script(json!({ "text": words }))
}

/// The text of each choice of a stream, by its index.
fn texts(events: &[Event], choices: usize) -> Vec<String> {
    let mut texts = vec![String::new(); choices];
    for event in events {
        let Event::Data(data) = event else { continue };
        for choice in data["choices"].as_array().into_iter().flatten() {
            let index = usize::try_from(choice["index"].as_u64().unwrap()).unwrap();
            texts[index] += choice["text"].as_str().unwrap();
        }
    }
    texts
}

#[tokio::test(flavor = "multi_thread")]
async fn each_prompt_is_answered_n_times_in_order() {
    let gateway = fake().start().await;
    let mut body = json!({
        "model": "codex-5", "n": 2, "stop": "END",
        "prompt": [says(&["one ", "a"]), says(&["two", "END"]), says(&["three"])],
    });
    let (status, answer) = ask(&gateway, &body).await;
    assert_eq!(status, 200, "{answer}");
    let choices = answer["choices"].as_array().unwrap();
    let told: Vec<_> = choices
        .iter()
        .map(|choice| (choice["index"].as_u64().unwrap(), &choice["text"]))
        .collect();
    let expected = ["one a", "one a", "two", "two", "three", "three"].map(Value::from);
    assert_eq!(told, (0..).zip(&expected).collect::<Vec<_>>());
    // The usage of the two that were cut is estimated.
    let cost = answer["usage"]["prompt_tokens"].clone();
    assert!(cost.as_u64() > Some(4 * 120), "{cost}");
    assert_eq!(journal::count(&gateway, "turn/start"), 6);

    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    let events = events(&gateway, &body).await;
    assert_eq!(
        texts(&events, 6),
        expected.map(|text| text.as_str().unwrap().to_owned())
    );
    assert_eq!(finishes(&events), ["stop"; 6]);
    let [.., Event::Data(usage), Event::Done] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(usage["usage"]["prompt_tokens"], cost);
    assert_eq!(
        events.iter().filter(|event| **event == Event::Done).count(),
        1
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_answers_than_the_operator_allows_are_refused() {
    let gateway = fake()
        .var("PROXY_MAX_COMPLETION_CHOICES", "4")
        .start()
        .await;
    for (prompts, n, param) in [(5, 1, "prompt"), (1, 5, "n"), (3, 2, "n")] {
        let body = json!({"prompt": vec!["hi"; prompts], "n": n});
        let (status, answer) = ask(&gateway, &body).await;
        assert_eq!(status, 400, "{answer}");
        assert_eq!(answer["error"]["code"], "too_many_choices");
        assert_eq!(answer["error"]["param"], param);
    }
    let (status, _) = ask(&gateway, &json!({"prompt": ["a", "b"], "n": 2})).await;
    assert_eq!(status, 200);
    gateway.stop().await;
}

/// One place, a short wait for it, and turns that take longer.
#[tokio::test(flavor = "multi_thread")]
async fn prompts_share_a_place_however_long_each_takes() {
    let setup = fake()
        .var("WORKER_MAX_CONCURRENCY", "1")
        .var("PROXY_QUEUE_WAIT_MS", "10")
        .var("WORKER_LEASE_WAIT_MS", "10");
    let gateway = setup.start().await;
    let slow = script(json!({"text": ["a", "b", "c"], "delay_ms": 20}));
    let mut body = json!({"prompt": vec![slow; 7]});
    let (status, answer) = ask(&gateway, &body).await;
    assert_eq!(status, 200, "{answer}");
    body["stream"] = json!(true);
    assert_eq!(texts(&events(&gateway, &body).await, 7), ["abc"; 7]);
    gateway.stop().await;
}

/// Without a queue. A place becomes free only some time after its turn has ended.
#[tokio::test(flavor = "multi_thread")]
async fn choices_need_no_place_in_the_queue() {
    for (setup, places) in [(fake(), "1"), (fake(), "2"), (old_fake(), "1")] {
        let gateway = setup
            .var("WORKER_MAX_CONCURRENCY", places)
            .var("PROXY_QUEUE_MAX", "0")
            .start()
            .await;
        let body = json!({"prompt": [says(&["a"]), says(&["b"]), says(&["c"])], "n": 3});
        let (status, answer) = ask(&gateway, &body).await;
        assert_eq!(status, 200, "{places}: {answer}");
        gateway.stop().await;
    }
}

/// Each turn takes less than the timeout, both take longer.
#[tokio::test(flavor = "multi_thread")]
async fn all_choices_together_have_the_total_timeout() {
    let gateway = fake()
        .var("PROXY_MAX_CHAT_CHOICES", "1")
        .var("PROXY_TIMEOUT_MS", "1000")
        .start()
        .await;
    let slow = script(json!({"text": ["a", "b"], "delay_ms": 300}));
    let mut body = json!({"prompt": [slow, slow]});
    let (status, answer) = ask(&gateway, &body).await;
    let code = &answer["error"]["code"];
    assert_eq!((status, code), (504, &json!("request_timeout")));
    body["stream"] = json!(true);
    let events = events(&gateway, &body).await;
    let Some(Event::Data(last)) = events.last() else {
        panic!("{events:?}")
    };
    assert_eq!(last["error"]["code"], "request_timeout");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prompts_take_room_until_the_last_turn_has_begun() {
    let gateway = fake()
        .var("PROXY_MAX_CHAT_CHOICES", "1")
        .var("PROXY_TEST_ENDPOINTS", "true")
        .start()
        .await;
    let is_room_taken = async || {
        let url = format!("{}/__test/conc", gateway.origin);
        let counts = gateway.client.get(url).send().await.unwrap();
        let counts: Value = counts.json().await.unwrap();
        let room = &counts["permits"]["body_bytes"];
        room["free"] != room["total"]
    };
    let gates = ["one", "two"].map(|name| gateway.home().join(name));
    let waits = |gate| {
        let script = json!({"text": ["a", "b"], "gate": gate});
        json!({"fake": script, "padding": "x".repeat(100_000)}).to_string()
    };
    let body = json!({"prompt": [waits(&gates[0]), waits(&gates[1])], "stream": true});
    let mut events = Events::of(post(&gateway, &body).send().await.unwrap());
    let mut begun = async |choice: u32| loop {
        let Some(Event::Data(data)) = events.next().await else {
            panic!("no choice {choice}")
        };
        if data["choices"][0]["index"] == choice {
            return;
        }
    };
    begun(0).await;
    assert!(is_room_taken().await, "the other prompt is still needed");
    std::fs::write(&gates[0], "").unwrap();
    begun(1).await;
    assert!(!is_room_taken().await, "Codex has all prompts");
    std::fs::write(&gates[1], "").unwrap();
    assert_eq!(events.rest().await.last(), Some(&Event::Done));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_failing_prompt_fails_the_request() {
    let gateway = fake().start().await;
    let error = json!({"message": "no", "codexErrorInfo": "serverOverloaded"});
    let fails = script(json!({"text": ["half"], "error": error}));
    let mut body = json!({"prompt": [says(&["whole"]), fails]});
    let (status, answer) = ask(&gateway, &body).await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (503, &json!("overloaded"))
    );

    body["stream"] = json!(true);
    let events = events(&gateway, &body).await;
    let Some(Event::Data(last)) = events.last() else {
        panic!("{events:?}")
    };
    assert_eq!(last["error"]["code"], "overloaded");
    assert!(!events.contains(&Event::Done));

    let fails = script(json!({"text": [], "error": error}));
    let body = json!({"prompt": [fails, fails], "stream": true});
    let response = post(&gateway, &body).send().await.unwrap();
    assert_eq!(response.status(), 503, "nothing was sent yet");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_turns_of_a_request_are_charged_once_and_reported_once() {
    let rules = json!({"rules": [
        {"name": "t", "unit": "tokens", "limit": 100_000, "window_ms": 2_678_400_000_u64},
        {"name": "r", "unit": "requests", "limit": 100, "window_ms": 2_678_400_000_u64},
    ]});
    let folder = tempfile::tempdir().unwrap();
    let usage = folder.path().join("usage.ndjson");
    let gateway = fake()
        .policy("rate-limit.json", rules.to_string().as_bytes())
        .var("TOKEN_LOG_PATH", &usage.to_string_lossy())
        .start()
        .await;
    let left = async |unit: &str| -> u64 {
        let response = post(&gateway, &json!({"prompt": "hi"}))
            .send()
            .await
            .unwrap();
        let left = response.headers()[format!("x-ratelimit-remaining-{unit}")].clone();
        drop(response.bytes().await.unwrap());
        left.to_str().unwrap().parse().unwrap()
    };
    let before = left("tokens").await;
    let (status, _) = ask(&gateway, &json!({"prompt": ["a", "b"], "n": 2})).await;
    assert_eq!(status, 200);
    // Each turn costs 150, the first reading's own among them.
    assert_eq!(before - left("tokens").await, 5 * 150);
    assert_eq!(left("requests").await, 100 - 4);
    gateway.stop().await;
    let lines = std::fs::read_to_string(&usage).unwrap();
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let totals = lines.iter().map(|line| line["total_tokens_est"].as_u64());
    let totals: Vec<u64> = totals.map(Option::unwrap).collect();
    assert_eq!(totals.len(), 4, "one line for each request: {totals:?}");
    assert!(totals[1] > totals[0], "four turns, then one: {totals:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_ends_all_turns_of_its_request() {
    let gateway = fake().var("PROXY_MAX_CHAT_CHOICES", "3").start().await;
    let gate = gateway.home().join("gate");
    let waits = script(json!({"text": ["one ", "two"], "gate": gate}));
    let body = json!({"prompt": vec![waits; 5], "stream": true});
    let mut events = Events::of(post(&gateway, &body).send().await.unwrap());
    for _ in 0..3 {
        assert!(events.next().await.is_some());
    }
    assert_eq!(journal::count(&gateway, "turn/start"), 3, "the others wait");
    drop(events);
    gateway.idle().await;
    assert_eq!(journal::count(&gateway, "turn/interrupt"), 3);
    assert_eq!(
        journal::count(&gateway, "turn/start"),
        3,
        "no other turn begins"
    );
    let answer = gateway.chat(&say("hi")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    gateway.stop().await;
}
