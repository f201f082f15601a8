//! URLs that clients with another base URL use for the endpoints under `/v1`.

use std::borrow::Cow;

use axum::extract::Request;
use axum::http::Uri;
use axum::http::uri::PathAndQuery;
use percent_encoding::percent_decode_str;

use crate::openai::MODEL_BYTES;

/// The endpoint that a client means whose base URL is not the gateway's.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Alias {
    /// The path of the endpoint.
    pub(super) path: String,
    /// The model that the URL names, decoded.
    model: Option<String>,
}

/// The model in the URL, which counts whatever model the body names: so it is at Azure.
#[derive(Debug, Clone)]
pub(super) struct ModelOfUrl(pub(super) String);

impl Alias {
    /// Reads a path that is no endpoint's: without `/v1` or with it twice, with slashes too many, or as clients of Azure have it
    /// (`/openai/v1/…`, `/openai/deployments/{model}/…`). None if it is none of these.
    pub(super) fn of(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let (mut rest, mut model) = (parts.as_slice(), None);
        if let Some(azures) = rest.strip_prefix(&["openai"]) {
            rest = azures;
            if let ["deployments", deployment, further @ ..] = azures {
                // The parts have no empty one: the next would pass for the deployment.
                if path.contains("/deployments//") {
                    return None;
                }
                let named = percent_decode_str(deployment).decode_utf8().ok()?;
                if named.len() > MODEL_BYTES {
                    return None;
                }
                (rest, model) = (further, Some(named.into_owned()));
            }
        }
        while let Some(further) = rest.strip_prefix(&["v1"]) {
            rest = further;
        }
        let meant = format!("/v1/{}", rest.join("/"));
        (meant != path && !rest.is_empty()).then_some(Self { path: meant, model })
    }

    /// The path that a client means, whether there is an endpoint or not.
    pub(super) fn meant(path: &str) -> Cow<'_, str> {
        Self::of(path).map_or(Cow::Borrowed(path), |alias| Cow::Owned(alias.path))
    }

    /// Puts the endpoint in place of the client's URL.
    pub(super) fn apply(self, request: &mut Request) {
        let uri = request.uri();
        let target = match uri.query() {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path,
        };
        let mut parts = uri.clone().into_parts();
        // Always possible: it was part of a URI before.
        if let Ok(target) = PathAndQuery::try_from(target) {
            parts.path_and_query = Some(target);
            if let Ok(uri) = Uri::from_parts(parts) {
                *request.uri_mut() = uri;
            }
        }
        if let Some(model) = self.model {
            request.extensions_mut().insert(ModelOfUrl(model));
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn another_base_url_is_recognised() {
        for (path, expected, model) in [
            ("/chat/completions", "/v1/chat/completions", None),
            ("/v1/v1/chat/completions", "/v1/chat/completions", None),
            ("//v1//chat/completions", "/v1/chat/completions", None),
            ("/openai/v1/responses", "/v1/responses", None),
            (
                "/openai/deployments/codex-5/chat/completions",
                "/v1/chat/completions",
                Some("codex-5"),
            ),
            ("/models/codex-5", "/v1/models/codex-5", None),
            (
                "/openai/deployments/team%2Fcodex-5/completions",
                "/v1/completions",
                Some("team/codex-5"),
            ),
        ] {
            let alias = Alias::of(path).unwrap();
            assert_eq!(
                (alias.path.as_str(), alias.model.as_deref()),
                (expected, model)
            );
        }
        for path in [
            "/",
            "/v1",
            "/v1/v1",
            "/openai",
            "/openai/deployments/codex-5",
            "/v1/models",
            "/openai/deployments/%ff/completions",
            "/openai/deployments//chat/completions",
        ] {
            assert_eq!(Alias::of(path), None, "{path}");
        }
        let named = |bytes| format!("/openai/deployments/{}/completions", "m".repeat(bytes));
        assert!(Alias::of(&named(MODEL_BYTES)).is_some());
        assert_eq!(Alias::of(&named(MODEL_BYTES + 1)), None);
    }

    #[test]
    fn the_query_is_kept_and_the_model_told() {
        let uri = "/openai/deployments/codex-5/completions?api-version=2024-10-21";
        let mut request = Request::get(uri).body(Body::empty()).unwrap();
        Alias::of(request.uri().path()).unwrap().apply(&mut request);
        assert_eq!(request.uri(), "/v1/completions?api-version=2024-10-21");
        let model = request.extensions().get::<ModelOfUrl>();
        assert_eq!(model.map(|model| model.0.as_str()), Some("codex-5"));
    }
}
