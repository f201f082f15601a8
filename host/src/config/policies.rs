//! Reads the policy folder, and the variables that serve as settings of slots without a settings file.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::env::{Variable, Vars};
use super::read::{Reader, is_writable};
use super::{Environment, env, key};
use crate::file;
use crate::policy::{self, Slot};
use crate::secret::Secret;
use crate::telemetry::usage::OWNER;

/// The policy part of the configuration.
pub(super) struct Policies {
    /// `POLICY_DIR`
    pub(super) dir: Option<PathBuf>,
    /// Settings of the slots without a settings file.
    pub(super) defaults: policy::Defaults,
    /// The random key of this run, if the operator set none.
    pub(super) random_key: Option<Secret>,
}

pub(super) fn read(
    reader: &mut Reader<'_>,
    environment: Environment,
    state_dir: Option<&Path>,
) -> Policies {
    let dir = reader.path(env::POLICY_DIR);
    let source =
        policy::Source::new(dir.clone(), policy::Defaults::default()).remembering(state_dir);
    let may_read = judge_dir(reader, &source, state_dir, environment);
    // An invalid folder is reported when it is read; until then it is assumed to define the keys.
    let overridden = source.overridden(Slot::Auth).filter(|_| may_read);
    let (component, settings) = overridden.unwrap_or((true, true));
    let has_auth = component || settings;
    let (key, of_key) = reader.noting(|reader| reader.text(env::PROXY_API_KEY).map(Secret::new));
    match &key {
        Some(key) if !settings => key::judge(reader, key, environment),
        None if !has_auth && environment == Environment::Prod => reader.note(
            env::PROXY_API_KEY,
            "a key (`codex-gateway key new` makes one), or an auth.json in POLICY_DIR, when PROXY_ENV is prod",
            "none",
        ),
        _ => {}
    }
    let random_key = (key.is_none() && !has_auth).then(|| Secret::random("sk-local-"));
    let (auth, of_auth) = reader.noting(|reader| {
        let key = key.as_ref().or(random_key.as_ref());
        auth_settings(reader, key)
    });
    let (rate_limit, of_rate_limit) = reader.noting(rate_limit_settings);
    let (tool_stop, of_tool_stop) = reader.noting(tool_stop_settings);
    for (slot, variables) in [
        (Slot::Auth, [of_key, of_auth].concat()),
        (Slot::RateLimit, of_rate_limit),
        (Slot::ToolStop, of_tool_stop),
    ] {
        warn_of_superseded(reader, &source, slot, &variables);
    }
    let defaults = policy::Defaults {
        auth,
        model: Map::new(),
        rate_limit,
        tool_stop,
        is_auth_passing: random_key.is_some(),
    };
    Policies {
        dir: dir.filter(|_| may_read),
        defaults,
        random_key,
    }
}

/// Checks the folder itself; returns false if there is none to read. A missing folder (for example not mounted) is not a mistake
/// if the last good policies can serve.
fn judge_dir(
    reader: &mut Reader<'_>,
    source: &policy::Source,
    state_dir: Option<&Path>,
    environment: Environment,
) -> bool {
    let Some(dir) = source.folder() else {
        return true;
    };
    if !dir.is_dir() {
        let found = format!("`{}`, which is none", dir.display());
        if !source.has_last_good() {
            reader.note(env::POLICY_DIR, "a folder", found);
            return false;
        }
        let what = format!("expected a folder, found {found}: the last good policies serve");
        reader.warn(env::POLICY_DIR.name, what);
    } else if source.is_empty() {
        let what = "there is no policy in it yet: the built-in ones serve, with the settings of the variables";
        match environment {
            Environment::Dev => reader.remark(env::POLICY_DIR.name, what),
            Environment::Prod => reader.warn(env::POLICY_DIR.name, what),
        }
    } else if state_dir.is_none() {
        let what = "not set: a start does not know which policies served before; were POLICY_DIR empty then (a volume \
                    that is not mounted), the built-in ones would serve";
        reader.warn(env::PROXY_STATE_DIR.name, what);
    }
    true
}

