//! Records any message of a Codex child, cut anywhere: each is one short line of JSON, with nothing of its content unless that is
//! wanted.

#![no_main]

use codex_gateway::codex::replay::protocol_line;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// Ten names of at most 128 bytes, numbers, and the words around them.
const LONGEST: usize = 2_000;

fuzz_target!(|message: &[u8]| {
    let text = String::from_utf8_lossy(message);
    for kept in [message.len(), message.len() / 2, message.len() / 7] {
        let line = read(protocol_line(message, kept, false));
        assert!(line.to_string().len() < LONGEST, "{line}");
        assert_eq!(line.get("body"), None);
        assert_eq!(line["bytes"], message.len());
        for name in ["method", "thread", "turn", "item"] {
            let Some(name) = line.get(name) else { continue };
            let name = name.as_str().expect("a name");
            // A name with escapes is not in the text as it is.
            assert!(text.contains(name) || text.contains('\\'), "{name}");
        }
        let shown = read(protocol_line(message, kept, true));
        assert!(
            kept == message.len() || shown.get("body").is_none(),
            "it is cut: {shown}"
        );
    }
});

fn read(line: Option<Vec<u8>>) -> Value {
    let line = line.expect("a line");
    assert!(!line.contains(&b'\n'));
    serde_json::from_slice(&line).expect("JSON")
}
