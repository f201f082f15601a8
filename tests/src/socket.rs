//! A client of the WebSocket mode that sends what a test wants, and reads what the gateway sends.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::gateway::{Gateway, KEY};

/// How long anything is waited for. Only a hang takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// The first byte of a frame: a whole text message, and a part of one.
pub const TEXT: u8 = 0x81;
/// See [`TEXT`].
pub const TEXT_PART: u8 = 0x01;
/// The next part of a message, and its last.
pub const MORE: u8 = 0x00;
/// See [`MORE`].
pub const LAST: u8 = 0x80;
/// A binary message.
pub const BINARY: u8 = 0x82;
/// A close frame.
pub const CLOSE: u8 = 0x88;
/// A ping.
pub const PING: u8 = 0x89;
/// A pong.
pub const PONG: u8 = 0x8a;

/// A key as clients choose one, and the answer that proves a server.
const CLIENT_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// One thing that the gateway sent.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// A text message.
    Event(Value),
    /// A ping.
    Ping,
    /// A pong, with its payload.
    Pong(Vec<u8>),
    /// A close frame: its code and reason.
    Close(u16, String),
    /// The connection ended; nothing follows.
    End,
}

/// The answer to a handshake that was refused.
#[derive(Debug)]
pub struct Refused {
    /// Its HTTP status.
    pub status: u16,
    /// Its head, in lower case.
    pub head: String,
    /// Its body.
    pub body: Value,
    /// The code of the error.
    pub code: String,
}

/// An open WebSocket.
pub struct Socket {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Socket {
    /// Opens one with the test key.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn open(gateway: &Gateway) -> Self {
        Self::open_with(gateway, KEY, &[])
            .await
            .unwrap_or_else(|refused| panic!("{refused:?}"))
    }

    /// Opens one with this key and these headers besides.
    ///
    /// # Errors
    /// If it is refused.
    ///
    /// # Panics
    /// If the gateway does not answer.
    pub async fn open_with(
        gateway: &Gateway,
        key: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, Refused> {
        let address = gateway.origin.trim_start_matches("http://");
        let more: String = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let head = format!(
            "GET /v1/responses HTTP/1.1\r\nHost: {address}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {CLIENT_KEY}\r\nAuthorization: Bearer {key}\r\n{more}\r\n"
        );
        Self::send_head(address.parse().expect("an address"), &head).await
    }

    /// Sends this head, and reads the answer to it.
    ///
    /// # Errors
    /// If the answer is not 101.
    ///
    /// # Panics
    /// If there is no answer.
    pub async fn send_head(address: SocketAddr, head: &str) -> Result<Self, Refused> {
        let stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        let mut socket = Self {
            stream,
            read: Vec::new(),
        };
        socket.raw(head.as_bytes()).await;
        let end = loop {
            let end = socket.read.windows(4).position(|four| four == b"\r\n\r\n");
            match end {
                Some(end) => break end + 4,
                None => assert!(socket.fill().await, "no answer to the handshake"),
            }
        };
        let head: Vec<_> = socket.read.drain(..end).collect();
        let answer = String::from_utf8(head).expect("a head is text");
        let status = answer[9..12].parse().expect("a status");
        if status == 101 {
            assert!(answer.contains(ACCEPT), "{answer}");
            return Ok(socket);
        }
        let head = answer.to_lowercase();
        let length = head.split("content-length: ").nth(1).expect("a length");
        let length: usize = length.lines().next().unwrap().parse().expect("a number");
        while socket.read.len() < length {
            assert!(socket.fill().await, "half an answer");
        }
        let body: Value = serde_json::from_slice(&socket.read[..length]).expect("JSON");
        let code = body["error"]["code"].as_str().unwrap_or_default();
        let code = code.to_owned();
        Err(Refused {
            status,
            head,
            body,
            code,
        })
    }

    /// Sends bytes as they are.
    ///
    /// # Panics
    /// If the connection is broken.
    pub async fn raw(&mut self, bytes: &[u8]) {
        let sent = self.stream.write_all(bytes).await;
        sent.expect("the gateway reads");
    }

    /// Sends one frame.
    pub async fn frame(&mut self, first: u8, payload: &[u8]) {
        let bytes = masked(first, payload);
        self.raw(&bytes).await;
    }

    /// Asks for a response: the body of a `POST`, as an event.
    pub async fn create(&mut self, body: &Value) {
        let mut event = body.clone();
        event["type"] = json!("response.create");
        self.frame(TEXT, event.to_string().as_bytes()).await;
    }

    /// Sends nothing more, but reads on.
    ///
    /// # Panics
    /// If the connection is broken.
    pub async fn half_close(&mut self) {
        self.stream.shutdown().await.expect("a shutdown");
    }

    async fn fill(&mut self) -> bool {
        let read = self.stream.read_buf(&mut self.read);
        let read = tokio::time::timeout(PATIENCE, read).await;
        matches!(read.expect("the gateway sends"), Ok(1..))
    }

    /// The next thing that the gateway sends.
    ///
    /// # Panics
    /// If it is no frame of a server, or nothing comes.
    pub async fn next(&mut self) -> Said {
        loop {
            if let Some((bytes, said)) = parse(&self.read) {
                self.read.drain(..bytes);
                return said;
            }
            if !self.fill().await {
                return Said::End;
            }
        }
    }

    /// Sends these bytes again and again, whatever comes, until the gateway closes the connection. Returns what it sent meanwhile.
    ///
    /// # Panics
    /// If the gateway does not close it.
    pub async fn flood(&mut self, bytes: &[u8]) -> Vec<Said> {
        let (mut reader, mut writer) = self.stream.split();
        let (read, mut said) = (&mut self.read, Vec::new());
        let flooding = async {
            while writer.write_all(bytes).await.is_ok() {}
            std::future::pending::<()>().await;
        };
        let reading = async {
            while !matches!(said.last(), Some(Said::Close(..) | Said::End)) {
                if let Some((bytes, next)) = parse(read) {
                    read.drain(..bytes);
                    said.push(next);
                } else if !matches!(reader.read_buf(read).await, Ok(1..)) {
                    said.push(Said::End);
                }
            }
        };
        let ended = async {
            tokio::select! {
                () = reading => {}
                () = flooding => {}
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, ended).await;
        in_time.expect("the gateway closes the connection");
        said
    }

    /// The next event; pings are answered.
    ///
    /// # Panics
    /// If the connection ends.
    pub async fn event(&mut self) -> Value {
        loop {
            match self.next().await {
                Said::Event(event) => return event,
                Said::Ping => self.frame(PONG, b"").await,
                Said::Pong(_) => {}
                said => panic!("{said:?} instead of an event"),
            }
        }
    }

    /// All events of one answer, up to its last or an error.
    pub async fn answer(&mut self) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            let event = self.event().await;
            let kind = event["type"].as_str().unwrap_or_default().to_owned();
            events.push(event);
            let last = [
                "response.completed",
                "response.incomplete",
                "response.failed",
                "error",
            ];
            if last.contains(&kind.as_str()) {
                return events;
            }
        }
    }

