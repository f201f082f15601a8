//! Writes frames to a WebSocket's client (RFC 6455).

use std::io;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::api::connection::Offer;

/// More than this is not kept in memory between messages.
const KEPT: usize = 4 << 10;

/// If so much waits for a client, it asks for answers and reads none: a pong is left out.
const MOST: usize = 64 << 10;

const LAST: u8 = 0x80;
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// The frames that the client has not taken yet.
#[derive(Debug)]
pub(super) struct Outbox<W> {
    io: W,
    bytes: BytesMut,
    /// The part of a turn's answer that is among them.
    offer: Option<Offer>,
}

impl<W: AsyncWrite + Unpin> Outbox<W> {
    pub(super) fn new(io: W) -> Self {
        Self {
            io,
            bytes: BytesMut::new(),
            offer: None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether the client reads too little of what it gets.
    pub(super) fn is_full(&self) -> bool {
        self.offer.is_none() && self.bytes.len() >= MOST
    }

    pub(super) fn text(&mut self, text: &[u8], offer: Option<Offer>) {
        self.frame(TEXT, &[text]);
        self.offer = offer.or(self.offer.take());
    }

    pub(super) fn ping(&mut self) {
        self.frame(PING, &[]);
    }

    pub(super) fn pong(&mut self, payload: &[u8]) {
        if self.bytes.len() < MOST {
            self.frame(PONG, &[payload]);
        }
    }

    pub(super) fn close(&mut self, code: u16, reason: &str) {
        self.frame(CLOSE, &[&code.to_be_bytes(), reason.as_bytes()]);
    }

    fn frame(&mut self, code: u8, payload: &[&[u8]]) {
        let length: usize = payload.iter().map(|part| part.len()).sum();
        self.bytes.reserve(10 + length);
        self.bytes.put_u8(LAST | code);
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(length @ ..126), _) => self.bytes.put_u8(length),
            (_, Ok(length)) => {
                self.bytes.put_u8(126);
                self.bytes.put_u16(length);
            }
            _ => {
                self.bytes.put_u8(127);
                self.bytes.put_u64(length as u64);
            }
        }
        for part in payload {
            self.bytes.put_slice(part);
        }
    }

    /// Writes all of it. May be cancelled: the rest is written by the next call.
    ///
    /// # Errors
    /// The client has gone.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        while !self.bytes.is_empty() {
            let bytes = self.io.write_buf(&mut self.bytes).await?;
            if bytes == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            if let Some(offer) = &self.offer {
                offer.taken(bytes, self.bytes.is_empty());
            }
        }
        self.offer = None;
        if self.bytes.capacity() > KEPT {
            self.bytes = BytesMut::new();
        }
        self.io.flush().await
    }

    /// Tells the client's system that nothing follows.
    ///
    /// # Errors
    /// The client has gone.
    pub(super) async fn end(&mut self) -> io::Result<()> {
        self.io.shutdown().await
    }
}
