//! Reads the files of a candidate, its own rules included, from an upload: `multipart/form-data`, all mistakes at once.

mod signatures;

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use futures_util::stream;
use multer::{Constraints, Multipart, SizeLimit};

use super::body;
use crate::openai::{ApiError, GatewayError};
use crate::policy::{OwnRules, SIGNATURE_ENDING, Slot, SlotFiles, Trust};
use signatures::Signatures;

/// The files of an upload, whose signatures are verified.
#[derive(Debug, Default)]
pub(super) struct Upload {
    /// Those of policies, by slot.
    pub(super) files: [SlotFiles; Slot::COUNT],
    /// The candidate's own rules.
    pub(super) rules: Option<OwnRules>,
}

/// The part with the candidate's own rules.
const RULES: &str = "rollout.toml";

/// The most mistakes that are told.
const MISTAKES: usize = 16;

/// The files in a body that is read whole.
///
/// # Errors
/// If it is no upload, has other parts than these files and their signatures, or rules with mistakes; `param` names the first part
/// that is wrong. Also if a file is not signed by a trusted key.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Bytes,
    trust: &Trust,
) -> Result<Upload, ApiError> {
    let broken = |error: multer::Error| GatewayError::InvalidUpload {
        why: plain(&error.to_string()),
    };
    let kind = headers.get(CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let boundary = multer::parse_boundary(kind).map_err(broken)?;
    let limits = SizeLimit::new().whole_stream(body::LIMIT as u64);
    let limits = Constraints::new().size_limit(limits);
    let body = stream::iter([Ok::<_, Infallible>(body)]);
    let mut parts = Multipart::with_constraints(body, boundary, limits);
    let mut upload = Upload::default();
    let (mut signatures, mut mistakes) = (Signatures::default(), Vec::new());
    let mut is_empty = true;
    while let Some(part) = parts.next_field().await.map_err(broken)? {
        is_empty = false;
        let name = part.name().unwrap_or_default().to_owned();
        let bytes = part.bytes().await.map_err(broken)?;
        let taken = match name.strip_suffix(SIGNATURE_ENDING) {
            Some(of) if is_file(of) => signatures.signature(of, bytes),
            _ => upload
                .take(&name, &bytes)
                .map(|()| signatures.file(&name, bytes)),
        };
        if let Err(found) = taken {
            let name = plain(&name);
            // Further ones are not told: a body may have a million parts.
            let rest = MISTAKES - mistakes.len();
            mistakes.extend(found.into_iter().take(rest).map(|why| (name.clone(), why)));
        }
    }
    if is_empty {
        let why = "it has no parts".to_owned();
        return Err(GatewayError::InvalidUpload { why }.into());
    }
    mistakes.extend(signatures.mistakes());
    let Some((first, _)) = mistakes.first().cloned() else {
        signatures.verify(trust).await?;
        return Ok(upload);
    };
    let told = mistakes.into_iter();
    let told = told.map(|(name, why)| format!("'{name}' {why}"));
    let why = told.collect::<Vec<_>>().join(", ");
    Err(GatewayError::InvalidUpload { why }.about(first))
}

impl Upload {
    /// Takes a part.
    ///
    /// # Errors
    /// Its mistakes, each to be read after its name.
    fn take(&mut self, name: &str, bytes: &[u8]) -> Result<(), Vec<String>> {
        let twice = || vec!["is there twice".to_owned()];
        if name == RULES {
            return match self.rules.replace(OwnRules::read(bytes)?) {
                None => Ok(()),
                Some(_) => Err(twice()),
            };
        }
        match place(&mut self.files, name) {
            None => Err(vec!["is no file of a policy".to_owned()]),
            Some(Some(_)) => Err(twice()),
            Some(empty) => {
                *empty = Some(Arc::from(bytes));
                Ok(())
            }
        }
    }
}

/// Reads an upload for [`replay`](crate::api::replay): how many files it has.
#[cfg(any(test, fuzzing))]
pub(in crate::api) fn count(kind: &[u8], body: &[u8]) -> Result<usize, ApiError> {
    use futures_util::FutureExt;
    let mut headers = HeaderMap::new();
    if let Ok(kind) = axum::http::HeaderValue::from_bytes(kind) {
        headers.insert(CONTENT_TYPE, kind);
    }
    // The whole body is there: nothing is awaited.
    let trust = Trust::default();
    let read = read(&headers, Bytes::copy_from_slice(body), &trust).now_or_never();
    let Upload { files, rules } = read.unwrap_or_else(|| Ok(Upload::default()))?;
    let is_there = |file: &Option<Arc<[u8]>>| usize::from(file.is_some());
    let counts = files
        .iter()
        .map(|files| is_there(&files.component) + is_there(&files.settings));
    Ok(counts.sum::<usize>() + usize::from(rules.is_some()))
}

/// Whether a part of this name is a file.
fn is_file(name: &str) -> bool {
    name == RULES || place(&mut Default::default(), name).is_some()
}

/// The place of a file.
fn place<'a>(
    files: &'a mut [SlotFiles; Slot::COUNT],
    name: &str,
) -> Option<&'a mut Option<Arc<[u8]>>> {
    let (slot, ending) = name.rsplit_once('.')?;
    let slot = Slot::parse(slot)?;
    let files = files.get_mut(slot as usize)?;
    match ending {
        "wasm" => Some(&mut files.component),
        "json" => Some(&mut files.settings),
        _ => None,
    }
}

