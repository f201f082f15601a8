//! Reads the parameters of a URL's query.

use axum::extract::Query;
use axum::http::Uri;
use serde::de::DeserializeOwned;

use crate::openai::{ApiError, GatewayError};

/// The parameters of the query.
pub(super) fn parameters<T: DeserializeOwned>(uri: &Uri) -> Result<T, ApiError> {
    let Query(parameters) = Query::try_from_uri(uri).map_err(|error| {
        let why = error.body_text();
        GatewayError::InvalidQuery { why }
    })?;
    Ok(parameters)
}

/// The value of a parameter; of several values the last.
pub(super) fn last<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut named = pairs.iter().filter(|(of, _)| of == name);
    named.next_back().map(|(_, value)| value.as_str())
}

/// A number of items to show, of which there are a default and a maximum.
pub(super) fn count(
    name: &'static str,
    text: Option<String>,
    (default, most): (usize, usize),
) -> Result<usize, ApiError> {
    match text {
        None => Ok(default),
        Some(text) => match text.parse() {
            Ok(count) if (1..=most).contains(&count) => Ok(count),
            _ => {
                let expected = format!("a whole number from 1 to {most}");
                Err(wrong(name, &expected, &text))
            }
        },
    }
}

/// The error of a parameter with another value than those that are expected.
pub(super) fn wrong(name: &'static str, expected: &str, found: &str) -> ApiError {
    let message = format!("Invalid '{name}': expected {expected}, found '{found}'.");
    GatewayError::InvalidValue { message }.about(name)
}
