//! The output of `admin status`: what serves since when, how it decides, and what is wrong.

use std::time::Duration;

use serde_json::Value;

use super::text::{Style, Tone, joined, plain, share, short, span, table};

/// The whole status.
pub(super) fn text(status: &Value, style: &Style) -> String {
    let mut text = gateway(status, style) + "\n" + &generation(&status["generation"], style) + "\n";
    text += &slots(&status["slots"], style);
    text += &candidates(&status["candidates"], style);
    text += &problems(status, style);
    text
}

fn gateway(status: &Value, style: &Style) -> String {
    let codex = &status["codex"];
    let uptime = status["uptime_s"].as_u64().unwrap_or_default();
    let state = match (status["draining"].as_bool(), status["ready"].as_bool()) {
        (Some(true), _) => style.tone(Tone::Doubtful, "draining"),
        (_, Some(true)) => style.tone(Tone::Good, "ready"),
        _ => {
            let reason = plain(&codex["reason"]);
            style.tone(Tone::Bad, &format!("not ready ({reason})"))
        }
    };
    let kind = match codex["kind"].as_str() {
        Some("demo") => "demo".to_owned(),
        _ => format!("codex {}", plain(&codex["version"])),
    };
    let login = match codex["signed_in"].as_bool() {
        Some(true) => " signed in".to_owned(),
        Some(false) => " ".to_owned() + &style.tone(Tone::Bad, "not signed in"),
        None => String::new(),
    };
    let count = |name: &str| codex[name].as_u64().unwrap_or_default();
    let workers = count("workers");
    format!(
        "{}  {}  up {}  {state}   {kind}{login}   {workers} {}, {} turns, {} waiting",
        plain(&status["address"]),
        plain(&status["version"]),
        span(Duration::from_secs(uptime)),
        if workers == 1 { "worker" } else { "workers" },
        count("turns"),
        count("waiting"),
    )
}

/// The generation that serves: since when, by whom.
pub(super) fn generation(serving: &Value, style: &Style) -> String {
    let files = match joined(&serving["files"]) {
        files if files.is_empty() => "built-in".to_owned(),
        files => files,
    };
    let probation = probation(&serving["probation"], style);
    let pinned = &serving["pinned"]["by"];
    let pinned = match pinned.is_null() {
        true => String::new(),
        false => format!("   pinned by {}", plain(pinned)),
    };
    format!(
        "generation {}  {}  since {} ({} ago)  by {} ({files}){}{pinned}",
        plain(&serving["number"]),
        style.tone(Tone::Head, &short(&serving["digest"])),
        plain(&serving["since"]),
        style.age(&serving["since"]),
        plain(&serving["by"]),
        probation.unwrap_or_default(),
    )
}

/// `probation 3 min left: 0 faults, 0 unexplained denials`.
fn probation(probation: &Value, style: &Style) -> Option<String> {
    let left = style.until(&probation["until"])?;
    let faults = plain(&probation["faults"]);
    let denials = match &probation["denials"] {
        Value::Null => String::new(),
        denials => format!(", {} unexplained denials", plain(denials)),
    };
    let told = format!("probation {left} left: {faults} faults{denials}");
    Some(format!("   {}", style.tone(Tone::Doubtful, &told)))
}

