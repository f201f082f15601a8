//! Real edge proxies that send forward authentication to a running gateway, configured as docs/src/edges.md and `deploy/` say.
//! `.ci/run` installs `TEST_TRAEFIK_BIN`, `TEST_CADDY_BIN`, `TEST_NGINX_BIN`, `TEST_ENVOY_BIN`, `TEST_HAPROXY_BIN`.

use std::time::Duration;

use codex_gateway_tests::edge::{Edge, Kind, Service};
use codex_gateway_tests::gateway::{Gateway, KEY, QUICK, Setup, say, stream};
use codex_gateway_tests::guests::EVERY;
use codex_gateway_tests::sse::{self, Event, Events, finishes};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";

/// A gateway with a port for forward authentication, and a service protected by it.
struct Site {
    gateway: Gateway,
    service: Service,
    edge: Edge,
}

impl Site {
    async fn of(kind: Kind, setup: Setup) -> Self {
        let gateway = setup.var("AUTH_PORT", "0").start().await;
        let service = Service::spawn().await;
        let asked = gateway.auth_origin.as_deref().unwrap();
        let edge = Edge::start(kind, asked, &service.origin).await;
        Self {
            gateway,
            service,
            edge,
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.edge.origin);
        self.gateway.client.request(method, url)
    }

    /// Sends a request that must not reach the service; its response.
    async fn refused(&self, request: RequestBuilder) -> Response {
        let before = self.service.reached();
        let response = request.send().await.unwrap();
        assert_eq!(self.service.reached(), before, "it came through");
        response
    }
}

