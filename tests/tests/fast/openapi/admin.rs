//! The OpenAPI document of the operator's API and that API agree, in both directions.

use std::collections::BTreeSet;

use codex_gateway_tests::gateway::{Gateway, say, script};
use codex_gateway_tests::operator::{answer, upload};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use super::schemas::Schemas;
use super::{cases, python, references};
use crate::admin::{TOKEN, operated};
use crate::fake;

async fn document(gateway: &Gateway) -> Value {
    let answer = gateway
        .operate(Method::GET, "openapi.json", TOKEN)
        .send()
        .await;
    answer.unwrap().json().await.unwrap()
}

/// The part of a path that differs from one of these endpoints to the other.
fn below(path: &str) -> &str {
    path.strip_prefix("/admin/v1/").expect("all are there")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_admin_route_is_in_its_document_with_its_methods() {
    let gateway = operated().start().await;
    let document = document(&gateway).await;
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let paths = document["paths"].as_object().unwrap();
    let routes: BTreeSet<_> = codex_gateway::api::admin::paths()
        .map(str::to_owned)
        .collect();
    assert_eq!(paths.keys().cloned().collect::<BTreeSet<_>>(), routes);
    for (path, item) in paths {
        let url = below(path).replace("{digest}", "x").replace("{id}", "x");
        for method in [
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ] {
            let named = |method: &str| item.get(method.to_ascii_lowercase()).is_some();
            let expected = named(method.as_str()) || method == Method::HEAD && named("get");
            let request = gateway.operate(method.clone(), &url, TOKEN);
            let status = request.send().await.unwrap().status();
            assert_eq!(
                status != StatusCode::METHOD_NOT_ALLOWED,
                expected,
                "{method} {path}"
            );
        }
    }
    let mut used = BTreeSet::new();
    references(&document, &mut used);
    for reference in &used {
        let found = document.pointer(&reference[1..]);
        assert!(found.is_some(), "{reference} is not there");
    }
    gateway.stop().await;
}

/// Members that none of these answers has: those of policies that are taken back, that fail at a gate, or that run warm.
const UNSEEN: &[&str] = &[
    "/components/schemas/Activation/properties/taken_back",
    "/components/schemas/Activation/properties/why",
    "/components/schemas/Candidate/properties/why",
    "/components/schemas/Decision/properties/fault",
    "/components/schemas/Report/properties/gave_up",
    "/components/schemas/Slot/properties/warm_because",
];

/// A rule, so that there is a bucket.
const LIMIT: &[u8] =
    br#"{"rules": [{"name": "many", "unit": "requests", "limit": 99, "per": "caller"}]}"#;

/// A gateway, and the document that its answers are held against.
struct Checked {
    gateway: Gateway,
    schemas: Schemas,
}

impl Checked {
    async fn get(&mut self, path: &str, digest: &str, expected: u16) -> Value {
        self.ask(Method::GET, path, digest, expected).await
    }

    async fn ask(&mut self, method: Method, path: &str, digest: &str, expected: u16) -> Value {
        let url = path.replace("{digest}", digest).replace("{id}", digest);
        let request = self.gateway.operate(method.clone(), &url, TOKEN);
        self.check(method.as_str(), path, request, expected).await
    }

    async fn check(
        &mut self,
        method: &str,
        path: &str,
        request: RequestBuilder,
        expected: u16,
    ) -> Value {
        let (status, told) = answer(request).await;
        assert_eq!(status, expected, "{method} {path}: {told}");
        let path = format!("/admin/v1/{path}");
        let method = method.to_ascii_lowercase();
        self.schemas.check(&method, &path, expected, &told);
        told
    }

    /// Gives a candidate a canary, and ends that.
    async fn canary(&mut self, digest: &str) {
        let path = "candidates/{digest}/canary";
        let who = json!({"callers": ["ann"], "tenants": ["acme"], "percent": 5});
        let url = path.replace("{digest}", digest);
        let request = self.gateway.operate(Method::POST, &url, TOKEN).json(&who);
        let told = self.check("post", path, request, 200).await;
        assert_eq!(told["canary"], who);
        self.ask(Method::DELETE, path, digest, 200).await;
        self.ask(Method::DELETE, path, digest, 404).await;
    }

    /// Reads the decisions on a request, the callers, and the last one of them.
    async fn callers(&mut self, request: &str) {
        self.get("decisions/{id}", "none", 404).await;
        self.get("decisions/{id}", request, 200).await;
        let list = self.get("callers", "", 200).await;
        let caller = list["data"][0]["id"].as_str().unwrap();
        self.get("callers/{id}", caller, 200).await;
        self.get("callers/{id}", "none", 404).await;
    }

    /// Uploads settings of the model policy with rules; returns the digest.
    async fn upload(&mut self, settings: &str, rules: &str, expected: u16) -> String {
        let files = [
            ("model.json", settings.as_bytes()),
            ("rollout.toml", rules.as_bytes()),
        ];
        let request = upload(&self.gateway, &files);
        let told = self.check("post", "candidates", request, expected).await;
        told["digest"].as_str().unwrap_or_default().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_admin_answer_is_as_its_document_has_it_and_has_all_of_it() {
    let state = tempfile::tempdir().unwrap();
    let gateway = fake()
        .var("ADMIN_ADDR", "127.0.0.1:0")
        .var("ADMIN_TOKEN", TOKEN)
        .var("PROXY_STATE_DIR", state.path().to_str().unwrap())
        .policy("rate-limit.json", LIMIT)
        // A file that no slot reads causes a warning.
        .policy("model.JSON", b"{}")
        .start()
        .await;
    let owned = r#"{"owned_by": "x"}"#;
    std::fs::write(gateway.policies().join("model.json"), owned).unwrap();
    gateway.generation(2).await;
    std::fs::write(gateway.policies().join("auth.json"), "{").unwrap();
    let is_refused = |gateway: &Gateway| !gateway.live.refusals().is_empty();
    gateway.until(is_refused, "refusal").await;
    let body = say(&script(json!({})));
    let asked = gateway.chat(&body).header("x-request-id", "asked-so");
    assert_eq!(asked.send().await.unwrap().status(), 200);
    let none = json!({"model": "none", "messages": body["messages"]});
    assert_eq!(gateway.chat(&none).send().await.unwrap().status(), 404);
    let serving = gateway.live.current().digest().short();
    let schemas = Schemas::of(document(&gateway).await);
    let mut checked = Checked { gateway, schemas };
    let canary = "[canary]\npercent = 1\nfor = \"1h\"\n";
    let nothing = checked.upload(r#"{"access": []}"#, canary, 201).await;
    let other = checked.upload(r#"{"owned_by": "y"}"#, "", 201).await;
    checked.upload(owned, "", 409).await;
    checked.upload("{", "", 422).await;
    checked.upload("{}", "promote = true", 400).await;
    checked.ask(Method::POST, "candidates", "", 400).await;
    let shadow = "candidates/{digest}/shadow";
    checked.ask(Method::POST, shadow, &nothing, 200).await;
    checked.ask(Method::POST, shadow, &other, 409).await;
    checked.canary(&nothing).await;
    let status = checked.get("status", "", 200).await;
    assert_eq!(status["candidates"][0]["stage"], "shadow");
    checked.get("candidates", "", 200).await;
    let one = "candidates/{digest}";
    checked.get(one, &other, 200).await;
    checked.ask(Method::DELETE, one, &other, 200).await;
    checked.get(one, &other, 404).await;
    checked.get("generations/{digest}", &serving, 200).await;
    checked.get("generations/{digest}", "x", 404).await;
    let promote = "candidates/{digest}/promote";
    checked.ask(Method::POST, promote, &other, 404).await;
    checked.ask(Method::POST, promote, &nothing, 200).await;
    let status = checked.get("status", "", 200).await;
    assert_eq!(status["generation"]["pinned"]["by"], "operator");
    let list = checked.get("generations", "", 200).await;
    assert_eq!(list["data"][0]["by"], "operator");
    checked.callers("asked-so").await;
    checked.ask(Method::POST, "rollback", "", 200).await;
    checked.ask(Method::POST, "follow", "", 200).await;
    checked
        .upload(r#"{"owned_by": "z"}"#, "[shadow]", 201)
        .await;
    checked.get("openapi.json", "", 200).await;
    assert_eq!(checked.schemas.answered, checked.schemas.operations());
    assert_eq!(checked.schemas.unseen(), UNSEEN);
    checked.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs openapi-spec-validator from PyPI"]
async fn the_admin_document_is_openapi_3_1() {
    let gateway = operated().start().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), document(&gateway).await.to_string()).unwrap();
    let path = file.path().to_str().unwrap();
    python("openapi_spec_validator", &["--schema", "3.1", path]).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs schemathesis from PyPI"]
async fn whatever_operators_send_gets_an_answer_that_the_document_foretells() {
    let gateway = operated().start().await;
    let url = format!(
        "http://{}/admin/v1/openapi.json",
        gateway.admin.as_ref().unwrap()
    );
    let token = format!("Authorization: Bearer {TOKEN}");
    let arguments = ["run", &url, "--header", &token, "--continue-on-failure"];
    let checks = [
        "--exclude-checks",
        "positive_data_acceptance,unsupported_method",
        // Streams without end.
        "--exclude-path",
        "/admin/v1/decisions",
        "--exclude-path",
        "/admin/v1/events",
    ];
    let cases = cases();
    let arguments: Vec<&str> = arguments
        .into_iter()
        .chain(checks)
        .chain(cases.split(' '))
        .collect();
    python("schemathesis.cli", &arguments).await;
    assert_eq!(
        gateway
            .operate(Method::GET, "status", TOKEN)
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    gateway.stop().await;
}
