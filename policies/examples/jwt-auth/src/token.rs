//! Takes a token apart (RFC 7515, compact serialization), and gives its claims if one of the keys signed it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::json;
use crate::keys::{Key, Keys, LONGEST_KID};

/// The most bytes of a token; the gateway's own bound for all headers together is larger.
const LONGEST: usize = 16 * 1024;
/// The most bytes of a header, decoded.
const LONGEST_HEADER: usize = 4 * 1024;

/// The reason why a token is none of a provider's: in the words that the client gets. Nothing of the token is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// More bytes than a token has.
    TooLong,
    /// Not three parts of base64url, the first two of which are JSON objects.
    Malformed,
    /// `typ` says that it is something else, an ID token of another profile or a logout token for example.
    Type,
    /// An extension that must be understood, and is not.
    Critical,
    /// No key has this id.
    Key,
    /// The key signs with another algorithm, or the token is not signed at all.
    Algorithm,
    /// The signature is not the key's.
    Signature,
}

impl Fault {
    /// The words for the client.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::TooLong => "The token is too long.",
            Self::Malformed => "The token is not a JWT that is signed: three parts of base64url.",
            Self::Type => "The token is of another type: its `typ` is not accepted here.",
            Self::Critical => "The token has extensions (`crit`) that are not understood here.",
            Self::Key => "The token was signed with a key that is not known here (`kid`).",
            Self::Algorithm => "The token was not signed with the algorithm of its key (`alg`).",
            Self::Signature => "The signature of the token is wrong.",
        }
    }
}

/// The claims of a token, once its signature is right.
///
/// # Errors
/// The first check that failed. The claims are not read before the signature was checked.
pub fn claims(token: &str, keys: &Keys, types: &[String]) -> Result<Map<String, Value>, Fault> {
    if token.len() > LONGEST {
        return Err(Fault::TooLong);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(Fault::Malformed)?;
    let (header, payload) = signed.split_once('.').ok_or(Fault::Malformed)?;
    let [header, payload, signature] =
        [header, payload, signature].map(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let (Some(header), Some(payload), Some(signature)) = (header, payload, signature) else {
        return Err(Fault::Malformed);
    };
    if header.len() > LONGEST_HEADER {
        return Err(Fault::TooLong);
    }
    let header = json::object(&header).ok_or(Fault::Malformed)?;
    if !key(&header, keys, types)?.verifies(signed.as_bytes(), &signature) {
        return Err(Fault::Signature);
    }
    json::object(&payload).ok_or(Fault::Malformed)
}

/// The key that a header names. Keys in the header itself (`jwk`, `jku`, `x5c`, `x5u`) are the sender's own, and not read.
fn key<'a>(
    header: &Map<String, Value>,
    keys: &'a Keys,
    types: &[String],
) -> Result<&'a Key, Fault> {
    if header.contains_key("crit") {
        return Err(Fault::Critical);
    }
    let text = |name: &str| match header.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(Fault::Malformed),
    };
    if let Some(found) = text("typ")? {
        // RFC 7515, 4.1.9: without a slash, `application/` is left out.
        let found = strip_media_type(found);
        let mut accepted = types.iter().map(|name| strip_media_type(name));
        if !accepted.any(|name| name.eq_ignore_ascii_case(found)) {
            return Err(Fault::Type);
        }
    }
    let kid = text("kid")?;
    if kid.is_some_and(|kid| kid.len() > LONGEST_KID) {
        return Err(Fault::Key);
    }
    let key = keys.find(kid).ok_or(Fault::Key)?;
    match text("alg")? {
        Some(alg) if alg == key.algorithm().name() => Ok(key),
        _ => Err(Fault::Algorithm),
    }
}

fn strip_media_type(name: &str) -> &str {
    match name.split_at_checked("application/".len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("application/") => rest,
        _ => name,
    }
}
