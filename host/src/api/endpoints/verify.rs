//! Forward authentication: an edge proxy asks before it lets a request through, and the auth policy answers.

mod original;

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any};
use axum::{RequestPartsExt, Router};

use crate::api::facts::Fact;
use crate::api::middleware::{auth, head};
use crate::api::request_context::RequestContext;
use crate::api::{Shared, canary};
use crate::openai::{ApiError, GatewayError};
use crate::policy::forward_auth::Grant;

/// How a proxy names the request it asks about. The path that its operator configured decides which dialect is read, never the
/// content of the request: proxies pass on headers of the other two that clients made up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Traefik, Caddy: `X-Forwarded-Method`, `X-Forwarded-Uri`, `X-Forwarded-Host`.
    ForwardAuth,
    /// nginx: `X-Original-Method`, and `X-Original-URL` or `X-Original-URI`.
    AuthRequest,
    /// Envoy: its request's own method, and its path and query after [`EXT_AUTHZ`].
    ExtAuthz,
}

/// The prefix of the original path in Envoy's requests.
const EXT_AUTHZ: &str = "/ext-authz";

/// The paths of proxies, each with its dialect.
pub(super) const PATHS: [(&str, Dialect); 4] = [
    ("/verify", Dialect::ForwardAuth),
    ("/auth-request", Dialect::AuthRequest),
    (EXT_AUTHZ, Dialect::ExtAuthz),
    ("/ext-authz/{*path}", Dialect::ExtAuthz),
];

impl Dialect {
    /// nginx turns every refusal but 401 and 403 into a 500; so for nginx every other 4xx becomes 403.
    fn fold(self, mut refused: ApiError) -> ApiError {
        let foldable = (400..500).contains(&refused.status) && refused.status != 401;
        if self == Self::AuthRequest && foldable {
            refused.status = 403;
        }
        refused
    }
}

/// The routes for edge proxies: any method, no body, answered by the policy of the request's generation.
///
/// They are outside the authentication middleware, as they are an authentication themselves. They charge no rate limit: proxies
/// ask twice for one request when a connection breaks, and the request itself is charged when it arrives at a closed route.
pub(in crate::api) fn routes() -> Router<Shared> {
    PATHS
        .into_iter()
        .fold(Router::new(), |routes, (path, dialect)| {
            routes.route(path, asked(dialect))
        })
}

fn asked(dialect: Dialect) -> MethodRouter<Shared> {
    any(
        move |State(shared): State<Shared>, request: Request| async move {
            // The body is not read: it is the proxy's, or empty.
            let (mut parts, _) = request.into_parts();
            answer(&shared, &mut parts, dialect).await
        },
    )
}

async fn answer(shared: &Shared, parts: &mut Parts, dialect: Dialect) -> Response {
    let context: RequestContext = match parts.extract().await {
        Ok(context) => context,
        Err(error) => return error.into_response(),
    };
    context.add_header("cache-control", "no-store");
    context.add_header("x-policy-decision-id", context.id());
    let version = context.generation().number().to_string();
    context.add_header("x-policy-version", &version);
    match decide(shared, &context, parts, dialect).await {
        Ok(granted) => granted.into_response(),
        Err(refused) => {
            let refused = dialect.fold(refused);
            tracing::info!(
                request = context.id(),
                ?dialect,
                status = refused.status,
                code = %refused.code,
                param = refused.param.as_deref(),
                "not let through"
            );
            refused.into_response()
        }
    }
}

/// Asks the policy. Returns the headers that the proxy copies to the request it lets through.
async fn decide(
    shared: &Shared,
    context: &RequestContext,
    parts: &Parts,
    dialect: Dialect,
) -> Result<HeaderMap, ApiError> {
    head::check(parts, &shared.config.trusted)?;
    let about = (context.id(), context.client());
    let read = || original::read(parts, about, dialect, &shared.config.trusted);
    let mut grant = context.generation().verify(read()?).await?;
    if canary::switch(shared, context, &parts.headers, &grant.caller) {
        grant = context.generation().verify(read()?).await?;
    }
    context.record(Fact::Caller(grant.caller.clone()));
    auth::authenticated(parts);
    headers(grant)
}

/// The caller, always in the same three headers, and the policy's own headers: a proxy that copies the three overwrites headers
/// that the client made up, even if a value is empty.
fn headers(grant: Grant) -> Result<HeaderMap, ApiError> {
    let caller = grant.caller;
    let identity = [
        ("x-auth-caller", caller.id),
        ("x-auth-tenant", caller.tenant.unwrap_or_default()),
        ("x-auth-groups", caller.groups.join(",")),
    ];
    let identity = identity.map(|(name, value)| (name.to_owned(), value));
    let mut headers = HeaderMap::new();
    for (name, value) in identity.into_iter().chain(grant.headers) {
        match (HeaderName::try_from(&name), HeaderValue::try_from(value)) {
            (Ok(name), Ok(value)) => headers.insert(name, value),
            // If the header were left out, the one that the client sent would stay.
            _ => {
                let cause = format!("auth policy: a grant whose {name:?} is no valid header");
                tracing::error!(cause, "policy fault");
                return Err(GatewayError::PolicyFault.into());
            }
        };
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::error;
    use crate::policy::Caller;

    fn grant(id: &str, headers: &[(&str, &str)]) -> Grant {
        Grant {
            caller: Caller {
                id: id.to_owned(),
                tenant: None,
                groups: vec!["a".to_owned(), "b".to_owned()],
            },
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn who_is_calling_is_told_also_when_the_policy_does_not() {
        let told = headers(grant("alice", &[("x-extra", "1")])).unwrap();
        assert_eq!(told["x-auth-caller"], "alice");
        assert_eq!(told["x-auth-tenant"], "");
        assert_eq!(told["x-auth-groups"], "a,b");
        assert_eq!(told["x-extra"], "1");
        let own = headers(grant("alice", &[("x-auth-caller", "id-7")])).unwrap();
        assert_eq!(own["x-auth-caller"], "id-7", "the policy's word counts");
    }

    #[test]
    fn a_grant_that_cannot_be_sent_is_none() {
        for broken in [
            grant("alice\r\nx-auth-groups: admin", &[]),
            grant("alice", &[("x auth", "1")]),
        ] {
            assert_eq!(headers(broken).unwrap_err().status, 503);
        }
    }

    #[test]
    fn only_nginx_gets_refusals_folded_and_never_failures() {
        let fold = |dialect: Dialect, status| {
            let mut refused = error::internal();
            refused.status = status;
            dialect.fold(refused).status
        };
        let folded = [400, 401, 402, 403, 404, 429, 499, 500, 503]
            .map(|status| fold(Dialect::AuthRequest, status));
        assert_eq!(folded, [403, 401, 403, 403, 403, 403, 403, 500, 503]);
        assert_eq!(fold(Dialect::ForwardAuth, 429), 429);
        assert_eq!(fold(Dialect::ExtAuthz, 429), 429);
    }
}
