//! WebSockets that give way to other connections, before and after their handshake is answered.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::UPGRADE;
use axum::response::IntoResponse;
use hyper::upgrade::OnUpgrade;
use tokio::io::{DuplexStream, duplex};
use tokio::sync::{Mutex, mpsc};

use super::*;
use crate::api::socket::SocketLimits;
use crate::api::{Shared, tests};

/// A listener whose connections are made by the test.
struct Pipes(Mutex<mpsc::Receiver<DuplexStream>>);

impl Accept for Pipes {
    type Stream = DuplexStream;

    async fn accept(&self) -> io::Result<(DuplexStream, SocketAddr)> {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        match self.0.lock().await.recv().await {
            Some(stream) => Ok((stream, address)),
            None => std::future::pending().await,
        }
    }

    async fn close(self) -> Vec<(DuplexStream, SocketAddr)> {
        Vec::new()
    }

    fn tune(_: &DuplexStream) -> io::Result<()> {
        Ok(())
    }
}

const LIMITS: SocketLimits = SocketLimits {
    age: Duration::from_secs(3_600),
    silence: Duration::from_secs(3_600),
    per_caller: 2,
};

async fn open(State(shared): State<Shared>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    let upgrade = parts.extensions.remove::<OnUpgrade>().unwrap();
    let slot = shared.sockets.take("alice", LIMITS.per_caller).unwrap();
    let headers = [(UPGRADE, "websocket"), (CONNECTION, "upgrade")];
    let mut response = (StatusCode::SWITCHING_PROTOCOLS, headers).into_response();
    let accepted = Accepted::new(shared, LIMITS, parts, upgrade, slot);
    response.extensions_mut().insert(accepted);
    response
}

/// A gateway with room for one connection.
struct OfPipes {
    shared: Shared,
    pipes: mpsc::Sender<DuplexStream>,
    closing: CancellationToken,
}

impl OfPipes {
    async fn start() -> Self {
        let shared = tests::shared().await;
        let routes = Router::new().fallback(open).with_state(shared.clone());
        let (pipes, accepted) = mpsc::channel(4);
        let closing = CancellationToken::new();
        let all = Connections::of_descriptors(0);
        let listener = Pipes(Mutex::new(accepted));
        tokio::spawn(serve(listener, routes, closing.clone(), all));
        Self {
            shared,
            pipes,
            closing,
        }
    }

    /// Connects by a pipe of so many bytes.
    async fn connect(&self, bytes: usize) -> DuplexStream {
        let (client, server) = duplex(bytes);
        self.pipes.send(server).await.unwrap();
        client
    }

    /// Waits until there are so many WebSockets.
    async fn until_open(&self, sockets: usize) {
        let counted = async {
            while self.shared.sockets.open() != sockets {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(30), counted).await;
        in_time.unwrap_or_else(|_| panic!("never {sockets} open"));
    }
}

impl Drop for OfPipes {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

const HANDSHAKE: &[u8] =
    b"GET /socket HTTP/1.1\r\nhost: gateway\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

#[tokio::test]
async fn an_idle_websocket_that_gives_way_is_closed_with_1013() {
    let gateway = OfPipes::start().await;
    let mut client = gateway.connect(4_096).await;
    client.write_all(HANDSHAKE).await.unwrap();
    gateway.until_open(1).await;
    let _other = gateway.connect(4_096).await;
    let mut read = Vec::new();
    client.read_to_end(&mut read).await.unwrap();
    let reason = b"too many connections";
    let code = 1_013_u16.to_be_bytes();
    let close = [&[0x88, 22][..], &code, reason].concat();
    assert!(read.starts_with(b"HTTP/1.1 101"), "{read:?}");
    assert!(read.ends_with(&close), "{read:?}");
    gateway.until_open(0).await;
}

#[tokio::test]
async fn a_connection_that_gives_way_before_it_is_a_websocket_leaves_nothing() {
    let gateway = OfPipes::start().await;
    // The answer to the handshake does not fit, and the client reads none of it.
    let mut client = gateway.connect(16).await;
    client.write_all(HANDSHAKE).await.unwrap();
    gateway.until_open(1).await;
    // Longer than a peer may take nothing.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let _other = gateway.connect(4_096).await;
    gateway.until_open(0).await;
    let mut read = Vec::new();
    client.read_to_end(&mut read).await.unwrap();
    assert_eq!(read, b"HTTP/1.1 101 Swi", "it never was one");
}
