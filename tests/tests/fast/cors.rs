//! CORS: preflights of browsers and Electron apps, and the headers they need to give a page the answer.

use codex_gateway_tests::gateway::{Gateway, KEY, QUICK, Setup, say, stream};
use reqwest::header::HeaderMap;
use reqwest::{Method, Response};

const OBSIDIAN: &str = "app://obsidian.md";
/// The headers that the OpenAI SDK sends from a page.
const ASKED: &str = "authorization,content-type,x-stainless-arch,x-stainless-helper-method,x-stainless-lang,\
                     x-stainless-os,x-stainless-package-version,x-stainless-retry-count,x-stainless-runtime,\
                     x-stainless-runtime-version,x-stainless-timeout";
const ALLOWED: &str =
    "https://web.example,app://obsidian.md,capacitor://localhost,http://localhost";

async fn preflight(gateway: &Gateway, path: &str, origin: &str) -> Response {
    let url = format!("{}{path}", gateway.origin);
    gateway
        .client
        .request(Method::OPTIONS, url)
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", ASKED)
        .header("access-control-request-private-network", "true")
        .send()
        .await
        .unwrap()
}

fn value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().map(|value| value.to_str().unwrap());
    assert_eq!(values.next(), None, "{name} is there twice");
    value
}

fn varies(headers: &HeaderMap, by: &str) -> bool {
    let values = headers.get_all("vary").iter();
    values
        .flat_map(|value| value.to_str().unwrap().split(','))
        .any(|name| name.trim().eq_ignore_ascii_case(by))
}

