//! What each slot's component must be able to do: found by type, and tried before it may serve.

use std::future::Future;

use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use super::Slot;
use super::answer::{Answer, Nonsense};
use super::bindings::{Caller, Request, auth, forward_auth, model, rate_limit, tool_stop};
use super::guest::Guest;

/// The exports of one slot's world.
pub(super) trait World: Sized + Send + Sync + 'static {
    /// The slot.
    const SLOT: Slot;

    /// Finds the exports by name.
    fn find(pre: &InstancePre<Guest>) -> wasmtime::Result<Self>;

    /// Type-checks every function and makes one harmless call of each kind. Denials are fine, faults are not.
    fn attempt(
        &self,
        store: &mut Store<Guest>,
        instance: &Instance,
    ) -> impl Future<Output = wasmtime::Result<()>> + Send;
}

/// What serving would make a fault is found here where it can be.
fn sound<A: Answer>(answer: A) -> wasmtime::Result<A> {
    answer
        .checked()
        .map_err(|found| wasmtime::Error::new(Nonsense(found)))
}

fn nobody() -> Caller {
    Caller {
        id: "trial".to_owned(),
        tenant: None,
        groups: Vec::new(),
    }
}

/// Of the auth policy.
pub(super) struct Auth {
    pub(super) auth: auth::GuestIndices,
    pub(super) forward_auth: forward_auth::GuestIndices,
}

impl World for Auth {
    const SLOT: Slot = Slot::Auth;

    fn find(pre: &InstancePre<Guest>) -> wasmtime::Result<Self> {
        Ok(Self {
            auth: auth::GuestIndices::new(pre)?,
            forward_auth: forward_auth::GuestIndices::new(pre)?,
        })
    }

    async fn attempt(&self, store: &mut Store<Guest>, instance: &Instance) -> wasmtime::Result<()> {
        let request = Request {
            id: "trial".to_owned(),
            method: "GET".to_owned(),
            path: "/v1/models".to_owned(),
            query: None,
            host: String::new(),
            client: "127.0.0.1".to_owned(),
            headers: Vec::new(),
            credential: None,
            now_ms: 0,
        };
        let auth = self.auth.load(&mut *store, instance)?;
        let _ = sound(auth.call_authenticate(&mut *store, &request).await?)?;
        let forward_auth = self.forward_auth.load(&mut *store, instance)?;
        let _ = sound(forward_auth.call_verify(&mut *store, &request).await?)?;
        Ok(())
    }
}

/// Of the model policy.
pub(super) struct Model(pub(super) model::GuestIndices);

impl World for Model {
    const SLOT: Slot = Slot::Model;

    fn find(pre: &InstancePre<Guest>) -> wasmtime::Result<Self> {
        Ok(Self(model::GuestIndices::new(pre)?))
    }

    async fn attempt(&self, store: &mut Store<Guest>, instance: &Instance) -> wasmtime::Result<()> {
        let guest = self.0.load(&mut *store, instance)?;
        sound(guest.call_catalog(&mut *store, None).await?)?;
        let ask = model::Ask {
            caller: nobody(),
            requested: None,
            effort: None,
        };
        let _ = sound(guest.call_resolve(&mut *store, &ask).await?)?;
        Ok(())
    }
}

/// Of the rate-limit policy.
pub(super) struct RateLimit(pub(super) rate_limit::GuestIndices);

impl World for RateLimit {
    const SLOT: Slot = Slot::RateLimit;

    fn find(pre: &InstancePre<Guest>) -> wasmtime::Result<Self> {
        Ok(Self(rate_limit::GuestIndices::new(pre)?))
    }

    async fn attempt(&self, store: &mut Store<Guest>, instance: &Instance) -> wasmtime::Result<()> {
        let guest = self.0.load(&mut *store, instance)?;
        let ask = rate_limit::Ask {
            client: "127.0.0.1".to_owned(),
            caller: Some(nobody()),
            endpoint: "/v1/chat/completions".to_owned(),
            model: None,
            streaming: false,
            estimated_tokens: 0,
            now_ms: 0,
        };
        let quotas = sound(guest.call_quotas(&mut *store, &ask).await?)?;
        for granted in [true, false] {
            let standing = |quota: &rate_limit::Quota| rate_limit::Standing {
                name: quota.name.clone(),
                granted,
                remaining: if granted { quota.limit } else { 0 },
                reset_ms: u64::from(!granted),
            };
            let standings: Vec<_> = quotas.iter().map(standing).collect();
            let _ = sound(guest.call_decide(&mut *store, &ask, &standings).await?)?;
        }
        Ok(())
    }
}

/// Of the tool-stop policy.
pub(super) struct ToolStop(pub(super) tool_stop::GuestIndices);

impl World for ToolStop {
    const SLOT: Slot = Slot::ToolStop;

    fn find(pre: &InstancePre<Guest>) -> wasmtime::Result<Self> {
        Ok(Self(tool_stop::GuestIndices::new(pre)?))
    }

    async fn attempt(&self, store: &mut Store<Guest>, instance: &Instance) -> wasmtime::Result<()> {
        let progress = tool_stop::Progress {
            caller: nobody(),
            model: "trial".to_owned(),
            streaming: false,
            calls: 1,
            elapsed_ms: 0,
        };
        let event = tool_stop::Event::Quiet(0);
        let guest = self.0.load(&mut *store, instance)?;
        let observed = guest.call_observe(&mut *store, &progress, &event, &[]);
        sound(observed.await?)?;
        Ok(())
    }
}
