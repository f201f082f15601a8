//! Reads and checks the operator's settings.

use codex_policy::settings::Ignored;
use codex_policy::{Need, Policy};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::claims::{Expected, Place};
use crate::decide::JwtAuth;
use crate::keys::Keys;

/// Times in tokens are in seconds, so decisions need no finer time than these milliseconds. A token that was accepted is not
/// checked again within a second: the gateway keeps the answer.
const STEP_MS: u32 = 1000;
/// The most seconds that clocks may be apart.
const MOST_LEEWAY_S: u32 = 600;
/// The most issuers, audiences or types, and the most bytes of one.
const MOST: usize = 64;
const LONGEST: usize = 1024;

/// The settings as they are written; `settings.schema.json` describes the members.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    jwks: KeySet,
    issuers: Vec<String>,
    audiences: Vec<String>,
    leeway_s: u32,
    claims: Claims,
    types: Vec<String>,
    realm: String,
    /// The gateway's own member: facts that this policy does not read.
    #[serde(rename = "host")]
    _host: Ignored,
}

/// As a provider publishes it: with members that are not read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct KeySet {
    keys: Vec<Map<String, Value>>,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Claims {
    id: Place,
    tenant: Option<Place>,
    groups: Option<Place>,
}

impl Default for Claims {
    fn default() -> Self {
        Self {
            id: Place::Name("sub".to_owned()),
            tenant: None,
            groups: None,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            jwks: KeySet::default(),
            issuers: Vec::new(),
            audiences: Vec::new(),
            leeway_s: 60,
            claims: Claims::default(),
            // RFC 7519 and RFC 9068.
            types: ["JWT", "at+jwt"].map(str::to_owned).into(),
            realm: "api".to_owned(),
            _host: Ignored,
        }
    }
}

impl Policy for JwtAuth {
    const NAME: &'static str = "jwt-auth";
    const SCHEMA: &'static str = include_str!("../settings.schema.json");
    type Settings = Settings;

    fn configure(settings: Settings) -> Result<Self, String> {
        let mut mistakes = Vec::new();
        let keys = Keys::read(&settings.jwks.keys).unwrap_or_else(|wrong| {
            mistakes.extend(wrong);
            Keys::default()
        });
        for (name, list) in [
            ("issuers", &settings.issuers),
            ("audiences", &settings.audiences),
            ("types", &settings.types),
        ] {
            let fits = |text: &String| (1..=LONGEST).contains(&text.len());
            if !(1..=MOST).contains(&list.len()) || !list.iter().all(fits) {
                mistakes.push(format!(
                    "{name}: expected 1 to {MOST} texts of 1 to {LONGEST} bytes"
                ));
            }
        }
        if settings.leeway_s > MOST_LEEWAY_S {
            mistakes.push(format!(
                "leeway_s: expected at most {MOST_LEEWAY_S}; mend the clock that is further off"
            ));
        }
        let Claims { id, tenant, groups } = settings.claims;
        let places = [
            ("id", Some(&id)),
            ("tenant", tenant.as_ref()),
            ("groups", groups.as_ref()),
        ];
        for (name, place) in places {
            if place.is_some_and(|place| place.names().is_empty()) {
                mistakes.push(format!(
                    "claims.{name}: expected a name, or a list of names"
                ));
            }
        }
        let is_plain =
            |byte: u8| byte == b' ' || byte.is_ascii_graphic() && !b"\"\\".contains(&byte);
        if !settings.realm.bytes().all(is_plain) {
            mistakes.push("realm: use printable ASCII without quotes and backslashes".to_owned());
        }
        if !mistakes.is_empty() {
            return Err(mistakes.join("; "));
        }
        Ok(Self {
            keys,
            expected: Expected {
                issuers: settings.issuers,
                audiences: settings.audiences,
                leeway_ms: f64::from(settings.leeway_s) * 1000.0,
                id,
                tenant,
                groups,
            },
            types: settings.types,
            realm: settings.realm,
        })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::Credential, Need::Now(STEP_MS)]
    }
}

#[cfg(test)]
mod tests {
    use codex_policy::harness::Harness;
    use codex_policy::schema;
    use serde_json::json;

    use super::*;

    /// RFC 8037, appendix A.2.
    fn settings() -> Value {
        json!({
            "jwks": {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]},
            "issuers": ["https://login.example.com/"],
            "audiences": ["codex-gateway"],
        })
    }

    #[test]
    fn schema_and_code_have_the_same_members() {
        let schema: Value = serde_json::from_str(JwtAuth::SCHEMA).unwrap();
        assert_eq!(schema::agree::<Settings>(&schema), Ok(()));
        assert_eq!(
            schema::agree::<Claims>(&schema["properties"]["claims"]),
            Ok(())
        );
    }

    #[test]
    fn the_policy_needs_the_token_and_the_second() {
        let policy = Harness::<JwtAuth>::configure(&settings()).unwrap();
        assert_eq!(policy.needs(), [Need::Credential, Need::Now(1000)]);
    }

    #[test]
    fn every_mistake_is_named() {
        for (member, value, expected) in [
            ("issuers", json!([]), "issuers: expected 1 to 64 texts"),
            ("audiences", json!([""]), "audiences: expected 1 to 64"),
            ("types", json!([]), "types: expected 1 to 64"),
            ("leeway_s", json!(601), "leeway_s: expected at most 600"),
            ("realm", json!("a\"b"), "realm: use printable ASCII"),
            ("claims", json!({"id": []}), "claims.id: expected a name"),
            ("jwks", json!({"keys": []}), "jwks.keys: expected a key"),
            (
                "jwks",
                json!({"keys": [{"kty": "RSA", "n": "AQAB"}]}),
                "jwks.keys[0].e: expected base64url",
            ),
            (
                "jwks",
                json!({"keys": [{"kty": 7}]}),
                "jwks.keys[0]: expected a key as in RFC 7517",
            ),
            (
                "jwks",
                json!({"keys": vec![json!({"kty": "EC"}); 65]}),
                "jwks.keys: 65 keys",
            ),
            ("issuer", json!([]), "issuer: unknown field"),
        ] {
            let mut settings = settings();
            settings[member] = value;
            let mistake = Harness::<JwtAuth>::configure(&settings).unwrap_err();
            assert!(mistake.contains(expected), "{mistake}");
        }
        let nothing = Harness::<JwtAuth>::configure(&json!({})).unwrap_err();
        for name in ["jwks.keys", "issuers", "audiences"] {
            assert!(nothing.contains(name), "{nothing}");
        }
    }
}