/// The keys that sign the files of policies. A key that cannot be read ends the start: fewer keys would refuse what they signed.
pub(super) fn trust(reader: &mut Reader<'_>) -> policy::Trust {
    let mut keys = Vec::new();
    for item in reader.list(env::POLICY_TRUSTED_KEYS) {
        let key = policy::TrustedKey::read(&item).map_or_else(|| public_key_in(&item), Ok);
        match key {
            Ok(key) => keys.push(key),
            Err(found) => {
                let expected = "public keys of minisign (`RW…`), or files with one";
                reader.note(env::POLICY_TRUSTED_KEYS, expected, found);
            }
        }
    }
    policy::Trust::new(keys)
}

fn public_key_in(path: &str) -> Result<policy::TrustedKey, String> {
    let text = file::read_text(Path::new(path), policy::MAX_SIGNATURE);
    let text =
        text.map_err(|error| format!("`{path}`, which is no key, and no such file: {error}"))?;
    let key = policy::TrustedKey::read(&text);
    key.ok_or_else(|| format!("`{path}`, a file without one"))
}

/// The folder of recorded decisions. The gateway makes it, if the one that it is in is there.
pub(super) fn records(reader: &mut Reader<'_>) -> Option<policy::RecordConfig> {
    let max_bytes = reader.number(env::POLICY_RECORD_MAX_BYTES, 4 << 20..=1 << 44, 1 << 30);
    let folder = reader.path(env::POLICY_RECORD)?;
    let is_there = folder.is_dir();
    let written = match is_there {
        true => Some(folder.as_path()),
        false => folder.parent().filter(|_| !folder.exists()),
    };
    if !written.is_some_and(|written| written.is_dir() && is_writable(written)) {
        let expected = "a folder that this user can write, or can make in a folder that is there";
        reader.note(
            env::POLICY_RECORD,
            expected,
            format!("`{}`", folder.display()),
        );
        return None;
    }
    let others = |found: std::fs::Metadata| found.mode() & 0o005 != 0;
    if is_there && std::fs::metadata(&folder).is_ok_and(others) {
        let what = format!(
            "other users of this machine may look into {0}; chmod 700 {0}",
            folder.display()
        );
        reader.warn(env::POLICY_RECORD.name, what);
    }
    Some(policy::RecordConfig { folder, max_bytes })
}

/// The folder of compiled policies.
pub(super) fn cache_dir(
    reader: &mut Reader<'_>,
    vars: &dyn Vars,
    state_dir: Option<&Path>,
) -> Option<PathBuf> {
    match reader.text(env::PROXY_CACHE_DIR) {
        Some(word) if word.eq_ignore_ascii_case("none") => None,
        Some(path) => {
            let path = PathBuf::from(path);
            let absolute = std::path::absolute(&path).unwrap_or_else(|_| path.clone());
            let nearest = absolute.ancestors().find(|path| path.exists());
            if let Some(file) = nearest.filter(|nearest| !nearest.is_dir()) {
                let found = match file == absolute {
                    true => format!("`{}`, which is a file", path.display()),
                    false => format!("`{}`, below the file {}", path.display(), file.display()),
                };
                reader.note(env::PROXY_CACHE_DIR, "a folder, or `none`", found);
            }
            Some(absolute)
        }
        None => default_cache_dir(vars, state_dir),
    }
}

/// The default folder by the XDG Base Directory Specification: a variable that is not an absolute path is ignored.
fn default_cache_dir(vars: &dyn Vars, state_dir: Option<&Path>) -> Option<PathBuf> {
    let absolute = |name: &str| {
        let path = PathBuf::from(vars.get(name)?);
        path.is_absolute().then_some(path)
    };
    state_dir.map(|folder| folder.join("cache")).or_else(|| {
        let caches = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
        Some(caches?.join("codex-gateway"))
    })
}

