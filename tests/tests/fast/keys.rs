//! Many callers, as the cookbook describes them: the models each may use, settings refused in production, prompt limits.

use codex_gateway::config::PUBLISHED;
use codex_gateway::policy::{Defaults, Engine, Facts, Live, Source};
use codex_gateway::secret::fingerprint;
use codex_gateway_tests::gateway::{Gateway, QUICK, Setup, say};
use serde_json::{Value, json};

/// The settings in the cookbook's section on keys, by file name; each caller's key is its id.
fn documented() -> Vec<(String, String)> {
    let page = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../docs/src/policies/cookbook.md"
    );
    let page = std::fs::read_to_string(page).unwrap();
    let (_, section) = page.split_once("## Keys for many callers").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let mut files = Vec::new();
    let mut rest = section;
    while let Some((before, after)) = rest.split_once("```json\n") {
        let (settings, after) = after.split_once("```").unwrap();
        rest = after;
        // The paragraph before begins with the name of the file.
        let paragraph = before.trim_end().rsplit("\n\n`").next().unwrap();
        let (name, _) = paragraph.split_once('`').unwrap();
        let mut settings: Value = serde_json::from_str(settings).expect(name);
        let keys = settings.get_mut("keys").and_then(Value::as_array_mut);
        for key in keys.into_iter().flatten() {
            let id = key["id"].as_str().unwrap().to_owned();
            key["sha256"] = json!(fingerprint(id.as_bytes()));
        }
        files.push((name.to_owned(), settings.to_string()));
    }
    files
}

async fn documented_gateway() -> Gateway {
    let files = documented();
    let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["auth.json", "model.json", "tool-stop.json"]);
    let with = |setup: Setup, (name, text): &(String, String)| setup.policy(name, text.as_bytes());
    files
        .iter()
        .fold(Setup::demo(), with)
        .var("PROXY_ENV", "dev")
        .start()
        .await
}

async fn ask(gateway: &Gateway, key: &str, model: &str) -> (u16, Value) {
    let mut body = say(QUICK);
    body["model"] = json!(model);
    let url = format!("{}/v1/chat/completions", gateway.origin);
    let response = gateway
        .client
        .post(url)
        .bearer_auth(key)
        .json(&body)
        .send()
        .await
        .unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn listed(gateway: &Gateway, key: &str) -> Vec<String> {
    let url = format!("{}/v1/models", gateway.origin);
    let response = gateway
        .client
        .get(url)
        .bearer_auth(key)
        .send()
        .await
        .unwrap();
    let list: Value = response.json().await.unwrap();
    let models = list["data"].as_array().unwrap().iter();
    models
        .map(|model| model["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_caller_uses_and_sees_what_the_documented_settings_allow_it() {
    let gateway = documented_gateway().await;
    assert_eq!(ask(&gateway, "alice", "codex-5-high").await.0, 200);
    for key in ["ci-nightly", "vault"] {
        for model in ["codex-5", "codev-5", "CODEX-5-low"] {
            assert_eq!(ask(&gateway, key, model).await.0, 200, "{key} {model}");
        }
        let (status, body) = ask(&gateway, key, "codex-5-high").await;
        assert_eq!(
            (status, &body["error"]["code"]),
            (404, &json!("model_not_found"))
        );
        let (_, unknown) = ask(&gateway, key, "gpt-99").await;
        let told = |body: &Value| body["error"]["message"].as_str().unwrap().to_owned();
        assert_eq!(
            told(&body),
            told(&unknown).replace("gpt-99", "codex-5-high")
        );
        assert_eq!(listed(&gateway, key).await, ["codev-5", "codev-5-low"]);
    }
    assert!(listed(&gateway, "alice").await.len() > 4);
    let one = gateway
        .client
        .get(format!("{}/v1/models/codex-5-high", gateway.origin));
    assert_eq!(one.bearer_auth("vault").send().await.unwrap().status(), 404);
    assert_eq!(ask(&gateway, "bob", "codex-5").await.0, 401, "disabled");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_production_the_auth_policy_refuses_the_keys_that_the_gateway_refuses() {
    let engine = Engine::new(None).unwrap();
    for key in PUBLISHED {
        let settings = json!({"keys": [{"id": "ann", "sha256": fingerprint(key.as_bytes())}]});
        let defaults = Defaults {
            auth: settings.as_object().unwrap().clone(),
            ..Defaults::default()
        };
        let facts = |environment: &str| Facts {
            environment: environment.to_owned(),
            ..Facts::default()
        };
        let source = Source::new(None, defaults);
        let start = async |environment| {
            let candidates = source.read(&facts(environment)).unwrap();
            Live::start(engine.clone(), &candidates).await.map(drop)
        };
        let refused = start("prod").await.unwrap_err().to_string();
        assert!(
            refused.contains(key) && refused.contains("codex-gateway key new"),
            "{refused}"
        );
        start("dev").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_that_is_too_long_is_refused_and_costs_nothing() {
    let rules = json!({"rules": [{"name": "one", "unit": "requests", "limit": 1}]});
    let gateway = Setup::demo()
        .var("PROXY_MAX_PROMPT_TOKENS", "10")
        .policy("rate-limit.json", rules.to_string().as_bytes())
        .start()
        .await;
    // Ten tokens of four characters each, whatever their number of bytes.
    let longest = "ü".repeat(40);
    let longer = format!("{longest}!");
    for body in [
        say(&longer),
        json!({"messages": [{"role": "user", "content": longer}], "stream": true}),
    ] {
        let response = gateway.chat(&body).send().await.unwrap();
        assert_eq!(response.status(), 403);
        let error: Value = response.json().await.unwrap();
        let error = &error["error"];
        assert_eq!(error["type"], "tokens_exceeded_error");
        assert_eq!(error["code"], "context_length_exceeded");
        assert_eq!(error["param"], "messages");
    }
    let input = json!({"input": longer});
    let url = format!("{}/v1/responses", gateway.origin);
    let response = gateway.client.post(url).bearer_auth("sk-test").json(&input);
    assert_eq!(response.send().await.unwrap().status(), 403);
    assert_eq!(
        gateway.chat(&say(&longest)).send().await.unwrap().status(),
        200
    );
    assert_eq!(
        gateway.chat(&say(&longest)).send().await.unwrap().status(),
        429
    );
    gateway.stop().await;
}
