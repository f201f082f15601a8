//! Reads where operators reach the gateway, and who they are.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::read::Reader;
use super::{Environment, env, key};
use crate::api::admin::{Access, Operator, Role, Tokenless};
use crate::file;
use crate::listen::{self, AdminAddr};
use crate::secret::Secret;

/// The most bytes of `ADMIN_FILE`, and the most operators in it.
const MAX_BYTES: u64 = 64 << 10;
const MOST: usize = 256;
/// The longest id of an operator, in bytes.
const ID: usize = 64;
/// In a file's mode: its group, or others, may write it.
const OTHERS: u32 = 0o022;
/// The id of the operator with `ADMIN_TOKEN`.
const OPERATOR: &str = "operator";

/// The operators.
#[derive(Debug, Clone)]
pub struct Admin {
    /// The operator of `ADMIN_TOKEN`, if it is set.
    fixed: Vec<Operator>,
    /// Those of `ADMIN_FILE`, as it was at the start.
    listed: Vec<Operator>,
    tokenless: Option<Tokenless>,
    /// `ADMIN_FILE`
    pub file: Option<PathBuf>,
}

impl Admin {
    /// Whether the operator's API can be used without a token.
    pub(super) fn is_tokenless(&self) -> bool {
        self.tokenless.is_some()
    }

    /// The access rule of the operator's API.
    #[must_use]
    pub fn access(&self) -> Access {
        let (fixed, listed) = (self.fixed.clone(), self.listed.clone());
        Access::new(fixed, listed, self.tokenless)
    }
}

/// Reads the variables; the address goes to `wanted`.
pub(super) fn read(
    reader: &mut Reader<'_>,
    environment: Environment,
    wanted: &mut listen::Wanted,
) -> Option<Admin> {
    let token = reader.text(env::ADMIN_TOKEN).map(Secret::new);
    let file = reader.path(env::ADMIN_FILE);
    let listed = file.as_deref().map(operators);
    if let Some(file) = &file {
        warn_of_writers(reader, file);
    }
    if let Some(token) = &token {
        key::judge_admin(reader, token, environment);
    }
    for found in listed
        .iter()
        .filter_map(|read| read.as_ref().err())
        .flatten()
    {
        let expected = "a list of {\"id\", \"sha256\", \"role\"}";
        reader.note(env::ADMIN_FILE, expected, found.clone());
    }
    let Some(text) = reader.text(env::ADMIN_ADDR) else {
        warn_of_no_address(reader);
        return None;
    };
    let address = match text.parse::<AdminAddr>() {
        Ok(address) => address,
        Err(expected) => {
            reader.note(env::ADMIN_ADDR, expected, format!("`{text}`"));
            return None;
        }
    };
    let has_tokens = token.is_some() || file.is_some();
    judge(reader, &address, wanted, has_tokens);
    let tokenless = match address {
        _ if has_tokens => None,
        AdminAddr::Unix(_) => Some(Tokenless::UnixSocket),
        AdminAddr::Tcp(_) => Some(Tokenless::ThisMachine),
    };
    wanted.admin = Some(address);
    Some(Admin {
        fixed: token.iter().map(operator).collect(),
        listed: listed.and_then(Result::ok).unwrap_or_default(),
        tokenless,
        file,
    })
}

fn operator(token: &Secret) -> Operator {
    Operator {
        id: OPERATOR.to_owned(),
        fingerprint: token.fingerprint(),
        role: Role::Operate,
    }
}

fn warn_of_no_address(reader: &mut Reader<'_>) {
    for variable in [env::ADMIN_TOKEN, env::ADMIN_FILE] {
        if reader.is_set(variable) {
            let what = "has no effect without ADMIN_ADDR";
            reader.warn(variable.name, what);
        }
    }
}

/// Warns of a file in which other users could make themselves operators.
fn warn_of_writers(reader: &mut Reader<'_>, file: &Path) {
    let mode = file
        .metadata()
        .map_or(0, |found| found.permissions().mode());
    if mode & OTHERS != 0 {
        let file = file.display();
        let what =
            format!("other users may write {file}, and so become operators; chmod go-w {file}");
        reader.warn(env::ADMIN_FILE.name, what);
    }
}

