//! Reads the frames of a WebSocket's client, and puts its messages together (RFC 6455).
//!
//! Not a library's: those keep the memory of the largest message for as long as the connection lives, and take none of it from
//! [`Bodies`].

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout, timeout_at};

use crate::api::bodies::{Bodies, Room, UNANNOUNCED};
use crate::openai::ApiError;
use crate::openai::responses::lane_of;

/// How long a message may take to arrive, whatever its size, and the additional time for each byte: as for request bodies.
const PATIENCE: Duration = Duration::from_secs(20);
const PER_BYTE: Duration = Duration::from_millis(2);

/// Bytes that are read at once: between messages, and within one.
const HEAD: usize = 512;
const PIECE: usize = 16 << 10;

/// The longest payload of a control frame.
const CONTROL: usize = 125;

/// The kinds of frames.
const CONTINUATION: u8 = 0;
pub(super) const TEXT: u8 = 1;
const BINARY: u8 = 2;
pub(super) const CLOSE: u8 = 8;
pub(super) const PING: u8 = 9;
pub(super) const PONG: u8 = 10;

/// One thing that a client sent.
#[derive(Debug)]
pub(super) enum Incoming {
    Text(Message),
    Ping(Vec<u8>),
    Pong,
    /// The end of the connection, with the client's code if it sent one.
    Close(Option<u16>),
}

/// A whole message, with the room that it takes.
#[derive(Debug, Default)]
pub(super) struct Message {
    pub(super) text: Vec<u8>,
    pub(super) room: Room,
    /// See [`lane_of`].
    pub(super) lane: Option<String>,
}

/// The state of a client's messages, for the owner of their reader.
#[derive(Debug, Clone)]
pub(super) struct Heard(Arc<Mutex<(Instant, bool)>>);

impl Heard {
    /// When the last bytes came.
    pub(super) fn at(&self) -> Instant {
        self.0.lock().0
    }

    /// Whether a message has begun to arrive.
    pub(super) fn is_amid(&self) -> bool {
        self.0.lock().1
    }
}

/// Why nothing more can be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("the client has gone")]
    Gone,
    #[error("{0}")]
    Protocol(&'static str),
    #[error("a binary message")]
    Binary,
    #[error("a text message that is not UTF-8")]
    NotUtf8,
    #[error("a message that is too large")]
    TooLarge,
    #[error("a message that comes too slowly")]
    TooSlow,
    #[error("{0}")]
    NoRoom(ApiError),
}

/// Reads one client.
#[derive(Debug)]
pub(super) struct Reader<R> {
    io: R,
    limit: usize,
    bodies: Bodies,
    read: BytesMut,
    frame: Option<Partial>,
    message: Option<Message>,
    control: Vec<u8>,
    /// When the first byte of the present frame or message came.
    began: Option<Instant>,
    /// The room that the present message needs besides what it has.
    wanted: Option<usize>,
    heard: Heard,
}

/// A frame whose payload is not complete.
#[derive(Debug)]
struct Partial {
    code: u8,
    last: bool,
    left: usize,
    mask: [u8; 4],
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// Reads messages of at most `limit` bytes.
    pub(super) fn new(io: R, limit: usize, bodies: Bodies) -> Self {
        Self {
            io,
            limit,
            bodies,
            read: BytesMut::new(),
            frame: None,
            message: None,
            control: Vec::new(),
            began: None,
            wanted: None,
            heard: Heard(Arc::new(Mutex::new((Instant::now(), false)))),
        }
    }

    pub(super) fn heard(&self) -> Heard {
        self.heard.clone()
    }

    /// The next message or control frame. To be polled to its end: room that it waits for is lost otherwise.
    pub(super) async fn next(mut self) -> (Self, Result<Incoming, Broken>) {
        let incoming = self.read_on().await;
        (self, incoming)
    }

    async fn read_on(&mut self) -> Result<Incoming, Broken> {
        loop {
            while self.advance()? {
                if let Some(incoming) = self.complete().await? {
                    return Ok(incoming);
                }
            }
            self.heard.0.lock().1 = self.message.is_some();
            if self.wanted.is_some() {
                // The rest of the frame may have come already.
                self.take_room().await?;
                continue;
            }
            self.fill().await?;
            self.heard.0.lock().0 = Instant::now();
        }
    }

