//! The output of subcommands about candidates: where they stand, and what they would decide otherwise.

use serde_json::Value;

use super::text::{Style, Tone, joined, plain, short, table};

/// A table of candidates.
pub(super) fn list(answer: &Value, style: &Style) -> String {
    const HEAD: [&str; 7] = ["DIGEST", "STAGE", "SLOTS", "BY", "SINCE", "PAST", "LIVE"];
    let candidates = answer["data"].as_array().into_iter().flatten();
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    rows.extend(candidates.map(|candidate| {
        vec![
            short(&candidate["digest"]),
            stage(candidate),
            joined(&candidate["slots"]),
            plain(&candidate["by"]),
            format!("{} ago", style.age(&candidate["at"])),
            brief(&candidate["replayed"]),
            brief(&candidate["shadow"]),
        ]
    }));
    match rows.len() {
        1 => "no candidates: 'codex-gateway admin upload auth=auth.json' makes one\n".to_owned(),
        _ => table(style, &rows, &[]),
    }
}

fn stage(candidate: &Value) -> String {
    let stage = plain(&candidate["stage"]);
    match candidate.get("why") {
        Some(why) => format!("{stage}: {}", plain(why)),
        None => stage,
    }
}

fn brief(report: &Value) -> String {
    match report.is_null() {
        true => "-".to_owned(),
        false => format!(
            "{} of {} differ",
            plain(&report["differ"]),
            plain(&report["decisions"])
        ),
    }
}

/// The callers of a canary.
fn callers(who: &Value) -> String {
    let lists = [("callers", &who["callers"]), ("tenants", &who["tenants"])];
    let named = lists
        .into_iter()
        .filter(|(_, names)| names.as_array().is_some_and(|names| !names.is_empty()));
    let named = named.map(|(what, names)| format!("{what} {}", joined(names)));
    let share = (who["percent"] != 0).then(|| format!("{} % of callers", plain(&who["percent"])));
    named.chain(share).collect::<Vec<_>>().join(", ")
}

/// The callers for whom it decides, and what it decided.
fn canary(who: &Value, decided: &Value) -> String {
    format!(
        "decides for {}: {} requests, {} denied, {} faults\n",
        callers(who),
        plain(&decided["requests"]),
        plain(&decided["denials"]),
        plain(&decided["faults"]),
    )
}

/// The steps that it takes by itself, if there are some.
fn steps(rollout: &Value) -> Option<String> {
    let shadow = &rollout["shadow"];
    let shadow = (!shadow.is_null()).then(|| format!("in shadow for {}", plain(&shadow["for"])));
    let canary = &rollout["canary"];
    let canary = (!canary.is_null()).then(|| {
        let length = match &canary["for"] {
            Value::Null => String::new(),
            length => format!(" for {}", plain(length)),
        };
        format!("decides for {}{length}", callers(canary))
    });
    let serves = (rollout["promote"] == true).then(|| "serves".to_owned());
    let steps: Vec<_> = [shadow, canary, serves].into_iter().flatten().collect();
    (!steps.is_empty()).then(|| format!("by itself: {}\n", steps.join(", then ")))
}

/// One candidate, with its reports, and the command that comes next.
pub(super) fn one(candidate: &Value, style: &Style) -> String {
    let digest = short(&candidate["digest"]);
    let mut text = format!(
        "{}  {}  {}  by {} {} ago\n",
        style.tone(Tone::Head, &digest),
        stage(candidate),
        joined(&candidate["slots"]),
        plain(&candidate["by"]),
        style.age(&candidate["at"]),
    );
    text += &steps(&candidate["rollout"]).unwrap_or_default();
    if let Some(who) = candidate.get("canary") {
        text += &canary(who, &candidate["decided"]);
    }
    text += &report("past decisions", &candidate["replayed"], style);
    if let Some(shadow) = candidate.get("shadow") {
        text += &report("live decisions", shadow, style);
    }
    for warning in candidate["warnings"].as_array().into_iter().flatten() {
        let head = style.tone(Tone::Doubtful, "WARNING ");
        text += &format!("{head}  {}\n", plain(warning));
    }
    let next = match candidate["stage"].as_str() {
        Some("shadow") => {
            let left = style.until(&candidate["gate"]["until"]);
            format!(
                "its gate is looked at in {}: 'codex-gateway admin candidates {digest}' shows what it has seen",
                left.unwrap_or_default()
            )
        }
        Some("canary") => {
            let left = style.until(&candidate["canary_until"]);
            let left = left.map_or_else(String::new, |left| format!("its canary ends in {left}; "));
            format!("{left}end it now: 'codex-gateway admin canary {digest} --end'")
        }
        Some("failed") => format!("drop it: 'codex-gateway admin drop {digest}'"),
        Some("passed") => format!("let it serve: 'codex-gateway admin promote {digest}'"),
        _ => format!(
            "try it on live requests: 'codex-gateway admin shadow {digest}'; or let it serve: 'codex-gateway admin promote {digest}'"
        ),
    };
    text + &next + "\n"
}

