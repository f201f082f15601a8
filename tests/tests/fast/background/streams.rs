//! Streams of responses in the background: they are resumed while the turn runs and afterwards, and end honestly.

use codex_gateway_tests::sse::{Event, Events};

use super::*;

/// Begins a streamed response in the background: its events, and its path.
async fn stream(gateway: &Gateway, acts: Value) -> (Events, String) {
    let body = json!({"input": script(acts), "background": true, "stream": true});
    let response = request(gateway, Method::POST, "").json(&body).send().await;
    let response = response.unwrap();
    assert_eq!(response.status(), 200);
    let mut events = Events::of(response);
    for (kind, number) in [("response.created", 0), ("response.queued", 1)] {
        let event = next(&mut events).await.unwrap();
        assert_eq!((&event["type"], number_of(&event)), (&json!(kind), number));
        assert_eq!(event["response"]["status"], "queued");
        if number == 1 {
            let path = format!("/{}", event["response"]["id"].as_str().unwrap());
            return (events, path);
        }
    }
    unreachable!()
}

/// The next event that is no comment.
async fn next(events: &mut Events) -> Option<Value> {
    loop {
        match events.next().await? {
            Event::Data(data) => return Some(data),
            Event::Comment(_) => {}
            Event::Done => panic!("responses have no [DONE]"),
        }
    }
}

fn number_of(event: &Value) -> u64 {
    event["sequence_number"].as_u64().expect("a number")
}

/// The remaining events, which are numbered without gaps after this one.
async fn rest(mut events: Events, after: u64) -> Vec<Value> {
    let mut read = Vec::new();
    while let Some(event) = next(&mut events).await {
        assert_eq!(number_of(&event), after + 1 + read.len() as u64, "{event}");
        read.push(event);
    }
    read
}

/// The stream of a response after this event.
async fn resume(gateway: &Gateway, path: &str, after: u64) -> Events {
    let path = format!("{path}?stream=true&starting_after={after}");
    let response = request(gateway, Method::GET, &path).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    Events::of(response)
}

