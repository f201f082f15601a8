//! The allowance of a caller, as the policies that serve have it now: its keys, the models that it may use, and its buckets.

use std::time::SystemTime;

use serde::Serialize;

use super::bindings::{Caller, rate_limit};
use super::entries::Key;
use super::fault::Fault;
use super::limits::quota;
use super::live::Live;
use super::policies::{Policies, Seat};
use super::world::{Catalog, Question, Quotas};
use crate::quota::{BucketStatus, Quota, Store, Unit};

/// The rights and limits of one caller.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Allowance {
    /// Its keys; absent if the auth policy does not say where its keys are.
    pub keys: Option<Vec<Key>>,
    /// The ids of the models that it may use; absent if the model policy cannot decide.
    pub models: Option<Vec<String>>,
    /// The buckets that its requests draw from.
    pub buckets: Vec<Bucket>,
    /// Why policies could not decide, or why the counters are unavailable.
    pub faults: Vec<String>,
}

/// A bucket, with the amount that is left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bucket {
    /// The name of the rule.
    pub rule: String,
    /// The key of the bucket within the rule.
    pub key: String,
    /// The unit it counts.
    pub unit: Unit,
    /// Its size.
    pub limit: u64,
    /// Milliseconds in which an empty bucket refills; absent where units are returned, not refilled.
    pub window_ms: Option<u64>,
    /// The amount that is left, in whole units.
    pub remaining: u64,
    /// Milliseconds until it is full again; absent as `window_ms` is.
    pub reset_ms: Option<u64>,
}

impl Live {
    /// The allowance of a caller; `asks` are the requests whose buckets are looked at, by address and by caller.
    pub async fn allowance(
        &self,
        caller: &Caller,
        asks: Vec<rate_limit::Ask>,
        counters: &dyn Store,
    ) -> Allowance {
        let serving = self.current();
        let policies = serving.policies();
        let now_ms = asks.first().map_or(0, |ask| ask.now_ms);
        let mut allowance = Allowance {
            keys: policies.auth.entries().keys_of(caller, SystemTime::now()),
            ..Allowance::default()
        };
        let catalog = Catalog {
            caller: Some(caller.clone()),
            now_ms,
        };
        match ask(policies, &catalog).await {
            Ok(cards) => {
                allowance.models = Some(cards.iter().map(|card| card.id.clone()).collect());
            }
            Err(fault) => allowance.faults.push(fault.to_string()),
        }
        let mut quotas: Vec<Quota> = Vec::new();
        for asked in asks.into_iter().map(Quotas) {
            if !policies.rate_limit.is_asked(&asked) {
                continue;
            }
            match ask(policies, &asked).await {
                Ok(found) => found
                    .iter()
                    .map(quota)
                    .for_each(|quota| add(&mut quotas, quota)),
                Err(fault) => {
                    allowance.faults.push(fault.to_string());
                    break;
                }
            }
        }
        match counters.look(&quotas).await {
            Ok(statuses) => {
                let found = quotas.into_iter().zip(statuses);
                allowance.buckets = found
                    .map(|(quota, status)| Bucket::of(quota, status))
                    .collect();
            }
            Err(unavailable) => allowance.faults.push(unavailable.to_string()),
        }
        allowance
    }
}

/// Asks a policy, beside all requests: nothing is remembered of it.
async fn ask<Q: Question<World: Seat>>(policies: &Policies, asked: &Q) -> Result<Q::Answer, Fault> {
    let policy = Q::World::of(policies);
    policy.decide(&asked.declared(policy.needs())).await.answer
}

/// Adds a bucket, unless it is there already.
fn add(quotas: &mut Vec<Quota>, quota: Quota) {
    let is_same = |known: &Quota| {
        (known.unit, &known.name, &known.key) == (quota.unit, &quota.name, &quota.key)
    };
    if !quotas.iter().any(is_same) {
        quotas.push(quota);
    }
}

impl Bucket {
    fn of(quota: Quota, status: BucketStatus) -> Self {
        let refills = quota.unit != Unit::Concurrent;
        Self {
            rule: quota.name,
            key: quota.key,
            unit: quota.unit,
            limit: quota.limit,
            window_ms: refills.then_some(quota.window_ms),
            remaining: status.remaining,
            reset_ms: refills.then_some(status.reset_ms),
        }
    }
}
