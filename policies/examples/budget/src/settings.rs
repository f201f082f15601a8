//! Reads and checks the operator's settings.

use std::collections::BTreeMap;

use codex_policy::settings::Ignored;
use codex_policy::{Need, Policy};
use serde::Deserialize;
use time::UtcOffset;

use crate::decide::{Budget, Price};

/// Time zones differ by whole minutes, and so do the ends of months.
const STEP_MS: u32 = 60_000;
/// Offsets from UTC that are in use end at 14 hours.
const FURTHEST_MINUTES: i32 = 14 * 60;
/// The most prices: a quota needs a name of its own for each.
const MOST_PRICES: usize = 32;
/// The most money of a budget, and the bounds of a price: what is computed from them fits.
const MOST_MONEY: f64 = 1e9;
const PRICES: std::ops::RangeInclusive<f64> = 0.001..=1e6;
/// A sum of shares may be this much more than 1: they are decimal fractions.
const SLACK: f64 = 1e-9;

/// The settings as they are written; `settings.schema.json` describes the members.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    prices: Vec<PriceSettings>,
    tenants: BTreeMap<String, f64>,
    others: f64,
    utc_offset_minutes: i32,
    /// The gateway's own member: facts that this policy does not read.
    #[serde(rename = "host")]
    _host: Ignored,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PriceSettings {
    name: String,
    models: Vec<String>,
    per_million: f64,
    share: Option<f64>,
}

impl Policy for Budget {
    const NAME: &'static str = "budget";
    const SCHEMA: &'static str = include_str!("../settings.schema.json");
    type Settings = Settings;

    fn configure(settings: Settings) -> Result<Self, String> {
        let mut mistakes = Vec::new();
        let prices = prices(settings.prices, &mut mistakes);
        let others = std::iter::once(("others".to_owned(), settings.others));
        let tenants = settings.tenants.iter();
        let tenants = tenants.map(|(name, money)| (format!("tenants.{name}"), *money));
        for (place, money) in others.chain(tenants) {
            if !(0.0..=MOST_MONEY).contains(&money) {
                mistakes.push(format!("{place}: expected 0 to {MOST_MONEY}"));
            }
        }
        let minutes = settings.utc_offset_minutes;
        if minutes.abs() > FURTHEST_MINUTES {
            mistakes.push(format!(
                "utc_offset_minutes: expected -{FURTHEST_MINUTES} to {FURTHEST_MINUTES}"
            ));
        }
        if !mistakes.is_empty() {
            return Err(mistakes.join("; "));
        }
        let zone = UtcOffset::from_whole_seconds(minutes * 60);
        Ok(Self {
            prices,
            tenants: settings.tenants,
            others: settings.others,
            zone: zone.map_err(|error| error.to_string())?,
        })
    }

    fn needs(&self) -> Vec<Need> {
        vec![
            Need::Caller,
            Need::Model,
            Need::EstimatedTokens,
            Need::Now(STEP_MS),
        ]
    }
}

fn prices(list: Vec<PriceSettings>, mistakes: &mut Vec<String>) -> Vec<Price> {
    if !(1..=MOST_PRICES).contains(&list.len()) {
        mistakes.push(format!("prices: expected 1 to {MOST_PRICES}"));
        return Vec::new();
    }
    // At most 32, so the conversion is exact.
    let equal = 1.0 / list.len() as f64;
    let mut prices = Vec::<Price>::with_capacity(list.len());
    for (index, price) in list.into_iter().enumerate() {
        let mut complain = |text: String| mistakes.push(format!("prices[{index}].{text}"));
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if !(1..=32).contains(&price.name.len()) || !price.name.bytes().all(is_plain) {
            complain("name: expected 1 to 32 letters, digits and hyphens".to_owned());
        }
        if prices.iter().any(|other| other.name == price.name) {
            complain("name: an earlier price has the same".to_owned());
        }
        let is_pattern =
            |text: &String| !text.is_empty() && !text.trim_end_matches('*').contains('*');
        if price.models.is_empty() || !price.models.iter().all(is_pattern) {
            complain("models: expected names of models, or their beginnings with a `*`".to_owned());
        }
        if !PRICES.contains(&price.per_million) {
            complain(format!(
                "per_million: expected {} to {}, the money for a million tokens",
                PRICES.start(),
                PRICES.end()
            ));
        }
        let share = price.share.unwrap_or(equal);
        if !(0.0..=1.0).contains(&share) {
            complain("share: expected 0 to 1".to_owned());
        }
        prices.push(Price {
            name: price.name,
            models: price.models,
            per_million: price.per_million,
            share,
        });
    }
    let sum: f64 = prices.iter().map(|price| price.share).sum();
    if sum > 1.0 + SLACK {
        mistakes.push(format!(
            "prices: the shares are {sum:.3} together, expected at most 1"
        ));
    }
    prices
}

#[cfg(test)]
mod tests {
    use codex_policy::harness::Harness;
    use codex_policy::schema;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn schema_and_code_have_the_same_members() {
        let schema: Value = serde_json::from_str(Budget::SCHEMA).unwrap();
        assert_eq!(schema::agree::<Settings>(&schema), Ok(()));
        let price = &schema["properties"]["prices"]["items"];
        assert_eq!(schema::agree::<PriceSettings>(price), Ok(()));
    }

    #[test]
    fn every_mistake_is_named() {
        let price = |change: &dyn Fn(&mut Value)| {
            let mut price = json!({"name": "all", "models": ["*"], "per_million": 2});
            change(&mut price);
            json!({"prices": [price]})
        };
        for (settings, expected) in [
            (json!({}), "prices: expected 1 to 32"),
            (
                price(&|price| price["name"] = json!("a b")),
                "prices[0].name: expected",
            ),
            (
                price(&|price| price["models"] = json!([])),
                "prices[0].models: expected",
            ),
            (
                price(&|price| price["models"] = json!(["a*b"])),
                "prices[0].models: expected",
            ),
            (
                price(&|price| price["per_million"] = json!(0)),
                "prices[0].per_million: expected",
            ),
            (
                price(&|price| price["share"] = json!(1.5)),
                "prices[0].share: expected 0 to 1",
            ),
            (
                json!({"prices": [
                    {"name": "a", "models": ["a"], "per_million": 1, "share": 0.6},
                    {"name": "a", "models": ["*"], "per_million": 2},
                ]}),
                "prices[1].name: an earlier price has the same; prices: the shares are 1.100 together",
            ),
            (
                json!({"prices": [{"name": "a", "models": ["*"], "per_million": 1}], "others": -1}),
                "others: expected 0",
            ),
            (
                json!({"prices": [{"name": "a", "models": ["*"], "per_million": 1}], "tenants": {"acme": 1e10}}),
                "tenants.acme: expected 0",
            ),
            (
                json!({"prices": [{"name": "a", "models": ["*"], "per_million": 1}], "utc_offset_minutes": 841}),
                "utc_offset_minutes: expected -840 to 840",
            ),
        ] {
            let mistake = Harness::<Budget>::configure(&settings).unwrap_err();
            assert!(mistake.contains(expected), "{mistake}");
        }
    }
}
