//! Identifies the caller by the fingerprint of the API key that was presented.

use std::collections::HashMap;

/// The caller id of a request without a key on a path that needs none.
pub const ANONYMOUS: &str = "anonymous";

/// Keys expire at full seconds, so decisions need no finer time than these milliseconds.
pub const EXPIRY_STEP_MS: u32 = 1000;

/// The SHA-256 of a key. The policy never holds the key itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Reads 64 hexadecimal digits, in upper or lower case.
    #[must_use]
    pub fn parse(hex: &str) -> Option<Self> {
        if hex.len() != 64 {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            let [high, low] = pair else { return None };
            *byte = nibble(*high)? << 4 | nibble(*low)?;
        }
        Some(Self(bytes))
    }
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16)?.try_into().ok()
}

/// The identity behind a key. All texts are printable ASCII, so they can be header values.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Caller {
    /// A stable name.
    pub id: String,
    /// The customer or team the caller belongs to.
    pub tenant: Option<String>,
    /// Names without commas: the header `x-auth-groups` joins them with commas.
    pub groups: Vec<String>,
}

/// One key the operator issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The identity given to requests with this key.
    pub caller: Caller,
    /// The key is refused like an unknown one.
    pub disabled: bool,
    /// The time from which the key is refused, in seconds since 1970-01-01 UTC.
    pub expires_at: Option<u64>,
}

/// The content of the `authorization` header.
#[derive(Debug, Clone, Copy)]
pub struct Credential<'a> {
    /// The scheme as the client wrote it, for example "Bearer".
    pub scheme: &'a str,
    /// The SHA-256 of the secret, in hexadecimal.
    pub fingerprint: &'a str,
}

/// The parts of a request that this policy reads.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The request is a CORS preflight: a browser asks if a page may send the real request. Preflights never carry a key.
    pub preflight: bool,
    /// The path, percent-encoded, as sent, without the query.
    pub path: &'a str,
    /// The credential; absent if the client sent none.
    pub credential: Option<Credential<'a>>,
    /// The time of the request, in milliseconds since 1970-01-01 UTC.
    pub now_ms: u64,
}

/// Permission for an edge proxy to let a request through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The identity of the request.
    pub caller: Caller,
    /// Always the same three headers, so that a proxy that copies them overwrites values a client made up.
    pub headers: Vec<(String, String)>,
}

/// A refusal, as the contract's `denial`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The HTTP status.
    pub status: u16,
    /// OpenAI's `error.type`.
    pub kind: &'static str,
    /// OpenAI's `error.code`.
    pub code: &'static str,
    /// The text for a person: what to do.
    pub message: &'static str,
    /// Response headers, their names in lower case.
    pub headers: Vec<(String, String)>,
}

/// The checked settings, ready for decisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// All keys that were issued.
    pub keys: HashMap<Fingerprint, Key>,
    /// Paths that need no key, without trailing slashes; an empty one stands for all paths.
    pub anonymous: Vec<String>,
    /// The realm named in the challenge; free of quotes and backslashes.
    pub realm: String,
    /// Pages of other origins may call: an edge proxy lets preflights pass.
    pub cors: bool,
}

impl Rules {
    /// The caller of `request`.
    ///
    /// # Errors
    /// If the credential is wrong, or if it is missing on a path that needs one.
    pub fn authenticate(&self, request: &Request<'_>) -> Result<Caller, Denial> {
        match request.credential {
            Some(credential) => self.identify(credential, request.now_ms),
            None if self.is_open(request.path) => Ok(anonymous()),
            None => Err(self.refuse(
                "",
                "No API key was presented. Send it as 'Authorization: Bearer KEY'.",
            )),
        }
    }

    /// Whether an edge proxy may let `original` through, and the headers it passes to the service behind it.
    ///
    /// # Errors
    /// As [`Rules::authenticate`].
    pub fn verify(&self, original: &Request<'_>) -> Result<Grant, Denial> {
        // Browsers treat any status but a success as a failed preflight.
        let caller = if original.preflight && self.cors {
            anonymous()
        } else {
            self.authenticate(original)?
        };
        let headers = [
            ("x-auth-caller", caller.id.clone()),
            ("x-auth-tenant", caller.tenant.clone().unwrap_or_default()),
            ("x-auth-groups", caller.groups.join(",")),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value)).into();
        Ok(Grant { caller, headers })
    }

    /// Whether a decision depends on the path.
    #[must_use]
    pub fn has_open_paths(&self) -> bool {
        !self.anonymous.is_empty()
    }

    /// Whether a decision depends on the time.
    #[must_use]
    pub fn has_expiring_keys(&self) -> bool {
        self.keys.values().any(|key| key.expires_at.is_some())
    }

    fn identify(&self, credential: Credential<'_>, now_ms: u64) -> Result<Caller, Denial> {
        let refuse = |message| self.refuse(", error=\"invalid_token\"", message);
        if !credential.scheme.eq_ignore_ascii_case("bearer") {
            return Err(refuse(
                "This authorization scheme is not supported. Send the API key as 'Authorization: Bearer KEY'.",
            ));
        }
        // A disabled key gets the same answer as an unknown one, so its holder cannot learn that it exists.
        let key = Fingerprint::parse(credential.fingerprint)
            .and_then(|fingerprint| self.keys.get(&fingerprint))
            .filter(|key| !key.disabled)
            .ok_or_else(|| refuse("Incorrect API key."))?;
        let expired = key
            .expires_at
            .is_some_and(|at| now_ms >= at.saturating_mul(1000));
        if expired {
            return Err(refuse("This API key has expired."));
        }
        Ok(key.caller.clone())
    }

    fn refuse(&self, reason: &str, message: &'static str) -> Denial {
        let challenge = format!("Bearer realm=\"{}\"{reason}", self.realm);
        Denial {
            status: 401,
            kind: "authentication_error",
            code: "invalid_api_key",
            message,
            headers: vec![("www-authenticate".to_owned(), challenge)],
        }
    }

    fn is_open(&self, path: &str) -> bool {
        let mut open = self.anonymous.iter();
        is_unambiguous(path)
            && open.any(|entry| {
                let rest = path.strip_prefix(entry.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
    }
}

fn anonymous() -> Caller {
    Caller {
        id: ANONYMOUS.to_owned(),
        ..Caller::default()
    }
}

/// Whether every server reads `path` as the same place. Some servers resolve `..`, some decode `%2F` first: a path that is
/// open here must not become another path behind the proxy.
#[must_use]
pub fn is_unambiguous(path: &str) -> bool {
    let path = path.to_ascii_lowercase().replace("%2e", ".");
    let mut separators = ["%2f", "%5c", "\\"].into_iter();
    let mut segments = path.split('/').map(|segment| segment.split(';').next());
    !separators.any(|separator| path.contains(separator))
        && !segments.any(|segment| matches!(segment, Some("." | "..")))
}

#[cfg(test)]
mod tests;
