//! Identifies every caller as "guest": the smallest complete policy.

use codex_policy::auth::Auth;
use codex_policy::settings::Ignored;
use codex_policy::{Caller, Denial, Policy, Request};

struct OpenAuth;

impl Policy for OpenAuth {
    const NAME: &'static str = "open-auth";
    type Settings = Ignored;

    fn configure(_: Ignored) -> Result<Self, String> {
        Ok(Self)
    }
}

impl Auth for OpenAuth {
    fn authenticate(&self, _: &Request) -> Result<Caller, Denial> {
        Ok(Caller::new("guest"))
    }
}

codex_policy::export!(auth: OpenAuth);
