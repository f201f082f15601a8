//! The OpenAPI document and the API agree, in both directions.

use std::collections::BTreeSet;

use codex_gateway_tests::gateway::{Gateway, KEY, Setup};
use codex_gateway_tests::real::variable;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::layers::{all, root};

mod access;
mod admin;
mod answers;
mod schemas;

async fn document(gateway: &Gateway) -> Value {
    let url = format!("{}/openapi.json", gateway.origin);
    let response = gateway.client.get(url).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/json");
    response.json().await.unwrap()
}

/// The paths of the router, as the document writes them.
fn routes() -> BTreeSet<String> {
    let paths = codex_gateway::api::paths();
    paths.map(|path| path.replace("{*", "{")).collect()
}

#[test]
fn no_route_is_added_beside_the_table_of_endpoints() {
    let mut files = all("host/src/api");
    files.push(root().join("host/src/api.rs"));
    files.retain(|file| !file.ends_with("tests.rs"));
    let mut routes = 0;
    for file in files {
        let source = std::fs::read_to_string(&file).unwrap();
        let (served, _) = source.split_once("#[cfg(test)]").unwrap_or((&source, ""));
        for call in served.split(".route(").skip(1) {
            routes += 1;
            let argument = call.split(',').next().unwrap();
            // The listener for edge proxies has one of its own, which the table has, too.
            let is_known = ["endpoint.path", "path", "\"/healthz\""].contains(&argument);
            assert!(is_known, "{}: .route({argument}", file.display());
        }
    }
    assert_eq!(routes, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_in_the_document_with_its_methods_and_nothing_else() {
    let gateway = Setup::demo().start().await;
    let document = document(&gateway).await;
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.keys().cloned().collect::<BTreeSet<_>>(), routes());
    for (path, item) in paths {
        let url = format!(
            "{}{}",
            gateway.origin,
            path.replace("{id}", "x").replace("{path}", "x")
        );
        for method in [
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ] {
            let named = |method: &str| item.get(method.to_ascii_lowercase()).is_some();
            let expected = named(method.as_str())
                || (method == Method::HEAD && named("get"))
                || item["x-any-method"] == true;
            let request = gateway
                .client
                .request(method.clone(), &url)
                .bearer_auth(KEY);
            let response = request.send().await.unwrap();
            let allowed = response.status() != StatusCode::METHOD_NOT_ALLOWED;
            assert_eq!(allowed, expected, "{method} {path}");
        }
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_of_this_version_and_refers_to_nothing_it_lacks() {
    let gateway = Setup::demo().start().await;
    let document = document(&gateway).await;
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let mut used = BTreeSet::new();
    references(&document, &mut used);
    for reference in &used {
        let pointer = reference.strip_prefix('#').expect("within the document");
        assert!(
            document.pointer(pointer).is_some(),
            "{reference} is not there"
        );
    }
    for (kind, components) in document["components"].as_object().unwrap() {
        let names = components.as_object().unwrap().keys();
        for name in names.filter(|_| kind != "securitySchemes") {
            assert!(
                used.contains(&format!("#/components/{kind}/{name}")),
                "{name} is not used"
            );
        }
    }
    gateway.stop().await;
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("$ref") {
                found.insert(reference.clone());
            }
            members
                .values()
                .for_each(|member| references(member, found));
        }
        Value::Array(elements) => elements
            .iter()
            .for_each(|element| references(element, found)),
        _ => {}
    }
}

/// Runs a Python module from `requirements.txt` in a new folder.
async fn python(module: &str, arguments: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let mut program = tokio::process::Command::new(variable("TEST_PYTHON"));
    program
        .args(["-B", "-m", module])
        .args(arguments)
        .current_dir(folder.path())
        .kill_on_drop(true);
    let output = program.output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // The report on the cases tried; `--nocapture` shows it.
    println!("{said}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs openapi-spec-validator from PyPI"]
async fn the_document_is_openapi_3_1() {
    let gateway = Setup::demo().start().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), document(&gateway).await.to_string()).unwrap();
    let path = file.path().to_str().unwrap();
    python("openapi_spec_validator", &["--schema", "3.1", path]).await;
    gateway.stop().await;
}

/// The number of cases that schemathesis tries: about 1,500 requests, the same ones in every run. About 10,000 others:
/// `TEST_SCHEMATHESIS='--max-examples 700' cargo test -p codex-gateway-tests --test fast openapi -- --ignored`
const CASES: &str = "--max-examples 40 --seed 1";

/// The arguments that say how many cases are tried.
fn cases() -> String {
    #[expect(clippy::disallowed_methods, reason = "the test run's own environment")]
    let cases = std::env::var("TEST_SCHEMATHESIS");
    cases.unwrap_or_else(|_| CASES.to_owned())
}

/// Runs all checks of `schemathesis` but two: that valid requests are accepted (JSON Schema cannot express every rule, for
/// example that a tool message belongs to a call), and methods, which are tested above.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs schemathesis from PyPI"]
async fn whatever_is_sent_gets_an_answer_that_the_document_foretells() {
    let usage = tempfile::NamedTempFile::new().unwrap();
    let gateway = Setup::demo()
        .var("PROXY_ENABLE_METRICS", "true")
        .var("PROXY_TEST_ENDPOINTS", "true")
        .var("TOKEN_LOG_PATH", usage.path().to_str().unwrap())
        .start()
        .await;
    let url = format!("{}/openapi.json", gateway.origin);
    let key = format!("Authorization: Bearer {KEY}");
    let cases = cases();
    let mut arguments = vec!["run", &url, "--header", &key, "--continue-on-failure"];
    arguments.extend([
        "--exclude-checks",
        "positive_data_acceptance,unsupported_method",
    ]);
    arguments.extend(cases.split(' '));
    python("schemathesis.cli", &arguments).await;
    gateway.stop().await;
}
