//! Parses and checks the operator's settings of the auth policy.

use std::collections::HashMap;

use codex_policy::{Caller, Need, Policy};
use serde::Deserialize;

use crate::decide::{
    ANONYMOUS, EXPIRY_STEP_MS, Fingerprint, Key, PREFLIGHT, Rules, is_unambiguous,
};

/// The SHA-256 of empty input, which a shell prints when it hashes an unset variable.
const NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Keys printed in the documents of this project or its predecessor, and their SHA-256. The host has the same list.
const PUBLISHED: [(&str, &str); 5] = [
    (
        "codex-local-secret",
        "7ae054089cad898840d8f31a163cd33eb284b2ecf0f75eba2f8d7d70c72aa4cb",
    ),
    (
        "your-dev-key",
        "54cfb2fab373cc4ff3ceacb8408942d0ddd487e0e15c680822501e82617deb57",
    ),
    (
        "test-sk-ci",
        "e8565d6a1a125c423b14f1ec15f08fac90abe1f5a0c8892827579c81bc759162",
    ),
    (
        "sk-choose-your-own",
        "4b7cc67869b6cc23485dc4a3e73097b2b55b4a28978a81e45fe1c67175b212d1",
    ),
    (
        "sk-mine",
        "434a06901decf03591ec16fbad820d78affeb94ae09fafe855cf8b4652db646a",
    ),
];

/// The largest `expires_at` accepted as seconds; a present-day time in milliseconds is larger.
const LATEST_SECONDS: u64 = 99_999_999_999;

/// The settings as they are written; `settings.schema.json` describes the members.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    keys: Vec<KeySettings>,
    anonymous: Vec<String>,
    realm: String,
    host: Host,
}

/// The facts from the host that this policy needs.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Host {
    /// "dev" or "prod".
    environment: String,
    /// Pages of other origins may call.
    cors: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            anonymous: Vec::new(),
            realm: "api".to_owned(),
            host: Host::default(),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct KeySettings {
    sha256: String,
    id: String,
    tenant: Option<String>,
    groups: Vec<String>,
    disabled: bool,
    expires_at: Option<u64>,
}

impl Policy for Rules {
    const NAME: &'static str = "codex-auth";
    const SCHEMA: &'static str = include_str!("../settings.schema.json");
    type Settings = Settings;

    fn configure(settings: Settings) -> Result<Self, String> {
        let mut mistakes = Vec::new();
        if settings.host.environment == "prod" {
            refuse_published(&settings.keys, &mut mistakes);
        }
        let keys = check_keys(settings.keys, &mut mistakes);
        let anonymous = check_anonymous(&settings.anonymous, &mut mistakes);
        if !is_printable(&settings.realm) || settings.realm.contains(['"', '\\']) {
            mistakes.push("realm: use printable ASCII without quotes and backslashes".to_owned());
        }
        if mistakes.is_empty() {
            Ok(Self {
                keys,
                anonymous,
                realm: settings.realm,
                cors: settings.host.cors,
            })
        } else {
            Err(mistakes.join("; "))
        }
    }

    fn needs(&self) -> Vec<Need> {
        let mut needs = vec![Need::Credential];
        if !self.anonymous.is_empty() {
            needs.push(Need::Path);
        }
        if self.keys.values().any(|key| key.expires_at.is_some()) {
            needs.push(Need::Now(EXPIRY_STEP_MS));
        }
        if self.cors {
            needs.push(Need::Method);
            needs.extend(PREFLIGHT.map(|name| Need::Header(name.to_owned())));
        }
        needs
    }
}

fn check_keys(list: Vec<KeySettings>, mistakes: &mut Vec<String>) -> HashMap<Fingerprint, Key> {
    let mut keys = HashMap::with_capacity(list.len());
    for (index, key) in list.into_iter().enumerate() {
        let mut complain = |text: String| mistakes.push(format!("keys[{index}].{text}"));
        check_names(&key, &mut complain);
        if key.expires_at.is_some_and(|at| at > LATEST_SECONDS) {
            complain(
                "expires_at: give seconds since 1970, this looks like milliseconds".to_owned(),
            );
        }
        let Some(fingerprint) = Fingerprint::parse(&key.sha256) else {
            complain(
                "sha256: expected 64 hexadecimal digits, the SHA-256 of the key: `codex-gateway key hash` prints it"
                    .to_owned(),
            );
            continue;
        };
        if key.sha256.eq_ignore_ascii_case(NOTHING) {
            complain("sha256: this is the SHA-256 of an empty key".to_owned());
        }
        if keys.contains_key(&fingerprint) {
            complain("sha256: an earlier key has the same, and a key has one owner".to_owned());
        }
        let key = Key {
            caller: Caller {
                id: key.id,
                tenant: key.tenant,
                groups: key.groups,
            },
            disabled: key.disabled,
            expires_at: key.expires_at,
        };
        keys.insert(fingerprint, key);
    }
    keys
}

fn refuse_published(keys: &[KeySettings], mistakes: &mut Vec<String>) {
    for (index, key) in keys.iter().enumerate() {
        let published = PUBLISHED
            .iter()
            .find(|(_, sha256)| key.sha256.eq_ignore_ascii_case(sha256) && !key.disabled);
        if let Some((name, _)) = published {
            mistakes.push(format!(
                "keys[{index}].sha256: everybody knows the sample key {name}, make another with `codex-gateway key new`"
            ));
        }
    }
}

/// The paths without their trailing slashes.
fn check_anonymous(entries: &[String], mistakes: &mut Vec<String>) -> Vec<String> {
    let mut paths = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let path = entry.trim_end_matches('/');
        let mut bytes = path.bytes();
        let plain = bytes.all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte));
        if entry.starts_with('/') && plain && is_unambiguous(path) {
            paths.push(path.to_owned());
        } else {
            mistakes.push(format!(
                "anonymous[{index}]: {entry:?} is not a plain path such as \"/v1/models\""
            ));
        }
    }
    paths
}

/// Refuses names that cannot be sent in the `x-auth-…` headers, or would be read as something else there.
fn check_names(key: &KeySettings, complain: &mut impl FnMut(String)) {
    if key.id == ANONYMOUS {
        complain(format!(
            "id: \"{ANONYMOUS}\" is the name of callers without a key, choose another"
        ));
    } else if !is_printable(&key.id) {
        complain("id: name the caller, in printable ASCII".to_owned());
    }
    if key.tenant.iter().any(|tenant| !is_printable(tenant)) {
        complain("tenant: use printable ASCII, or leave it out".to_owned());
    }
    for (index, group) in key.groups.iter().enumerate() {
        if !is_printable(group) || group.contains(',') {
            complain(format!(
                "groups[{index}]: use printable ASCII without commas"
            ));
        }
    }
}

/// Whether `text` can be a header value as it is: not empty, no control characters, no blanks at either end.
fn is_printable(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.all(|byte| byte == b' ' || byte.is_ascii_graphic())
        && !text.is_empty()
        && text.trim() == text
}

#[cfg(test)]
mod tests;
