//! Reads the public keys of a JSON Web Key Set (RFC 7517), and checks signatures (RFC 7518, RFC 8037) with them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::signature::Verifier as _;
use rsa::traits::PublicKeyParts as _;
use rsa::{BoxedUint, PublicKey, pkcs1v15};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::Sha256;

/// The sizes of an RSA modulus, in bits: RFC 7518 wants 2048 at least, and more than 4096 would take too long.
const MODULUS: std::ops::RangeInclusive<usize> = 2048..=4096;
/// The most bits of an RSA exponent; the usual one, 65537, has 17.
const EXPONENT_BITS: u32 = 32;
/// The most keys of a set; a provider has two to six.
const MOST_KEYS: usize = 64;
/// The most bytes of a key's id.
pub const LONGEST_KID: usize = 256;

/// The algorithm of a key's signatures. A key has one: a token cannot choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA on the curve P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// The value of `alg`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

#[derive(Debug)]
enum Verifying {
    Rsa(pkcs1v15::VerifyingKey<Sha256>, usize),
    P256(p256::ecdsa::VerifyingKey),
    Ed25519(ed25519_dalek::VerifyingKey),
}

/// A public key that checks signatures.
#[derive(Debug)]
pub struct Key {
    kid: Option<String>,
    verifying: Verifying,
}

impl Key {
    /// The only algorithm of this key.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        match self.verifying {
            Verifying::Rsa(..) => Algorithm::Rs256,
            Verifying::P256(_) => Algorithm::Es256,
            Verifying::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    /// Whether the signature is one of this key on these bytes.
    #[must_use]
    pub fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        match &self.verifying {
            // A signature is as long as the modulus, so that one token has one text.
            Verifying::Rsa(key, bytes) => {
                signature.len() == *bytes
                    && pkcs1v15::Signature::try_from(signature)
                        .is_ok_and(|signature| key.verify(signed, &signature).is_ok())
            }
            // RFC 7518, 3.4: both numbers, of 32 bytes each, and no DER.
            Verifying::P256(key) => p256::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(signed, &signature).is_ok()),
            Verifying::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(signed, &signature).is_ok()),
        }
    }
}

/// The keys of the settings that check signatures.
#[derive(Debug, Default)]
pub struct Keys(Vec<Key>);

impl Keys {
    /// The key of this id. A token without one is the only key's.
    #[must_use]
    pub fn find(&self, kid: Option<&str>) -> Option<&Key> {
        match kid {
            Some(kid) => self.0.iter().find(|key| key.kid.as_deref() == Some(kid)),
            None => match &self.0[..] {
                [only] => Some(only),
                _ => None,
            },
        }
    }

    /// Reads a set as its provider publishes it. Keys for encryption, and those of algorithms that are not checked here, are
    /// left out, as RFC 7517 says (section 5); secrets and broken keys are mistakes.
    ///
    /// # Errors
    /// A line for each mistake.
    pub fn read(set: &[Map<String, Value>]) -> Result<Self, Vec<String>> {
        let (mut keys, mut mistakes) = (Vec::<Key>::new(), Vec::new());
        if set.len() > MOST_KEYS {
            return Err(vec![format!(
                "jwks.keys: {} keys, expected at most {MOST_KEYS}",
                set.len()
            )]);
        }
        for (index, members) in set.iter().enumerate() {
            let mut complain = |text: &str| mistakes.push(format!("jwks.keys[{index}]{text}"));
            match read(members) {
                Ok(None) => {}
                Ok(Some(key)) if keys.iter().any(|other| other.kid == key.kid) => {
                    complain(".kid: an earlier key has the same, and a token names one");
                }
                Ok(Some(key)) => keys.push(key),
                Err(mistake) => complain(&mistake),
            }
        }
        if keys.len() > 1 && keys.iter().any(|key| key.kid.is_none()) {
            mistakes.push("jwks.keys: give each of several keys a `kid`".to_owned());
        }
        if keys.is_empty() && mistakes.is_empty() {
            mistakes.push(
                "jwks.keys: expected a key for RS256, ES256 or EdDSA, `use` of which is `sig` or absent".to_owned(),
            );
        }
        match mistakes.is_empty() {
            true => Ok(Self(keys)),
            false => Err(mistakes),
        }
    }
}

