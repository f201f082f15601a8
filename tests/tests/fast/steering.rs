//! Operators change over HTTP which policies serve: uploads, reports, shadows, promotions, roll-backs, explanations, events.

use codex_gateway_tests::gateway::{Gateway, Setup};
use codex_gateway_tests::operator::{self, answer, ask, get, keys, post, upload};
use codex_gateway_tests::sse::{Event, Events};
use reqwest::Method;
use serde_json::{Value, json};

use crate::admin::{TOKEN, operated};

/// A gateway whose callers are known by these names.
fn known(callers: &[&str]) -> Setup {
    operated().policy("auth.json", keys(callers).as_bytes())
}

/// A candidate's digest.
async fn offered(gateway: &Gateway, callers: &[&str]) -> String {
    let settings = keys(callers);
    let (status, told) = answer(upload(gateway, &[("auth.json", settings.as_bytes())])).await;
    assert_eq!(status, 201, "{told}");
    told["digest"].as_str().unwrap().to_owned()
}

/// A chat request of a caller: its status, and its id.
async fn chat(gateway: &Gateway, key: &str) -> (u16, String) {
    operator::chat(gateway, key, "x-request-id").await
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "one story, step by step")]
async fn an_edited_policy_is_compared_shadowed_promoted_explained_and_taken_back() {
    let gateway = known(&["alice", "bob"]).start().await;
    for _ in 0..3 {
        assert_eq!(chat(&gateway, "bob").await.0, 200);
    }
    let request = gateway.operate(Method::GET, "events", TOKEN);
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut events = Events::of(response);

    let settings = keys(&["alice"]);
    let (status, told) = answer(upload(&gateway, &[("auth.json", settings.as_bytes())])).await;
    assert_eq!((status, &told["by"]), (201, &json!("operator")), "{told}");
    let group = &told["replayed"]["differences"][0];
    assert_eq!(
        (&group["from"], &group["to"], &group["count"]),
        (
            &json!("caller bob"),
            &json!("denied 401 invalid_api_key"),
            &json!(3)
        )
    );
    let digest = told["digest"].as_str().unwrap();
    let first = &digest[..12].to_uppercase();

    let gate = json!({"for": "1h", "min_decisions": 5, "max_differ": 9, "promote": false});
    let (status, told) = post(&gateway, &format!("candidates/{first}/shadow"), gate).await;
    assert_eq!((status, &told["stage"]), (200, &json!("shadow")), "{told}");
    assert_eq!(told["gate"]["min_decisions"], 5);
    assert_eq!(chat(&gateway, "bob").await.0, 200, "a shadow has no effect");
    let (_, status) = get(&gateway, "status").await;
    assert_eq!(status["candidates"][0]["digest"], digest);

    let (status, told) = post(
        &gateway,
        &format!("candidates/{first}/promote"),
        Value::Null,
    )
    .await;
    assert_eq!((status, &told["number"]), (200, &json!(2)), "{told}");
    assert_eq!(
        (&told["pinned"]["by"], &told["by"]),
        (&json!("operator"), &json!("api"))
    );
    let (status, id) = chat(&gateway, "bob").await;
    assert_eq!(status, 401);
    let (_, told) = get(&gateway, &format!("decisions/{id}")).await;
    let decisions = &told["data"][0]["decisions"];
    assert_eq!(decisions[0]["outcome"], "denied 401 invalid_api_key");
    assert_eq!(told["data"][0]["policy"], digest[..12]);

    let (status, told) = post(&gateway, "rollback", Value::Null).await;
    assert_eq!((status, &told["number"]), (200, &json!(3)), "{told}");
    assert_eq!(chat(&gateway, "bob").await.0, 200);
    let (_, told) = post(&gateway, "rollback", json!({"digest": first})).await;
    assert_eq!(told["digest"], digest);
    let (status, told) = post(&gateway, "follow", Value::Null).await;
    assert_eq!((status, &told["pinned"]), (200, &Value::Null));

    let mut seen = Vec::new();
    while seen.last().is_none_or(|what| what != "followed") {
        let Event::Data(event) = events.next().await.unwrap() else {
            continue;
        };
        assert_eq!(event["by"], "operator", "{event}");
        seen.push(event["what"].as_str().unwrap().to_owned());
    }
    assert_eq!(
        seen,
        [
            "ready",
            "shadow",
            "promoted",
            "rolled-back",
            "rolled-back",
            "followed"
        ]
    );
    // The stream does not hold up a drain.
    gateway.begin_stop();
    while events.next().await.is_some() {}
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn every_refused_wish_names_its_cause_and_changes_nothing() {
    let gateway = known(&["alice"]).start().await;
    let bad: [(&str, &[u8]); 2] = [
        ("model.wasm", b"no component"),
        ("auth.json", br#"{"kyes": []}"#),
    ];
    let (status, told) = answer(upload(&gateway, &bad)).await;
    let error = &told["error"];
    assert_eq!(
        (status, &error["code"]),
        (422, &json!("candidate_refused")),
        "{told}"
    );
    for words in ["auth.json: ", "kyes", "model.wasm: "] {
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(words), "{words}: {message}");
    }
    assert!(["auth.json", "model.wasm"].contains(&error["param"].as_str().unwrap()));
    let (status, told) = answer(upload(&gateway, &[("auth.jsn", b"{}")])).await;
    assert_eq!(
        (status, &told["error"]["param"]),
        (400, &json!("auth.jsn")),
        "{told}"
    );
    let same = keys(&["alice"]);
    let (status, told) = answer(upload(&gateway, &[("auth.json", same.as_bytes())])).await;
    assert_eq!(
        (status, &told["error"]["code"]),
        (409, &json!("already_serving"))
    );

    let one = offered(&gateway, &["bob"]).await;
    let two = offered(&gateway, &["carol"]).await;
    let shadow = |digest: &str| format!("candidates/{digest}/shadow");
    let wrong = json!({"for": 7, "promte": true});
    for (method, path, body, expected, code) in [
        (
            Method::POST,
            shadow(&one),
            wrong.clone(),
            400,
            "invalid_value",
        ),
        (
            Method::POST,
            shadow("77aa0c1d"),
            Value::Null,
            404,
            "policies_not_found",
        ),
        (Method::POST, shadow(&one), Value::Null, 200, ""),
        (Method::POST, shadow(&two), Value::Null, 409, "shadow_taken"),
        (
            Method::DELETE,
            format!("candidates/{one}"),
            Value::Null,
            200,
            "",
        ),
        (
            Method::DELETE,
            format!("candidates/{one}"),
            Value::Null,
            404,
            "policies_not_found",
        ),
        (
            Method::POST,
            "candidates/x/promote".to_owned(),
            Value::Null,
            404,
            "policies_not_found",
        ),
        (
            Method::POST,
            "rollback".to_owned(),
            Value::Null,
            409,
            "nothing_before",
        ),
        (
            Method::POST,
            "rollback".to_owned(),
            json!({"digest": "77"}),
            404,
            "policies_not_found",
        ),
        (
            Method::POST,
            "rollback".to_owned(),
            wrong,
            400,
            "invalid_value",
        ),
        (
            Method::GET,
            "decisions/none".to_owned(),
            Value::Null,
            404,
            "request_not_kept",
        ),
    ] {
        let (status, told) = ask(&gateway, method, &path, body).await;
        assert_eq!(status, expected, "{path}: {told}");
        assert_eq!(
            told["error"]["code"].as_str().unwrap_or_default(),
            code,
            "{path}"
        );
    }
    let (_, list) = get(&gateway, "candidates").await;
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
    let (_, found) = get(&gateway, &format!("candidates/{}", &two[..6])).await;
    assert_eq!(found["digest"], two);
    assert_eq!(gateway.live.current().number(), 1);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_shows_the_warnings_about_its_files() {
    let gateway = known(&["alice"]).start().await;
    let nobody: (&str, &[u8]) = ("auth.json", br#"{"keys": []}"#);
    let (status, told) = answer(upload(&gateway, &[nobody])).await;
    assert_eq!(status, 201, "{told}");
    let warning = told["warnings"][0].as_str().unwrap();
    assert!(warning.starts_with("auth.json: it has no `keys`"), "{told}");
    gateway.stop().await;
}
