//! The API as any client uses it, with the demo as backend: errors, headers, spellings, limits.

use codex_gateway_tests::gateway::{Gateway, KEY, QUICK, Setup, say, stream};
use codex_gateway_tests::sse::{self, Event, Events, finishes};
use reqwest::Method;
use serde_json::{Value, json};

async fn error(response: reqwest::Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let body: Value = response.json().await.expect("errors are JSON");
    let error = body["error"].as_object().expect("OpenAI's error object");
    for member in ["message", "type", "param", "code"] {
        assert!(error.contains_key(member), "{member} is missing in {body}");
    }
    (status, body["error"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_closed_route_is_closed_and_every_open_one_open() {
    let gateway = Setup::demo()
        .var("PROXY_PROTECT_MODELS", "true")
        .start()
        .await;
    let routes = [
        (Method::POST, "/v1/chat/completions", true),
        (Method::HEAD, "/v1/chat/completions", true),
        (Method::GET, "/v1/models", true),
        (Method::HEAD, "/v1/models", true),
        (Method::GET, "/v1/models/codex-5", true),
        (Method::GET, "/healthz", false),
        (Method::GET, "/readyz", false),
        (Method::GET, "/livez", false),
    ];
    for (method, path, closed) in routes {
        let response = gateway
            .client
            .request(method.clone(), format!("{}{path}", gateway.origin))
            .send()
            .await
            .unwrap();
        let expected = if closed { 401 } else { 200 };
        assert_eq!(response.status(), expected, "{method} {path}");
        if closed {
            assert!(
                response.headers()["www-authenticate"]
                    .to_str()
                    .unwrap()
                    .starts_with("Bearer realm=")
            );
        }
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_counts_in_any_spelling_of_the_scheme_and_no_other_does() {
    let gateway = Setup::demo().start().await;
    let ask = |value: String| {
        let request = gateway
            .client
            .post(format!("{}/v1/chat/completions", gateway.origin))
            .json(&say(QUICK));
        async move { request.header("authorization", value).send().await.unwrap() }
    };
    for value in [
        format!("Bearer {KEY}"),
        format!("bearer {KEY}"),
        format!("BEARER   {KEY}"),
    ] {
        assert_eq!(ask(value.clone()).await.status(), 200, "{value}");
    }
    for value in [
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        format!("Basic {KEY}"),
        "Bearer sk-other".to_owned(),
        KEY.to_owned(),
    ] {
        let (status, body) = error(ask(value.clone()).await).await;
        assert_eq!(
            (status, &body["code"]),
            (401, &json!("invalid_api_key")),
            "{value}"
        );
        assert_eq!(body["type"], "authentication_error");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_named_with_the_member_at_fault() {
    let gateway = Setup::demo().start().await;
    let cases = [
        (json!({}), 400, "messages"),
        (
            json!({"messages": [{"role": "wizard", "content": "x"}]}),
            400,
            "messages[0].role",
        ),
        (
            json!({"messages": [{"role": "user", "content": "x"}], "n": 6}),
            400,
            "n",
        ),
        (
            json!({"messages": [{"role": "user", "content": "x"}], "stream": "yes"}),
            400,
            "stream",
        ),
        (
            json!({"messages": [{"role": "user", "content": "x"}], "model": "gpt-nope"}),
            404,
            "model",
        ),
        (
            json!({"messages": [{"role": "user", "content": "x"}], "model": "m".repeat(257)}),
            400,
            "model",
        ),
        (
            json!({"messages": [{"role": "user", "content": "x"}], "reasoning_effort": "huge"}),
            400,
            "reasoning_effort",
        ),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}]}),
            400,
            "messages[0].content[0].image_url",
        ),
    ];
    for (body, expected, param) in cases {
        let (status, error) = error(gateway.chat(&body).send().await.unwrap()).await;
        assert_eq!(
            (status, error["param"].as_str()),
            (expected, Some(param)),
            "{body}: {error}"
        );
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_of_ours_has_openai_errors_too() {
    let gateway = Setup::demo()
        .var("PROXY_MAX_BODY_BYTES", "2048")
        .start()
        .await;
    let send = |method: Method, path: &str| {
        gateway
            .client
            .request(method, format!("{}{path}", gateway.origin))
            .bearer_auth(KEY)
    };
    let (status, body) = error(send(Method::GET, "/v1/nope").send().await.unwrap()).await;
    assert_eq!((status, &body["code"]), (404, &json!("unknown_url")));
    let response = send(Method::DELETE, "/v1/chat/completions")
        .send()
        .await
        .unwrap();
    assert!(
        response.headers()["allow"]
            .to_str()
            .unwrap()
            .contains("POST")
    );
    assert_eq!(error(response).await.0, 405);
    let (status, body) = error(
        send(Method::POST, "/v1/chat/completions")
            .body("{\"messages\":")
            .send()
            .await
            .unwrap(),
    )
    .await;
    assert_eq!((status, &body["code"]), (400, &json!("invalid_json")));
    // The limit holds with and without `content-length`.
    let long = "x".repeat(4096);
    let (status, body) = error(
        send(Method::POST, "/v1/chat/completions")
            .body(long.clone())
            .send()
            .await
            .unwrap(),
    )
    .await;
    assert_eq!((status, &body["code"]), (413, &json!("request_too_large")));
    let pieces = futures_util::stream::iter(vec![Ok::<_, std::io::Error>(long.clone()), Ok(long)]);
    let unannounced = reqwest::Body::wrap_stream(pieces);
    let (status, _) = error(
        send(Method::POST, "/v1/chat/completions")
            .body(unannounced)
            .send()
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(status, 413);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_says_who_it_is() {
    let gateway = Setup::demo().start().await;
    let response = gateway
        .chat(&say(QUICK))
        .header("x-request-id", "mine-1")
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["x-request-id"], "mine-1");
    assert_eq!(response.headers()["x-codex-generation"], "1");
    assert_eq!(response.headers()["x-codex-backend"], "demo");
    assert!(
        response.headers()["openai-processing-ms"]
            .to_str()
            .unwrap()
            .parse::<u64>()
            .is_ok()
    );
    let forged = gateway
        .chat(&say(QUICK))
        .header("x-request-id", "a b")
        .send()
        .await
        .unwrap();
    assert!(
        forged.headers()["x-request-id"]
            .to_str()
            .unwrap()
            .starts_with("req_")
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_has_openais_form() {
    let gateway = Setup::demo().start().await;
    let response = gateway.chat(&stream(QUICK)).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(
        response.headers()["cache-control"],
        "no-cache, no-transform"
    );
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    let events = Events::of(response).rest().await;
    assert_eq!(sse::text(&events), "x x x ");
    assert_eq!(finishes(&events), ["stop"]);
    assert_eq!(events.last(), Some(&Event::Done));
    let Event::Data(first) = &events[0] else {
        panic!("{events:?}")
    };
    assert_eq!(first["choices"][0]["delta"]["role"], "assistant");
    for event in &events[..events.len() - 1] {
        let Event::Data(chunk) = event else {
            panic!("{event:?}")
        };
        assert_eq!(
            (&chunk["id"], &chunk["created"], &chunk["model"]),
            (&first["id"], &first["created"], &first["model"])
        );
        assert_eq!(chunk["object"], "chat.completion.chunk");
        assert_eq!(
            chunk["choices"].as_array().unwrap().len(),
            1,
            "no empty choices unless usage was asked for"
        );
        assert!(chunk.get("usage").is_none());
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_stream_is_kept_open_with_comments() {
    let gateway = Setup::demo()
        .var("PROXY_SSE_KEEPALIVE_MS", "20")
        .start()
        .await;
    let slow = r#"{"demo":{"deltas":2,"text":"x","delay_ms":200}}"#;
    let events = Events::of(gateway.chat(&stream(slow)).send().await.unwrap())
        .rest()
        .await;
    assert!(
        events.contains(&Event::Comment("keepalive".to_owned())),
        "{events:?}"
    );
    assert_eq!(sse::text(&events), "xx");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_stops_half_way_is_given_up() {
    let gateway = Setup::demo().var("PROXY_TIMEOUT_MS", "50").start().await;
    let half = futures_util::stream::iter([Ok::<_, std::io::Error>("{\"messages\":")]);
    let body = reqwest::Body::wrap_stream(futures_util::StreamExt::chain(
        half,
        futures_util::stream::pending(),
    ));
    let url = format!("{}/v1/chat/completions", gateway.origin);
    let request = gateway.client.post(url).bearer_auth(KEY).body(body);
    let (status, body) = error(request.send().await.unwrap()).await;
    assert_eq!((status, &body["code"]), (408, &json!("request_timeout")));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trailing_slash_is_no_other_address() {
    let gateway = Setup::demo().start().await;
    let url = format!("{}/v1/chat/completions/", gateway.origin);
    let response = gateway
        .client
        .post(url)
        .bearer_auth(KEY)
        .json(&say(QUICK))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    gateway.stop().await;
}

async fn limited() -> Gateway {
    Setup::demo()
        .var("PROXY_RATE_LIMIT_ENABLED", "true")
        .var("PROXY_RATE_LIMIT_MAX", "2")
        .start()
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_over_the_limit_are_refused_with_the_time_to_wait() {
    let gateway = limited().await;
    for left in ["1", "0"] {
        let response = gateway.chat(&say(QUICK)).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["x-ratelimit-remaining-requests"], left);
    }
    let response = gateway.chat(&say(QUICK)).send().await.unwrap();
    let wait: u64 = response.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=30).contains(&wait), "two a minute: {wait}");
    let (status, body) = error(response).await;
    assert_eq!(
        (status, &body["type"], &body["code"]),
        (429, &json!("rate_limit_error"), &json!("rate_limited"))
    );
    assert_eq!(
        gateway.get("/v1/models").send().await.unwrap().status(),
        200,
        "the list costs nothing"
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_has_so_many_streams_and_gets_them_back() {
    let gateway = Setup::demo()
        .var("PROXY_SSE_MAX_CONCURRENCY", "1")
        .start()
        .await;
    let endless = r#"{"demo":{"deltas":1000000,"text":"x","delay_ms":10}}"#;
    let mut events = Events::of(gateway.chat(&stream(endless)).send().await.unwrap());
    assert!(events.next().await.is_some());
    let (status, body) = error(gateway.chat(&stream(QUICK)).send().await.unwrap()).await;
    assert_eq!(
        (status, &body["code"]),
        (429, &json!("concurrency_exceeded"))
    );
    assert_eq!(
        gateway.chat(&say(QUICK)).send().await.unwrap().status(),
        200,
        "only streams are counted"
    );
    drop(events);
    let freed = async {
        while gateway.chat(&stream(QUICK)).send().await.unwrap().status() != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), freed)
        .await
        .expect("the place is given back");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_come_from_a_file_of_fingerprints() {
    let fingerprint = codex_gateway::secret::fingerprint(b"sk-alice");
    let settings = json!({"keys": [{"id": "alice", "sha256": fingerprint}]}).to_string();
    let gateway = Setup::demo()
        .policy("auth.json", settings.as_bytes())
        .start()
        .await;
    assert_eq!(
        gateway
            .chat(&say(QUICK))
            .bearer_auth("sk-alice")
            .send()
            .await
            .unwrap()
            .status(),
        401,
        "two credentials are none"
    );
    let alone = gateway
        .client
        .post(format!("{}/v1/chat/completions", gateway.origin))
        .json(&say(QUICK));
    assert_eq!(
        alone.bearer_auth("sk-alice").send().await.unwrap().status(),
        200
    );
    assert_eq!(
        gateway.chat(&say(QUICK)).send().await.unwrap().status(),
        401,
        "the file supersedes PROXY_API_KEY"
    );
    gateway.stop().await;
}
