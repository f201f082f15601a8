//! The gateway restarts behind real edge proxies, configured as the book and `deploy/` say, while clients send requests and
//! stream: exactly the losses that `docs/src/edges.md` describes occur. `.ci/run` installs the proxies.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use codex_gateway_tests::edge::{Edge, Kind, free_address};
use codex_gateway_tests::gateway::{Gateway, KEY, QUICK, Setup, say, stream};
use codex_gateway_tests::sse::{Event, Events};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const CHAT: &str = "/v1/chat/completions";
const CLIENTS: usize = 8;
const RESTARTS: usize = 3;
/// The time a program needs from its start until it listens. A gateway in this process has no such time, so the test waits.
const START: Duration = Duration::from_secs(1);
const STREAM: &str = r#"{"demo":{"deltas":10,"text":"x ","delay_ms":20}}"#;

/// The ports and the usage file of gateways that replace each other.
struct Place {
    port: String,
    auth_port: String,
    usage: TempDir,
}

impl Place {
    fn new() -> Self {
        let port = || free_address().rsplit_once(':').unwrap().1.to_owned();
        Self {
            port: port(),
            auth_port: port(),
            usage: tempfile::tempdir().unwrap(),
        }
    }

    async fn gateway(&self, reuse_port: bool) -> Gateway {
        let usage = self.record().to_string_lossy().into_owned();
        let setup = Setup::demo()
            .var("PORT", &self.port)
            .var("AUTH_PORT", &self.auth_port)
            .var("PROXY_REUSE_PORT", &reuse_port.to_string())
            .var("TOKEN_LOG_PATH", &usage);
        setup.start().await
    }

    fn record(&self) -> std::path::PathBuf {
        Path::new(self.usage.path()).join("usage.jsonl")
    }

    /// The number of turns of all gateways.
    fn turns(&self) -> usize {
        let record = std::fs::read_to_string(self.record()).unwrap();
        record.lines().count()
    }
}

/// A request without a complete answer with status 200.
#[derive(Debug)]
struct Lost {
    status: u16,
    body: Value,
    retry_after: bool,
}

/// Clients that send requests until they are stopped.
struct Load {
    over: CancellationToken,
    answered: Arc<AtomicUsize>,
    clients: JoinSet<Vec<Lost>>,
}

impl Load {
    fn on(edge: &Edge) -> Self {
        let mut load = Self {
            over: CancellationToken::new(),
            answered: Arc::default(),
            clients: JoinSet::new(),
        };
        let url = format!("{}{CHAT}", edge.origin);
        for index in 0..CLIENTS {
            let client = ask(
                url.clone(),
                index % 2 == 0,
                load.over.clone(),
                Arc::clone(&load.answered),
            );
            load.clients.spawn(client);
        }
        load
    }

    /// Waits until this many more requests were answered.
    async fn more(&self, number: usize) {
        let enough = self.answered.load(Ordering::SeqCst) + number;
        let counted = async {
            while self.answered.load(Ordering::SeqCst) < enough {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), counted)
            .await
            .expect("requests are answered");
    }

    async fn lost(self) -> Vec<Lost> {
        self.over.cancel();
        self.clients
            .join_all()
            .await
            .into_iter()
            .flatten()
            .collect()
    }
}

/// Runs one client, on connections that it keeps to the proxy.
async fn ask(
    url: String,
    streams: bool,
    over: CancellationToken,
    answered: Arc<AtomicUsize>,
) -> Vec<Lost> {
    let client = reqwest::Client::new();
    let body = if streams { stream(STREAM) } else { say(QUICK) };
    let mut lost = Vec::new();
    while !over.is_cancelled() {
        let request = client.post(&url).bearer_auth(KEY).json(&body);
        let response = request.send().await.expect("the proxy answers");
        let status = response.status().as_u16();
        let whole = if status == 200 && streams {
            Events::of(response).rest().await.last() == Some(&Event::Done)
        } else {
            let retry_after = response.headers().contains_key("retry-after");
            let body = response.bytes().await.unwrap_or_default();
            let body = serde_json::from_slice(&body).unwrap_or_default();
            if status != 200 {
                lost.push(Lost {
                    status,
                    body,
                    retry_after,
                });
                // A client that gets such an answer waits before it tries again.
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
            body["choices"][0]["finish_reason"] == "stop"
        };
        assert!(whole, "an answer was cut");
        answered.fetch_add(1, Ordering::SeqCst);
    }
    lost
}

/// Restarts the gateway on its port. Returns the lost requests.
async fn restart_in_place(kind: Kind) -> Vec<Lost> {
    let place = Place::new();
    let mut gateway = place.gateway(false).await;
    let asked = gateway.auth_origin.clone().unwrap();
    let edge = Edge::start(kind, &asked, &gateway.origin).await;
    let load = Load::on(&edge);
    for _ in 0..RESTARTS {
        load.more(60).await;
        gateway.stop().await;
        tokio::time::sleep(START).await;
        gateway = place.gateway(false).await;
    }
    load.more(60).await;
    let answered = Arc::clone(&load.answered);
    let lost = load.lost().await;
    gateway.stop().await;
    let answered = answered.load(Ordering::SeqCst);
    assert_eq!(
        place.turns(),
        answered,
        "{kind:?}: no request is sent twice"
    );
    lost
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real proxies"]
async fn a_restart_in_place_loses_nothing_behind_a_proxy_that_can_wait() {
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Nginx) {
        let lost = restart_in_place(kind).await;
        assert!(lost.is_empty(), "{kind:?}: {} of {lost:?}", lost.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real proxies"]
async fn nginx_tells_clients_to_come_back_while_nobody_listens() {
    let lost = restart_in_place(Kind::Nginx).await;
    assert!(!lost.is_empty(), "it waits: the book says it cannot");
    for lost in lost {
        assert_eq!(lost.status, 503, "{lost:?}");
        assert_eq!(lost.body["error"]["code"], "gateway_away", "{lost:?}");
        assert!(lost.retry_after, "{lost:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real proxies"]
async fn two_gateways_on_one_port_replace_each_other_without_loss_behind_every_proxy() {
    for kind in Kind::ALL {
        let place = Place::new();
        let mut gateway = place.gateway(true).await;
        let asked = gateway.auth_origin.clone().unwrap();
        let edge = Edge::start(kind, &asked, &gateway.origin).await;
        let load = Load::on(&edge);
        for _ in 0..RESTARTS {
            load.more(60).await;
            let next = place.gateway(true).await;
            load.more(20).await;
            gateway.stop().await;
            gateway = next;
        }
        load.more(60).await;
        let answered = Arc::clone(&load.answered);
        let lost = load.lost().await;
        assert!(lost.is_empty(), "{kind:?}: {} of {lost:?}", lost.len());
        gateway.stop().await;
        let answered = answered.load(Ordering::SeqCst);
        assert_eq!(
            place.turns(),
            answered,
            "{kind:?}: no request is sent twice"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real proxies"]
async fn a_dynamic_file_of_traefik_that_is_replaced_by_renaming_loses_nothing() {
    let place = Place::new();
    let gateway = place.gateway(false).await;
    let asked = gateway.auth_origin.clone().unwrap();
    let edge = Edge::start(Kind::Traefik, &asked, &gateway.origin).await;
    let load = Load::on(&edge);
    for _ in 0..RESTARTS {
        edge.switch(&asked, &gateway.origin);
        load.more(200).await;
    }
    let lost = load.lost().await;
    assert!(lost.is_empty(), "{} of {lost:?}", lost.len());
    gateway.stop().await;
}
