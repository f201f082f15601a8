//! Decodes a recorded turn of an app-server from pieces of any size.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::io::AsyncReadExt;

use super::{Decoder, Route, TurnReceiver};
use crate::codex::Event;
use crate::codex::app_server::pipes;
use crate::codex::app_server::rpc::Connection;
use crate::codex::protocol_log::Tap;

/// The size of the turn's event queue, in bytes.
const BUFFER: usize = 1 << 20;

/// The events of the turn on the thread that is named first, for a chat or for an agent.
#[must_use]
pub fn replay(pieces: [&[u8]; 3], agent: bool) -> Vec<Event> {
    let decoder = match agent {
        true => Decoder::agent(&[]),
        false => Decoder::default(),
    };
    let (connection, _outbox) = Connection::new(Duration::ZERO, Tap::default());
    let (mut exchange, delivery) = TurnReceiver::new(BUFFER);
    let route = Arc::new(Route::new(decoder, delivery, None));
    let registered = connection.register(&first_thread(&pieces.concat()), route);
    debug_assert!(registered.is_ok(), "the connection is open");
    let [one, two, three] = pieces;
    // All input is available: no read waits.
    let _ = pipes::read(connection, one.chain(two).chain(three)).now_or_never();
    std::iter::from_fn(|| exchange.next().now_or_never().flatten()).collect()
}

fn first_thread(lines: &[u8]) -> String {
    const MARK: &[u8] = b"\"threadId\":\"";
    let at = lines.windows(MARK.len()).position(|bytes| bytes == MARK);
    let name = at.and_then(|at| lines.get(at + MARK.len()..));
    let name = name.and_then(|rest| rest.split(|byte| *byte == b'"').next());
    String::from_utf8_lossy(name.unwrap_or_default()).into_owned()
}