/// A line for each candidate, and one for each of its most frequent differences.
fn candidates(candidates: &Value, style: &Style) -> String {
    let mut text = String::new();
    for candidate in candidates.as_array().into_iter().flatten() {
        let stage = plain(&candidate["stage"]);
        let tone = match stage.as_str() {
            "passed" => Tone::Good,
            "failed" => Tone::Bad,
            _ => Tone::Doubtful,
        };
        let (report, how) = match &candidate["shadow"] {
            Value::Null => (&candidate["replayed"], "past"),
            report => (report, "live"),
        };
        let why = match stage.as_str() {
            "passed" if candidate.get("why").is_none() => {
                Some("it waits for 'codex-gateway admin promote'".to_owned())
            }
            _ => candidate.get("why").map(plain),
        };
        let why = why.map(|why| format!(": {why}"));
        let asked = fewest(&report["asked"], &candidate["slots"]);
        let seen = candidate.get("gate").map(|gate| seen(gate, asked, style));
        let lost = report["lost"].as_u64().filter(|lost| *lost > 0);
        let lost = lost.map(|lost| format!(", {lost} came too fast to be compared"));
        text += &format!(
            "{}  {}  {}  by {} {} ago  {}{} of {} {how} decisions differ, {} faults{}{}\n",
            style.tone(tone, &format!("{:<8}", stage.to_uppercase())),
            short(&candidate["digest"]),
            joined(&candidate["slots"]),
            plain(&candidate["by"]),
            style.age(&candidate["at"]),
            seen.unwrap_or_default(),
            plain(&report["differ"]),
            plain(&report["decisions"]),
            plain(&report["faults"]),
            lost.unwrap_or_default(),
            why.unwrap_or_default(),
        );
        text += &differences(&report["differences"]);
    }
    text
}

/// How much of what a gate wants was seen: `41 % of 1000 decisions seen, 4 min left: `.
fn seen(gate: &Value, asked: f64, style: &Style) -> String {
    let least = gate["min_decisions"].as_u64().unwrap_or_default().max(1);
    let wanted = Value::from(least).as_f64().unwrap_or(1.0);
    format!(
        "{} of {least} decisions seen, {} left: ",
        share(&(asked / wanted).min(1.0).into()),
        style.until(&gate["until"]).unwrap_or_default(),
    )
}

/// The decisions in the slot that was asked least, of those that a candidate changes: a gate counts these.
fn fewest(asked: &Value, changed: &Value) -> f64 {
    let changed = changed.as_array().into_iter().flatten();
    let counts = changed.map(|slot| asked[plain(slot)].as_f64().unwrap_or_default());
    counts.reduce(f64::min).unwrap_or_default()
}

/// A line for each group of decisions that differ.
fn differences(groups: &Value) -> String {
    let groups = groups.as_array().into_iter().flatten();
    let line = |group: &Value| {
        let caller = group
            .get("caller")
            .map(|caller| format!("{} ", plain(caller)));
        format!(
            "          {}: {} → {}: {}×{}, as {}\n",
            plain(&group["slot"]),
            plain(&group["from"]),
            plain(&group["to"]),
            caller.unwrap_or_default(),
            plain(&group["count"]),
            joined(&group["examples"]),
        )
    };
    groups.map(line).collect()
}

/// The generation that serves after an act, and who decides what comes next.
pub(super) fn serving(answer: &Value, style: &Style) -> String {
    let next = match answer["pinned"].is_null() {
        true => "the policy folder decides: a change is noticed within about a second",
        false => "the policy folder is not looked at until 'codex-gateway admin follow'",
    };
    format!("{}\n{next}\n", generation(answer, style))
}

/// A table with a row for each slot.
pub(super) fn slots(slots: &Value, style: &Style) -> String {
    const HEAD: [&str; 9] = [
        "SLOT",
        "POLICY",
        "SETTINGS",
        "NEEDS",
        "DECISIONS/min",
        "MEMO",
        "DENIED",
        "FAULTS",
        "p99",
    ];
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    for slot in slots.as_array().into_iter().flatten() {
        let decisions = &slot["decisions"];
        let digest: String = plain(&slot["digest"]).chars().take(4).collect();
        let p99 = decisions["p99_us"].as_u64();
        rows.push(vec![
            plain(&slot["slot"]),
            format!("{} {}", plain(&slot["name"]), plain(&slot["version"])),
            format!("{} {digest}…{}", plain(&slot["settings"]), entries(slot)),
            needs(slot),
            format!(
                "{:.0}",
                decisions["per_minute"].as_f64().unwrap_or_default()
            ),
            share(&decisions["kept"]),
            share(&decisions["denied"]),
            plain(&slot["faults"]),
            p99.map_or("-".to_owned(), duration),
        ]);
    }
    table(style, &rows, &[4, 5, 6, 7, 8])
}

