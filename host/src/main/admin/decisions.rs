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
        text += &format!("{question} saw {}\n", words(&made["input"]));
        if let Some(fault) = made.get("fault") {
            text += &format!("{question} failed: {}\n", plain(fault));
        }
        if let Some(answer) = made.get("answer") {
            text += &format!("{question} answered {}\n", answered(answer));
        }
    }
    if let Some(count @ 1..) = request["left_out"].as_u64() {
        text += &format!("and {count} further decisions, which are not shown\n");
    }
    text
}

/// An answer, or a denial.
fn answered(answer: &Value) -> String {
    match (answer.get("Ok"), answer.get("Err")) {
        (Some(answer), _) => words(answer),
        (_, Some(denial)) => format!("denied: {}", words(denial)),
        _ => words(answer),
    }
}

/// The members of an object, or anything else, in one line.
fn words(value: &Value) -> String {
    match value {
        Value::Object(members) if !members.is_empty() => {
            let member = |(name, value): (&String, &Value)| {
                format!("{}: {}", plain(&name.as_str().into()), inner(value))
            };
            members.iter().map(member).collect::<Vec<_>>().join(", ")
        }
        other => inner(other),
    }
}

/// A value within another one.
fn inner(value: &Value) -> String {
    match value {
        Value::Object(members) if members.is_empty() => "nothing".to_owned(),
        Value::Object(_) => format!("{{{}}}", words(value)),
        Value::Array(list) => format!(
            "[{}]",
            list.iter().map(inner).collect::<Vec<_>>().join(", ")
        ),
        other => plain(other),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_are_text_for_people() {
        let caller = json!({"Ok": {"id": "bob", "tenant": null, "groups": ["a", "b"]}});
        assert_eq!(answered(&caller), "groups: [a, b], id: bob, tenant: -");
        let denial = json!({"Err": {"status": 429, "headers": [["retry-after", "1"]]}});
        assert_eq!(
            answered(&denial),
            "denied: headers: [[retry-after, 1]], status: 429"
        );
        assert_eq!(answered(&json!(["GoOn", []])), "[GoOn, []]");
        let input = json!({"caller": {"id": "bob"}, "memo": {}, "text": "a\u{1b}b"});
        assert_eq!(
            words(&input),
            "caller: {id: bob}, memo: nothing, text: a\u{fffd}b"
        );
        assert_eq!(words(&json!({})), "nothing");
    }
}
