//! Reads bodies and frames as the endpoints do, without a request: for the fuzzer (`fuzz/`).

use axum::http::header::CONTENT_ENCODING;
use axum::http::{HeaderMap, HeaderValue};

use super::admin::count_uploaded;
use super::content_coding::Coding;

pub use super::socket::frames::{Frame, replay as frames};

/// The decompressed body, or the body itself if `content_encoding` names no compression.
///
/// # Errors
/// The code of the answer that refuses it.
pub fn decode(content_encoding: &[u8], body: &[u8], limit: usize) -> Result<Vec<u8>, String> {
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(content_encoding) {
        headers.insert(CONTENT_ENCODING, value);
    }
    match Coding::of(&headers).map_err(|error| error.code.to_string())? {
        Some(coding) => {
            let decoded = coding.decode(body, limit);
            decoded.map_err(|error| error.row().code.to_owned())
        }
        None => Ok(body.to_vec()),
    }
}

/// The number of files in an upload of policies.
///
/// # Errors
/// The code of the answer that refuses it.
pub fn upload(content_type: &[u8], body: &[u8]) -> Result<usize, String> {
    count_uploaded(content_type, body).map_err(|error| error.code.to_string())
}
