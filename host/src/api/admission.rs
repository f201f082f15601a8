//! Rate-limits a request: the policy names the buckets, the counters draw from them, the policy decides.

use super::request_context::{Fact, RequestContext};
use super::{Shared, client_addr};
use crate::openai::ApiError;
use crate::policy::{Caller, rate_limit};
use crate::quota::{Quota, Unit};
use crate::turn;

/// The facts about a request when the rate-limit policy is asked.
#[derive(Debug, Clone, Default)]
pub(super) struct Ask {
    pub(super) client: String,
    /// Absent before authentication.
    pub(super) caller: Option<Caller>,
    pub(super) endpoint: String,
    pub(super) model: Option<String>,
    pub(super) streaming: bool,
    pub(super) estimated_tokens: u64,
}

/// Draws from the buckets until the request is over, or refuses. The policy's headers are added to the answer.
pub(super) async fn ask(
    shared: &Shared,
    context: &RequestContext,
    ask: Ask,
) -> Result<(), ApiError> {
    let now_ms = client_addr::now_ms();
    let ask = rate_limit::Ask {
        client: ask.client,
        caller: ask.caller,
        endpoint: ask.endpoint,
        model: ask.model,
        streaming: ask.streaming,
        estimated_tokens: ask.estimated_tokens,
        now_ms,
    };
    let Some((quotas, admission)) = context.generation().quotas(ask).await? else {
        return Ok(());
    };
    let spent: Vec<Quota> = quotas.into_iter().map(quota).collect();
    let (statuses, mut reservation) = shared.counters.take(&spent).await.map_err(|error| {
        tracing::error!(%error, "rate limits");
        turn::Error::Policy(error.to_string())
    })?;
    if let Some(reservation) = &mut reservation {
        // A request cancelled before admission is charged nothing.
        reservation.settle(0);
    }
    let statuses = spent
        .iter()
        .zip(statuses)
        .map(|(quota, status)| rate_limit::BucketStatus {
            name: quota.name.clone(),
            granted: status.granted,
            remaining: status.remaining,
            reset_ms: status.reset_ms,
        })
        .collect();
    let headers = match admission.decide(statuses).await {
        Ok(headers) => headers,
        Err(refused) => {
            if let Some(reservation) = reservation {
                reservation.refuse();
            }
            return Err(refused.into());
        }
    };
    // A policy may admit a request that the buckets refused; then there is no reservation.
    if let Some(reservation) = reservation {
        context.record(Fact::Drawn(reservation));
    }
    context.add_limits(&headers);
    Ok(())
}

fn quota(quota: rate_limit::Quota) -> Quota {
    let unit = match quota.unit {
        rate_limit::Unit::Requests => Unit::Requests,
        rate_limit::Unit::Tokens => Unit::Tokens,
        rate_limit::Unit::Concurrent => Unit::Concurrent,
    };
    Quota {
        name: quota.name,
        key: quota.key,
        unit,
        limit: quota.limit,
        window_ms: quota.window_ms,
        cost: quota.cost,
    }
}