/// The members of a key that are read; there may be others.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// A key, or nothing if it is none for signatures that are checked here.
fn read(members: &Map<String, Value>) -> Result<Option<Key>, String> {
    if members.get("kty") == Some(&Value::from("oct")) || members.contains_key("k") {
        return Err(
            ": this is a shared secret (HMAC), and no public key; remove it from here and replace it"
                .to_owned(),
        );
    }
    if members.contains_key("d") || members.contains_key("p") {
        return Err(
            ": this is a private key; give its public part, and replace the key".to_owned(),
        );
    }
    // The error is not repeated: it may have a member's value in it.
    let jwk: Jwk = serde_json::from_value(Value::Object(members.clone()))
        .map_err(|_| ": expected a key as in RFC 7517, its members texts".to_owned())?;
    let verifies = |operations: &Vec<String>| operations.iter().any(|name| name == "verify");
    if jwk
        .purpose
        .as_deref()
        .is_some_and(|purpose| purpose != "sig")
        || !jwk.key_ops.as_ref().is_none_or(verifies)
    {
        return Ok(None);
    }
    let is_of = |algorithm: Algorithm| jwk.alg.as_deref().is_none_or(|alg| alg == algorithm.name());
    let verifying = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) if is_of(Algorithm::Rs256) => rsa_key(&jwk)?,
        ("EC", Some("P-256")) if is_of(Algorithm::Es256) => p256_key(&jwk)?,
        ("OKP", Some("Ed25519")) if is_of(Algorithm::EdDsa) => ed25519_key(&jwk)?,
        _ => return Ok(None),
    };
    let kid = jwk.kid;
    if kid
        .as_ref()
        .is_some_and(|kid| kid.is_empty() || kid.len() > LONGEST_KID)
    {
        return Err(format!(".kid: expected 1 to {LONGEST_KID} bytes"));
    }
    Ok(Some(Key { kid, verifying }))
}

fn number(name: &str, text: Option<&String>) -> Result<Vec<u8>, String> {
    let bytes = text.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    bytes.ok_or_else(|| format!(".{name}: expected base64url without padding"))
}

/// As [`number`], of so many bytes.
fn coordinate<const COUNT: usize>(
    name: &str,
    text: Option<&String>,
) -> Result<[u8; COUNT], String> {
    let bytes = number(name, text)?;
    let bytes = bytes.try_into();
    bytes.map_err(|_| format!(".{name}: expected {COUNT} bytes, in base64url"))
}

fn rsa_key(jwk: &Jwk) -> Result<Verifying, String> {
    let modulus = number("n", jwk.n.as_ref())?;
    let exponent = number("e", jwk.e.as_ref())?;
    let modulus = BoxedUint::from_be_slice_vartime(strip(&modulus));
    let exponent = BoxedUint::from_be_slice_vartime(strip(&exponent));
    if exponent.bit_width() > EXPONENT_BITS {
        return Err(format!(".e: expected at most {EXPONENT_BITS} bits"));
    }
    let key = PublicKey::new_with_size_limits(modulus, exponent, MODULUS);
    let key = key.map_err(|_| {
        format!(
            ": expected an RSA key of {} to {} bits, with an odd exponent",
            MODULUS.start(),
            MODULUS.end()
        )
    })?;
    let bytes = key.size();
    Ok(Verifying::Rsa(pkcs1v15::VerifyingKey::new(key), bytes))
}

/// Without leading zeros, which some providers write.
fn strip(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    &bytes[zeros..]
}

fn p256_key(jwk: &Jwk) -> Result<Verifying, String> {
    let mut point = vec![4];
    point.extend(coordinate::<32>("x", jwk.x.as_ref())?);
    point.extend(coordinate::<32>("y", jwk.y.as_ref())?);
    let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&point);
    let key = key.map_err(|_| ": expected a point of the curve P-256".to_owned())?;
    Ok(Verifying::P256(key))
}

fn ed25519_key(jwk: &Jwk) -> Result<Verifying, String> {
    let point = coordinate::<32>("x", jwk.x.as_ref())?;
    let key = ed25519_dalek::VerifyingKey::from_bytes(&point);
    match key {
        // With a point of small order anybody can sign.
        Ok(key) if !key.is_weak() => Ok(Verifying::Ed25519(key)),
        _ => Err(".x: expected a point of Ed25519, not of small order".to_owned()),
    }
}
