//! The OpenAPI document of the operator's API and that API agree, in both directions.

use std::collections::BTreeSet;

use codex_gateway_tests::gateway::Gateway;
use reqwest::{Method, StatusCode};
use serde_json::Value;

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
        let url = below(path).replace("{digest}", "x");
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

/// Members that none of these answers has: see those of the clients' API.
const UNSEEN: &[&str] = &[
    "/components/schemas/Activation/properties/taken_back",
    "/components/schemas/Activation/properties/why",
    "/components/schemas/Slot/properties/warm_because",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_admin_answer_is_as_its_document_has_it_and_has_all_of_it() {
    let state = tempfile::tempdir().unwrap();
    let gateway = fake()
        .var("ADMIN_ADDR", "127.0.0.1:0")
        .var("ADMIN_TOKEN", TOKEN)
        .var("PROXY_STATE_DIR", state.path().to_str().unwrap())
        // A file that no slot reads causes a warning.
        .policy("model.JSON", b"{}")
        .start()
        .await;
    std::fs::write(
        gateway.policies().join("model.json"),
        r#"{"owned_by": "x"}"#,
    )
    .unwrap();
    gateway.generation(2).await;
    std::fs::write(gateway.policies().join("auth.json"), "{").unwrap();
    gateway
        .until(|gateway| !gateway.live.refusals().is_empty(), "refusal")
        .await;
    let digest = gateway.live.current().digest().short();
    let mut schemas = Schemas::of(document(&gateway).await);
    for (path, id, expected) in [
        ("status", "", 200),
        ("generations", "", 200),
        ("generations/{digest}", digest.as_str(), 200),
        ("generations/{digest}", "x", 404),
        ("openapi.json", "", 200),
    ] {
        let url = path.replace("{digest}", id);
        let answer = gateway
            .operate(Method::GET, &url, TOKEN)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), expected, "{path}");
        let answer = answer.json().await.unwrap();
        schemas.check("get", &format!("/admin/v1/{path}"), expected, &answer);
    }
    assert_eq!(schemas.answered, schemas.operations());
    assert_eq!(schemas.unseen(), UNSEEN);
    gateway.stop().await;
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
