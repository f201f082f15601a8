//! Compares requests without a turn to a bare axum route, in one run: `cargo bench -p codex-gateway-tests --bench requests`.
//!
//! 64 connections in this process ask one after the other of three servers, in turns; the load and the servers share the machine, so
//! the ratios are what counts. On a busy machine, the CPU time of a request (of its client, too) says more than their number. The
//! gateway writes no log here.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use codex_gateway_tests::gateway::{Gateway, KEY, Setup};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const CONNECTIONS: usize = 64;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let gateway = Setup::demo()
            .var("PROXY_PROTECT_MODELS", "true")
            .start()
            .await;
        let models = body(&gateway).await;
        let bare = bare(models).await;
        let ours = gateway.origin.trim_start_matches("http://");
        let ours: SocketAddr = ours.parse().expect("an address");
        let paths = ["/v1/models", "/verify"];
        let mut taken = [(Taken::default(), Taken::default()); 2];
        for _ in 0..ROUNDS {
            for (path, (of_bare, of_gateway)) in paths.iter().zip(&mut taken) {
                of_bare.add(requests(bare, path)).await;
                of_gateway.add(requests(ours, path)).await;
            }
        }
        for (path, (bare, gateway)) in paths.iter().zip(taken) {
            println!(
                "GET {path}: bare axum {:.0}/s, gateway {:.0}/s: {:.0} %; CPU {:.1} µs, {:.1} µs: {:.0} %",
                bare.rate(),
                gateway.rate(),
                100.0 * gateway.rate() / bare.rate(),
                bare.micros(),
                gateway.micros(),
                100.0 * bare.micros() / gateway.micros(),
            );
        }
        gateway.stop().await;
    });
}

/// The requests of all rounds, and the CPU time that they took.
#[derive(Clone, Copy, Default)]
struct Taken {
    requests: u64,
    cpu: Duration,
}

impl Taken {
    async fn add(&mut self, round: impl Future<Output = u64>) {
        let before = cpu();
        self.requests += round.await;
        self.cpu += cpu().saturating_sub(before);
    }

    fn rate(self) -> f64 {
        let seconds = (ROUND * u32::try_from(ROUNDS).expect("few")).as_secs_f64();
        self.requests as f64 / seconds
    }

    fn micros(self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.requests as f64
    }
}

/// The CPU time of this process, in the hundredths of a second of Linux.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let (_, numbers) = stat.rsplit_once(')').expect("the name of the program");
    let ticks = numbers.split_whitespace().skip(11).take(2);
    let ticks = ticks.map(|ticks| ticks.parse::<u64>().expect("a number"));
    Duration::from_millis(10 * ticks.sum::<u64>())
}

/// The gateway's list of models.
async fn body(gateway: &Gateway) -> String {
    let answer = gateway.get("/v1/models").send().await.expect("an answer");
    answer.text().await.expect("a body")
}

/// A server with nothing but the two routes.
async fn bare(models: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let routes = Router::new()
        .route(
            "/v1/models",
            get(move || std::future::ready(models.clone())),
        )
        .route("/verify", get(|| std::future::ready("")));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

/// The number of answers in one round.
async fn requests(server: SocketAddr, path: &str) -> u64 {
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {KEY}\r\nx-forwarded-method: GET\r\n\
         x-forwarded-uri: /v1/models\r\nx-forwarded-host: localhost\r\nuser-agent: bench\r\n\r\n"
    );
    let until = Instant::now() + ROUND;
    let mut connections = JoinSet::new();
    for _ in 0..CONNECTIONS {
        connections.spawn(ask(server, request.clone().into_bytes(), until));
    }
    connections.join_all().await.into_iter().sum()
}

async fn ask(server: SocketAddr, request: Vec<u8>, until: Instant) -> u64 {
    let mut stream = TcpStream::connect(server).await.expect("a connection");
    stream.set_nodelay(true).expect("a socket");
    let (mut count, mut buffer) = (0, vec![0; 64 << 10]);
    while Instant::now() < until {
        stream.write_all(&request).await.expect("it reads");
        let mut filled = 0;
        loop {
            let read = stream
                .read(&mut buffer[filled..])
                .await
                .expect("it answers");
            assert!(read > 0, "the connection was closed");
            filled += read;
            if is_whole(&buffer[..filled]) {
                break;
            }
        }
        count += 1;
    }
    count
}

/// Whether this is a whole answer with status 200.
fn is_whole(answer: &[u8]) -> bool {
    let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return false;
    };
    let text = String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase();
    assert!(text.starts_with("http/1.1 200"), "{text}");
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().expect("a length"));
    answer.len() >= head + 4 + length
}