    /// Reads the head of a frame, or a part of its payload. Returns whether the frame is complete.
    fn advance(&mut self) -> Result<bool, Broken> {
        if self.frame.is_none() {
            let Some(frame) = self.head()? else {
                return Ok(false);
            };
            self.admit(&frame)?;
            self.frame = Some(frame);
        }
        let Some(frame) = &mut self.frame else {
            return Ok(false);
        };
        if self.wanted.is_some() {
            return Ok(false);
        }
        let bytes = frame.left.min(self.read.len());
        let mut part = self.read.split_to(bytes);
        for (byte, mask) in part.iter_mut().zip(frame.mask.iter().cycle()) {
            *byte ^= mask;
        }
        frame.mask.rotate_left(bytes % 4);
        frame.left -= bytes;
        match &mut self.message {
            Some(message) if frame.code < CLOSE => message.text.extend_from_slice(&part),
            _ => self.control.extend_from_slice(&part),
        }
        Ok(frame.left == 0)
    }

    /// The head of a frame; none if it is not complete.
    fn head(&mut self) -> Result<Option<Partial>, Broken> {
        let &[first, second, ..] = &*self.read else {
            return Ok(None);
        };
        if first & 0x70 != 0 {
            return Err(Broken::Protocol("a reserved bit is set"));
        }
        if second & 0x80 == 0 {
            return Err(Broken::Protocol("a frame is not masked"));
        }
        let more = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if self.read.len() < 2 + more + 4 {
            return Ok(None);
        }
        self.read.advance(2);
        let length = match more {
            2 => u64::from(self.read.get_u16()),
            8 => self.read.get_u64(),
            _ => u64::from(second & 0x7f),
        };
        let mut mask = [0; 4];
        self.read.copy_to_slice(&mut mask);
        Ok(Some(Partial {
            code: first & 0x0f,
            last: first & 0x80 != 0,
            left: usize::try_from(length).unwrap_or(usize::MAX),
            mask,
        }))
    }

    /// Checks that a frame may come now, and begins its message.
    fn admit(&mut self, frame: &Partial) -> Result<(), Broken> {
        match frame.code {
            CLOSE | PING | PONG if frame.last && frame.left <= CONTROL => return Ok(()),
            CLOSE | PING | PONG => return Err(Broken::Protocol("a control frame is too long")),
            TEXT | BINARY if self.message.is_some() => {
                return Err(Broken::Protocol("a message begins within another"));
            }
            TEXT => self.message = Some(Message::default()),
            BINARY => return Err(Broken::Binary),
            CONTINUATION => {}
            _ => return Err(Broken::Protocol("a frame of an unknown kind")),
        }
        let Some(message) = &self.message else {
            return Err(Broken::Protocol("a continuation of no message"));
        };
        let read = message.text.len();
        let total = read.saturating_add(frame.left);
        if total > self.limit {
            return Err(Broken::TooLarge);
        }
        // The size of a message in parts is not known before its last one.
        let is_whole = frame.last && read == 0;
        if total > UNANNOUNCED && read <= UNANNOUNCED {
            self.wanted = Some(if is_whole { total } else { self.limit });
        }
        Ok(())
    }

    /// The message or control frame that is complete now; none if the message has further frames.
    async fn complete(&mut self) -> Result<Option<Incoming>, Broken> {
        let Some(frame) = self.frame.take() else {
            return Ok(None);
        };
        let control = std::mem::take(&mut self.control);
        let incoming = match frame.code {
            CLOSE => Incoming::Close(close_code(&control)?),
            PING => Incoming::Ping(control),
            PONG => Incoming::Pong,
            _ if !frame.last => return Ok(None),
            _ => Incoming::Text(self.checked().await?),
        };
        if self.message.is_none() {
            self.began = (!self.read.is_empty()).then(Instant::now);
        }
        Ok(Some(incoming))
    }

    async fn checked(&mut self) -> Result<Message, Broken> {
        let mut message = self.message.take().unwrap_or_default();
        let bytes = message.text.len();
        message.room.shrink(bytes);
        let check = move || {
            std::str::from_utf8(&message.text).map_err(|_| Broken::NotUtf8)?;
            message.lane = lane_of(&message.text);
            Ok(message)
        };
        let checked = self.bodies.work(bytes, check).await;
        checked.map_err(Broken::NoRoom)?
    }

