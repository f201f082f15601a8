//! Reads the body of an act whole, within bounds.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Map, Value};
use tokio::time::timeout;

use crate::openai::{ApiError, GatewayError};

/// The largest body: all components and settings of one upload.
pub(super) const LIMIT: usize = 32 << 20;
/// How long a body may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The whole body of a request.
#[derive(Debug)]
pub struct Whole(pub Bytes);

/// Whether the announced length of a body is within the limit.
///
/// # Errors
/// If it is not.
pub(super) fn announced(headers: &HeaderMap) -> Result<(), ApiError> {
    let length = headers.get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    match length.is_some_and(|length| length > LIMIT as u64) {
        true => Err(GatewayError::BodyTooLarge { limit: LIMIT }.into()),
        false => Ok(()),
    }
}

/// The members of the JSON object in a body; an empty body has none.
///
/// # Errors
/// If it is another value, or no JSON.
pub(super) fn object(body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => {
            let (expected, found) = ("a JSON object", "another value");
            Err(GatewayError::BodyType { expected, found }.into())
        }
        Err(error) => Err(GatewayError::InvalidJson {
            why: error.to_string(),
        }
        .into()),
    }
}

impl<S: Sync> FromRequest<S> for Whole {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let body = Limited::new(request.into_body(), LIMIT).collect();
        let Ok(read) = timeout(PATIENCE, body).await else {
            return Err(GatewayError::BodyTooSlow.into());
        };
        match read {
            Ok(body) => Ok(Self(body.to_bytes())),
            Err(error) if error.is::<LengthLimitError>() => {
                Err(GatewayError::BodyTooLarge { limit: LIMIT }.into())
            }
            Err(_) => Err(GatewayError::BodyAborted.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    async fn read(body: Body) -> Result<usize, u16> {
        let read = Whole::from_request(Request::new(body), &()).await;
        read.map(|Whole(body)| body.len())
            .map_err(|error| error.status)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_bounded_in_bytes_and_time() {
        let bytes = |bytes: usize| Body::from(vec![0; bytes]);
        assert_eq!(read(bytes(LIMIT)).await, Ok(LIMIT));
        assert_eq!(read(bytes(LIMIT + 1)).await, Err(413));
        let never = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
        assert_eq!(read(Body::from_stream(never)).await, Err(408));
    }
}
