//! Makes key pairs and signatures of files, in minisign's format.

use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minisign::{ErrorKind, KeyPair, PublicKey, SecretKey, SecretKeyBox};

use super::distrust::KeyId;
use super::trust::{Trust, TrustedKey};

/// The first lines of the files of keys and of signatures, which tools show and do not trust.
const KEY_COMMENT: &str = "secret key of codex-gateway policies";
const SIGNATURE_COMMENT: &str = "signature of a codex-gateway policy file";

/// The place of the algorithm that derives a secret key from a password, within its bytes.
const KDF: Range<usize> = 2..4;

/// Why a key cannot be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The text is no secret key.
    #[error(
        "expected a secret key of minisign, found another text; `codex-gateway policy keygen` makes one"
    )]
    NoKey,
    /// The password is wrong.
    #[error("the password is wrong for this key, or the key is damaged")]
    Password,
    /// The password cannot be asked for.
    #[error(
        "the password of the key cannot be asked for here ({0}): give it with --password-file, `-` for standard input"
    )]
    Unasked(String),
    /// The name cannot be in a signature.
    #[error("a file whose name has control characters cannot be signed")]
    Name,
    /// The library failed.
    #[error("{0}")]
    Failed(String),
}

/// Where the password of a secret key comes from.
#[derive(Clone)]
pub enum Password {
    /// It is asked for at the terminal.
    Asked,
    /// It is this one.
    Given(String),
    /// The key has none.
    None,
}

/// A secret key that signs.
pub struct SigningKey {
    secret: SecretKey,
    public: PublicKey,
}

/// A new key pair, as the texts of its files.
pub struct NewKeys {
    /// The secret key's file.
    pub secret: String,
    /// The public key's file.
    pub public: String,
    /// The public key in one line, as `POLICY_TRUSTED_KEYS` has it.
    pub line: String,
    /// Its id.
    pub id: KeyId,
}

/// Makes a key pair.
///
/// # Errors
/// If the password cannot be asked for, or the system has no randomness.
pub fn new_keys(password: Password) -> Result<NewKeys, SigningError> {
    let is_asked = matches!(password, Password::Asked);
    let made = match password {
        Password::None => KeyPair::generate_unencrypted_keypair(),
        Password::Asked => KeyPair::generate_encrypted_keypair(None),
        Password::Given(password) => KeyPair::generate_encrypted_keypair(Some(password)),
    };
    let failed = |error: minisign::PError| SigningError::Failed(error.to_string());
    let KeyPair { pk, sk } = made.map_err(|error| match is_asked {
        true => SigningError::Unasked(error.to_string()),
        false => failed(error),
    })?;
    Ok(NewKeys {
        secret: sk.to_box(Some(KEY_COMMENT)).map_err(failed)?.into_string(),
        public: pk.to_box().map_err(failed)?.into_string(),
        line: pk.to_base64(),
        id: id(pk.keynum()),
    })
}

impl SigningKey {
    /// Reads the file of a secret key; a password counts only if the key has one.
    ///
    /// # Errors
    /// If it is none, or its password is wrong or cannot be asked for.
    pub fn read(text: &str, password: Password) -> Result<Self, SigningError> {
        let bytes = decoded(text).ok_or(SigningError::NoKey)?;
        let secret = match bytes.get(KDF) {
            // Minisign writes no checksum into a key without a password; the first signature shows whether it is whole.
            Some([0, 0]) => SecretKey::from_bytes(&bytes).map_err(|_| SigningError::NoKey)?,
            Some(b"Sc") => unlocked(text, password)?,
            _ => return Err(SigningError::NoKey),
        };
        let public = PublicKey::from_secret_key(&secret).map_err(|_| SigningError::NoKey)?;
        Ok(Self { secret, public })
    }

    /// Its public half.
    #[must_use]
    pub fn trust(&self) -> Trust {
        Trust::new(
            TrustedKey::read(&self.public.to_base64())
                .into_iter()
                .collect(),
        )
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> KeyId {
        id(self.public.keynum())
    }

    /// Signs a file's bytes, and its name, so that the signature holds for no other file.
    ///
    /// # Errors
    /// If the name cannot be in a signature.
    pub fn sign(&self, name: &str, bytes: &[u8]) -> Result<String, SigningError> {
        if name.contains(char::is_control) {
            return Err(SigningError::Name);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_secs();
        // As minisign writes it: a signature by `minisign -S` holds here, too.
        let comment = format!("timestamp:{now}\tfile:{name}\thashed");
        let signed = minisign::sign(
            Some(&self.public),
            &self.secret,
            bytes,
            Some(&comment),
            Some(SIGNATURE_COMMENT),
        );
        let signed = signed.map_err(|error| SigningError::Failed(error.to_string()))?;
        Ok(signed.into_string())
    }

    /// Whether a signature of this key holds for the file already.
    #[must_use]
    pub fn has_signed(&self, name: &str, bytes: &[u8], signature: Option<&[u8]>) -> bool {
        matches!(self.trust().verify(name, bytes, signature), Ok(Some(_)))
    }
}

/// The bytes of a key's second line.
fn decoded(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text.lines().nth(1)?.trim()).ok()
}

fn unlocked(text: &str, password: Password) -> Result<SecretKey, SigningError> {
    let password = match password {
        Password::Given(password) => Some(password),
        Password::Asked | Password::None => None,
    };
    let is_asked = password.is_none();
    let secret = SecretKeyBox::from(text.to_owned()).into_secret_key(password);
    secret.map_err(|error| match error.kind() {
        ErrorKind::Verify => SigningError::Password,
        _ if is_asked => SigningError::Unasked(error.to_string()),
        _ => SigningError::NoKey,
    })
}

fn id(keynum: &[u8]) -> KeyId {
    KeyId::of(keynum.try_into().unwrap_or_default())
}
