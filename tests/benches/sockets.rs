//! Measures the memory of idle WebSockets beside that of silent streams: `cargo bench -p codex-gateway-tests --bench sockets`.
//!
//! Prints KiB of the gateway's process for each of 1,000 connections, with the built-in demo as backend.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use codex_gateway_tests::crowd::anonymous_kib;
use codex_gateway_tests::edge::free_address;
use codex_gateway_tests::gateway::{KEY, stream};
use codex_gateway_tests::socket::Socket;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

const CONNECTIONS: u64 = 1_000;
const ROUNDS: usize = 3;

/// How long the gateway may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// The time after which the memory of closed connections was returned.
const SETTLED: Duration = Duration::from_secs(3);

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        for _ in 0..ROUNDS {
            let [sockets, streams] = [of_sockets().await, of_streams().await];
            println!("{sockets} KiB for each idle WebSocket, {streams} KiB for each silent stream");
        }
    });
}

async fn of_sockets() -> u64 {
    let (gateway, address) = start().await;
    let before = memory(&gateway).await;
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS {
        let head = head(
            "GET /v1/responses",
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        );
        open.push(
            Socket::send_head(address, &head)
                .await
                .expect("a WebSocket"),
        );
    }
    (memory(&gateway).await - before) / CONNECTIONS
}

async fn of_streams() -> u64 {
    let (gateway, address) = start().await;
    let before = memory(&gateway).await;
    let body = stream(r#"{"demo":{"deltas":1000,"text":"x ","delay_ms":10000}}"#).to_string();
    let length = format!(
        "Content-Type: application/json\r\nContent-Length: {}\r\n",
        body.len()
    );
    let request = head("POST /v1/chat/completions", &length) + &body;
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut connection = TcpStream::connect(address).await.expect("a connection");
        connection
            .write_all(request.as_bytes())
            .await
            .expect("the gateway reads");
        open.push(connection);
    }
    for connection in &mut open {
        let mut first = [0; 64];
        let read = connection.read(&mut first).await.expect("an answer");
        assert!(first[..read].starts_with(b"HTTP/1.1 200"), "no stream");
    }
    (memory(&gateway).await - before) / CONNECTIONS
}

fn head(line: &str, headers: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n{headers}\r\n")
}

async fn memory(gateway: &Child) -> u64 {
    tokio::time::sleep(SETTLED).await;
    let pid = gateway.id().expect("the gateway runs");
    anonymous_kib(&pid.to_string())
}

/// A gateway in a process of its own.
async fn start() -> (Child, SocketAddr) {
    let home = tempfile::tempdir().expect("a folder");
    let address: SocketAddr = free_address().parse().expect("an address");
    let gateway = Command::new(env!("CARGO_BIN_EXE_gateway"))
        .env_clear()
        .env("HOME", home.path())
        .env("PORT", address.port().to_string())
        .env("PROXY_API_KEY", KEY)
        .env("PROXY_WEBSOCKET_MAX_PER_CALLER", "10000")
        .current_dir(home.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the gateway starts");
    let ready = async {
        let url = format!("http://{address}/readyz");
        while !reqwest::get(&url)
            .await
            .is_ok_and(|answer| answer.status() == 200)
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ready).await.expect("ready");
    (gateway, address)
}
