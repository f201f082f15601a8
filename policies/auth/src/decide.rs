//! Identifies the caller by the fingerprint of the API key that was presented.

use std::collections::HashMap;

use codex_policy::auth::{Auth, Grant};
use codex_policy::{Caller, Credential, Denial, Request};

/// The caller id of a request without a key on a path that needs none.
pub const ANONYMOUS: &str = "anonymous";

/// Keys expire at full seconds, so decisions need no finer time than these milliseconds.
pub const EXPIRY_STEP_MS: u32 = 1000;

/// The headers of a preflight, by which a browser asks if a page may send the real request; it never carries a key. Source: the
/// Fetch standard, "CORS-preflight request".
pub const PREFLIGHT: [&str; 2] = ["origin", "access-control-request-method"];

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

/// One key the operator issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The identity given to requests with this key. All texts are printable ASCII, so they can be header values.
    pub caller: Caller,
    /// The key is refused like an unknown one.
    pub disabled: bool,
    /// The time from which the key is refused, in seconds since 1970-01-01 UTC.
    pub expires_at: Option<u64>,
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

impl Auth for Rules {
    fn authenticate(&self, request: &Request) -> Result<Caller, Denial> {
        match &request.credential {
            Some(credential) => self.identify(credential, request.now_ms),
            None if self.is_open(&request.path) => Ok(Caller::new(ANONYMOUS)),
            None => Err(self.refuse(
                "",
                "No API key was presented. Send it as 'Authorization: Bearer KEY'.",
            )),
        }
    }

    fn verify(&self, original: &Request) -> Result<Grant, Denial> {
        // Browsers treat any status but a success as a failed preflight.
        let caller = if self.cors && is_preflight(original) {
            Caller::new(ANONYMOUS)
        } else {
            self.authenticate(original)?
        };
        Ok(Grant::of(caller))
    }
}

impl Rules {
    fn identify(&self, credential: &Credential, now_ms: u64) -> Result<Caller, Denial> {
        let refuse = |message| self.refuse(", error=\"invalid_token\"", message);
        if !credential.scheme.eq_ignore_ascii_case("bearer") {
            return Err(refuse(
                "This authorization scheme is not supported. Send the API key as 'Authorization: Bearer KEY'.",
            ));
        }
        // A disabled key gets the same answer as an unknown one, so its holder cannot learn that it exists.
        let key = Fingerprint::parse(&credential.fingerprint)
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

    fn refuse(&self, reason: &str, message: &str) -> Denial {
        let challenge = format!("Bearer realm=\"{}\"{reason}", self.realm);
        Denial::unauthorized(message).with_header("www-authenticate", challenge)
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

fn is_preflight(request: &Request) -> bool {
    let has = |wanted: &str| request.headers.iter().any(|(name, _)| name == wanted);
    request.method == "OPTIONS" && PREFLIGHT.into_iter().all(has)
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