/// A short text without control characters.
fn plain(text: &str) -> String {
    let text = text.chars().take(80);
    text.map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(kind: &str, body: &str) -> Result<Upload, ApiError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, kind.parse().unwrap());
        super::read(&headers, Bytes::from(body.to_owned()), &Trust::default()).await
    }

    fn form(parts: &[(&str, &str)]) -> String {
        let part = |(name, text): &(&str, &str)| {
            format!("--x\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n")
        };
        parts.iter().map(part).collect::<String>() + "--x--\r\n"
    }

    const FORM: &str = "multipart/form-data; boundary=x";

    #[tokio::test]
    async fn each_part_is_a_file_of_a_slot() {
        let body = form(&[("auth.json", "{}"), ("tool-stop.wasm", "\0asm")]);
        let Upload { files, rules } = read(FORM, &body).await.unwrap();
        assert!(rules.is_none());
        let auth = &files[Slot::Auth as usize];
        assert_eq!(auth.settings.as_deref(), Some(b"{}".as_slice()));
        assert!(auth.component.is_none());
        let stop = &files[Slot::ToolStop as usize];
        assert_eq!(stop.component.as_deref(), Some(b"\0asm".as_slice()));
    }

    proptest::proptest! {
        #[test]
        fn any_body_is_an_upload_or_refused_in_a_few_words(
            changes in proptest::collection::vec(proptest::prelude::any::<(proptest::sample::Index, u8)>(), 0..8),
            noise in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40),
        ) {
            let rules = "probation = \"1h\"\n[shadow]\nfor = \"1m\"\n";
            let parts = [("auth.json", "{}"), ("auth.wasm", "\0asm"), ("rollout.toml", rules)];
            let mut body = form(&parts).into_bytes();
            for (at, byte) in &changes {
                let at = at.index(body.len());
                body[at] = *byte;
            }
            for kind in [FORM.as_bytes(), &noise, &[FORM.as_bytes(), noise.as_slice()].concat()] {
                for body in [body.as_slice(), &noise, &[body.as_slice(), noise.as_slice()].concat()] {
                    match count(kind, body) {
                        Ok(files) => proptest::prop_assert!((1..=3).contains(&files), "{}", files),
                        Err(error) => {
                            proptest::prop_assert_eq!((error.status, &*error.code), (400, "invalid_upload"));
                            proptest::prop_assert!(error.message.len() < 4000, "{}", error.message);
                        }
                    }
                }
            }
        }
    }

    #[tokio::test]
    async fn the_rules_of_a_candidate_come_with_its_files() {
        let parts = [
            ("auth.json", "{}"),
            ("rollout.toml", "probation = \"1h\"\n"),
        ];
        let upload = read(FORM, &form(&parts)).await.unwrap();
        assert_eq!(
            upload.rules,
            Some(OwnRules::read(b"probation = \"1h\"").unwrap())
        );
        let twice = [("rollout.toml", ""), ("rollout.toml", "")];
        let error = read(FORM, &form(&twice)).await.unwrap_err();
        assert!(error.message.contains("'rollout.toml' is there twice"));

        let rules = "probation = 7\n[shadow]\nfro = \"1m\"\n";
        let parts = [("rollout.toml", rules), ("auht.json", "")];
        let error = read(FORM, &form(&parts)).await.unwrap_err();
        assert_eq!(
            (error.status, error.param.as_deref()),
            (400, Some("rollout.toml"))
        );
        for told in [
            "'rollout.toml' line 1, probation: expected a time as \"10m\", at most \"7d\", or \"0s\" for none, found 7, ",
            "'rollout.toml' line 3, [shadow] fro: expected one of for, min_decisions, max_differ, max_faults, found another name, ",
            "'auht.json' is no file of a policy",
        ] {
            assert!(error.message.contains(told), "{told}: {}", error.message);
        }
    }

    #[tokio::test]
    async fn all_parts_that_are_wrong_are_told() {
        let parts = [
            ("auth.json", ""),
            ("auth.json", ""),
            ("auht.json", ""),
            ("auth", ""),
        ];
        let error = read(FORM, &form(&parts)).await.unwrap_err();
        assert_eq!(
            (error.status, error.param.as_deref()),
            (400, Some("auth.json"))
        );
        let told =
            "'auth.json' is there twice, 'auht.json' is no file of a policy, 'auth' is no file";
        assert!(error.message.contains(told), "{}", error.message);
        for (kind, body) in [
            ("application/json", "{}"),
            ("multipart/form-data", ""),
            (FORM, ""),
            (FORM, "--x--\r\n"),
            (
                FORM,
                "--x\r\ncontent-disposition: form-data; name=\"auth.json\"\r\n\r\n{",
            ),
        ] {
            let error = read(kind, body).await.unwrap_err();
            assert_eq!(
                (error.status, &*error.code),
                (400, "invalid_upload"),
                "{kind} {body}"
            );
        }
    }
}