/// The counts of a report, and a table of the decisions that differ.
fn report(what: &str, report: &Value, style: &Style) -> String {
    const HEAD: [&str; 7] = ["SLOT", "FROM", "TO", "CALLER", "MODEL", "COUNT", "REQUESTS"];
    let mut text = format!(
        "{} of {} {what} differ, {} faults",
        plain(&report["differ"]),
        plain(&report["decisions"]),
        plain(&report["faults"]),
    );
    for (count, words) in [
        ("unknown", "cannot be compared"),
        ("lost", "came too fast to be compared"),
        ("ungrouped", "are in no group"),
    ] {
        if report[count].as_u64() > Some(0) {
            text += &format!(", {} {words}", plain(&report[count]));
        }
    }
    if let Some(why) = report.get("gave_up") {
        text += &format!("; {}", style.tone(Tone::Bad, &plain(why)));
    }
    text.push('\n');
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    let groups = report["differences"].as_array().into_iter().flatten();
    rows.extend(groups.map(|group| {
        let mut row = ["slot", "from", "to", "caller", "model", "count"]
            .map(|name| plain(&group[name]))
            .to_vec();
        row.push(joined(&group["examples"]));
        row
    }));
    match rows.len() {
        1 => text,
        _ => text + &table(style, &rows, &[5]),
    }
}

/// A candidate that is gone.
pub(super) fn dropped(answer: &Value, _: &Style) -> String {
    format!("{} is dropped\n", short(&answer["digest"]))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_report_is_a_table_of_what_differs() {
        let style = Style {
            is_coloured: false,
            now: SystemTime::UNIX_EPOCH,
        };
        let group = json!({"slot": "auth", "question": "authenticate", "from": "caller bob", "to": "denied 401 invalid_api_key",
            "caller": "bob", "count": 3, "examples": ["req_1", "req_2"]});
        let replayed = json!({"decisions": 410, "differ": 3, "faults": 0, "unknown": 9, "lost": 0, "ungrouped": 0,
            "differences": [group]});
        let candidate = json!({"digest": "77aa0c1d93ee5d10", "stage": "ready", "slots": ["auth"], "by": "alice",
            "at": "1970-01-01T00:00:00Z", "replayed": replayed, "warnings": ["auth.json: it has no keys"]});
        let text = one(&candidate, &style);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "77aa0c1d93ee  ready  auth  by alice 0 s ago");
        assert_eq!(
            lines[1],
            "3 of 410 past decisions differ, 0 faults, 9 cannot be compared"
        );
        assert_eq!(
            lines[2],
            "SLOT  FROM        TO                          CALLER  MODEL  COUNT  REQUESTS"
        );
        assert_eq!(
            lines[3],
            "auth  caller bob  denied 401 invalid_api_key  bob     -          3  req_1, req_2"
        );
        assert_eq!(lines[4], "WARNING   auth.json: it has no keys");
        assert!(lines[5].contains("admin promote 77aa0c1d93ee"), "{text}");
    }

    #[test]
    fn the_steps_that_it_takes_by_itself_are_one_line() {
        let none = json!({"shadow": null, "canary": null, "promote": false, "probation": "10m", "max_denials": null});
        assert_eq!(steps(&none), None);
        let all = json!({"shadow": {"for": "10m"}, "canary": {"callers": ["ann"], "tenants": [], "percent": 5, "for": "1h"}, "promote": true});
        assert_eq!(
            steps(&all).unwrap(),
            "by itself: in shadow for 10m, then decides for callers ann, 5 % of callers for 1h, then serves\n"
        );
        let canary = json!({"shadow": null, "canary": {"callers": [], "tenants": ["acme"], "percent": 0, "for": null}, "promote": false});
        assert_eq!(
            steps(&canary).unwrap(),
            "by itself: decides for tenants acme\n"
        );
    }
}
