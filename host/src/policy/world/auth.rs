//! The auth policy: its functions, and the questions that it answers.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use super::super::Slot;
use super::super::bindings::{Caller, Denial, Request, auth, forward_auth, v0_1};
use super::super::contract::Contract;
use super::super::guest::Guest;
use super::super::mask::{masked_headers, masked_request};
use super::super::needs::Needs;
use super::{Kept, Question, World, size};

/// The functions of the auth policy.
pub(in crate::policy) enum AuthExports {
    V0_2 {
        auth: auth::GuestIndices,
        forward_auth: forward_auth::GuestIndices,
    },
    V0_1 {
        auth: v0_1::auth::GuestIndices,
        forward_auth: v0_1::forward_auth::GuestIndices,
    },
}

/// The auth policy.
pub(in crate::policy) struct Auth {
    pub(in crate::policy) exports: AuthExports,
    pub(in crate::policy) authenticate: Kept<Authenticate>,
    pub(in crate::policy) verify: Kept<Verify>,
}

impl World for Auth {
    const SLOT: Slot = Slot::Auth;

    fn find(contract: Contract, pre: &InstancePre<Guest>) -> wasmtime::Result<Self> {
        let exports = match contract {
            Contract::V0_2 => AuthExports::V0_2 {
                auth: auth::GuestIndices::new(pre)?,
                forward_auth: forward_auth::GuestIndices::new(pre)?,
            },
            Contract::V0_1 => AuthExports::V0_1 {
                auth: v0_1::auth::GuestIndices::new(pre)?,
                forward_auth: v0_1::forward_auth::GuestIndices::new(pre)?,
            },
        };
        Ok(Self {
            exports,
            authenticate: Kept::default(),
            verify: Kept::default(),
        })
    }
}

/// The request without the secret, which its fingerprint stands for.
fn withheld(mut request: Request) -> Request {
    if let Some(credential) = &mut request.credential {
        credential.secret = None;
    }
    request
}

/// As [`withheld`], if there is a secret.
fn without_secret(request: &Request) -> Option<Request> {
    request.credential.as_ref()?.secret.as_ref()?;
    Some(withheld(request.clone()))
}

/// `auth.authenticate`.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(in crate::policy) struct Authenticate(pub(in crate::policy) Request);

impl Question for Authenticate {
    type World = Auth;
    type Answer = Result<Caller, Denial>;

    const NAME: &'static str = "authenticate";

    fn now_ms(&self) -> u64 {
        self.0.now_ms
    }

    fn declared(&self, needs: &Needs) -> Self {
        Self(needs.request(&(&self.0).into()))
    }

    fn size(&self) -> usize {
        size::request(&self.0)
    }

    fn size_of_answer(answer: &Self::Answer) -> usize {
        size::answer(answer, size::caller)
    }

    fn caller_of(answer: &Self::Answer) -> Option<&str> {
        answer.as_ref().ok().map(|caller| caller.id.as_str())
    }

    fn is_secretive(&self) -> bool {
        self.0.credential.is_some()
    }

    fn without_secrets(self) -> Self {
        Self(withheld(self.0))
    }

    fn masked(self) -> Self {
        Self(masked_request(withheld(self.0)))
    }

    fn key(&self) -> Cow<'_, Self> {
        without_secret(&self.0).map_or(Cow::Borrowed(self), |key| Cow::Owned(Self(key)))
    }

    fn memo<'a>(&self, world: &'a Auth) -> Option<&'a Kept<Self>> {
        Some(&world.authenticate)
    }

    async fn ask(
        &self,
        world: &Auth,
        store: &mut Store<Guest>,
        instance: &Instance,
    ) -> wasmtime::Result<Self::Answer> {
        match &world.exports {
            AuthExports::V0_2 { auth, .. } => {
                let guest = auth.load(&mut *store, instance)?;
                guest.call_authenticate(store, &self.0).await
            }
            AuthExports::V0_1 { auth, .. } => {
                let guest = auth.load(&mut *store, instance)?;
                guest.call_authenticate(store, &self.0).await
            }
        }
    }
}

/// `forward-auth.verify`.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(in crate::policy) struct Verify(pub(in crate::policy) Request);

impl Question for Verify {
    type World = Auth;
    type Answer = Result<forward_auth::Grant, Denial>;

    const NAME: &'static str = "verify";

    fn now_ms(&self) -> u64 {
        self.0.now_ms
    }

    fn declared(&self, needs: &Needs) -> Self {
        Self(needs.request(&(&self.0).into()))
    }

    fn size(&self) -> usize {
        size::request(&self.0)
    }

    fn size_of_answer(answer: &Self::Answer) -> usize {
        size::answer(answer, |grant| {
            size::caller(&grant.caller) + size::headers(&grant.headers)
        })
    }

    fn caller_of(answer: &Self::Answer) -> Option<&str> {
        answer.as_ref().ok().map(|grant| grant.caller.id.as_str())
    }

    fn is_secretive(&self) -> bool {
        self.0.credential.is_some()
    }

    fn without_secrets(self) -> Self {
        Self(withheld(self.0))
    }

    fn masked(self) -> Self {
        Self(masked_request(withheld(self.0)))
    }

    fn masked_answer(answer: Self::Answer) -> Self::Answer {
        answer.map(|grant| forward_auth::Grant {
            headers: masked_headers(grant.headers),
            ..grant
        })
    }

    fn key(&self) -> Cow<'_, Self> {
        without_secret(&self.0).map_or(Cow::Borrowed(self), |key| Cow::Owned(Self(key)))
    }

    fn memo<'a>(&self, world: &'a Auth) -> Option<&'a Kept<Self>> {
        Some(&world.verify)
    }

    async fn ask(
        &self,
        world: &Auth,
        store: &mut Store<Guest>,
        instance: &Instance,
    ) -> wasmtime::Result<Self::Answer> {
        match &world.exports {
            AuthExports::V0_2 { forward_auth, .. } => {
                let guest = forward_auth.load(&mut *store, instance)?;
                guest.call_verify(store, &self.0).await
            }
            AuthExports::V0_1 { forward_auth, .. } => {
                let guest = forward_auth.load(&mut *store, instance)?;
                let answer = guest.call_verify(store, &self.0).await?;
                Ok(answer.map(Into::into))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::bindings::Credential;
    use super::*;

    fn request(secret: Option<&str>) -> Request {
        Request {
            id: String::new(),
            method: String::new(),
            path: "/v1/models".to_owned(),
            query: None,
            host: String::new(),
            client: String::new(),
            headers: Vec::new(),
            credential: Some(Credential {
                scheme: "Bearer".to_owned(),
                fingerprint: "f".to_owned(),
                secret: secret.map(str::to_owned),
            }),
            now_ms: 0,
        }
    }

    #[test]
    fn a_secret_is_no_part_of_the_key_of_an_answer() {
        let (with, without) = (request(Some("sk-secret")), request(None));
        assert!(*Authenticate(with.clone()).key() == Authenticate(without.clone()));
        assert!(*Verify(with).key() == Verify(without));
    }
}
