//! The rows of the matrix.

mod requests;
mod turns;

use codex_gateway_tests::gateway::Setup;
use serde_json::json;

use super::dialect::Ask;
use super::{Act, Meanwhile, NONE, Row};

type Cells = [String; 5];

/// A row in which one request is sent to a gateway of its own.
fn row(behaviour: &'static str, ask: fn() -> Ask, cells: Cells) -> Row {
    Row {
        behaviour,
        setup: |setup| setup,
        meanwhile: Meanwhile::Nothing,
        ask,
        act: Act::Read(|answer| answer.ending.clone()),
        headers: &[],
        arrives: "",
        cells,
    }
}

/// The cells for chat, completions, responses, those over a WebSocket, and messages.
fn each(cells: [&str; 5]) -> Cells {
    cells.map(str::to_owned)
}

/// The cells of an error before the answer has begun: OpenAI's status, type and code, and Anthropic's status and type.
fn refused(openai: &str, anthropic: &str) -> Cells {
    let socket = format!("error {openai}");
    each([openai, openai, openai, &socket, anthropic])
}

/// Old completions have no tools and no images.
fn not_in_completions(mut cells: Cells) -> Cells {
    cells[1] = NONE.to_owned();
    cells
}

/// Chats and completions know no tools that the provider runs.
fn only_responses_and_messages(mut cells: Cells) -> Cells {
    cells[..2].fill(NONE.to_owned());
    cells
}

/// At most `limit` of these.
fn limited(setup: Setup, unit: &str, limit: u64) -> Setup {
    let mut rule = json!({"name": "few", "unit": unit, "limit": limit});
    if unit != "concurrent" {
        rule["window_ms"] = json!(100_000);
    }
    let rules = json!({ "rules": [rule] }).to_string();
    setup.policy("rate-limit.json", rules.as_bytes())
}

/// Those that wait longest come first: rows are asked side by side.
pub(super) fn rows() -> Vec<Row> {
    [
        turns::timeouts(),
        turns::failures(),
        requests::mistakes(),
        requests::unwanted(),
        requests::limits(),
        turns::answers(),
        turns::calls(),
        turns::leaving(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
