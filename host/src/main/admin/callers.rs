//! The output of `admin callers` and `admin caller`: who was seen, what each has used, and what it may use.

use std::time::Duration;

use serde_json::Value;

use super::text::{Style, Tone, joined, plain, span, table};

/// A table of callers, latest first.
pub(super) fn list(answer: &Value, style: &Style) -> String {
    const HEAD: [&str; 7] = [
        "CALLER",
        "TENANT",
        "SEEN",
        "REQUESTS",
        "DENIED",
        "TOKENS",
        "LAST REFUSAL",
    ];
    let callers = items(&answer["data"]);
    if callers.is_empty() {
        return "no caller was seen since the gateway started\n".to_owned();
    }
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    rows.extend(callers.iter().map(|caller| {
        let refusal = &caller["refusal"];
        let refused = match refusal.is_null() {
            true => String::new(),
            false => format!("{}, {} ago", told(refusal), style.age(&refusal["at"])),
        };
        vec![
            plain(&caller["id"]),
            plain(&caller["tenant"]),
            format!("{} ago", style.age(&caller["last_at"])),
            plain(&caller["requests"]),
            plain(&caller["denied"]),
            spent(&caller["tokens"]).to_string(),
            refused,
        ]
    }));
    let more = answer["known"].as_u64().unwrap_or_default();
    let more = more.saturating_sub(callers.len() as u64);
    let mut text = table(style, &rows, &[2, 3, 4, 5]);
    if more > 0 {
        text += &format!("and {more} more: --last shows them\n");
    }
    text
}

/// The callers of one id, one after the other.
pub(super) fn one(answer: &Value, style: &Style) -> String {
    let callers = items(&answer["data"]);
    let callers: Vec<_> = callers.iter().map(|caller| whole(caller, style)).collect();
    callers.join("\n")
}

fn whole(caller: &Value, style: &Style) -> String {
    let mut text = style.tone(Tone::Head, &plain(&caller["id"]));
    if !caller["tenant"].is_null() {
        text += &format!(" of {}", plain(&caller["tenant"]));
    }
    if !items(&caller["groups"]).is_empty() {
        text += &format!(" in {}", joined(&caller["groups"]));
    }
    text += &format!(
        "  seen {} ago, first {} ago: {} requests, {} denied, {} tokens\n",
        style.age(&caller["last_at"]),
        style.age(&caller["first_at"]),
        plain(&caller["requests"]),
        plain(&caller["denied"]),
        spent(&caller["tokens"]),
    );
    text += &refusal(&caller["refusal"], style);
    for fault in items(&caller["faults"]) {
        text += &format!("{}  {}\n", style.tone(Tone::Bad, "FAULT   "), plain(fault));
    }
    text += &format!("MODELS    {}\n", models(&caller["models"]));
    text += &match items(&caller["keys"]) {
        [] if caller["keys"].is_null() => {
            "KEYS      the auth policy does not say which keys it knows\n".to_owned()
        }
        [] => "KEYS      none\n".to_owned(),
        keys => self::keys(keys, style),
    };
    text += &match items(&caller["buckets"]) {
        [] => "BUCKETS   none\n".to_owned(),
        buckets => self::buckets(buckets, style),
    };
    text + &usage(&caller["usage"], style)
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

/// Prompt and answer.
fn spent(tokens: &Value) -> u64 {
    let count = |name: &str| tokens[name].as_u64().unwrap_or_default();
    count("input") + count("output")
}

/// A refusal in short: `429 rate_limited by per-caller`.
fn told(refusal: &Value) -> String {
    let by = match items(&refusal["rules"]) {
        [] => String::new(),
        _ => format!(" by {}", joined(&refusal["rules"])),
    };
    format!(
        "{} {}{by}",
        plain(&refusal["status"]),
        plain(&refusal["code"])
    )
}

fn refusal(refusal: &Value, style: &Style) -> String {
    if refusal.is_null() {
        return String::new();
    }
    format!(
        "{}  {} ago, {}: {}: {} ({} policy, request {})\n",
        style.tone(Tone::Bad, "REFUSED "),
        style.age(&refusal["at"]),
        plain(&refusal["path"]),
        told(refusal),
        plain(&refusal["message"]),
        plain(&refusal["slot"]),
        plain(&refusal["request"]),
    )
}

fn models(models: &Value) -> String {
    match items(models) {
        [] if models.is_null() => "not known: the model policy cannot decide".to_owned(),
        [] => "none".to_owned(),
        _ => joined(models),
    }
}

fn keys(keys: &[Value], style: &Style) -> String {
    let mut rows = vec![["KEY", "STATE"].map(str::to_owned).to_vec()];
    rows.extend(keys.iter().map(|key| {
        let is = |name: &str| key[name].as_bool() == Some(true);
        let ends = &key["expires_at"];
        let state = match style.until(ends) {
            _ if is("disabled") => style.tone(Tone::Bad, "disabled"),
            _ if is("expired") => {
                let ago = format!("expired {} ago", style.age(ends));
                style.tone(Tone::Bad, &ago)
            }
            Some(left) => format!("expires in {left}"),
            None => "does not expire".to_owned(),
        };
        vec![plain(&key["sha256"]), state]
    }));
    table(style, &rows, &[])
}

fn buckets(buckets: &[Value], style: &Style) -> String {
    const HEAD: [&str; 7] = ["RULE", "KEY", "UNIT", "LEFT", "LIMIT", "IN", "FULL IN"];
    let time = |ms: &Value| {
        let ms = ms.as_u64().map(Duration::from_millis);
        ms.map_or_else(|| "-".to_owned(), span)
    };
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    rows.extend(buckets.iter().map(|bucket| {
        // A key of several parts is joined by characters that no part has.
        let key = bucket["key"].as_str().unwrap_or_default();
        let parts: Vec<_> = key
            .split(char::is_control)
            .map(|part| plain(&part.into()))
            .collect();
        vec![
            plain(&bucket["rule"]),
            parts.join(", "),
            plain(&bucket["unit"]),
            plain(&bucket["remaining"]),
            plain(&bucket["limit"]),
            time(&bucket["window_ms"]),
            time(&bucket["reset_ms"]),
        ]
    }));
    table(style, &rows, &[3, 4, 5, 6])
}

fn usage(usage: &Value, style: &Style) -> String {
    const HEAD: [&str; 7] = [
        "MODEL",
        "REQUESTS",
        "INPUT",
        "CACHED",
        "OUTPUT",
        "REASONING",
        "SEEN",
    ];
    let used = items(usage);
    if used.is_empty() {
        return String::new();
    }
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    rows.extend(used.iter().map(|used| {
        let tokens = &used["tokens"];
        let model = match used["model"].is_null() {
            true => "others".to_owned(),
            false => plain(&used["model"]),
        };
        vec![
            model,
            plain(&used["requests"]),
            plain(&tokens["input"]),
            plain(&tokens["cached_input"]),
            plain(&tokens["output"]),
            plain(&tokens["reasoning"]),
            format!("{} ago", style.age(&used["last_at"])),
        ]
    }));
    table(style, &rows, &[1, 2, 3, 4, 5, 6])
}
