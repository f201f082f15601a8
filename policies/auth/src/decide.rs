//! Decides who is calling, from the fingerprint of the key that was presented.

use std::collections::HashMap;

/// The id of a caller that presented nothing where nothing is needed.
pub const ANONYMOUS: &str = "anonymous";

/// The SHA-256 of a key: all this policy ever knows of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Reads 64 hexadecimal digits, of any case.
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

/// Whom a key belongs to. All texts are printable ASCII, so they can be header values.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Caller {
    /// A stable name.
    pub id: String,
    /// The customer or team the caller belongs to.
    pub tenant: Option<String>,
    /// Without commas, as they are joined with one.
    pub groups: Vec<String>,
}

/// One key the operator issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Who presents it.
    pub caller: Caller,
    /// Refused while this is set, as if it did not exist.
    pub disabled: bool,
    /// Seconds since 1970-01-01 UTC from which on it is refused.
    pub expires_at: Option<u64>,
}

/// What the client sent in `authorization`.
#[derive(Debug, Clone, Copy)]
pub struct Credential<'a> {
    /// As the client wrote it, for example "Bearer".
    pub scheme: &'a str,
    /// Hexadecimal SHA-256 of the secret.
    pub fingerprint: &'a str,
}

/// The parts of a request this policy looks at.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// A browser asks whether a page may send the request that will follow. It never sends a key with that.
    pub preflight: bool,
    /// Percent-encoded, as sent, without the query.
    pub path: &'a str,
    /// Absent if the client sent none.
    pub credential: Option<Credential<'a>>,
    /// Milliseconds since 1970-01-01 UTC.
    pub now_ms: u64,
}

/// A permission for an edge proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Who is calling.
    pub caller: Caller,
    /// Always the same three names, so that a proxy that copies them overwrites what the client made up.
    pub headers: Vec<(String, String)>,
}

/// A refusal, in the words of the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// An HTTP status.
    pub status: u16,
    /// OpenAI's `error.type`.
    pub kind: &'static str,
    /// OpenAI's `error.code`.
    pub code: &'static str,
    /// What to do, for the person who reads it.
    pub message: &'static str,
    /// Names are lower-case.
    pub headers: Vec<(String, String)>,
}

/// The settings, checked and ready to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Every key that was issued.
    pub keys: HashMap<Fingerprint, Key>,
    /// Paths that need no key, without trailing slashes; an empty one stands for all.
    pub anonymous: Vec<String>,
    /// Named in the challenge; free of quotes and backslashes.
    pub realm: String,
    /// Pages of other origins may call: preflights pass an edge proxy.
    pub cors: bool,
}

impl Rules {
    /// The caller who sent `request`.
    ///
    /// # Errors
    /// If the credential is wrong, or missing where one is needed.
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

    /// Whether an edge proxy may let `original` through, and what it should tell the service behind it.
    ///
    /// # Errors
    /// As [`Rules::authenticate`].
    pub fn verify(&self, original: &Request<'_>) -> Result<Grant, Denial> {
        // Browsers give up on anything but a success.
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

    fn identify(&self, credential: Credential<'_>, now_ms: u64) -> Result<Caller, Denial> {
        let refuse = |message| self.refuse(", error=\"invalid_token\"", message);
        if !credential.scheme.eq_ignore_ascii_case("bearer") {
            return Err(refuse(
                "This authorization scheme is not supported. Send the API key as 'Authorization: Bearer KEY'.",
            ));
        }
        // A disabled key is answered as an unknown one: whoever holds it learns nothing.
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

/// Whether every server reads the same place out of `path`. Some resolve `..`, some decode `%2F` first: a
/// path that looks open here must not turn out to be another one behind the proxy.
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
