//! Forward authentication: the answers to an edge proxy, asked directly here, by real proxies in `real/proxies.rs`.

use codex_gateway_tests::gateway::{Gateway, KEY, QUICK, Setup, say};
use codex_gateway_tests::guests::{EVERY, deploy};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

/// A request as Traefik and Caddy send it: always GET, with the original request in headers.
fn forwarded(gateway: &Gateway, method: &str, uri: &str) -> RequestBuilder {
    gateway
        .client
        .get(format!("{}/verify", gateway.origin))
        .header("x-forwarded-method", method)
        .header("x-forwarded-uri", uri)
        .header("x-forwarded-host", "api.example.com")
        .header("x-forwarded-for", "203.0.113.9")
}

async fn send(request: RequestBuilder) -> Response {
    request.send().await.unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response
        .headers()
        .get(name)
        .map(|value| value.to_str().unwrap())
}

async fn code(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let body: Value = response.json().await.expect("refusals are JSON");
    (status, body["error"]["code"].as_str().unwrap().to_owned())
}

const CHAT: &str = "/v1/chat/completions";

#[tokio::test(flavor = "multi_thread")]
async fn who_may_pass_is_named_in_headers_and_in_all_of_them() {
    let fingerprint = codex_gateway::secret::fingerprint(KEY.as_bytes());
    let settings = json!({"keys": [{"id": "alice", "sha256": fingerprint, "groups": ["a", "b"]}]});
    let gateway = Setup::demo()
        .policy("auth.json", settings.to_string().as_bytes())
        .start()
        .await;
    let response = send(forwarded(&gateway, "POST", CHAT).bearer_auth(KEY)).await;
    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, "x-auth-caller"), Some("alice"));
    assert_eq!(
        header(&response, "x-auth-tenant"),
        Some(""),
        "none, and said so"
    );
    assert_eq!(header(&response, "x-auth-groups"), Some("a,b"));
    assert_eq!(header(&response, "cache-control"), Some("no-store"));
    assert_eq!(header(&response, "x-policy-version"), Some("1"));
    let id = header(&response, "x-request-id");
    assert_eq!(header(&response, "x-policy-decision-id"), id);
    assert_eq!(response.bytes().await.unwrap().len(), 0);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_is_told_why_and_never_sent_elsewhere() {
    let gateway = Setup::demo().start().await;
    for request in [
        forwarded(&gateway, "POST", CHAT),
        forwarded(&gateway, "POST", CHAT).bearer_auth("sk-other"),
        // Two keys are refused: proxies disagree on which one counts.
        forwarded(&gateway, "POST", CHAT)
            .bearer_auth(KEY)
            .bearer_auth(KEY),
    ] {
        let response = send(request).await;
        let challenge = header(&response, "www-authenticate").unwrap();
        assert!(challenge.starts_with("Bearer realm="), "{challenge}");
        assert_eq!(header(&response, "cache-control"), Some("no-store"));
        assert!(header(&response, "x-policy-decision-id").is_some());
        assert_eq!(header(&response, "x-auth-caller"), None);
        assert_eq!(code(response).await, (401, "invalid_api_key".to_owned()));
    }
    gateway.stop().await;
}