/// Asserts the CORS headers. Browsers refuse an answer with credentials that is allowed for `*`.
fn assert_shared(headers: &HeaderMap, with: Option<&str>) {
    assert_eq!(value(headers, "access-control-allow-origin"), with);
    let credentials = with.is_some_and(|origin| origin != "*").then_some("true");
    assert_eq!(
        value(headers, "access-control-allow-credentials"),
        credentials
    );
    assert_eq!(varies(headers, "origin"), with != Some("*"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_may_ask_everywhere_without_a_key() {
    let gateway = Setup::demo().start().await;
    let paths = [
        "/v1/chat/completions",
        "/v1/responses/x",
        "/v1/models",
        "/healthz",
        "/v1/nope",
        "/",
    ];
    for path in paths {
        for origin in [
            OBSIDIAN,
            "capacitor://localhost",
            "https://web.example",
            "null",
        ] {
            let response = preflight(&gateway, path, origin).await;
            assert_eq!(response.status(), 204, "{path} {origin}");
            let headers = response.headers();
            assert_shared(headers, Some("*"));
            assert_eq!(value(headers, "access-control-allow-headers"), Some(ASKED));
            assert_eq!(
                value(headers, "access-control-allow-private-network"),
                Some("true")
            );
            let methods = value(headers, "access-control-allow-methods").unwrap();
            for method in ["GET", "POST", "DELETE"] {
                assert!(methods.split(", ").any(|allowed| allowed == method));
            }
        }
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_list_only_its_pages_may() {
    let gateway = Setup::demo()
        .var("PROXY_CORS_ALLOWED_ORIGINS", ALLOWED)
        .start()
        .await;
    let path = "/v1/chat/completions";
    for origin in [
        OBSIDIAN,
        "capacitor://localhost",
        "https://web.example",
        "http://localhost:5173",
    ] {
        let response = preflight(&gateway, path, origin).await;
        assert_eq!(response.status(), 204);
        assert_shared(response.headers(), Some(origin));
        assert_eq!(
            value(response.headers(), "access-control-allow-headers"),
            Some(ASKED)
        );
        let answer = gateway.chat(&say(QUICK)).header("origin", origin);
        let answer = answer.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_shared(answer.headers(), Some(origin));
    }
    for origin in [
        "app://obsidian.md.evil",
        "https://evil.example",
        "null",
        "https://web.example:8443",
    ] {
        let response = preflight(&gateway, path, origin).await;
        assert_eq!(response.status(), 204);
        assert_shared(response.headers(), None);
        for name in ["headers", "methods", "private-network"] {
            let name = format!("access-control-allow-{name}");
            assert_eq!(value(response.headers(), &name), None, "{origin}");
        }
        let answer = gateway.get("/v1/models").header("origin", origin);
        assert_shared(answer.send().await.unwrap().headers(), None);
    }
    let nobody = gateway.get("/v1/models").send().await.unwrap();
    assert_shared(nobody.headers(), None);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_can_read_refusals_and_streams_and_all_their_headers() {
    let gateway = Setup::demo()
        .var("PROXY_MAX_BODY_BYTES", "2048")
        .var("PROXY_RATE_LIMIT_ENABLED", "true")
        .var("PROXY_RATE_LIMIT_MAX", "2")
        .start()
        .await;
    let post = |path: &str| gateway.client.post(format!("{}{path}", gateway.origin));
    let chat = "/v1/chat/completions";
    let large = "x".repeat(4096);
    let requests = [
        (401, post(chat), vec!["www-authenticate"]),
        (404, post("/v1/nope"), vec!["x-request-id"]),
        (405, gateway.get(chat), vec!["x-request-id"]),
        (
            200,
            gateway.chat(&say(QUICK)),
            vec!["x-ratelimit-remaining-requests", "x-request-id"],
        ),
        (
            200,
            gateway.chat(&stream(QUICK)),
            vec!["x-codex-generation", "x-proxy-output-mode"],
        ),
        (
            413,
            post(chat).bearer_auth(KEY).body(large),
            vec!["openai-processing-ms"],
        ),
        (
            429,
            gateway.chat(&say(QUICK)),
            vec![
                "retry-after",
                "retry-after-ms",
                "x-ratelimit-reset-requests",
            ],
        ),
    ];
    for (status, request, seen) in requests {
        let response = request.header("origin", OBSIDIAN).send().await.unwrap();
        assert_eq!(response.status(), status);
        assert_shared(response.headers(), Some("*"));
        let exposed = value(response.headers(), "access-control-expose-headers").unwrap();
        for name in seen {
            assert!(
                response.headers().contains_key(name),
                "{status} has no {name}"
            );
            assert!(
                exposed.split(", ").any(|exposed| exposed == name),
                "{status}: {exposed}"
            );
        }
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_proxy_is_answered_by_the_policy_and_pages_may_see_its_refusals() {
    let gateway = Setup::demo().start().await;
    let ask = |method: Method, path: &str, original: &str| {
        gateway
            .client
            .request(method, format!("{}{path}", gateway.origin))
            .header("origin", OBSIDIAN)
            .header("access-control-request-method", "POST")
            .header("x-forwarded-method", original)
            .header("x-forwarded-uri", "/v1/chat/completions")
            .header("x-forwarded-host", "gateway")
            .send()
    };
    let granted = ask(Method::GET, "/verify", "OPTIONS").await.unwrap();
    assert_eq!(granted.status(), 200);
    assert!(granted.headers().contains_key("x-auth-caller"));
    // The method of the proxy's own request does not count: the method of the original request does.
    let refused = ask(Method::OPTIONS, "/verify", "POST").await.unwrap();
    assert_eq!(refused.status(), 401);
    assert_shared(refused.headers(), Some("*"));
    // At `/ext-authz` the proxy's method is the original one: a preflight passes, with headers that overwrite the client's.
    let granted = ask(Method::OPTIONS, "/ext-authz/v1/chat/completions", "")
        .await
        .unwrap();
    assert_eq!(granted.status(), 200);
    assert!(granted.headers().contains_key("x-auth-caller"));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn switched_off_it_says_nothing_to_pages() {
    let gateway = Setup::demo()
        .var("PROXY_ENABLE_CORS", "false")
        .start()
        .await;
    let preflight = preflight(&gateway, "/v1/chat/completions", OBSIDIAN).await;
    assert_eq!(preflight.status(), 204);
    let answer = gateway.chat(&say(QUICK)).header("origin", OBSIDIAN);
    let answer = answer.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    for headers in [preflight.headers(), answer.headers()] {
        let said = headers
            .keys()
            .any(|name| name.as_str().starts_with("access-control-"));
        assert!(!said && !varies(headers, "origin"), "{headers:?}");
    }
    gateway.stop().await;
}