/// Notes what is wrong with the address.
fn judge(reader: &mut Reader<'_>, address: &AdminAddr, wanted: &listen::Wanted, has_tokens: bool) {
    if !address.is_local() && !has_tokens {
        let expected = format!(
            "a token with {address}, which other machines reach (`codex-gateway key new` makes one); or operators in ADMIN_FILE"
        );
        reader.note(env::ADMIN_TOKEN, expected, "none");
    }
    match address {
        AdminAddr::Tcp(address) => {
            let ports = [Some(wanted.port), wanted.auth_port];
            let meets = |ip: IpAddr| {
                ip == wanted.host || ip.is_unspecified() || wanted.host.is_unspecified()
            };
            if address.port() != 0 && meets(address.ip()) && ports.contains(&Some(address.port())) {
                let expected = "another port than PORT and AUTH_PORT";
                reader.note(env::ADMIN_ADDR, expected, format!("`{address}`"));
            }
        }
        AdminAddr::Unix(path) => judge_path(reader, path),
    }
}

/// Notes a path where no socket can be.
fn judge_path(reader: &mut Reader<'_>, path: &Path) {
    use std::os::unix::fs::FileTypeExt;
    /// Only its owner may replace a file in the folder.
    const STICKY: u32 = 0o1000;
    let folder = path.parent().unwrap_or(path);
    let found = match (folder.metadata(), path.symlink_metadata()) {
        (Ok(found), _) if !found.is_dir() => format!("`{}`, which is no folder", folder.display()),
        (Err(_), _) => format!("no folder `{}`", folder.display()),
        (_, Ok(there)) if !there.file_type().is_socket() => {
            format!("`{}`, which is there and no socket", path.display())
        }
        (Ok(found), _) => {
            let mode = found.permissions().mode();
            if mode & OTHERS != 0 && mode & STICKY == 0 {
                let what = format!(
                    "other users may replace the socket, since they may write {0}; chmod go-w {0}",
                    folder.display()
                );
                reader.warn(env::ADMIN_ADDR.name, what);
            }
            return;
        }
    };
    reader.note(
        env::ADMIN_ADDR,
        "the path of a socket in a folder that is there",
        found,
    );
}

/// An entry of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: Option<Value>,
    sha256: Option<Value>,
    role: Option<Value>,
}

/// Reads the operators of a file.
///
/// # Errors
/// All mistakes, each with its place; never with a value, which may be a token.
pub fn operators(path: &Path) -> Result<Vec<Operator>, Vec<String>> {
    let text = file::read_text(path, MAX_BYTES);
    let text = text.map_err(|error| vec![format!("`{}`: {error}", path.display())])?;
    let text = text.trim_start_matches('\u{feff}');
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    parse(text).map_err(|mistakes| {
        let mistakes = mistakes.into_iter();
        mistakes
            .map(|mistake| format!("in {name}: {mistake}"))
            .collect()
    })
}

fn parse(text: &str) -> Result<Vec<Operator>, Vec<String>> {
    let entries: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| {
        vec![format!(
            "no JSON list (line {}, column {})",
            error.line(),
            error.column()
        )]
    })?;
    if entries.is_empty() || entries.len() > MOST {
        return Err(vec![format!(
            "{} operators, where 1 to {MOST} are possible",
            entries.len()
        )]);
    }
    let (mut operators, mut mistakes) = (Vec::new(), Vec::new());
    for (index, entry) in entries.into_iter().enumerate() {
        match parse_one(index, entry) {
            Ok(operator) => operators.push((index, operator)),
            Err(further) => mistakes.extend(further),
        }
    }
    note_doubles(&operators, &mut mistakes);
    match mistakes.is_empty() {
        true => Ok(operators
            .into_iter()
            .map(|(_, operator)| operator)
            .collect()),
        false => Err(mistakes),
    }
}

