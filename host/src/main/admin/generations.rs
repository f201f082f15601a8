//! The output of `admin history` and `admin show`: activations of policies, newest first.

use serde_json::Value;

use super::status::slots;
use super::text::{Style, Tone, joined, plain, short, table};

/// A table of activations. The one that serves has a star.
pub(super) fn list(answer: &Value, style: &Style) -> String {
    activations(&answer["data"], Some(&answer["serving"]), style)
}

fn activations(entries: &Value, serving: Option<&Value>, style: &Style) -> String {
    const HEAD: [&str; 6] = ["NUMBER", "SINCE", "", "BY", "DIGEST", "FILES"];
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    for entry in entries.as_array().into_iter().flatten() {
        let mark = if serving == Some(&entry["number"]) {
            "*"
        } else {
            ""
        };
        let files = match joined(&entry["files"]) {
            files if files.is_empty() => "built-in".to_owned(),
            files => files,
        };
        let why = entry.get("taken_back").map(|digest| {
            format!(
                "; {} was taken back: {}",
                short(digest),
                plain(&entry["why"])
            )
        });
        rows.push(vec![
            format!("{mark}{}", plain(&entry["number"])),
            plain(&entry["at"]),
            format!("{} ago", style.age(&entry["at"])),
            door(entry),
            short(&entry["digest"]),
            files + &why.unwrap_or_default(),
        ]);
    }
    table(style, &rows, &[0, 2])
}

/// The way by which policies came to serve, and the operator who did it.
fn door(entry: &Value) -> String {
    let by = entry.get("by").map(|by| format!(" ({})", plain(by)));
    plain(&entry["door"]) + &by.unwrap_or_default()
}

/// One generation.
pub(super) fn one(answer: &Value, style: &Style) -> String {
    let state = match (answer["serving"].as_bool(), &answer["taken_back"]) {
        (Some(true), _) => style.tone(Tone::Good, "serves"),
        (_, Value::Null) => "does not serve".to_owned(),
        (_, why) => style.tone(Tone::Bad, &format!("taken back: {}", plain(why))),
    };
    let mut text = format!("{}\n{state}\n\n", plain(&answer["digest"]));
    text += &activations(&answer["activations"], None, style);
    if !answer["slots"].is_null() {
        text += &format!("\n{}", slots(&answer["slots"], style));
    }
    text
}
