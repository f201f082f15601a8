//! Extracts the id of a resource from the path.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;

use crate::openai::{ApiError, GatewayError};

/// The decoded id. An id that cannot be decoded is refused in OpenAI's error format, not axum's.
pub(super) struct Id(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(id)| Self(id))
            .map_err(|_| GatewayError::InvalidId.about("id"))
    }
}
