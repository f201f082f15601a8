//! Writes frames to a WebSocket's client (RFC 6455).

use std::io;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use super::frames::{CLOSE, PING, PONG, TEXT};
use crate::api::connection::Offer;

/// If so much waits for a client that is no part of a turn, it asks for answers and reads none. Pongs are left out earlier, if events
/// wait.
const MOST: usize = 64 << 10;

const LAST: u8 = 0x80;

/// The frames that the client has not taken yet.
#[derive(Debug)]
pub(super) struct Outbox<W> {
    io: W,
    bytes: BytesMut,
    /// The bytes of frames that are no part of a turn, since nothing waited last.
    owed: usize,
    /// The part of a turn's answer that is among them.
    offer: Option<Offer>,
    /// When the client last took some of them, or the first of them came.
    moved: Instant,
}

impl<W: AsyncWrite + Unpin> Outbox<W> {
    pub(super) fn new(io: W) -> Self {
        Self {
            io,
            bytes: BytesMut::new(),
            owed: 0,
            offer: None,
            moved: Instant::now(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Since when the client takes nothing of what waits for it.
    pub(super) fn stuck(&self) -> Option<Instant> {
        (!self.is_empty()).then_some(self.moved)
    }

    /// Whether the client reads too little of what it gets.
    pub(super) fn is_full(&self) -> bool {
        self.owed >= MOST
    }

    pub(super) fn text(&mut self, text: &[u8], offer: Option<Offer>) {
        let bytes = self.frame(TEXT, &[text]);
        if offer.is_none() {
            self.owed += bytes;
        }
        self.offer = offer.or(self.offer.take());
    }

    pub(super) fn ping(&mut self) {
        self.frame(PING, &[]);
    }

    pub(super) fn pong(&mut self, payload: &[u8]) {
        if self.bytes.len() < MOST {
            self.owed += self.frame(PONG, &[payload]);
        }
    }

    pub(super) fn close(&mut self, code: u16, reason: &str) {
        self.frame(CLOSE, &[&code.to_be_bytes(), reason.as_bytes()]);
    }

    /// Adds a frame, and returns its bytes.
    fn frame(&mut self, code: u8, payload: &[&[u8]]) -> usize {
        let before = self.bytes.len();
        if before == 0 {
            self.moved = Instant::now();
        }
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
        self.bytes.len() - before
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
            self.moved = Instant::now();
            if let Some(offer) = &self.offer {
                offer.taken(bytes, self.bytes.is_empty());
            }
        }
        self.offer = None;
        self.owed = 0;
        // Its capacity shrinks as it is written, and does not tell how much memory it keeps.
        self.bytes = BytesMut::new();
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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::time::Duration;

    use axum::http::Version;
    use tokio::io::{AsyncReadExt, duplex};

    use super::*;
    use crate::api::connection::Peer;

    #[tokio::test(start_paused = true)]
    async fn a_client_is_stuck_from_its_last_byte_on() {
        let (mut client, server) = duplex(100);
        let mut outbox = Outbox::new(server);
        assert_eq!(outbox.stuck(), None, "nothing waits");
        let began = Instant::now();
        let second = Duration::from_secs(1);
        tokio::time::sleep(second).await;
        outbox.text(&[b'x'; 300], None);
        assert_eq!(outbox.stuck(), Some(began + second));
        let mut read = [0; 50];
        for seconds in [2, 3] {
            tokio::time::sleep(second).await;
            let flushed = tokio::time::timeout(Duration::ZERO, outbox.flush());
            assert!(flushed.await.is_err(), "it does not fit");
            assert_eq!(outbox.stuck(), Some(began + seconds * second));
            client.read_exact(&mut read).await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_is_owed_has_a_limit_while_an_event_waits() {
        let (mut client, server) = duplex(1 << 10);
        let mut outbox = Outbox::new(server);
        let underway =
            Arc::new(Peer::from(SocketAddr::from(([127, 0, 0, 1], 1))).begin(Version::HTTP_11));
        outbox.text(&[b'x'; 2 * MOST], Some(underway.offer()));
        assert!(!outbox.is_full(), "an event may have any size");
        for _ in 0..MOST / 1_000 {
            outbox.text(&[b'x'; 1_000], None);
        }
        assert!(!outbox.is_full());
        outbox.text(&[b'x'; 1_000], None);
        assert!(outbox.is_full());
        let mut read = vec![0; 4 * MOST];
        tokio::select! {
            flushed = outbox.flush() => flushed.unwrap(),
            _ = client.read_exact(&mut read) => {}
        }
        assert!(outbox.is_empty() && !outbox.is_full());
    }
}