fn parse_one(index: usize, entry: &RawValue) -> Result<Operator, Vec<String>> {
    let entry: Entry = serde_json::from_str(entry.get()).map_err(|error| {
        // Serde's sentence about a wrong type has the value.
        let what = match error.to_string() {
            told if told.starts_with("unknown field") || told.starts_with("duplicate field") => {
                told.split(" at line ")
                    .next()
                    .unwrap_or_default()
                    .to_owned()
            }
            _ => "no object".to_owned(),
        };
        vec![format!("/{index}: {what}")]
    })?;
    let mut mistakes = Vec::new();
    let mut text =
        |name: &str, value: Option<Value>, is_right: fn(&str) -> bool, expected: &str| {
            let found = match &value {
                Some(Value::String(text)) if is_right(text) => return text.clone(),
                None => "none",
                Some(_) => "something else",
            };
            mistakes.push(format!(
                "/{index}/{name}: expected {expected}, found {found}"
            ));
            String::new()
        };
    let is_id =
        |id: &str| (1..=ID).contains(&id.len()) && !id.contains(char::is_control) && id != OPERATOR;
    let id = text(
        "id",
        entry.id,
        is_id,
        "a name of at most 64 bytes, other than `operator`, which is ADMIN_TOKEN's",
    );
    let fingerprint = text(
        "sha256",
        entry.sha256,
        |text| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "64 hexadecimal digits (`codex-gateway key hash` prints them)",
    );
    let role = text(
        "role",
        entry.role,
        |text| role(text).is_some(),
        "`view` or `operate`",
    );
    match role_of(&role, mistakes) {
        Ok(role) => Ok(Operator {
            id,
            fingerprint: fingerprint.to_ascii_lowercase(),
            role,
        }),
        Err(mistakes) => Err(mistakes),
    }
}

fn role(text: &str) -> Option<Role> {
    Role::ALL.into_iter().find(|role| role.name() == text)
}

/// The role, if nothing is wrong.
fn role_of(text: &str, mistakes: Vec<String>) -> Result<Role, Vec<String>> {
    match role(text) {
        Some(role) if mistakes.is_empty() => Ok(role),
        _ => Err(mistakes),
    }
}

/// Notes ids and fingerprints that two entries have.
fn note_doubles(operators: &[(usize, Operator)], mistakes: &mut Vec<String>) {
    let mut seen = BTreeMap::new();
    for (
        index,
        Operator {
            id, fingerprint, ..
        },
    ) in operators
    {
        for (name, value) in [("id", id), ("sha256", fingerprint)] {
            if let Some(first) = seen.insert((name, value), *index) {
                mistakes.push(format!("/{index}/{name}: the same as in /{first}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str, key: &str, role: &str) -> Value {
        let sha256 = crate::secret::fingerprint(key.as_bytes());
        serde_json::json!({"id": id, "sha256": sha256, "role": role})
    }

    #[test]
    fn operators_are_read_with_their_roles() {
        let list = Value::from(vec![entry("a", "1", "view"), entry("b", "2", "operate")]);
        let found = parse(&list.to_string()).unwrap();
        let told: Vec<_> = found
            .iter()
            .map(|one| (one.id.as_str(), one.role))
            .collect();
        assert_eq!(told, [("a", Role::View), ("b", Role::Operate)]);
    }

    #[test]
    fn all_mistakes_are_told_with_their_places_and_without_values() {
        let mut list = vec![
            entry("a", "1", "view"),
            entry("a", "1", "admin"),
            entry("operator", "3", "view"),
            entry("a", "1", "operate"),
            Value::from("sk-secret"),
        ];
        list[1]["sha256"] = "sk-secret".into();
        let mut more = entry("x", "4", "view");
        more["rolle"] = "view".into();
        list.push(more);
        let told = parse(&Value::from(list).to_string()).unwrap_err();
        let begins = [
            "/1/sha256: expected 64 hex",
            "/1/role: expected `view` or",
            "/2/id: expected a name",
            "/4: no object",
            "/5: unknown field `rolle`",
            "/3/id: the same as in /0",
            "/3/sha256: the same as in /0",
        ];
        for (told, begin) in told.iter().zip(begins) {
            assert!(told.starts_with(begin), "{told} {begin}");
        }
        assert_eq!(told.len(), begins.len());
        assert!(!told.concat().contains("secret"), "{told:?}");
        for wrong in ["", "{}", "[]", "null"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
