//! Settings that use all members of the built-in policies, their mutants, and settings that mean the same.

use codex_gateway::policy::Slot;
use codex_gateway::secret::fingerprint;
use serde_json::{Value, json};

use super::{Pair, draft};

/// The settings of the originals.
#[must_use]
pub fn of(slot: Slot) -> Value {
    let key = |secret: &str| fingerprint(secret.as_bytes());
    match slot {
        Slot::Auth => json!({
            "keys": [
                {"id": "ann", "sha256": key("sk-ann"), "tenant": "acme", "groups": ["staff", "night"]},
                {"id": "bob", "sha256": key("sk-bob"), "expires_at": 1_796_167_800},
                {"id": "carol", "sha256": key("sk-carol"), "disabled": true},
                {"id": "dave", "sha256": key("sk-dave"), "groups": ["guests"]},
            ],
            "anonymous": ["/v1/models", "/healthz"],
            "realm": "gate",
        }),
        Slot::Model => json!({
            "default": "smart",
            "aliases": {
                "smart": {"model": "gpt-5", "effort": "high"},
                "fast": "gpt-5-mini",
                "o1": {"model": "m", "provider": "p"},
            },
            "access": [
                {"callers": ["ann"], "models": ["*"]},
                {"groups": ["staff"], "models": ["codex-5*", "smart"]},
                {"tenants": ["acme"], "models": ["fast"]},
                {"models": ["gpt-5-mini"]},
            ],
            "owned_by": "us",
        }),
        Slot::RateLimit => json!({"rules": [
            {"name": "burst", "unit": "requests", "limit": 5, "window_ms": 10_000},
            {"name": "tokens", "unit": "tokens", "limit": 5_000, "per": "tenant"},
            {"name": "streams", "unit": "concurrent", "limit": 2, "streaming_only": true},
            {"name": "address", "unit": "requests", "limit": 20, "per": "address", "endpoints": ["/v1/*"]},
            {"name": "big", "unit": "requests", "limit": 3, "window_ms": 3_600_000, "per": ["caller", "model"],
             "only": {"models": ["gpt-5"], "groups": ["guests"]}, "except": {"callers": ["ann"], "tenants": ["acme"]}},
        ]}),
        Slot::ToolStop => json!({
            "mode": "burst", "grace_ms": 250, "max_calls": 6, "suppress_tail": true, "dedup": true,
            "rules": [
                {"callers": ["ann"], "mode": "first"},
                {"groups": ["staff"], "models": ["codex-5*"], "mode": "off", "dedup": false},
                {"tenants": ["acme"], "max_calls": 2, "grace_ms": 100},
            ],
        }),
    }
}

/// Mutants of each leaf: another text, the next number, the other flag; and each member and item left out.
#[must_use]
pub fn mutants(slot: Slot) -> Vec<Pair> {
    let original = of(slot);
    let mutants = changed(&original).into_iter();
    mutants
        .map(|(name, mutant)| Pair {
            name: format!("{slot}: {name}"),
            drafts: [draft(slot, None, &original), draft(slot, None, &mutant)],
        })
        .collect()
}

/// Each value with one change in it, and the place.
fn changed(value: &Value) -> Vec<(String, Value)> {
    match value {
        Value::Object(members) => {
            let mut all = Vec::new();
            for (name, inner) in members {
                let mut without = members.clone();
                without.remove(name);
                all.push((format!("without {name}"), Value::Object(without)));
                all.extend(changed(inner).into_iter().map(|(place, other)| {
                    let mut with = members.clone();
                    with.insert(name.clone(), other);
                    (format!("{name}/{place}"), Value::Object(with))
                }));
            }
            all
        }
        Value::Array(items) => {
            let mut all = Vec::new();
            for (index, inner) in items.iter().enumerate() {
                let mut without = items.clone();
                without.remove(index);
                all.push((format!("without {index}"), Value::Array(without)));
                all.extend(changed(inner).into_iter().map(|(place, other)| {
                    let mut with = items.clone();
                    with[index] = other;
                    (format!("{index}/{place}"), Value::Array(with))
                }));
            }
            all
        }
        Value::String(text) => {
            let last = if text.ends_with('0') { "1" } else { "0" };
            let other = match text.len() {
                64 => format!("{}{last}", &text[..63]),
                _ => format!("{text}x"),
            };
            vec![(format!("{text} is {other}"), json!(other))]
        }
        Value::Number(number) => {
            let number = number.as_u64().unwrap_or_default();
            vec![(format!("{number} is one more"), json!(number + 1))]
        }
        Value::Bool(flag) => vec![(format!("{flag} is not"), json!(!flag))],
        Value::Null => Vec::new(),
    }
}

/// Settings that mean the same as the originals, and the originals themselves.
#[must_use]
pub fn equal(slot: Slot) -> Vec<Pair> {
    let original = of(slot);
    let same = ("the same", original.clone());
    let others = others(slot).into_iter().map(|(name, change)| {
        let mut other = original.clone();
        change(&mut other);
        (name, other)
    });
    std::iter::once(same)
        .chain(others)
        .map(|(name, other)| Pair {
            name: format!("{slot}: {name}"),
            drafts: [draft(slot, None, &original), draft(slot, None, &other)],
        })
        .collect()
}

type Change = fn(&mut Value);

/// Changes of settings that change no decision.
fn others(slot: Slot) -> Vec<(&'static str, Change)> {
    match slot {
        Slot::Auth => vec![
            ("keys in another order", |settings| {
                reverse(&mut settings["keys"])
            }),
            ("paths in another order", |settings| {
                reverse(&mut settings["anonymous"])
            }),
            ("other spellings", |settings| {
                let key = settings["keys"][0]["sha256"].as_str().unwrap_or_default();
                settings["keys"][0]["sha256"] = json!(key.to_ascii_uppercase());
                settings["keys"][1]["disabled"] = json!(false);
                settings["anonymous"][0] = json!("/v1/models/");
            }),
        ],
        Slot::Model => vec![
            ("access in another order", |settings| {
                reverse(&mut settings["access"])
            }),
            ("other spellings", |settings| {
                settings["default"] = json!("SMART");
                settings["aliases"]["fast"] = json!({"model": "gpt-5-mini", "effort": null});
                settings["access"][1]["models"] = json!(["SMART", "codev-5*"]);
            }),
        ],
        Slot::RateLimit => vec![("other spellings", |settings| {
            settings["rules"][0]["per"] = json!(["caller"]);
            settings["rules"][1]["window_ms"] = json!(60_000);
            settings["rules"][2]["per"] = json!("caller");
            settings["rules"][4]["only"]["models"] = json!(["GPT-5"]);
            settings["rules"][4]["streaming_only"] = json!(false);
        })],
        Slot::ToolStop => vec![("other spellings", |settings| {
            settings["rules"][0]["grace_ms"] = json!(250);
            settings["rules"][1]["models"] = json!(["CODEX-5*"]);
            settings["rules"][2]["dedup"] = Value::Null;
        })],
    }
}

fn reverse(list: &mut Value) {
    if let Some(items) = list.as_array_mut() {
        items.reverse();
    }
}
