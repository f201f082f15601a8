//! The exports that each slot's component must have: found by name, and called in a trial before the policy may serve.

use std::future::Future;

use sha2::{Digest, Sha256};
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use super::Slot;
use super::answer::{GuestAnswer, Nonsense};
use super::bindings::{
    Caller, Credential, Request, auth, forward_auth, model, rate_limit, tool_stop,
};
use super::candidate::Options;
use super::candidate::hex;
use super::guest::Guest;

/// The time that the guests' clocks show in a trial.
const NOW_MS: u64 = 1_700_000_000_000;
const MODEL: &str = "gpt-5";

/// The exports of one slot's policy.
pub(super) trait World: Sized + Send + Sync + 'static {
    /// The slot.
    const SLOT: Slot;

    /// Finds the exports by name.
    fn find(pre: &InstancePre<Guest>) -> wasmtime::Result<Self>;

    /// Type-checks every function and calls each as requests do, with the least and with the most data that a request has.
    /// Denials pass, faults do not.
    fn attempt(&self, trial: &mut Trial<'_>) -> impl Future<Output = wasmtime::Result<()>> + Send;
}

/// Checks a trial's answer as a decision's is checked, so that a breach of the contract is found before the policy serves.
fn sound<A: GuestAnswer>(answer: A) -> wasmtime::Result<A> {
    answer
        .checked()
        .map_err(|found| wasmtime::Error::new(Nonsense(found)))
}

/// An instance in a trial.
pub(super) struct Trial<'a> {
    pub(super) store: &'a mut Store<Guest>,
    pub(super) instance: Instance,
    pub(super) options: Options,
}

impl Trial<'_> {
    /// The store, with the limits of one decision renewed.
    fn rearmed(&mut self) -> &mut Store<Guest> {
        Guest::rearm(self.store, self.options.limits, NOW_MS);
        self.store
    }

    fn requests(&self) -> [Request; 2] {
        let bare = Request {
            id: "trial".to_owned(),
            method: "GET".to_owned(),
            path: "/v1/models".to_owned(),
            query: None,
            host: String::new(),
            client: "127.0.0.1".to_owned(),
            headers: Vec::new(),
            credential: None,
            now_ms: NOW_MS,
        };
        let secret = "sk-trial";
        let full = Request {
            method: "POST".to_owned(),
            path: "/v1/chat/completions".to_owned(),
            query: Some("trial=1".to_owned()),
            host: "localhost".to_owned(),
            headers: vec![("user-agent".to_owned(), "codex-gateway".to_owned())],
            credential: Some(Credential {
                scheme: "Bearer".to_owned(),
                fingerprint: hex(&Sha256::digest(secret)),
                secret: self.options.credential.then(|| secret.to_owned()),
            }),
            ..bare.clone()
        };
        [bare, full]
    }
}

fn caller() -> Caller {
    Caller {
        id: "trial".to_owned(),
        tenant: Some("trial".to_owned()),
        groups: vec!["trial".to_owned()],
    }
}

/// The exports of the auth policy.
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

    async fn attempt(&self, trial: &mut Trial<'_>) -> wasmtime::Result<()> {
        let instance = trial.instance;
        for request in trial.requests() {
            let auth = self.auth.load(trial.rearmed(), &instance)?;
            let _ = sound(auth.call_authenticate(trial.rearmed(), &request).await?)?;
            let verify = self.forward_auth.load(trial.rearmed(), &instance)?;
            let _ = sound(verify.call_verify(trial.rearmed(), &request).await?)?;
        }
        Ok(())
    }
}

/// The exports of the model policy.
pub(super) struct Model(pub(super) model::GuestIndices);

impl World for Model {
    const SLOT: Slot = Slot::Model;

    fn find(pre: &InstancePre<Guest>) -> wasmtime::Result<Self> {
        Ok(Self(model::GuestIndices::new(pre)?))
    }

    async fn attempt(&self, trial: &mut Trial<'_>) -> wasmtime::Result<()> {
        let instance = trial.instance;
        let guest = self.0.load(trial.rearmed(), &instance)?;
        for known in [None, Some(caller())] {
            sound(guest.call_catalog(trial.rearmed(), known.as_ref()).await?)?;
        }
        for requested in [None, Some(MODEL.to_owned())] {
            let ask = model::Ask {
                caller: caller(),
                effort: requested.as_ref().map(|_| "high".to_owned()),
                requested,
            };
            let _ = sound(guest.call_resolve(trial.rearmed(), &ask).await?)?;
        }
        Ok(())
    }
}

/// The exports of the rate-limit policy.
pub(super) struct RateLimit(pub(super) rate_limit::GuestIndices);

impl World for RateLimit {
    const SLOT: Slot = Slot::RateLimit;

    fn find(pre: &InstancePre<Guest>) -> wasmtime::Result<Self> {
        Ok(Self(rate_limit::GuestIndices::new(pre)?))
    }

    async fn attempt(&self, trial: &mut Trial<'_>) -> wasmtime::Result<()> {
        let instance = trial.instance;
        let guest = self.0.load(trial.rearmed(), &instance)?;
        // By address and by caller, as for every request.
        for (caller, granted) in [
            (None, true),
            (Some(caller()), true),
            (Some(caller()), false),
        ] {
            let ask = rate_limit::Ask {
                client: "127.0.0.1".to_owned(),
                endpoint: "/v1/chat/completions".to_owned(),
                model: caller.as_ref().map(|_| MODEL.to_owned()),
                streaming: caller.is_some(),
                estimated_tokens: if caller.is_some() { 1_000 } else { 0 },
                caller,
                now_ms: NOW_MS,
            };
            let quotas = sound(guest.call_quotas(trial.rearmed(), &ask).await?)?;
            let standings = quotas.into_iter().map(|quota| rate_limit::Standing {
                name: quota.name,
                granted,
                remaining: if granted { quota.limit } else { 0 },
                reset_ms: quota.window_ms,
            });
            let standings: Vec<_> = standings.collect();
            let _ = sound(guest.call_decide(trial.rearmed(), &ask, &standings).await?)?;
        }
        Ok(())
    }
}

/// The exports of the tool-stop policy.
pub(super) struct ToolStop(pub(super) tool_stop::GuestIndices);

impl World for ToolStop {
    const SLOT: Slot = Slot::ToolStop;

    fn find(pre: &InstancePre<Guest>) -> wasmtime::Result<Self> {
        Ok(Self(tool_stop::GuestIndices::new(pre)?))
    }

    async fn attempt(&self, trial: &mut Trial<'_>) -> wasmtime::Result<()> {
        let instance = trial.instance;
        let guest = self.0.load(trial.rearmed(), &instance)?;
        let call = tool_stop::Call {
            name: "trial".to_owned(),
            arguments: "{}".to_owned(),
            textual: false,
            index: 0,
        };
        let history = [
            tool_stop::Event::Called(call),
            tool_stop::Event::TextAfterCalls(16),
            tool_stop::Event::Quiet(100),
        ];
        let mut memo = Vec::new();
        for (elapsed_ms, event) in (0..).step_by(100).zip(history) {
            let progress = tool_stop::Progress {
                caller: caller(),
                model: MODEL.to_owned(),
                streaming: true,
                calls: 1,
                elapsed_ms,
            };
            let store = trial.rearmed();
            let observed = guest.call_observe(store, &progress, &event, &memo);
            (_, memo) = sound(observed.await?)?;
        }
        Ok(())
    }
}