    async fn take_room(&mut self) -> Result<(), Broken> {
        let (Some(bytes), Some(message)) = (self.wanted.take(), &mut self.message) else {
            return Ok(());
        };
        let since = Instant::now();
        message.room = self.bodies.room(bytes).await.map_err(Broken::NoRoom)?;
        self.began = self.began.map(|began| began + since.elapsed());
        Ok(())
    }

    /// Reads more bytes. The time between messages has no limit here.
    async fn fill(&mut self) -> Result<(), Broken> {
        let piece = if self.message.is_some() { PIECE } else { HEAD };
        if self.read.is_empty() && self.read.capacity() > piece {
            // An idle connection keeps no large buffer.
            self.read = BytesMut::new();
        }
        self.read.reserve(piece);
        let Some(began) = self.began else {
            let read = self.io.read_buf(&mut self.read).await;
            self.began = Some(Instant::now());
            return some(read);
        };
        let bytes = self
            .message
            .as_ref()
            .map_or(0, |message| message.text.len());
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let until = began + PATIENCE + PER_BYTE.saturating_mul(bytes);
        let read = timeout_at(until, self.io.read_buf(&mut self.read));
        let outstayed = async {
            match &self.message {
                Some(message) => message.room.outstayed(began, message.text.len()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            read = read => some(read.map_err(|_| Broken::TooSlow)?),
            () = outstayed => Err(Broken::TooSlow),
        }
    }

    /// Reads what a client sends before it has seen that the connection ends: closing it at once would reset it, and the client
    /// could lose the last that was sent to it.
    pub(super) async fn discard(&mut self, pause: Duration) {
        let mut left = self.limit.saturating_mul(2);
        loop {
            self.read.clear();
            self.read.reserve(PIECE);
            let read = timeout(pause, self.io.read_buf(&mut self.read)).await;
            match read {
                Ok(Ok(bytes @ 1..)) if bytes <= left => left -= bytes,
                _ => return,
            }
        }
    }
}

fn some(read: std::io::Result<usize>) -> Result<(), Broken> {
    match read {
        Ok(1..) => Ok(()),
        Ok(0) | Err(_) => Err(Broken::Gone),
    }
}

/// The code of a close frame (RFC 6455 §7.4).
fn close_code(payload: &[u8]) -> Result<Option<u16>, Broken> {
    let (code, reason) = match payload {
        [] => return Ok(None),
        [first, second, reason @ ..] => (u16::from_be_bytes([*first, *second]), reason),
        [_] => return Err(Broken::Protocol("half a close code")),
    };
    let is_valid = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
    match (is_valid, std::str::from_utf8(reason)) {
        (true, Ok(_)) => Ok(Some(code)),
        (false, _) => Err(Broken::Protocol("a close code that cannot be sent")),
        (_, Err(_)) => Err(Broken::NotUtf8),
    }
}

/// One thing that a client sent, or its end.
#[cfg(any(test, fuzzing))]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A whole message.
    Text(Vec<u8>),
    /// A ping, with its payload.
    Ping(Vec<u8>),
    /// A pong.
    Pong,
    /// A close frame, with its code if it has one. Nothing is read after it.
    Close(Option<u16>),
    /// The reason why nothing more can be read.
    Broken(String),
}

/// All that a client sends which sends these pieces, one after another, and leaves; a message may have `limit` bytes.
#[cfg(any(test, fuzzing))]
pub async fn replay(pieces: [&[u8]; 3], limit: usize) -> Vec<Frame> {
    let [first, second, third] = pieces;
    // `bytes` has the same method for slices.
    let sent = AsyncReadExt::chain(first, second);
    let sent = AsyncReadExt::chain(sent, third);
    let mut reader = Reader::new(sent, limit, Bodies::new(limit));
    let mut frames = Vec::new();
    loop {
        let (rest, incoming) = reader.next().await;
        reader = rest;
        let frame = match incoming {
            Ok(Incoming::Text(message)) => Frame::Text(message.text),
            Ok(Incoming::Ping(payload)) => Frame::Ping(payload),
            Ok(Incoming::Pong) => Frame::Pong,
            Ok(Incoming::Close(code)) => Frame::Close(code),
            Err(broken) => Frame::Broken(broken.to_string()),
        };
        let is_last = matches!(frame, Frame::Close(_) | Frame::Broken(_));
        frames.push(frame);
        if is_last {
            return frames;
        }
    }
}

#[cfg(test)]
mod tests;
