//! Reads any output of a Codex app-server, cut into any pieces: there is no panic, and the pieces make the same turn.

#![no_main]

use codex_gateway::codex::{Event, replay};
use libfuzzer_sys::fuzz_target;

#[path = "../cuts.rs"]
mod cuts;

fuzz_target!(|lines: &[u8]| {
    for agent in [false, true] {
        let whole = replay::app_server([lines, b"", b""], agent);
        assert_eq!(replay::app_server(cuts::cut(lines), agent), whole);
        let end = whole
            .iter()
            .position(|event| matches!(event, Event::Ended(_)));
        assert!(end.is_none_or(|at| at + 1 == whole.len()), "{whole:?}");
    }
});