/// The sizes of the lists in the settings: ` 4 keys, 1 anonymous`.
fn entries(slot: &Value) -> String {
    const MOST: usize = 3;
    let entries = slot["entries"].as_object().into_iter().flatten();
    let entries = entries.take(MOST);
    let entries = entries.map(|(name, count)| {
        let name = plain(&name.as_str().into());
        match count.as_u64() {
            Some(1) => format!("1 {}", singular(&name)),
            _ => format!("{count} {name}"),
        }
    });
    let entries: Vec<_> = entries.collect();
    match entries.is_empty() {
        true => String::new(),
        false => format!(" {}", entries.join(", ")),
    }
}

/// The name of one entry of a list: of `keys`, `aliases` or `policies`, not of `anonymous`.
fn singular(list: &str) -> String {
    let ends = [
        ("ies", "y"),
        ("ses", "s"),
        ("ss", "ss"),
        ("us", "us"),
        ("s", ""),
    ];
    let mut ends = ends.into_iter();
    let found = ends.find_map(|(many, one)| Some(list.strip_suffix(many)?.to_owned() + one));
    found.unwrap_or_else(|| list.to_owned())
}

/// The declared parts of the input: headers by their number, the step of the clock as a length of time.
fn needs(slot: &Value) -> String {
    let Some(needs) = slot["needs"].as_array() else {
        return format!("all (contract {})", plain(&slot["contract"]));
    };
    let is_header = |need: &&Value| {
        need.as_str()
            .is_some_and(|need| need.starts_with("header("))
    };
    let headers = needs.iter().filter(is_header).count();
    let others = needs.iter().filter(|need| !is_header(need)).map(|need| {
        let step = need.as_str().and_then(|need| need.strip_prefix("now("));
        let ms: Option<u64> = step.and_then(|step| step.strip_suffix(')')?.parse().ok());
        match ms {
            Some(ms) if ms % 1_000 == 0 => format!("now({})", span(Duration::from_millis(ms))),
            Some(ms) => format!("now({ms} ms)"),
            None => plain(need),
        }
    });
    let headers = match headers {
        0 => None,
        1 => Some("1 header".to_owned()),
        _ => Some(format!("{headers} headers")),
    };
    let words: Vec<String> = others.chain(headers).collect();
    match words.is_empty() {
        true => "nothing".to_owned(),
        false => words.join(", "),
    }
}

/// A time in microseconds.
pub(super) fn duration(us: u64) -> String {
    match us {
        0..10_000 => format!("{us} µs"),
        _ => format!("{} ms", us / 1_000),
    }
}

fn problems(status: &Value, style: &Style) -> String {
    let mut text = String::new();
    let refused = status["refused"].as_array().into_iter().flatten();
    for refused in refused {
        text += &format!(
            "{}  {} {} ago: {}\n",
            style.tone(Tone::Bad, "REFUSED "),
            plain(&refused["file"]),
            style.age(&refused["since"]),
            plain(&refused["problem"]),
        );
    }
    if let Some(serves) = status["restart"].get("serves") {
        let effect = match serves.is_null() {
            true => "end with exit code 78".to_owned(),
            false => format!("serve {}", short(serves)),
        };
        text += &format!("          a restart would {effect}\n");
    }
    for warning in status["warnings"].as_array().into_iter().flatten() {
        text += &format!(
            "{}  {}: {}\n",
            style.tone(Tone::Doubtful, "WARNING "),
            plain(&warning["file"]),
            plain(&warning["what"]),
        );
    }
    let dropped = status["dropped"].as_object().into_iter().flatten();
    let dropped = dropped.filter(|(_, count)| !count.is_null());
    let dropped: Vec<_> = dropped
        .map(|(name, count)| format!("{name} {}", plain(count)))
        .collect();
    let saved = match status["counters_saved"].is_null() {
        true => String::new(),
        false => format!("counters {} ago; ", style.age(&status["counters_saved"])),
    };
    let dropped = dropped.join(", ");
    text + &format!("{:<8}  {saved}dropped: {dropped}\n", "WRITTEN")
}
