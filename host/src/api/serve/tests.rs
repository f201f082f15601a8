//! Connections over a real socket: answers are whole when a connection gives way or the gateway drains.

mod sockets;

use std::io;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::*;
use crate::listen::{Handed, Sockets, Wanted};

/// The types of HTTP/2 frames (RFC 9113 §6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
/// The flags of the last frame of a stream, and of an answer to SETTINGS or PING.
const END: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// The bytes that an HTTP/2 peer may be sent before it updates its window.
const WINDOW: usize = 65_535;
/// An answer whose tail does not fit the window.
const LARGE: usize = WINDOW + 9_000;

struct Gateway {
    address: SocketAddr,
    closing: CancellationToken,
    serving: JoinHandle<()>,
}

impl Gateway {
    /// A gateway with room for one connection, and one more for a single answer. Its callers are authenticated.
    fn start() -> Self {
        let wanted = Wanted {
            host: [127, 0, 0, 1].into(),
            port: 0,
            auth_port: None,
            admin: None,
            reuse_port: false,
        };
        let sockets = Sockets::open(&wanted, Handed::default()).unwrap();
        let listener = sockets.listen().unwrap().main;
        let address = listener.address();
        let large = async |ConnectInfo(peer): ConnectInfo<Peer>| {
            peer.authenticated();
            vec![b'x'; LARGE]
        };
        let routes = Router::new()
            .route("/large", get(large))
            .route("/small", get(async || "y"));
        let closing = CancellationToken::new();
        let all = Connections::of_descriptors(0);
        let serving = tokio::spawn(serve(listener, routes, closing.clone(), all));
        Self {
            address,
            closing,
            serving,
        }
    }

    async fn connect(&self) -> Http2 {
        let mut client = Http2(TcpStream::connect(self.address).await.unwrap());
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        client.0.write_all(preface).await.unwrap();
        client.send(SETTINGS, 0, 0, &[]).await;
        client
    }
}

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

struct Http2(TcpStream);

impl Http2 {
    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let [.., a, b, c] = payload.len().to_be_bytes();
        let head = [&[a, b, c, kind, flags][..], &stream.to_be_bytes()].concat();
        let frame = [&head, payload].concat();
        self.0.write_all(&frame).await.unwrap();
    }

    async fn ask(&mut self, stream: u32, path: &str) {
        let length = u8::try_from(path.len()).unwrap();
        let fields = [
            b"\x82\x86\x04",
            &[length][..],
            path.as_bytes(),
            b"\x01\x01x",
        ];
        let fields = fields.concat();
        self.send(HEADERS, END | END_HEADERS, stream, &fields).await;
    }

    /// Lets the peer send more, on the connection and on the stream.
    async fn take(&mut self, stream: u32, bytes: u32) {
        for stream in [0, stream] {
            let more = bytes.to_be_bytes();
            self.send(WINDOW_UPDATE, 0, stream, &more).await;
        }
    }

    async fn frame(&mut self) -> io::Result<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.0.read_exact(&mut payload).await?;
        Ok(Frame {
            kind,
            flags,
            stream: u32::from_be_bytes(stream),
            payload,
        })
    }

    async fn next(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.frame().await.unwrap();
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// Reads so many bytes of the answer on that stream. Returns whether it is whole.
    async fn read(&mut self, stream: u32, mut bytes: usize) -> bool {
        loop {
            let frame = self.next(DATA).await;
            assert_eq!(frame.stream, stream);
            bytes -= frame.payload.len();
            let is_whole = frame.flags & END != 0;
            if bytes == 0 || is_whole {
                assert_eq!(bytes, 0);
                return is_whole;
            }
        }
    }
}

#[tokio::test]
async fn a_connection_with_the_tail_of_an_answer_gives_no_way() {
    let gateway = Gateway::start();
    let mut client = gateway.connect().await;
    client.ask(1, "/large").await;
    assert!(!client.read(1, WINDOW).await);
    // Longer than a new connection is spared.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut other = gateway.connect().await;
    other.ask(1, "/small").await;
    assert!(other.read(1, 1).await);
    client.take(1, 60_000).await;
    assert!(client.read(1, LARGE - WINDOW).await);
}

#[tokio::test]
async fn the_tail_of_an_answer_is_sent_also_while_the_gateway_drains() {
    let gateway = Gateway::start();
    let mut client = gateway.connect().await;
    client.ask(1, "/large").await;
    assert!(!client.read(1, WINDOW).await);
    gateway.closing.cancel();
    // Longer than an idle connection stays open.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    client.take(1, 60_000).await;
    assert!(client.read(1, LARGE - WINDOW).await);
    drop(client);
    gateway.serving.await.unwrap();
}

#[tokio::test]
async fn a_request_on_its_way_while_the_gateway_drains_is_answered_in_http_2() {
    let gateway = Gateway::start();
    let mut client = gateway.connect().await;
    client.ask(1, "/small").await;
    assert!(client.read(1, 1).await);
    gateway.closing.cancel();
    let last = |frame: &Frame| u32::from_be_bytes(frame.payload[..4].try_into().unwrap());
    let first = client.next(GOAWAY).await;
    assert_eq!(last(&first), u32::MAX >> 1, "none is refused yet");
    let ping = client.next(PING).await;
    client.ask(3, "/small").await;
    assert!(client.read(3, 1).await);
    client.send(PING, ACK, 0, &ping.payload).await;
    assert_eq!(last(&client.next(GOAWAY).await), 3);
    gateway.serving.await.unwrap();
}
