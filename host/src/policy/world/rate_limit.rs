//! The rate-limit policy: its functions, and the questions that it answers.

use serde::Serialize;
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use super::super::Slot;
use super::super::bindings::{Denial, Header, rate_limit, v0_1};
use super::super::contract::Contract;
use super::super::guest::Guest;
use super::super::needs::Needs;
use super::{Kept, Question, World};

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
#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
pub(in crate::policy) struct Quotas(pub(in crate::policy) rate_limit::Ask);

impl Question for Quotas {
    type World = RateLimit;
    type Answer = Vec<rate_limit::Quota>;

    const NAME: &'static str = "quotas";

    fn now_ms(&self) -> u64 {
        self.0.now_ms
    }

    fn declared(self, needs: &Needs) -> Self {
        Self(needs.limits(self.0))
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

/// `rate-limit.decide`.
#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
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

    fn declared(self, needs: &Needs) -> Self {
        Self {
            ask: needs.limits(self.ask),
            statuses: self.statuses,
        }
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
