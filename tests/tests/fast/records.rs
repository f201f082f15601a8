//! Records of decisions: what is in them, and that no secret is.

use std::path::Path;

use codex_gateway::policy::records_in;
use codex_gateway::secret::fingerprint;
use codex_gateway_tests::gateway::{Gateway, KEY, QUICK, Setup, say};
use codex_gateway_tests::guests::EVERY;
use serde_json::{Value, json};

/// Everything that is recorded in a folder.
fn recorded(folder: &Path) -> String {
    let files = records_in(folder).unwrap().into_iter();
    let texts = files.map(|path| {
        let text = zstd::decode_all(std::fs::File::open(path).unwrap()).unwrap();
        String::from_utf8(text).unwrap()
    });
    texts.collect()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Requests of all kinds, with secrets wherever clients put them.
async fn mixed(gateway: &Gateway, secrets: &[&str]) {
    for secret in secrets {
        let url = format!("{}/v1/models?api_key={secret}", gateway.origin);
        let cookie = format!("session={secret}");
        let headers = [
            ("x-api-key", *secret),
            ("api-key", *secret),
            ("cookie", cookie.as_str()),
            ("proxy-authorization", *secret),
            ("x-custom-token", *secret),
        ];
        let mut request = gateway.client.get(url).bearer_auth(secret);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request.send().await.unwrap();
        let verify = format!("{}/verify", gateway.origin);
        let verify = gateway.client.get(verify).header("x-api-key", *secret);
        let verify = verify.header("x-forwarded-method", "GET");
        let verify = verify.header("x-forwarded-host", "a.example");
        let verify = verify.header("x-forwarded-uri", format!("/a?key={secret}"));
        verify.bearer_auth(secret).send().await.unwrap();
        for credential in [format!("Bearer {secret}"), format!("Basic {secret}")] {
            let chat = format!("{}/v1/chat/completions", gateway.origin);
            let chat = gateway
                .client
                .post(chat)
                .header("authorization", credential);
            let answer = chat.json(&say(QUICK)).send().await.unwrap();
            answer.bytes().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let records = folder.path().join("records");
    let var = records.to_string_lossy().into_owned();
    let secrets = [KEY, "sk-of-alice", "sk-nobody-has-this", "sk-signed-in"];
    let keys = json!({"keys": [
        {"id": "alice", "sha256": fingerprint(b"sk-of-alice")},
        {"id": "test", "sha256": fingerprint(KEY.as_bytes())},
    ]});
    let usual = Setup::demo()
        .var("POLICY_RECORD", &var)
        .policy("auth.json", keys.to_string().as_bytes())
        .start()
        .await;
    mixed(&usual, &secrets).await;
    usual.stop().await;
    // A policy that is granted the secret itself.
    let granted = Setup::demo()
        .var("POLICY_RECORD", &var)
        .policy("auth.wasm", EVERY)
        .policy("policies.toml", b"[auth]\ngrants = [\"credential\"]\n")
        .start()
        .await;
    mixed(&granted, &secrets).await;
    granted.stop().await;
    let text = recorded(&records);
    for secret in secrets {
        assert!(!text.contains(secret), "{secret}");
    }
    let questions: Vec<_> = lines(&text)
        .iter()
        .filter_map(|line| line["question"].as_str().map(str::to_owned))
        .collect();
    for question in ["authenticate", "verify", "catalog", "resolve", "quotas"] {
        assert!(
            questions.iter().any(|found| found == question),
            "{question}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_has_what_the_docs_say() {
    let folder = tempfile::tempdir().unwrap();
    let rules =
        json!({"rules": [{"name": "few", "unit": "requests", "limit": 1, "window_ms": 3_600_000}]});
    let gateway = Setup::demo()
        .var("POLICY_RECORD", &folder.path().to_string_lossy())
        .var("PROXY_ENABLE_METRICS", "true")
        .policy("rate-limit.json", rules.to_string().as_bytes())
        .start()
        .await;
    for status in [200, 429] {
        let response = gateway.chat(&say(QUICK)).send().await.unwrap();
        assert_eq!(response.status(), status);
        response.bytes().await.unwrap();
    }
    let is_written = |health: &Value| health["records"]["written"].as_u64() >= Some(1);
    while !is_written(&gateway.health().await) {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let health = gateway.health().await;
    assert_eq!(health["records"]["dropped"], 0);
    let metrics = gateway.get("/metrics").send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(metrics.contains("codex_policy_records_dropped_total 0"));
    let digest = gateway.live.current().digest().to_string();
    gateway.stop().await;
    let lines = lines(&recorded(folder.path()));
    assert_eq!(lines[0]["records"], 1);
    let of = |question: &str| -> Vec<&Value> {
        let found = lines.iter().filter(|line| line["question"] == question);
        found.collect()
    };
    let [admitted, refused] = of("admit")[..] else {
        panic!("{lines:#?}");
    };
    assert_eq!(admitted["policy"], digest);
    assert_eq!(admitted["slot"], "rate-limit");
    assert_eq!(admitted["input"]["statuses"][0]["name"], "few");
    assert!(admitted["answer"]["Ok"].is_array());
    assert_eq!(refused["answer"]["Err"]["status"], 429);
    assert!(refused["took_us"].is_u64() && refused["from_memo"].is_boolean());
    let settled = lines.iter().find(|line| line["tokens"].as_u64() > Some(0));
    assert_eq!(settled.unwrap()["request"], admitted["request"]);
    // Parts that no policy declared are there, too: another policy may need them.
    assert_eq!(of("authenticate")[0]["input"]["method"], "POST");
    let page = std::fs::read_to_string(crate::layers::root().join("docs/src/records.md")).unwrap();
    for line in &lines {
        for member in line.as_object().unwrap().keys() {
            assert!(page.contains(&format!("| `{member}` |")), "{member}");
        }
    }
}
