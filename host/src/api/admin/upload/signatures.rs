//! The signatures of an upload's files: each is a part `NAME.minisig` beside the part `NAME`.

use axum::body::Bytes;

use crate::api::error;
use crate::openai::ApiError;
use crate::policy::{Brought, MAX_SIGNATURE, SIGNATURE_ENDING, Trust, Unsteered};

/// The files of an upload and the signatures, as they come, in any order.
#[derive(Debug, Default)]
pub(super) struct Signatures {
    files: Vec<(String, Bytes)>,
    signatures: Vec<(String, Bytes)>,
}

impl Signatures {
    /// Notes a file.
    pub(super) fn file(&mut self, name: &str, bytes: Bytes) {
        self.files.push((name.to_owned(), bytes));
    }

    /// Notes the signature of a file.
    ///
    /// # Errors
    /// Its mistakes, each to be read after its name.
    pub(super) fn signature(&mut self, of: &str, bytes: Bytes) -> Result<(), Vec<String>> {
        if self.signatures.iter().any(|(name, _)| name == of) {
            return Err(vec!["is there twice".to_owned()]);
        }
        if bytes.len() as u64 > MAX_SIGNATURE {
            let what =
                format!("is larger than a signature, which has at most {MAX_SIGNATURE} bytes");
            return Err(vec![what]);
        }
        self.signatures.push((of.to_owned(), bytes));
        Ok(())
    }

    /// The mistakes of signatures without a file, each with its part.
    pub(super) fn mistakes(&self) -> impl Iterator<Item = (String, String)> {
        let names = self.signatures.iter().map(|(name, _)| name);
        let lonely = names.filter(|name| !self.files.iter().any(|(file, _)| file == *name));
        lonely.map(|name| {
            let what = format!("is the signature of '{name}', which is not there");
            (format!("{name}{SIGNATURE_ENDING}"), what)
        })
    }

    /// Verifies all files.
    ///
    /// # Errors
    /// All that a trusted key did not sign.
    pub(super) async fn verify(mut self, trust: &Trust) -> Result<(), ApiError> {
        if !trust.is_on() {
            return Ok(());
        }
        let files = std::mem::take(&mut self.files).into_iter();
        let files = files.map(|(name, bytes)| {
            let of_it = self.signatures.iter().find(|(of, _)| *of == name);
            let signature = of_it.map(|(_, signature)| signature.clone());
            Brought {
                name,
                bytes,
                signature,
            }
        });
        let (files, trust): (Vec<_>, _) = (files.collect(), trust.clone());
        // Some tens of megabytes are hashed.
        let verified = tokio::task::spawn_blocking(move || trust.verify_all(&files)).await;
        let verified = verified.map_err(|_| error::internal())?;
        Ok(verified.map_err(Unsteered::Refused)?)
    }
}
