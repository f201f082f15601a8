//! Reads any output of a Codex up to 0.42, cut into any pieces: there is no panic, and the pieces make the same turn.

#![no_main]

use codex_gateway::codex::{Event, replay};
use libfuzzer_sys::fuzz_target;

#[path = "../cuts.rs"]
mod cuts;

fuzz_target!(|lines: &[u8]| {
    let whole = replay::proto([lines, b"", b""]);
    assert_eq!(replay::proto(cuts::cut(lines)), whole);
    let end = whole
        .iter()
        .position(|event| matches!(event, Event::Ended(_)));
    assert!(end.is_none_or(|at| at + 1 == whole.len()), "{whole:?}");
});