async fn json(response: Response) -> Value {
    response.json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real proxies"]
async fn with_a_key_a_request_passes_as_who_it_is_and_not_as_it_claims() {
    for kind in Kind::ALL {
        let site = Site::of(kind, Setup::demo()).await;
        let request = site
            .request(Method::POST, &format!("{CHAT}?a=%2F"))
            .bearer_auth(KEY)
            .header("x-auth-caller", "root")
            .header("x-auth-tenant", "root")
            .header("x-auth-groups", "root");
        let response = request.json(&say("x")).send().await.unwrap();
        assert_eq!(response.status(), 200, "{kind:?}");
        let arrived = json(response).await;
        assert_eq!(arrived["uri"], format!("{CHAT}?a=%2F"), "{kind:?}");
        let headers = &arrived["headers"];
        assert_eq!(headers["x-auth-caller"], "default", "{kind:?}");
        for name in ["x-auth-tenant", "x-auth-groups"] {
            let empty = headers[name].as_str().unwrap_or_default().is_empty();
            assert!(empty, "{kind:?}: {headers}");
        }
        site.gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real proxies"]
async fn without_a_key_nothing_passes_whatever_the_client_claims() {
    for kind in Kind::ALL {
        let site = Site::of(kind, Setup::demo()).await;
        let mut claims = site.request(Method::POST, CHAT);
        for dialect in ["x-forwarded", "x-original"] {
            claims = claims
                .header(format!("{dialect}-method"), "OPTIONS")
                .header(format!("{dialect}-uri"), "/v1/models")
                .header(format!("{dialect}-url"), "http://x/v1/models");
        }
        for request in [
            site.request(Method::POST, CHAT),
            site.request(Method::POST, CHAT).bearer_auth("sk-other"),
            site.request(Method::GET, "/v1/models/..%2Fchat%2Fcompletions"),
            site.request(Method::POST, "/v1/chat/completions?uri=/v1/models"),
            claims,
        ] {
            let response = site.refused(request).await;
            assert_eq!(response.status(), 401, "{kind:?}");
            let challenge = response.headers()["www-authenticate"].to_str().unwrap();
            assert!(
                challenge.starts_with("Bearer realm="),
                "{kind:?}: {challenge}"
            );
            let headers = response.headers();
            assert!(headers.contains_key("x-policy-decision-id"), "{kind:?}");
            assert_eq!(headers["access-control-allow-origin"], "*", "{kind:?}");
            let challenges = headers.get_all("www-authenticate").iter().count();
            assert_eq!(challenges, 1, "{kind:?}");
            assert_eq!(json(response).await["error"]["code"], "invalid_api_key");
        }
        site.gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real proxies"]
async fn a_preflight_passes_without_a_key() {
    for kind in Kind::ALL {
        let site = Site::of(kind, Setup::demo()).await;
        let preflight = site
            .request(Method::OPTIONS, CHAT)
            .header("origin", "https://app.example.com")
            .header("access-control-request-method", "POST");
        let response = preflight.send().await.unwrap();
        assert_eq!(response.status(), 200, "{kind:?}");
        let arrived = json(response).await;
        assert_eq!(arrived["method"], "OPTIONS", "{kind:?}");
        assert_eq!(arrived["headers"]["x-auth-caller"], "anonymous", "{kind:?}");
        site.gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real proxies"]
async fn other_refusals_arrive_where_the_proxy_can_tell_them() {
    for kind in Kind::ALL {
        let site = Site::of(kind, Setup::demo().policy("auth.wasm", EVERY)).await;
        let told = |act: &str| site.request(Method::POST, CHAT).header("x-hostile", act);
        let limited = site.refused(told("limit")).await;
        let status = if kind == Kind::Nginx { 403 } else { 429 };
        assert_eq!(limited.status(), status, "{kind:?}");
        assert_eq!(limited.headers()["retry-after"], "7", "{kind:?}");
        assert_eq!(json(limited).await["error"]["code"], "told_to_limit");
        let faulty = site.refused(told("panic")).await;
        assert!(faulty.status().is_server_error(), "{kind:?}");
        site.gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real proxies"]
async fn without_a_gateway_nothing_passes() {
    // Most proxies wait for the gateway before they fail, so all are tested at once.
    let waits = Kind::ALL.map(|kind| {
        // Boxed: all of them at once are too much for a thread's stack.
        Box::pin(async move {
            let Site {
                gateway,
                service,
                edge,
            } = Site::of(kind, Setup::demo()).await;
            gateway.stop().await;
            let before = service.reached();
            for path in [CHAT, "/v1/models"] {
                let url = format!("{}{path}", edge.origin);
                let request = reqwest::Client::new().post(url).bearer_auth(KEY);
                let status = request.send().await.unwrap().status();
                assert!(status.is_server_error(), "{kind:?}: {status}");
            }
            assert_eq!(service.reached(), before, "{kind:?}");
        })
    });
    futures_util::future::join_all(waits).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real proxies"]
async fn a_stream_passes_as_it_comes() {
    for kind in Kind::ALL {
        let setup = Setup::codex(env!("CARGO_BIN_EXE_fake-codex"));
        let gate = setup.home().join("gate");
        let gateway = setup.start().await;
        // The gateway gets each request twice: for forward authentication, and as the service.
        let edge = Edge::start(kind, &gateway.origin, &gateway.origin).await;
        let waiting = json!({"fake": {"text": ["x "], "repeat": 4, "gate": gate}});
        let request = gateway.client.post(format!("{}{CHAT}", edge.origin));
        let request = request.bearer_auth(KEY).json(&stream(&waiting.to_string()));
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200, "{kind:?}");
        let mut events = Events::of(response);
        // The rest is only written after this event was read: behind a proxy that buffers, the wait times out.
        let first = tokio::time::timeout(Duration::from_secs(60), events.next())
            .await
            .unwrap_or_else(|_| panic!("{kind:?} buffers"))
            .unwrap();
        std::fs::write(&gate, "").unwrap();
        let mut rest = events.rest().await;
        rest.insert(0, first);
        assert_eq!(sse::text(&rest), "x x x x ", "{kind:?}");
        assert_eq!(finishes(&rest), ["stop"], "{kind:?}");
        assert_eq!(rest.last(), Some(&Event::Done), "{kind:?}");
        gateway.stop().await;
    }
}

/// A gateway that admits four requests during a test.
async fn four() -> Gateway {
    let rule =
        json!({"name": "r", "unit": "requests", "limit": 4, "window_ms": 31 * 24 * 3_600_000_u64});
    let rules = json!({ "rules": [rule] }).to_string();
    let setup = Setup::demo().var("AUTH_PORT", "0");
    let setup = setup.policy("rate-limit.json", rules.as_bytes());
    setup.start().await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real proxies"]
async fn neither_asking_nor_trying_again_is_charged_and_the_limit_is_told_whole() {
    for kind in Kind::ALL {
        let gateway = four().await;
        let asked = gateway.auth_origin.as_deref().unwrap();
        // Connections to one of the service's two addresses fail, and are tried again.
        let edge = Edge::start_beside_dead(kind, asked, &gateway.origin).await;
        let chat = || {
            let request = gateway.client.post(format!("{}{CHAT}", edge.origin));
            request.bearer_auth(KEY).json(&say(QUICK)).send()
        };
        for left in ["3", "2", "1", "0"] {
            let response = chat().await.unwrap();
            assert_eq!(response.status(), 200, "{kind:?}");
            let headers = response.headers();
            assert_eq!(headers["x-ratelimit-remaining-requests"], left, "{kind:?}");
        }
        let limited = chat().await.unwrap();
        assert_eq!(limited.status(), 429, "{kind:?}");
        for name in [
            "retry-after",
            "retry-after-ms",
            "x-ratelimit-reset-requests",
        ] {
            assert!(limited.headers().contains_key(name), "{kind:?}: {name}");
        }
        assert_eq!(json(limited).await["error"]["code"], "rate_limited");
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real proxies"]
async fn a_stream_of_half_a_minute_arrives_whole() {
    let gateway = Setup::demo().var("AUTH_PORT", "0").start().await;
    let asked = gateway.auth_origin.as_deref().unwrap();
    let through = Kind::ALL.map(|kind| {
        let gateway = &gateway;
        async move {
            let edge = Edge::start(kind, asked, &gateway.origin).await;
            let paced = r#"{"demo":{"deltas":31,"delay_ms":1000,"text":"x "}}"#;
            let request = gateway.client.post(format!("{}{CHAT}", edge.origin));
            let request = request.bearer_auth(KEY).json(&stream(paced));
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 200, "{kind:?}");
            let events = Events::of(response).rest().await;
            assert_eq!(sse::text(&events), "x ".repeat(31), "{kind:?}");
            assert_eq!(finishes(&events), ["stop"], "{kind:?}");
            assert_eq!(events.last(), Some(&Event::Done), "{kind:?}");
        }
    });
    futures_util::future::join_all(through).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real proxies"]
async fn a_gateway_is_replaced_by_another_and_no_request_is_lost() {
    let [old, new] = [four().await, four().await];
    let asked = |gateway: &Gateway| gateway.auth_origin.clone().unwrap();
    let edge = Edge::start(Kind::Traefik, &asked(&old), &old.origin).await;
    let client = reqwest::Client::new();
    let chat = |body: Value| {
        let request = client.post(format!("{}{CHAT}", edge.origin));
        request.bearer_auth(KEY).json(&body).send()
    };
    let slow = r#"{"demo":{"deltas":1000000,"text":"x ","delay_ms":10}}"#;
    let mut limited = stream(slow);
    limited["max_tokens"] = 200.into();
    let mut running = Events::of(chat(limited).await.unwrap());
    assert!(running.next().await.is_some());
    edge.switch(&asked(&new), &new.origin);
    // The new gateway has granted no request yet.
    let switched = async {
        loop {
            let response = chat(say(QUICK)).await.unwrap();
            if response.headers()["x-ratelimit-remaining-requests"] == "3" {
                return;
            }
            assert!(matches!(response.status().as_u16(), 200 | 429));
        }
    };
    tokio::time::timeout(Duration::from_secs(30), switched)
        .await
        .expect("the proxy takes the new one");
    let stopping = old.stop();
    let answered = async {
        for _ in 0..3 {
            assert_eq!(chat(say(QUICK)).await.unwrap().status(), 200);
        }
        let events = running.rest().await;
        assert_eq!(
            finishes(&events),
            ["length"],
            "the old one's stream ends well"
        );
        assert_eq!(events.last(), Some(&Event::Done));
    };
    tokio::join!(stopping, answered);
    new.stop().await;
}
