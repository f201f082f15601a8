//! Rate-limits a request: what it drew is settled when it is over.

use super::facts::Fact;
use super::request_context::RequestContext;
use super::{Shared, client_addr};
use crate::openai::ApiError;
use crate::policy::{Admitted, Caller, Refused, rate_limit};

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
    let admitted = context.generation().admit(ask, &*shared.counters).await;
    let Admitted {
        headers,
        reservation,
    } = admitted.inspect_err(|refused| {
        if let Refused::Counters(error) = refused {
            tracing::error!(%error, "rate limits");
        }
    })?;
    if let Some(reservation) = reservation {
        context.record(Fact::Drawn(reservation));
    }
    context.add_limits(&headers);
    Ok(())
}
