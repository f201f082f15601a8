//! The scripted Codex's journal: every line that it read.

use codex_gateway_tests::gateway::Gateway;
use serde_json::Value;

/// All of it, as one text.
pub(crate) fn text(gateway: &Gateway) -> String {
    std::fs::read_to_string(gateway.home().join("fake-log.ndjson")).unwrap()
}

/// The lines, one JSON object each; the last one may be half written, and is left out then.
pub(crate) fn lines(gateway: &Gateway) -> Vec<Value> {
    let text = text(gateway);
    text.lines().flat_map(serde_json::from_str).collect()
}

/// The number of requests with this method.
pub(crate) fn count(gateway: &Gateway, method: &str) -> usize {
    let lines = lines(gateway).into_iter();
    lines.filter(|line| line["method"] == method).count()
}