/// Adds the headers that a browser sends before a page's request.
fn from_a_page(request: RequestBuilder) -> RequestBuilder {
    request
        .header("origin", "https://app.example.com")
        .header("access-control-request-method", "POST")
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_a_preflight_of_a_page_that_may_call_passes_without_a_key() {
    for (cors, status) in [("true", 200), ("false", 401)] {
        let setup = Setup::demo().var("PROXY_ENABLE_CORS", cors);
        let gateway = setup.start().await;
        let options = || forwarded(&gateway, "OPTIONS", CHAT);
        let preflight = send(from_a_page(options())).await;
        assert_eq!(preflight.status(), status, "CORS {cors}");
        for request in [
            options(),
            options().header("origin", "https://app.example.com"),
            options().header("access-control-request-method", "POST"),
            from_a_page(forwarded(&gateway, "POST", CHAT)),
        ] {
            assert_eq!(send(request).await.status(), 401);
        }
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_original_request_decides_not_the_one_that_asks() {
    let gateway = Setup::demo().start().await;
    let url = format!("{}/verify/?uri=/v1/models", gateway.origin);
    for method in ["GET", "HEAD", "POST", "OPTIONS", "PUT", "PROPFIND"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let ask = |original: &str| {
            let request = gateway.client.request(method.clone(), &url);
            let request = request.body(r#"{"method":"OPTIONS"}"#);
            let request = request
                .header("x-forwarded-method", original)
                .header("x-forwarded-uri", CHAT);
            send(from_a_page(request))
        };
        assert_eq!(ask("POST").await.status(), 401, "{method}");
        assert_eq!(ask("OPTIONS").await.status(), 200, "{method}: a preflight");
        assert_eq!(ask("options").await.status(), 401, "{method}: none");
    }
    // The path is open without a key, but only in its plain spelling.
    for (uri, status) in [
        ("/v1/models", 200),
        ("/v1/models/codex-5?x=/../", 200),
        ("/v1/models/../chat/completions", 401),
        ("/v1/models/..%2Fchat%2Fcompletions", 401),
    ] {
        let response = send(forwarded(&gateway, "GET", uri)).await;
        assert_eq!(response.status(), status, "{uri}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_and_envoy_ask_in_their_own_words() {
    let gateway = Setup::demo().start().await;
    let nginx = |uri: &str| {
        gateway
            .client
            .get(format!("{}/auth-request", gateway.origin))
            .header("x-original-method", "GET")
            .header("x-original-uri", uri)
    };
    assert_eq!(send(nginx("/v1/models")).await.status(), 200);
    assert_eq!(send(nginx(CHAT)).await.status(), 401);
    assert_eq!(send(nginx(CHAT).bearer_auth(KEY)).await.status(), 200);
    let both = nginx("/v1/models").header("x-original-url", "http://x/v1/models");
    assert_eq!(send(both).await.status(), 403, "one is the client's");

    let envoy = |method: Method, path: &str| {
        let url = format!("{}/ext-authz{path}", gateway.origin);
        gateway.client.request(method, url)
    };
    for (request, status) in [
        (envoy(Method::GET, "/v1/models"), 200),
        (envoy(Method::POST, CHAT), 401),
        (envoy(Method::POST, CHAT).bearer_auth(KEY), 200),
        (envoy(Method::OPTIONS, CHAT), 401),
        (from_a_page(envoy(Method::OPTIONS, CHAT)), 200),
        (envoy(Method::GET, "/"), 401),
        // At this endpoint, other proxies' headers have no meaning.
        (
            envoy(Method::POST, CHAT).header("x-forwarded-method", "OPTIONS"),
            401,
        ),
    ] {
        assert_eq!(send(request).await.status(), status);
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_told_nothing_whatever_it_claims() {
    let gateway = Setup::demo().var("PROXY_TRUST_PROXY", "none").start().await;
    let at = |path: &str| gateway.client.get(format!("{}{path}", gateway.origin));
    for request in [
        forwarded(&gateway, "OPTIONS", "/v1/models"),
        forwarded(&gateway, "POST", CHAT).bearer_auth(KEY),
        at("/auth-request")
            .header("x-original-method", "GET")
            .header("x-original-uri", "/v1/models"),
        at("/ext-authz/v1/models").bearer_auth(KEY),
    ] {
        let response = send(request).await;
        assert_eq!(code(response).await, (403, "untrusted_proxy".to_owned()));
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_does_not_say_what_it_asks_about_is_refused() {
    let gateway = Setup::demo().start().await;
    let at = |path: &str| gateway.get(path);
    let missing = "missing_original_request".to_owned();
    assert_eq!(
        code(send(at("/verify")).await).await,
        (400, missing.clone())
    );
    assert_eq!(code(send(at("/auth-request")).await).await, (403, missing));
    let twice = forwarded(&gateway, "POST", CHAT).header("x-forwarded-method", "OPTIONS");
    assert_eq!(
        code(send(twice).await).await,
        (400, "malformed_original_request".to_owned())
    );
    let near = send(at("/verifyANYTHING")).await;
    assert_eq!(near.status(), 404);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_cannot_answer_lets_nobody_through() {
    let gateway = Setup::demo().policy("auth.wasm", EVERY).start().await;
    let told = |act: &str| forwarded(&gateway, "POST", CHAT).header("x-hostile", act);
    for act in ["panic", "spin", "hoard", "exit", "nonsense"] {
        let response = send(told(act)).await;
        assert_eq!(header(&response, "cache-control"), Some("no-store"));
        let refused = (503, "policy_unavailable".to_owned());
        assert_eq!(code(response).await, refused, "{act}");
    }
    let limited = send(told("limit")).await;
    assert_eq!(header(&limited, "retry-after"), Some("7"));
    assert_eq!(code(limited).await, (429, "told_to_limit".to_owned()));
    // nginx would turn a 429 into a 500.
    let folded = gateway
        .client
        .get(format!("{}/auth-request", gateway.origin))
        .header("x-original-method", "GET")
        .header("x-original-uri", CHAT);
    let folded = send(folded.header("x-hostile", "limit")).await;
    assert_eq!(header(&folded, "retry-after"), Some("7"));
    assert_eq!(code(folded).await, (403, "told_to_limit".to_owned()));
    // The policy sets no headers that name the caller; the gateway adds them for the proxy.
    let honest = send(told("")).await;
    assert_eq!(header(&honest, "x-auth-caller"), Some("anybody"));
    assert_eq!(header(&honest, "x-auth-tenant"), Some(""));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_that_serves_now_decides() {
    let gateway = Setup::demo().start().await;
    let ask = || send(forwarded(&gateway, "POST", CHAT).bearer_auth("sk-new"));
    assert_eq!(ask().await.status(), 401);
    let fingerprint = codex_gateway::secret::fingerprint(b"sk-new");
    let settings = json!({"keys": [{"id": "new", "sha256": fingerprint}]});
    deploy(
        gateway.policies(),
        "auth.json",
        settings.to_string().as_bytes(),
    );
    gateway.generation(2).await;
    let response = ask().await;
    assert_eq!(response.status(), 200, "the very next question");
    assert_eq!(header(&response, "x-policy-version"), Some("2"));
    assert_eq!(header(&response, "x-codex-generation"), Some("2"));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_costs_nothing() {
    let gateway = Setup::demo()
        .var("PROXY_RATE_LIMIT_ENABLED", "true")
        .var("PROXY_RATE_LIMIT_MAX", "1")
        .start()
        .await;
    for _ in 0..5 {
        let response = send(forwarded(&gateway, "POST", CHAT).bearer_auth(KEY)).await;
        assert_eq!(response.status(), 200);
    }
    assert_eq!(send(gateway.chat(&say(QUICK))).await.status(), 200);
    assert_eq!(send(gateway.chat(&say(QUICK))).await.status(), 429);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_for_proxies_serves_nothing_else_and_closes_with_the_main_one() {
    let gateway = Setup::demo().var("AUTH_PORT", "0").start().await;
    let origin = gateway.auth_origin.clone().expect("it listens");
    let at = |path: &str| {
        gateway
            .client
            .get(format!("{origin}{path}"))
            .bearer_auth(KEY)
    };
    let asked = at("/verify")
        .header("x-forwarded-method", "POST")
        .header("x-forwarded-uri", CHAT);
    assert_eq!(send(asked).await.status(), 200);
    assert_eq!(send(at("/ext-authz/v1/models/")).await.status(), 200);
    assert_eq!(send(at("/healthz")).await.status(), 200);
    for path in ["/v1/models", CHAT, "/"] {
        assert_eq!(
            code(send(at(path)).await).await,
            (404, "unknown_url".to_owned())
        );
    }
    gateway.stop().await;
    let client = reqwest::Client::new();
    let closed = client.get(format!("{origin}/healthz")).send().await;
    assert!(closed.unwrap_err().is_connect());
}
