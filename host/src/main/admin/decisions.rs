//! The output of `admin explain`: the decisions on a request, with what the policies saw and answered.

use serde_json::Value;

use super::status::duration;
use super::text::{Style, Tone, plain, table};

/// The requests of an id, newest first.
pub(super) fn text(answer: &Value, style: &Style) -> String {
    let requests = answer["data"].as_array().into_iter().flatten();
    let requests: Vec<_> = requests.map(|request| one(request, style)).collect();
    requests.join("\n")
}

fn one(request: &Value, style: &Style) -> String {
    const HEAD: [&str; 6] = ["POLICY", "SLOT", "QUESTION", "OUTCOME", "TOOK", "MEMO"];
    let tokens = request.get("tokens");
    let tokens = tokens.map(|tokens| format!("  {} tokens", plain(tokens)));
    let mut text = format!(
        "{}  generation {}  {}{}\n",
        style.tone(Tone::Head, &plain(&request["request"])),
        plain(&request["generation"]),
        plain(&request["policy"]),
        tokens.unwrap_or_default(),
    );
    let decisions = || request["decisions"].as_array().into_iter().flatten();
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    rows.extend(decisions().map(|made| {
        let is_kept = made["from_memo"].as_bool() == Some(true);
        vec![
            plain(&made["policy"]),
            plain(&made["slot"]),
            plain(&made["question"]),
            plain(&made["outcome"]),
            duration(made["took_us"].as_u64().unwrap_or_default()),
            if is_kept { "yes" } else { "no" }.to_owned(),
        ]
    }));
    text += &table(style, &rows, &[4]);
    for made in decisions() {
        let question = format!("{} {}", plain(&made["slot"]), plain(&made["question"]));
        text += &format!("{question} saw {}\n", plain(&made["input"]));
        if let Some(fault) = made.get("fault") {
            text += &format!("{question} failed: {}\n", plain(fault));
        }
        if let Some(answer) = made.get("answer") {
            text += &format!("{question} answered {}\n", plain(answer));
        }
    }
    text
}
