//! Refusals and failures as HTTP answers: the one place that gives them a status line.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use crate::openai::ApiError;
use crate::policy::Refused;

/// The code of the error an answer is, for the log.
#[derive(Debug, Clone)]
pub(super) struct Code(pub(super) String);

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = json(self.to_json());
        *response.status_mut() = status;
        response
            .extensions_mut()
            .insert(Code(self.code.to_string()));
        let headers = response.headers_mut();
        if let Some(ms) = self.retry_after_ms {
            headers.insert(RETRY_AFTER, HeaderValue::from(ms.div_ceil(1_000)));
            headers.insert("retry-after-ms", HeaderValue::from(ms));
        }
        for (name, value) in &self.headers {
            if let (Ok(name), Ok(value)) =
                (HeaderName::try_from(name), HeaderValue::try_from(value))
            {
                headers.insert(name, value);
            }
        }
        response
    }
}

/// A decision reaches the client as the policy worded it; a fault does not.
impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Denied(denial) => {
                let denial = *denial;
                let mut error = Self::new(denial.status, denial.kind, denial.code, denial.message);
                (error.param, error.headers) = (denial.param, denial.headers);
                error
            }
            Refused::Fault(fault) => crate::turn::Error::Policy(fault.to_string()).into(),
        }
    }
}

/// A body that is JSON already.
pub(super) fn json(body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// What is wrong is ours, and in the log.
pub(super) fn internal() -> ApiError {
    ApiError::new(
        500,
        "server_error",
        "internal_error",
        "The gateway failed to handle the request.",
    )
}

/// 404, whoever asks.
pub(super) async fn unknown_path(method: Method, uri: Uri) -> ApiError {
    let message = format!(
        "Unknown request URL: {method} {}. Please check the URL for typos.",
        uri.path()
    );
    ApiError::new(404, "invalid_request_error", "unknown_url", message)
}

/// 405; axum adds which methods there are.
pub(super) async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    let message = format!("Not allowed to {method} on {}.", uri.path());
    ApiError::new(
        405,
        "invalid_request_error",
        "method_not_supported",
        message,
    )
}
