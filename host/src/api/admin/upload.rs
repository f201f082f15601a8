//! Reads the files of a candidate from an upload: `multipart/form-data` with a part for each file, all mistakes at once.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use futures_util::stream;
use multer::{Constraints, Multipart, SizeLimit};

use super::body;
use crate::openai::{ApiError, GatewayError};
use crate::policy::{Slot, SlotFiles};

/// The files, by slot.
pub(super) type Files = [SlotFiles; Slot::COUNT];

/// The most mistakes that are told.
const MISTAKES: usize = 16;

/// The files in a body that is read whole.
///
/// # Errors
/// If it is no upload, or has other parts than files of policies; `param` names the first part that is wrong.
pub(super) async fn files(headers: &HeaderMap, body: Bytes) -> Result<Files, ApiError> {
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
    let (mut files, mut mistakes) = (Files::default(), Vec::new());
    let mut is_empty = true;
    while let Some(part) = parts.next_field().await.map_err(broken)? {
        is_empty = false;
        let name = part.name().unwrap_or_default().to_owned();
        let bytes = part.bytes().await.map_err(broken)?;
        let why = match place(&mut files, &name) {
            None => "is no file of a policy",
            Some(Some(_)) => "is there twice",
            Some(empty) => {
                *empty = Some(Arc::from(bytes.as_ref()));
                continue;
            }
        };
        if mistakes.len() < MISTAKES {
            mistakes.push((plain(&name), why));
        }
    }
    if is_empty {
        let why = "it has no parts".to_owned();
        return Err(GatewayError::InvalidUpload { why }.into());
    }
    let Some((first, _)) = mistakes.first().cloned() else {
        return Ok(files);
    };
    let told = mistakes
        .into_iter()
        .map(|(name, why)| format!("'{name}' {why}"));
    let why = told.collect::<Vec<_>>().join(", ");
    Err(GatewayError::InvalidUpload { why }.about(first))
}

/// The place of a file.
fn place<'a>(files: &'a mut Files, name: &str) -> Option<&'a mut Option<Arc<[u8]>>> {
    let (slot, ending) = name.rsplit_once('.')?;
    let slot = Slot::ALL.into_iter().find(|known| known.name() == slot)?;
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

    async fn read(kind: &str, body: &str) -> Result<Files, ApiError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, kind.parse().unwrap());
        files(&headers, Bytes::from(body.to_owned())).await
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
        let files = read(FORM, &body).await.unwrap();
        let auth = &files[Slot::Auth as usize];
        assert_eq!(auth.settings.as_deref(), Some(b"{}".as_slice()));
        assert!(auth.component.is_none());
        let stop = &files[Slot::ToolStop as usize];
        assert_eq!(stop.component.as_deref(), Some(b"\0asm".as_slice()));
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