/// Warns about variables that were read for a slot's settings, and have no effect because the folder has files for the slot.
fn warn_of_superseded(
    reader: &mut Reader<'_>,
    source: &policy::Source,
    slot: Slot,
    variables: &[Variable],
) {
    let found = match source.overridden(slot).unwrap_or_default() {
        (_, true) => "settings",
        (true, false) => "a component",
        (false, false) => return,
    };
    for variable in variables {
        if reader.is_set(*variable) {
            let what = format!("has no effect: POLICY_DIR has {found} for {slot}");
            reader.warn(variable.name, what);
        }
    }
}

fn auth_settings(reader: &mut Reader<'_>, key: Option<&Secret>) -> Map<String, Value> {
    let protect_models = reader.switch(env::PROXY_PROTECT_MODELS);
    let keys: Vec<_> = key
        .map(|key| json!({"sha256": key.fingerprint(), "id": OWNER}))
        .into_iter()
        .collect();
    let anonymous: &[&str] = if protect_models { &[] } else { &["/v1/models"] };
    object(json!({"keys": keys, "anonymous": anonymous, "realm": realm(reader)}))
}

fn realm(reader: &mut Reader<'_>) -> String {
    let realm = reader
        .text(env::AUTH_REALM)
        .unwrap_or_else(|| "api".to_owned());
    let is_plain = |byte: u8| (b' '..=b'~').contains(&byte) && !b"\"\\".contains(&byte);
    if !realm.bytes().all(is_plain) {
        let expected = "printable ASCII without quotes and backslashes";
        reader.note(env::AUTH_REALM, expected, format!("`{realm}`"));
    }
    realm
}

fn rate_limit_settings(reader: &mut Reader<'_>) -> Map<String, Value> {
    let enabled = reader.switch(env::PROXY_RATE_LIMIT_ENABLED);
    let window = reader
        .millis(env::PROXY_RATE_LIMIT_WINDOW_MS, 1, 60_000)
        .as_millis();
    let limit = reader.number(env::PROXY_RATE_LIMIT_MAX, 1..=1_000_000_000, 60);
    let streams = reader.number(env::PROXY_SSE_MAX_CONCURRENCY, 0..=1_000_000, 0);
    let mut rules = Vec::new();
    if enabled {
        let window = u64::try_from(window).unwrap_or(u64::MAX);
        rules.push(json!({"name": "requests", "unit": "requests", "limit": limit, "window_ms": window, "per": "caller"}));
    }
    if streams > 0 {
        rules.push(json!({"name": "streams", "unit": "concurrent", "limit": streams, "per": "caller", "streaming_only": true}));
    }
    object(if rules.is_empty() {
        json!({})
    } else {
        json!({"rules": rules})
    })
}

fn tool_stop_settings(reader: &mut Reader<'_>) -> Map<String, Value> {
    let mode = reader.choice(
        env::PROXY_STOP_AFTER_TOOLS_MODE,
        &[("burst", "burst"), ("first", "first")],
        "burst",
    );
    let enabled = match reader.is_set(env::PROXY_STOP_AFTER_TOOLS) {
        true => reader.switch(env::PROXY_STOP_AFTER_TOOLS),
        false => mode == "first",
    };
    object(json!({
        "mode": if enabled { mode } else { "off" },
        "grace_ms": reader.number(env::PROXY_STOP_AFTER_TOOLS_GRACE_MS, 0..=60_000, 300),
        "max_calls": reader.number(env::PROXY_TOOL_BLOCK_MAX, 0..=10_000, 0),
        "suppress_tail": reader.switch(env::PROXY_SUPPRESS_TAIL_AFTER_TOOLS),
        "dedup": reader.switch(env::PROXY_TOOL_BLOCK_DEDUP),
    }))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
