//! Identifies every caller as "guest": the smallest complete policy.

wit_bindgen::generate!({ path: "../../../wit", world: "auth-policy" });

use codex::policy::types::{Caller, Denial, Request};
use exports::codex::policy::{auth, forward_auth, lifecycle};

struct OpenAuth;

impl lifecycle::Guest for OpenAuth {
    fn about() -> lifecycle::Manifest {
        lifecycle::Manifest {
            name: "open-auth".to_owned(),
            version: "0.1.0".to_owned(),
            settings_schema: "{}".to_owned(),
        }
    }

    fn configure(_settings: String) -> Result<(), String> {
        Ok(())
    }

    fn needs() -> Vec<lifecycle::Need> {
        Vec::new()
    }
}

impl auth::Guest for OpenAuth {
    fn authenticate(_request: Request) -> Result<Caller, Denial> {
        Ok(Caller {
            id: "guest".to_owned(),
            tenant: None,
            groups: Vec::new(),
        })
    }
}

impl forward_auth::Guest for OpenAuth {
    fn verify(original: Request) -> Result<forward_auth::Grant, Denial> {
        let caller = <Self as auth::Guest>::authenticate(original)?;
        // Empty headers are sent too: a proxy overwrites only the headers it receives, and a client can invent the others.
        let headers = [
            ("x-auth-caller", "guest"),
            ("x-auth-tenant", ""),
            ("x-auth-groups", ""),
        ];
        let headers = headers
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        Ok(forward_auth::Grant { caller, headers })
    }
}

export!(OpenAuth);
