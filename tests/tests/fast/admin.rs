//! The operator's API: who may use it, what it answers, and where it is.

use codex_gateway_tests::gateway::{Gateway, KEY, QUICK, Setup, say};
use codex_gateway_tests::operator;
pub(crate) use codex_gateway_tests::operator::TOKEN;
use codex_gateway_tests::place::Place;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// A setup with a listener for operators on a port.
pub(crate) fn operated() -> Setup {
    operator::operated(Setup::demo())
}

async fn status_of(gateway: &Gateway, method: Method, path: &str, token: &str) -> StatusCode {
    let request = gateway.operate(method, path, token);
    request.send().await.unwrap().status()
}

async fn read(gateway: &Gateway, path: &str) -> Value {
    let answer = gateway.operate(Method::GET, path, TOKEN).send().await;
    answer.unwrap().json().await.unwrap()
}

/// An `admin.json` with an operator for each token.
fn file(operators: &[(&str, &str, &str)]) -> String {
    let entries = operators.iter().map(|(id, token, role)| {
        let sha256 = codex_gateway::secret::fingerprint(token.as_bytes());
        json!({"id": id, "sha256": sha256, "role": role})
    });
    Value::from(entries.collect::<Vec<_>>()).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_operators_token_opens_it_and_no_clients_key() {
    let gateway = operated().start().await;
    for path in ["status", "none"] {
        let address = gateway.admin.as_ref().unwrap();
        let url = format!("http://{address}/admin/v1/{path}");
        let bare = gateway.client.get(&url).send().await.unwrap();
        for refused in [
            bare,
            gateway
                .operate(Method::GET, path, KEY)
                .send()
                .await
                .unwrap(),
            gateway
                .client
                .get(&url)
                .basic_auth("x", Some(TOKEN))
                .send()
                .await
                .unwrap(),
        ] {
            assert_eq!(refused.status(), 401);
            let headers = refused.headers();
            assert!(
                headers["www-authenticate"]
                    .to_str()
                    .unwrap()
                    .starts_with("Bearer ")
            );
            assert_eq!(headers["cache-control"], "no-store");
            let told: Value = refused.json().await.unwrap();
            assert_eq!(told["error"]["code"], "invalid_admin_token");
        }
    }
    assert_eq!(status_of(&gateway, Method::GET, "status", TOKEN).await, 200);
    assert_eq!(status_of(&gateway, Method::GET, "none", TOKEN).await, 404);
    assert_eq!(
        status_of(&gateway, Method::POST, "status", TOKEN).await,
        405
    );
    let page = gateway.operate(Method::OPTIONS, "status", TOKEN);
    let page = page
        .header("origin", "http://x.example")
        .send()
        .await
        .unwrap();
    assert!(!page.headers().contains_key("access-control-allow-origin"));
    // It is not where clients are.
    assert_eq!(
        gateway
            .get("/admin/v1/status")
            .send()
            .await
            .unwrap()
            .status(),
        404
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_and_operators_are_those_of_the_file_and_change_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.json");
    let [eve, ops] = ["sk-eve", "sk-ops"];
    std::fs::write(
        &path,
        file(&[("eve", eve, "view"), ("ops", ops, "operate")]),
    )
    .unwrap();
    let gateway = operated()
        .var("ADMIN_FILE", path.to_str().unwrap())
        .start()
        .await;
    for (token, looks, acts) in [
        (eve, 200, 403),
        (ops, 200, 405),
        (TOKEN, 200, 405),
        ("sk-x", 401, 401),
    ] {
        let look = status_of(&gateway, Method::GET, "status", token).await;
        let act = status_of(&gateway, Method::POST, "status", token).await;
        assert_eq!((look.as_u16(), act.as_u16()), (looks, acts), "{token}");
    }
    let become_of = async |text: &str, token: &str, status: u16| {
        std::fs::write(&path, text).unwrap();
        let seen = async {
            while status_of(&gateway, Method::GET, "status", token).await != status {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        let in_time = tokio::time::timeout(std::time::Duration::from_secs(30), seen).await;
        in_time.unwrap_or_else(|_| panic!("{token} is never {status}"));
    };
    become_of(&file(&[("bob", "sk-bob", "view")]), "sk-bob", 200).await;
    assert_eq!(status_of(&gateway, Method::GET, "status", eve).await, 401);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tokens_this_machine_may_read_and_a_web_page_may_not() {
    let gateway = Setup::demo().var("ADMIN_ADDR", "127.0.0.1:0").start().await;
    let any = "sk-any";
    assert_eq!(status_of(&gateway, Method::GET, "status", any).await, 200);
    assert_eq!(status_of(&gateway, Method::POST, "status", any).await, 403);
    for (name, value) in [("host", "rebound.example"), ("origin", "http://x.example")] {
        let request = gateway
            .operate(Method::GET, "status", any)
            .header(name, value);
        assert_eq!(request.send().await.unwrap().status(), 401, "{name}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_has_what_serves_and_how_it_decides() {
    let gateway = operated().start().await;
    let before = read(&gateway, "status").await;
    assert_eq!(before["slots"][0]["decisions"]["kept"], Value::Null);
    for _ in 0..4 {
        let answer = gateway.chat(&say(QUICK)).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    let url = format!("{}/v1/chat/completions", gateway.origin);
    let refused = gateway.client.post(url).json(&say(QUICK)).send().await;
    assert_eq!(refused.unwrap().status(), 401);
    let status = read(&gateway, "status").await;
    let health = gateway.health().await;
    for (here, there) in [
        (&status["generation"]["digest"], &health["digest"]),
        (&status["generation"]["number"], &health["generation"]),
        (&status["generation"]["since"], &health["since"]),
        (&status["version"], &health["version"]),
    ] {
        assert_eq!(here, there);
    }
    let origin = format!("http://{}", status["address"].as_str().unwrap());
    assert_eq!(
        (origin, status["ready"].as_bool()),
        (gateway.origin.clone(), Some(true))
    );
    let auth = &status["slots"][0]["decisions"];
    assert_eq!(auth["denied"], 0.2, "{auth}");
    assert!(
        auth["kept"].as_f64() > Some(0.0) && auth["p99_us"].as_u64() > Some(0),
        "{auth}"
    );
    assert!(auth["per_minute"].as_f64() >= Some(5.0), "{auth}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn generations_are_listed_newest_first_and_found_by_their_first_digits() {
    let place = Place::default();
    place.publish("model.json", r#"{"owned_by": "one"}"#);
    let setup = |place: &Place| {
        let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
        operated()
            .var("POLICY_DIR", &text(place.policies()))
            .var("PROXY_STATE_DIR", &text(place.state()))
    };
    let gateway = setup(&place).start().await;
    place.publish("model.json", r#"{"owned_by": "two"}"#);
    gateway.generation(2).await;
    let recorded = async {
        while read(&gateway, "generations").await["data"]
            .as_array()
            .unwrap()
            .len()
            < 2
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), recorded)
        .await
        .unwrap();
    let list = read(&gateway, "generations").await;
    let entries = list["data"].as_array().unwrap();
    assert_eq!(
        (&list["serving"], &entries[0]["number"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(entries[0]["before"], entries[1]["digest"]);
    let last = read(&gateway, "generations?last=1").await;
    assert_eq!(last["data"], json!([entries[0]]));
    let digest = entries[1]["digest"].as_str().unwrap();
    let found = read(&gateway, &format!("generations/{}", &digest[..12])).await;
    assert_eq!(
        (&found["digest"], &found["serving"]),
        (&json!(digest), &json!(false))
    );
    assert_eq!(
        (&found["activations"], found.get("slots")),
        (&json!([entries[1]]), None)
    );
    for (path, status, code) in [
        ("generations?last=0", 400, "invalid_value"),
        ("generations?last=x&last=y", 400, "invalid_query"),
        ("generations/none", 404, "generation_not_found"),
        ("generations/%ff", 400, "invalid_value"),
    ] {
        let answer = gateway
            .operate(Method::GET, path, TOKEN)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), status, "{path}");
        let told: Value = answer.json().await.unwrap();
        assert_eq!(told["error"]["code"], code, "{told}");
    }
    gateway.stop().await;
}
