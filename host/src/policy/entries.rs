//! The contents of a policy's settings that operators see: the size of each list, and the keys of callers.
//!
//! Settings belong to the policy alone. A list of keys is known as such only if the policy's own schema says where it is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::bindings::Caller;
use super::digest::Digest;

/// A member of the schema that the gateway defines: the JSON pointer to the list of keys in the settings.
const KEYS: &str = "x-keys";

/// The latest time that is written: the end of the year 9999, in seconds since 1970.
const LATEST: u64 = 253_402_300_799;

/// The entries of one policy's settings.
#[derive(Debug, Default)]
pub(super) struct Entries {
    counts: Vec<(String, usize)>,
    keys: Option<Vec<Written>>,
}

/// A key, as it is written in the settings.
#[derive(Debug, Deserialize)]
struct Written {
    sha256: String,
    id: String,
    tenant: Option<String>,
    #[serde(default)]
    disabled: bool,
    /// Seconds since 1970.
    expires_at: Option<u64>,
}

/// A caller's key, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Key {
    /// The first digits of its SHA-256.
    pub sha256: String,
    /// From when on it is refused, in UTC, as RFC 3339.
    pub expires_at: Option<String>,
    /// Whether that time has come.
    pub expired: bool,
    /// Whether it is refused without regard to the time.
    pub disabled: bool,
}

impl Entries {
    /// Those of settings that fit the schema.
    pub(super) fn of(schema: &str, settings: &str) -> Self {
        let Ok(settings @ Value::Object(_)) = serde_json::from_str::<Value>(settings) else {
            return Self::default();
        };
        let members = settings.as_object().into_iter().flatten();
        let counts = members.filter(|(name, _)| *name != "host");
        let counts = counts.filter_map(|(name, value)| {
            let count = match value {
                Value::Array(items) => items.len(),
                Value::Object(members) => members.len(),
                _ => 0,
            };
            (count > 0).then(|| (name.clone(), count))
        });
        Self {
            counts: counts.collect(),
            keys: keys(schema, &settings),
        }
    }

    /// The members of the settings that are lists or objects, and not empty, with the number of their entries.
    pub(super) fn counts(&self) -> &[(String, usize)] {
        &self.counts
    }

    /// The keys, as far as the policy says where they are: of each the caller's id, its tenant, and the SHA-256.
    pub(super) fn known(&self) -> impl Iterator<Item = (&str, Option<&str>, &str)> {
        let keys = self.keys.iter().flatten();
        keys.map(|key| (&*key.id, key.tenant.as_deref(), &*key.sha256))
    }

    /// The keys of a caller; none if the policy does not say where its keys are.
    pub(super) fn keys_of(&self, caller: &Caller, now: SystemTime) -> Option<Vec<Key>> {
        let keys = self.keys.as_ref()?.iter();
        let is_its = |key: &&Written| key.id == caller.id && key.tenant == caller.tenant;
        Some(keys.filter(is_its).map(|key| key.shown(now)).collect())
    }
}

/// The keys, if the schema says where they are, and they are there as the gateway reads them.
fn keys(schema: &str, settings: &Value) -> Option<Vec<Written>> {
    let schema: Value = serde_json::from_str(schema).ok()?;
    let place = schema.get(KEYS)?.as_str()?;
    match settings.pointer(place) {
        Some(list) => Vec::deserialize(list).ok(),
        None => Some(Vec::new()),
    }
}

impl Written {
    fn shown(&self, now: SystemTime) -> Key {
        let expires_at = self
            .expires_at
            .map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds.min(LATEST)));
        let written = |at| humantime::format_rfc3339_seconds(at).to_string();
        let digits = self.sha256.chars().take(Digest::SHOWN);
        Key {
            sha256: digits.collect::<String>().to_ascii_lowercase(),
            expires_at: expires_at.map(written),
            expired: expires_at.is_some_and(|at| at <= now),
            disabled: self.disabled,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SCHEMA: &str = r#"{"x-keys": "/keys"}"#;

    fn caller(id: &str, tenant: Option<&str>) -> Caller {
        Caller {
            id: id.to_owned(),
            tenant: tenant.map(str::to_owned),
            groups: Vec::new(),
        }
    }

    #[test]
    fn a_callers_keys_are_known_by_their_first_digits_and_their_end() {
        let settings = json!({"host": {"models": [1]}, "realm": "x", "anonymous": [], "keys": [
            {"sha256": "AB".repeat(32), "id": "bob", "expires_at": 60},
            {"sha256": "cd".repeat(32), "id": "bob", "disabled": true},
            {"sha256": "ef".repeat(32), "id": "bob", "tenant": "acme", "expires_at": u64::MAX},
        ]});
        let entries = Entries::of(SCHEMA, &settings.to_string());
        assert_eq!(entries.counts(), [("keys".to_owned(), 3)]);
        let of = |tenant, seconds| {
            let now = UNIX_EPOCH + Duration::from_secs(seconds);
            entries.keys_of(&caller("bob", tenant), now).unwrap()
        };
        let keys = of(None, 59);
        let key = |sha256: &str, expires_at: Option<&str>, expired, disabled| Key {
            sha256: sha256.to_owned(),
            expires_at: expires_at.map(str::to_owned),
            expired,
            disabled,
        };
        let end = Some("1970-01-01T00:01:00Z");
        assert_eq!(
            keys,
            [
                key("abababababab", end, false, false),
                key("cdcdcdcdcdcd", None, false, true)
            ]
        );
        assert!(of(None, 60)[0].expired);
        assert_eq!(of(Some("acme"), 0).len(), 1);
        assert!(of(Some("other"), 0).is_empty());
    }

    #[test]
    fn keys_are_unknown_unless_the_schema_says_where_they_are() {
        let bob = caller("bob", None);
        let keys =
            |schema: &str, settings: &str| Entries::of(schema, settings).keys_of(&bob, UNIX_EPOCH);
        let settings = json!({"keys": [{"sha256": "ab", "id": "bob"}]}).to_string();
        assert_eq!(keys(SCHEMA, &settings).unwrap().len(), 1);
        assert_eq!(keys(SCHEMA, "{}"), Some(Vec::new()));
        for schema in ["", "{}", r#"{"x-keys": 7}"#, "no JSON"] {
            assert_eq!(keys(schema, &settings), None, "{schema}");
        }
        assert_eq!(keys(SCHEMA, r#"{"keys": [{"name": "bob"}]}"#), None);
    }
}