    /// Asks for a response, and returns the last event of its answer.
    pub async fn ask(&mut self, body: &Value) -> Value {
        self.create(body).await;
        self.answer().await.pop().unwrap_or_default()
    }

    /// The close frame, after whatever comes before it, and the end after it.
    ///
    /// # Panics
    /// If the connection ends without one.
    pub async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.next().await {
                Said::Close(code, reason) => {
                    assert_eq!(self.next().await, Said::End);
                    return (code, reason);
                }
                Said::End => panic!("no close frame"),
                Said::Event(_) | Said::Ping | Said::Pong(_) => {}
            }
        }
    }
}

/// A frame as a client sends it.
#[must_use]
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![first];
    match payload.len() {
        length @ ..126 => bytes.push(0x80 | length as u8),
        length @ ..65_536 => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    bytes
}

/// The first frame of these bytes, with its size; none if it is not complete.
fn parse(bytes: &[u8]) -> Option<(usize, Said)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    assert_eq!(second & 0x80, 0, "a server masks nothing");
    let (head, length) = match second {
        126 => (
            4,
            u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)),
        ),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)),
        length => (2, u64::from(length)),
    };
    let end = head + usize::try_from(length).expect("a size");
    let payload = bytes.get(head..end)?;
    let said = match first {
        TEXT => Said::Event(serde_json::from_slice(payload).expect("events are JSON")),
        CLOSE => {
            let code = payload[..2].try_into().expect("a code");
            let reason = String::from_utf8(payload[2..].to_vec()).expect("text");
            Said::Close(u16::from_be_bytes(code), reason)
        }
        PING => Said::Ping,
        PONG => Said::Pong(payload.to_vec()),
        other => panic!("a frame of kind {other:#x}"),
    };
    Some((end, said))
}
