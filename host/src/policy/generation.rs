//! A generation: the four prepared policies that a request holds from its first byte to its last.

use std::sync::Arc;
use std::time::Instant;

use super::Slot;
use super::bindings::{Caller, Request, forward_auth, model, rate_limit, tool_stop};
use super::candidate::About;
use super::component::Policy;
use super::fault::{Fault, Refused};
use super::given::Files;
use super::observer::{Decision, DecisionOutcome, Failure, Observer};
use super::world::{Auth, Model, RateLimit, ToolStop, World};

/// Four policies that serve together.
pub struct Generation {
    pub(super) number: u64,
    pub(super) auth: Arc<Policy<Auth>>,
    pub(super) model: Arc<Policy<Model>>,
    pub(super) rate_limit: Arc<Policy<RateLimit>>,
    pub(super) tool_stop: Arc<Policy<ToolStop>>,
    /// Receives every decision.
    pub(super) observer: Option<Arc<dyn Observer>>,
}

/// One slot of a generation, for health and metrics.
#[derive(Debug, Clone, serde::Serialize)]
pub struct SlotStatus {
    /// The slot's name.
    pub slot: &'static str,
    /// The component in it.
    #[serde(flatten)]
    pub about: About,
    /// The number of faults since the policy was prepared.
    pub faults: u64,
}

fn status<W: World>(policy: &Policy<W>) -> SlotStatus {
    SlotStatus {
        slot: W::SLOT.name(),
        about: policy.about().clone(),
        faults: policy.faults(),
    }
}

/// Turns a denial of the contract's type into [`Refused`].
fn decided<T>(answer: Result<T, super::Denial>) -> Result<T, Refused> {
    answer.map_err(|denial| Refused::Denied(Box::new(denial)))
}

/// Calls a function of a policy in one instance of it: `ask!(policy, now, interface.function(arguments))`.
macro_rules! ask {
    ($policy:expr, $now:expr, $interface:tt.$function:ident($($argument:expr),*)) => {
        $policy
            .decide($now, |world, store, instance| {
                Box::pin(async move {
                    let interface = world.$interface.load(&mut *store, instance)?;
                    interface.$function(&mut *store, $($argument),*).await
                })
            })
            .await
    };
}

impl Generation {
    /// The number, which counts up from 1 with every swap; sent to clients as `x-codex-generation`.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The same policies for one request: the observer receives each of its decisions.
    #[must_use]
    pub fn observed(&self, observer: Arc<dyn Observer>) -> Self {
        Self {
            number: self.number,
            auth: Arc::clone(&self.auth),
            model: Arc::clone(&self.model),
            rate_limit: Arc::clone(&self.rate_limit),
            tool_stop: Arc::clone(&self.tool_stop),
            observer: Some(observer),
        }
    }

    /// The policies that serve, slot by slot.
    #[must_use]
    pub fn slots(&self) -> [SlotStatus; Slot::COUNT] {
        [
            status(&self.auth),
            status(&self.model),
            status(&self.rate_limit),
            status(&self.tool_stop),
        ]
    }

    /// Asks the auth policy who is calling.
    ///
    /// # Errors
    /// The policy's denial, or its fault.
    pub async fn authenticate(&self, mut request: Request) -> Result<Caller, Refused> {
        self.told(Slot::Auth, "authenticate", async move {
            self.withhold_secret(&mut request);
            let now = request.now_ms;
            let answer = ask!(self.auth, now, auth.call_authenticate(&request))?;
            decided(answer)
        })
        .await
    }

    /// Asks the auth policy whether an edge proxy may let this request through.
    ///
    /// # Errors
    /// The policy's denial, or its fault.
    pub async fn verify(&self, mut original: Request) -> Result<forward_auth::Grant, Refused> {
        self.told(Slot::Auth, "verify", async move {
            self.withhold_secret(&mut original);
            let now = original.now_ms;
            let answer = ask!(self.auth, now, forward_auth.call_verify(&original))?;
            decided(answer)
        })
        .await
    }

    /// Asks the model policy which models this caller may see.
    ///
    /// # Errors
    /// Only a fault: a policy that shows no models returns an empty list.
    pub async fn catalog(
        &self,
        caller: Option<Caller>,
        now_ms: u64,
    ) -> Result<Vec<model::Card>, Refused> {
        self.told(Slot::Model, "catalog", async move {
            Ok(ask!(self.model, now_ms, 0.call_catalog(caller.as_ref()))?)
        })
        .await
    }

