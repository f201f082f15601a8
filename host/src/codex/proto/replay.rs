//! Decodes a recorded turn of an old Codex from pieces of any size.

use futures_util::FutureExt;
use tokio::io::AsyncReadExt;

use super::decode::Decoder;
use super::protocol::{Incoming, TURN};
use crate::codex::Event;
use crate::codex::lines::Lines;

/// The events of the turn.
#[must_use]
pub fn replay(pieces: [&[u8]; 3]) -> Vec<Event> {
    let [one, two, three] = pieces;
    let mut lines = Lines::new(one.chain(two).chain(three));
    let (mut decoder, mut events) = (Decoder::default(), Vec::new());
    // All input is available: no read waits.
    while let Some(Ok(Some(line))) = lines.next().now_or_never() {
        if let Ok(Incoming { id, msg }) = serde_json::from_slice(line)
            && id == TURN
        {
            decoder.accept(msg, &mut |event| events.push(event));
        }
    }
    events
}
