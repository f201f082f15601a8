//! Clients behind a proxy: each is identified by its own address, in any form the proxy sends it.

use codex_gateway_tests::gateway::{Gateway, Setup};
use reqwest::Response;
use serde_json::{Value, json};

/// A gateway that allows each address one request for longer than a test runs.
async fn one_an_address() -> Gateway {
    let rules = json!({"rules": [
        {"name": "each", "unit": "requests", "limit": 1, "window_ms": 31_u64 * 24 * 3_600_000, "per": "address",
         "endpoints": ["/v1/*"]}
    ]});
    let setup = Setup::demo().policy("rate-limit.json", rules.to_string().as_bytes());
    setup.start().await
}

async fn ask(gateway: &Gateway, headers: &[(&str, &str)]) -> Response {
    let mut request = gateway.get("/v1/usage");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_one_proxy_have_limits_of_their_own_in_every_spelling() {
    let gateway = one_an_address().await;
    for (name, first, again) in [
        ("x-forwarded-for", "203.0.113.11:50001", "203.0.113.11"),
        (
            "x-forwarded-for",
            "192.0.2.1, 203.0.113.12,",
            "203.0.113.12:1",
        ),
        ("x-forwarded-for", "[2001:db8::7]:443", "2001:db8::7"),
        (
            "x-forwarded-for",
            "[2001:db8:0:1::a]",
            "\"[2001:db8:0:1::a]:5\"",
        ),
        ("x-forwarded-for", "2001:db8:0:2::a%eth0", "2001:db8:0:2::a"),
        (
            "forwarded",
            "for=\"[2001:db8:0:3::7]:443\";proto=https",
            "for=_x, for=\"[2001:db8:0:3::7]\"",
        ),
        ("forwarded", "for=203.0.113.13", "For=\"203.0.113.13:8080\""),
    ] {
        let response = ask(&gateway, &[(name, first)]).await;
        assert_ne!(response.status(), 429, "{first} is known as somebody else");
        let response = ask(&gateway, &[(name, again)]).await;
        assert_eq!(response.status(), 429, "{again} is {first}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_adds_the_other_header_is_refused_at_every_endpoint() {
    let gateway = one_an_address().await;
    let both = [
        ("x-forwarded-for", "203.0.113.9"),
        ("forwarded", "for=192.0.2.66"),
    ];
    for path in ["/v1/usage", "/v1/models", "/healthz", "/verify", "/nowhere"] {
        let mut request = gateway.get(path);
        for (name, value) in both {
            request = request.header(name, value);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 400, "{path}");
        assert!(response.headers().contains_key("x-request-id"), "{path}");
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["error"]["code"], "ambiguous_client_address", "{body}");
    }
    let agreed = [
        ("x-forwarded-for", "203.0.113.9:7"),
        ("forwarded", "for=203.0.113.9"),
    ];
    assert_ne!(ask(&gateway, &agreed).await.status(), 400);
    gateway.stop().await;
}
