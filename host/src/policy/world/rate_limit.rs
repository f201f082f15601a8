//! The rate-limit policy: its functions, and the questions that it answers.

use std::borrow::Cow;
use std::mem::size_of;

use serde::{Deserialize, Serialize};
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use super::super::Slot;
use super::super::bindings::{Caller, Denial, Header, rate_limit, v0_1};
use super::super::contract::Contract;
use super::super::guest::Guest;
use super::super::needs::Needs;
use super::{Kept, Question, World, size};

/// The functions of the rate-limit policy.
pub(in crate::policy) enum RateLimitExports {
    V0_2(rate_limit::GuestIndices),
    V0_1(v0_1::rate_limit::GuestIndices),
}

/// The rate-limit policy.
pub(in crate::policy) struct RateLimit {
    pub(in crate::policy) exports: RateLimitExports,
    pub(in crate::policy) quotas: Kept<Quotas>,
    pub(in crate::policy) decide: Kept<Decide>,
}

impl World for RateLimit {
    const SLOT: Slot = Slot::RateLimit;

    fn find(contract: Contract, pre: &InstancePre<Guest>) -> wasmtime::Result<Self> {
        let exports = match contract {
            Contract::V0_2 => RateLimitExports::V0_2(rate_limit::GuestIndices::new(pre)?),
            Contract::V0_1 => RateLimitExports::V0_1(v0_1::rate_limit::GuestIndices::new(pre)?),
        };
        Ok(Self {
            exports,
            quotas: Kept::default(),
            decide: Kept::default(),
        })
    }
}

/// `rate-limit.quotas`.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(in crate::policy) struct Quotas(pub(in crate::policy) rate_limit::Ask);

impl Question for Quotas {
    type World = RateLimit;
    type Answer = Vec<rate_limit::Quota>;

    const NAME: &'static str = "quotas";

    fn now_ms(&self) -> u64 {
        self.0.now_ms
    }

    fn declared(&self, needs: &Needs) -> Self {
        Self(needs.limits(&self.0))
    }

    fn size(&self) -> usize {
        size_of_ask(&self.0)
    }

    fn size_of_answer(answer: &Self::Answer) -> usize {
        let quotas = answer.iter();
        quotas
            .map(|quota| size_of::<rate_limit::Quota>() + quota.name.len() + quota.key.len())
            .sum()
    }

    fn subject(&self) -> (Option<&str>, Option<&str>) {
        let rate_limit::Ask { caller, model, .. } = &self.0;
        let caller = caller.as_ref().map(|caller| caller.id.as_str());
        (caller, model.as_deref())
    }

    fn with(&self, caller: Option<&Caller>, model: Option<&str>) -> Cow<'_, Self> {
        let mut other = self.clone();
        let rate_limit::Ask {
            caller: asked,
            model: named,
            ..
        } = &mut other.0;
        if let (Some(asked), Some(caller)) = (asked, caller) {
            asked.clone_from(caller);
        }
        if let (Some(named), Some(model)) = (named, model) {
            model.clone_into(named);
        }
        match other == *self {
            true => Cow::Borrowed(self),
            false => Cow::Owned(other),
        }
    }

    fn memo<'a>(&self, world: &'a RateLimit) -> Option<&'a Kept<Self>> {
        Some(&world.quotas)
    }

    async fn ask(
        &self,
        world: &RateLimit,
        store: &mut Store<Guest>,
        instance: &Instance,
    ) -> wasmtime::Result<Self::Answer> {
        match &world.exports {
            RateLimitExports::V0_2(rate_limit) => {
                let guest = rate_limit.load(&mut *store, instance)?;
                guest.call_quotas(store, &self.0).await
            }
            RateLimitExports::V0_1(rate_limit) => {
                let guest = rate_limit.load(&mut *store, instance)?;
                let quotas = guest.call_quotas(store, &(&self.0).into()).await?;
                Ok(quotas.into_iter().map(Into::into).collect())
            }
        }
    }
}

fn size_of_ask(ask: &rate_limit::Ask) -> usize {
    let caller = ask.caller.as_ref().map_or(0, size::caller);
    ask.client.len() + ask.endpoint.len() + size::option(&ask.model) + caller
}

/// `rate-limit.decide`.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(in crate::policy) struct Decide {
    pub(in crate::policy) ask: rate_limit::Ask,
    pub(in crate::policy) statuses: Vec<rate_limit::BucketStatus>,
}

impl Question for Decide {
    type World = RateLimit;
    type Answer = Result<Vec<Header>, Denial>;

    const NAME: &'static str = "admit";

    fn now_ms(&self) -> u64 {
        self.ask.now_ms
    }

    fn declared(&self, needs: &Needs) -> Self {
        Self {
            ask: needs.limits(&self.ask),
            statuses: self.statuses.clone(),
        }
    }

    fn size(&self) -> usize {
        let statuses = self.statuses.iter();
        let statuses = statuses
            .map(|status| size_of::<rate_limit::BucketStatus>() + status.name.len())
            .sum::<usize>();
        size_of_ask(&self.ask) + statuses
    }

    fn size_of_answer(answer: &Self::Answer) -> usize {
        size::answer(answer, |headers| size::headers(headers))
    }

    fn subject(&self) -> (Option<&str>, Option<&str>) {
        let rate_limit::Ask { caller, model, .. } = &self.ask;
        let caller = caller.as_ref().map(|caller| caller.id.as_str());
        (caller, model.as_deref())
    }

    fn exhausted(&self) -> Vec<&str> {
        let refused = self.statuses.iter().filter(|status| !status.granted);
        refused.map(|status| status.name.as_str()).collect()
    }

    /// The status of a bucket is seldom what it was: such an answer would only displace others.
    fn memo<'a>(&self, world: &'a RateLimit) -> Option<&'a Kept<Self>> {
        self.statuses.is_empty().then_some(&world.decide)
    }

    async fn ask(
        &self,
        world: &RateLimit,
        store: &mut Store<Guest>,
        instance: &Instance,
    ) -> wasmtime::Result<Self::Answer> {
        match &world.exports {
            RateLimitExports::V0_2(rate_limit) => {
                let guest = rate_limit.load(&mut *store, instance)?;
                guest.call_decide(store, &self.ask, &self.statuses).await
            }
            RateLimitExports::V0_1(rate_limit) => {
                let guest = rate_limit.load(&mut *store, instance)?;
                let statuses: Vec<_> = self.statuses.iter().map(Into::into).collect();
                let ask = (&self.ask).into();
                guest.call_decide(store, &ask, &statuses).await
            }
        }
    }
}
