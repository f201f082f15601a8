//! The WIT exports of the auth policy: keeps the configured rules and converts requests and results.

use crate::decide;
use crate::settings::Settings;
use bindings::codex::policy::types::{Caller, Denial, Request};
use bindings::exports::codex::policy::auth::Guest as Auth;
use bindings::exports::codex::policy::forward_auth::{Grant, Guest as ForwardAuth};
use bindings::exports::codex::policy::lifecycle::Need;

codex_policy_settings::component! {
    world: "auth-policy",
    name: "codex-auth",
    rules: decide::Rules,
    parse: Settings::parse,
    needs: needs,
}

/// The parts of its questions that the rules read.
fn needs(rules: &decide::Rules) -> Vec<Need> {
    let mut needs = vec![Need::Credential];
    if rules.has_open_paths() {
        needs.push(Need::Path);
    }
    if rules.has_expiring_keys() {
        needs.push(Need::Now(decide::EXPIRY_STEP_MS));
    }
    if rules.cors {
        let headers = PREFLIGHT.map(|name| Need::Header(name.to_owned()));
        needs.push(Need::Method);
        needs.extend(headers);
    }
    needs
}

impl Auth for Policy {
    fn authenticate(request: Request) -> Result<Caller, Denial> {
        let rules = RULES.get().ok_or_else(unconfigured)?;
        Ok(rules.authenticate(&view(&request))?.into())
    }
}

impl ForwardAuth for Policy {
    fn verify(original: Request) -> Result<Grant, Denial> {
        let rules = RULES.get().ok_or_else(unconfigured)?;
        let grant = rules.verify(&view(&original))?;
        Ok(Grant {
            caller: grant.caller.into(),
            headers: grant.headers,
        })
    }
}

fn view(request: &Request) -> decide::Request<'_> {
    let credential = request.credential.as_ref();
    decide::Request {
        preflight: is_preflight(request),
        path: &request.path,
        credential: credential.map(|credential| decide::Credential {
            scheme: &credential.scheme,
            fingerprint: &credential.fingerprint,
        }),
        now_ms: request.now_ms,
    }
}

/// The headers of a preflight. Source: the Fetch standard, "CORS-preflight request".
const PREFLIGHT: [&str; 2] = ["origin", "access-control-request-method"];

fn is_preflight(request: &Request) -> bool {
    let has = |wanted: &str| request.headers.iter().any(|(name, _)| name == wanted);
    request.method == "OPTIONS" && PREFLIGHT.into_iter().all(has)
}

impl From<decide::Caller> for Caller {
    fn from(caller: decide::Caller) -> Self {
        Self {
            id: caller.id,
            tenant: caller.tenant,
            groups: caller.groups,
        }
    }
}

impl From<decide::Denial> for Denial {
    fn from(denial: decide::Denial) -> Self {
        Self {
            status: denial.status,
            kind: denial.kind.to_owned(),
            code: denial.code.to_owned(),
            message: denial.message.to_owned(),
            param: None,
            headers: denial.headers,
        }
    }
}

fn unconfigured() -> Denial {
    Denial {
        status: 503,
        kind: "server_error".to_owned(),
        code: "policy_unavailable".to_owned(),
        message: "The auth policy has not been configured.".to_owned(),
        param: None,
        headers: Vec::new(),
    }
}