fn deltas(events: &[Value]) -> String {
    let deltas = events.iter().filter_map(|event| event["delta"].as_str());
    deltas.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_response_in_the_background_is_resumed_while_it_runs() {
    let gateway = fake().var("PROXY_KILL_ON_DISCONNECT", "true").start().await;
    let acts = json!({"text": ["Forty-", "two."], "gate": gate(&gateway)});
    let (mut events, path) = stream(&gateway, acts).await;
    let seen = loop {
        let event = next(&mut events).await.unwrap();
        if event["type"] == "response.output_text.delta" {
            assert_eq!(event["delta"], "Forty-");
            break number_of(&event);
        }
    };
    // The client leaves, and the turn goes on.
    drop(events);
    let resumed = resume(&gateway, &path, seen).await;
    let other = resume(&gateway, &path, 1).await;
    let (status, so_far) = get(&gateway, &path).await;
    assert_eq!((status, &so_far["status"]), (200, &json!("in_progress")));
    std::fs::write(gate(&gateway), "").unwrap();
    let rest_of = rest(resumed, seen).await;
    assert_eq!(deltas(&rest_of), "two.");
    let last = rest_of.last().unwrap();
    assert_eq!(last["type"], "response.completed");
    assert_eq!(
        last["response"]["output"][0]["content"][0]["text"],
        "Forty-two."
    );
    assert_eq!(last["response"]["background"], true);
    let next = json!({"input": "Why?", "previous_response_id": last["response"]["id"]});
    let (status, answer) = json_of(request(&gateway, Method::POST, "").json(&next)).await;
    assert_eq!(
        status, 200,
        "continued as soon as its end is known: {answer}"
    );
    assert_eq!(deltas(&rest(other, 1).await), "Forty-two.");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_response_in_the_background_is_read_again_after_its_end() {
    let alice = codex_gateway::secret::fingerprint(KEY.as_bytes());
    let bob = codex_gateway::secret::fingerprint(b"sk-bob");
    let keys = json!({"keys": [{"id": "alice", "sha256": alice}, {"id": "bob", "sha256": bob}]});
    let setup = fake().policy("auth.json", keys.to_string().as_bytes());
    let gateway = setup.start().await;
    let (events, path) = stream(&gateway, json!({"text": ["One ", "two."]})).await;
    let read = rest(events, 1).await;
    let again = format!("{path}?stream=true");
    let response = request(&gateway, Method::GET, &again).send().await.unwrap();
    let mut all = Events::of(response);
    let first = next(&mut all).await.unwrap();
    assert_eq!(
        (&first["type"], number_of(&first)),
        (&json!("response.created"), 0)
    );
    assert_eq!(rest(all, 0).await[1..], read);
    let last = number_of(read.last().unwrap());
    assert!(
        rest(resume(&gateway, &path, last).await, last)
            .await
            .is_empty()
    );
    let whole = get(&gateway, &path).await.1;
    assert_eq!(whole, read.last().unwrap()["response"]);
    // Other callers, other responses, other numbers.
    let url = format!("{}/v1/responses{again}", gateway.origin);
    let stranger = gateway.client.get(url).bearer_auth("sk-bob");
    assert_eq!(json_of(stranger).await.0, 404);
    let (polled, _) = begin(&gateway, json!({"text": ["a"]})).await;
    until(&gateway, &polled, &["completed"]).await;
    let (_, plain) =
        json_of(request(&gateway, Method::POST, "").json(&json!({"input": "hi"}))).await;
    let plain = format!("/{}", plain["id"].as_str().unwrap());
    for (path, param) in [
        (format!("{polled}?stream=true"), "stream"),
        (format!("{plain}?stream=true"), "stream"),
        (format!("{again}&starting_after=x"), "starting_after"),
    ] {
        let (status, error) = get(&gateway, &path).await;
        assert_eq!(
            (status, &error["error"]["param"]),
            (400, &json!(param)),
            "{error}"
        );
    }
    let (status, _) = json_of(request(&gateway, Method::DELETE, &path)).await;
    assert_eq!((status, get(&gateway, &again).await.0), (200, 404));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_of_a_response_in_the_background_says_how_it_ended() {
    let gateway = fake().start().await;
    let (events, _) = stream(&gateway, json!({"text": ["a", "b"], "exit_after": 1})).await;
    let failed = rest(events, 1).await.pop().unwrap();
    assert_eq!(failed["type"], "response.failed");
    assert_eq!(
        failed["response"]["error"]["code"], "server_error",
        "{failed}"
    );
    gateway.backend.ready().await;
    let gated = json!({"text": ["one ", "two"], "gate": gate(&gateway)});
    let (events, path) = stream(&gateway, gated.clone()).await;
    until(&gateway, &path, &["in_progress"]).await;
    assert_eq!(cancel(&gateway, &path).await.1["status"], "cancelled");
    let cancelled = rest(events, 1).await.pop().unwrap();
    assert_eq!(cancelled["type"], "response.incomplete");
    assert_eq!(cancelled["response"]["status"], "cancelled");
    gateway.idle().await;
    let (mut events, path) = stream(&gateway, gated).await;
    until(&gateway, &path, &["in_progress"]).await;
    let (status, _) = json_of(request(&gateway, Method::DELETE, &path)).await;
    assert_eq!(status, 200);
    let mut last = Value::Null;
    while let Some(event) = next(&mut events).await {
        last = event;
    }
    assert_eq!(
        (&last["type"], &last["code"]),
        (&json!("error"), &json!("response_not_found"))
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_beyond_the_memory_of_a_response_are_dropped_and_that_is_said() {
    let gateway = fake().start().await;
    // An answer of 4 MB, which is in the pieces, and whole in each of the last four events.
    let text = "x".repeat(100_000);
    let (events, path) = stream(&gateway, json!({"text": [text], "repeat": 40})).await;
    drop(events);
    until(&gateway, &path, &["completed"]).await;
    for (asked, param) in [
        ("stream=true", "stream"),
        ("stream=true&starting_after=1", "starting_after"),
    ] {
        let (status, error) = get(&gateway, &format!("{path}?{asked}")).await;
        assert_eq!(
            (status, &error["error"]["code"], &error["error"]["param"]),
            (400, &json!("events_not_kept"), &json!(param))
        );
    }
    for (asked, param) in [
        ("stream=1", "stream"),
        ("stream=true&starting_after=x", "starting_after"),
        ("stream=true&starting_after=9999", "starting_after"),
    ] {
        let (status, error) = get(&gateway, &format!("{path}?{asked}")).await;
        assert_eq!((status, &error["error"]["param"]), (400, &json!(param)));
    }
    // created, queued, in_progress, two that begin, 40 pieces, and the last four.
    let tail = rest(resume(&gateway, &path, 46).await, 46).await;
    let kinds: Vec<_> = tail.iter().map(|event| &event["type"]).collect();
    assert_eq!(kinds, ["response.output_item.done", "response.completed"]);
    gateway.stop().await;
}
