//! The headers of each proxy, and the headers that a client behind it may try to add.

use std::net::SocketAddr;

use axum::extract::ConnectInfo;

use super::*;
use crate::api::connection::Peer;
use crate::policy::Request;

fn ask(dialect: Dialect, uri: &str, headers: &[(&str, &str)]) -> Result<Request, ApiError> {
    let mut request = axum::http::Request::builder().method("POST").uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut parts = request.body(()).unwrap().into_parts().0;
    let peer: SocketAddr = "127.0.0.1:4711".parse().unwrap();
    parts.extensions.insert(ConnectInfo(Peer::from(peer)));
    let trusted = TrustedProxies::default();
    let client = client_addr::address(&parts, &trusted);
    read(&parts, ("req_1", &client), dialect, &trusted).map(|described| described.whole())
}

fn line(request: &Request) -> (&str, &str, Option<&str>, &str) {
    let query = request.query.as_deref();
    (&request.method, &request.path, query, &request.host)
}

fn refused(dialect: Dialect, headers: &[(&str, &str)]) -> (u16, String, Option<String>) {
    let error = ask(dialect, "/x", headers).unwrap_err();
    (error.status, error.code.to_string(), error.param.clone())
}

#[test]
fn traefik_and_caddy_say_it_in_x_forwarded_headers() {
    let request = ask(
        Dialect::ForwardAuth,
        "/verify?of=the+gateway",
        &[
            ("host", "127.0.0.1:11435"),
            ("authorization", "Bearer k"),
            ("cookie", "a=b"),
            ("user-agent", "curl"),
            ("x-forwarded-for", "203.0.113.9"),
            ("x-forwarded-method", "DELETE"),
            ("x-forwarded-uri", "/v1/a%2Fb/%2e%2E/c?x=%20&y"),
            ("x-forwarded-host", "api.example.com:8443"),
        ],
    )
    .unwrap();
    assert_eq!(
        line(&request),
        (
            "DELETE",
            "/v1/a%2Fb/%2e%2E/c",
            Some("x=%20&y"),
            "api.example.com"
        )
    );
    assert_eq!(request.client, "203.0.113.9");
    assert_eq!(
        request.headers,
        [("user-agent".to_owned(), "curl".to_owned())]
    );
    assert_eq!(request.credential.unwrap().scheme, "Bearer");
}

#[test]
fn nginx_says_it_in_x_original_headers() {
    let uri = ask(
        Dialect::AuthRequest,
        "/auth-request",
        &[
            ("host", "api.example.com"),
            ("x-original-method", "GET"),
            ("x-original-uri", "/v1/models/?a"),
        ],
    );
    let expected = ("GET", "/v1/models", Some("a"), "api.example.com");
    assert_eq!(line(&uri.unwrap()), expected);
    let url = ask(
        Dialect::AuthRequest,
        "/auth-request",
        &[
            ("host", "gateway"),
            ("x-original-method", "GET"),
            (
                "x-original-url",
                "https://api.example.com:8443/v1/models/?a",
            ),
        ],
    );
    assert_eq!(line(&url.unwrap()), expected);
}

#[test]
fn envoy_says_it_with_its_own_request_line() {
    let headers = [("host", "api.example.com"), ("x-forwarded-uri", "/spoofed")];
    for (own, path, query) in [
        ("/ext-authz/v1/a%2fb?x=1", "/v1/a%2fb", Some("x=1")),
        ("/ext-authz//v1", "//v1", None),
        ("/ext-authz", "/", None),
        ("/ext-authz?x", "/", Some("x")),
    ] {
        let request = ask(Dialect::ExtAuthz, own, &headers).unwrap();
        assert_eq!(
            line(&request),
            ("POST", path, query, "api.example.com"),
            "{own}"
        );
    }
}

#[test]
fn what_is_not_said_is_not_guessed() {
    let missing = |name: &str| {
        (
            400,
            "missing_original_request".to_owned(),
            Some(name.to_owned()),
        )
    };
    let forward = |headers: &[(&str, &str)]| refused(Dialect::ForwardAuth, headers);
    let nginx = |headers: &[(&str, &str)]| refused(Dialect::AuthRequest, headers);
    assert_eq!(forward(&[]), missing("x-forwarded-method"));
    assert_eq!(
        forward(&[("x-forwarded-method", "GET")]),
        missing("x-forwarded-uri")
    );
    assert_eq!(
        forward(&[("x-original-method", "GET"), ("x-original-uri", "/")]),
        missing("x-forwarded-method"),
        "another proxy's words"
    );
    assert_eq!(
        nginx(&[("x-original-uri", "/")]),
        missing("x-original-method")
    );
    assert_eq!(
        nginx(&[("x-original-method", "GET"), ("x-original-uri", "")]),
        missing("x-original-url")
    );
}

#[test]
fn what_is_said_twice_or_not_clearly_is_refused() {
    let method = ("x-forwarded-method", "GET");
    for (name, headers) in [
        (
            "x-forwarded-uri",
            vec![method, ("x-forwarded-uri", "/a"), ("x-forwarded-uri", "/b")],
        ),
        (
            "x-forwarded-uri",
            vec![method, ("x-forwarded-uri", "v1/models")],
        ),
        (
            "x-forwarded-uri",
            vec![method, ("x-forwarded-uri", "/v1/models#/../chat")],
        ),
        (
            "x-forwarded-uri",
            vec![method, ("x-forwarded-uri", "http://x/v1")],
        ),
        ("x-forwarded-method", vec![("x-forwarded-method", "G E T")]),
        (
            "x-forwarded-method",
            vec![method, ("x-forwarded-method", "OPTIONS")],
        ),
    ] {
        let (status, code, param) = refused(Dialect::ForwardAuth, &headers);
        assert_eq!(
            (status, code.as_str()),
            (400, "malformed_original_request"),
            "{headers:?}"
        );
        assert_eq!(param.as_deref(), Some(name));
    }
    let method = ("x-original-method", "GET");
    for headers in [
        vec![
            method,
            ("x-original-uri", "/closed"),
            ("x-original-url", "http://x/open"),
        ],
        vec![method, ("x-original-url", "/v1/models")],
        vec![method, ("x-original-url", "http://x/v1#f")],
    ] {
        let (status, code, _) = refused(Dialect::AuthRequest, &headers);
        assert_eq!(
            (status, code.as_str()),
            (400, "malformed_original_request"),
            "{headers:?}"
        );
    }
}

#[test]
fn a_stranger_says_nothing() {
    let headers = [("x-forwarded-method", "OPTIONS"), ("x-forwarded-uri", "/")];
    let mut parts = axum::http::Request::new(()).into_parts().0;
    for (name, value) in headers {
        parts.headers.insert(name, value.parse().unwrap());
    }
    for peer in ["203.0.113.9:1", "[2001:db8::1]:1"] {
        let peer: SocketAddr = peer.parse().unwrap();
        parts.extensions.insert(ConnectInfo(Peer::from(peer)));
        for dialect in [
            Dialect::ForwardAuth,
            Dialect::AuthRequest,
            Dialect::ExtAuthz,
        ] {
            let about = ("req_1", "127.0.0.1");
            let error = read(&parts, about, dialect, &TrustedProxies::default()).unwrap_err();
            assert_eq!(
                (error.status, error.code.as_ref()),
                (403, "untrusted_proxy")
            );
        }
    }
}