    /// Asks the model policy which model runs.
    ///
    /// # Errors
    /// The policy's denial, or its fault.
    pub async fn resolve(&self, ask: model::Ask, now_ms: u64) -> Result<model::Target, Refused> {
        self.told(Slot::Model, "resolve", async move {
            let answer = ask!(self.model, now_ms, 0.call_resolve(&ask))?;
            decided(answer)
        })
        .await
    }

    /// Asks the rate-limit policy which buckets this request draws from.
    ///
    /// # Errors
    /// Only a fault.
    pub async fn quotas(&self, ask: rate_limit::Ask) -> Result<Vec<rate_limit::Quota>, Refused> {
        self.told(Slot::RateLimit, "quotas", async move {
            Ok(ask!(self.rate_limit, ask.now_ms, 0.call_quotas(&ask))?)
        })
        .await
    }

    /// Asks the rate-limit policy whether the request may go on, given the status of its buckets.
    ///
    /// # Errors
    /// The policy's denial, or its fault.
    pub async fn admit(
        &self,
        ask: rate_limit::Ask,
        standings: Vec<rate_limit::Standing>,
    ) -> Result<Vec<super::Header>, Refused> {
        self.told(Slot::RateLimit, "admit", async move {
            let answer = ask!(self.rate_limit, ask.now_ms, 0.call_decide(&ask, &standings))?;
            decided(answer)
        })
        .await
    }

    /// Asks the tool-stop policy whether the turn goes on after this event.
    ///
    /// # Errors
    /// Only a fault.
    pub async fn observe(
        &self,
        progress: tool_stop::Progress,
        event: tool_stop::Event,
        memo: Vec<u8>,
    ) -> Result<(tool_stop::Reaction, Vec<u8>), Fault> {
        self.told(Slot::ToolStop, "observe", async move {
            ask!(self.tool_stop, 0, 0.call_observe(&progress, &event, &memo))
        })
        .await
    }

    /// Makes a decision, and passes its outcome to the observer.
    async fn told<T, E: Failure>(
        &self,
        slot: Slot,
        question: &'static str,
        decision: impl Future<Output = Result<T, E>> + Send,
    ) -> Result<T, E> {
        let Some(observer) = &self.observer else {
            return decision.await;
        };
        let started = Instant::now();
        let answer = decision.await;
        let elapsed = started.elapsed();
        observer.decided(&Decision {
            slot,
            question,
            outcome: answer
                .as_ref()
                .err()
                .map_or(DecisionOutcome::Answered, Failure::outcome),
            elapsed,
        });
        answer
    }

    fn withhold_secret(&self, request: &mut Request) {
        if !self.auth.grants_credential()
            && let Some(credential) = &mut request.credential
        {
            credential.secret = None;
        }
    }
}

impl Generation {
    /// Logs the policies that serve from now on, if they differ from before. Built-in policies get no line each at the start.
    pub(super) fn announce(&self, before: Option<&Self>) {
        let files = self.files();
        if before.is_none() {
            let names = files
                .iter()
                .flat_map(|files| [&files.component, &files.settings]);
            let names: Vec<_> = names.flatten().map(String::as_str).collect();
            let files = (!names.is_empty()).then(|| names.join(", "));
            tracing::info!(generation = self.number, files, "policies serve");
        }
        for (slot, status) in Slot::ALL.into_iter().zip(self.slots()) {
            let is_new = match before {
                Some(before) => before.digest(slot) != self.digest(slot),
                None => files[slot as usize] != Files::default(),
            };
            if is_new {
                self.announce_slot(slot, &status.about);
            }
        }
    }

    fn announce_slot(&self, slot: Slot, about: &About) {
        tracing::info!(
            generation = self.number,
            slot = slot.name(),
            policy = %about.name,
            version = %about.version,
            file = %about.file,
            settings = %about.settings,
            instances = about.instances.name(),
            warm_because = about.warm_because.as_deref(),
            "policy serves"
        );
    }

    /// The operator's files that this generation was made of.
    pub(super) fn files(&self) -> [Files; Slot::COUNT] {
        self.slots()
            .map(|SlotStatus { about, .. }| Files::named(&about.file, &about.settings))
    }

    pub(super) fn digest(&self, slot: Slot) -> [u8; 32] {
        match slot {
            Slot::Auth => self.auth.digest(),
            Slot::Model => self.model.digest(),
            Slot::RateLimit => self.rate_limit.digest(),
            Slot::ToolStop => self.tool_stop.digest(),
        }
    }
}
