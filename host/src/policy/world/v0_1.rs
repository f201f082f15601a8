//! Translates questions and answers between version 0.1 of the contract and the newest one.

use super::super::bindings::{forward_auth, model, rate_limit, tool_stop, v0_1};

impl From<v0_1::forward_auth::Grant> for forward_auth::Grant {
    fn from(grant: v0_1::forward_auth::Grant) -> Self {
        Self {
            caller: grant.caller,
            headers: grant.headers,
        }
    }
}

impl From<v0_1::model::Card> for model::Card {
    fn from(card: v0_1::model::Card) -> Self {
        Self {
            id: card.id,
            owned_by: card.owned_by,
            created: card.created,
        }
    }
}

impl From<&model::Ask> for v0_1::model::Ask {
    fn from(ask: &model::Ask) -> Self {
        Self {
            caller: ask.caller.clone(),
            requested: ask.requested.clone(),
            effort: ask.effort.clone(),
        }
    }
}

impl From<v0_1::model::Target> for model::Target {
    fn from(target: v0_1::model::Target) -> Self {
        Self {
            id: target.id,
            model: target.model,
            effort: target.effort,
            provider: target.provider,
        }
    }
}

impl From<&rate_limit::Ask> for v0_1::rate_limit::Ask {
    fn from(ask: &rate_limit::Ask) -> Self {
        Self {
            client: ask.client.clone(),
            caller: ask.caller.clone(),
            endpoint: ask.endpoint.clone(),
            model: ask.model.clone(),
            streaming: ask.streaming,
            estimated_tokens: ask.estimated_tokens,
            now_ms: ask.now_ms,
        }
    }
}

impl From<v0_1::rate_limit::Quota> for rate_limit::Quota {
    fn from(quota: v0_1::rate_limit::Quota) -> Self {
        Self {
            name: quota.name,
            key: quota.key,
            unit: match quota.unit {
                v0_1::rate_limit::Unit::Requests => rate_limit::Unit::Requests,
                v0_1::rate_limit::Unit::Tokens => rate_limit::Unit::Tokens,
                v0_1::rate_limit::Unit::Concurrent => rate_limit::Unit::Concurrent,
            },
            limit: quota.limit,
            window_ms: quota.window_ms,
            cost: quota.cost,
        }
    }
}

impl From<&rate_limit::BucketStatus> for v0_1::rate_limit::Standing {
    fn from(status: &rate_limit::BucketStatus) -> Self {
        Self {
            name: status.name.clone(),
            granted: status.granted,
            remaining: status.remaining,
            reset_ms: status.reset_ms,
        }
    }
}

impl From<&tool_stop::Progress> for v0_1::tool_stop::Progress {
    fn from(progress: &tool_stop::Progress) -> Self {
        Self {
            caller: progress.caller.clone(),
            model: progress.model.clone(),
            streaming: progress.streaming,
            calls: progress.calls,
            elapsed_ms: progress.elapsed_ms,
        }
    }
}

impl From<&tool_stop::Event> for v0_1::tool_stop::Event {
    fn from(event: &tool_stop::Event) -> Self {
        match event {
            tool_stop::Event::Called(call) => Self::Called(v0_1::tool_stop::Call {
                name: call.name.clone(),
                arguments: call.arguments.clone(),
                textual: call.textual,
                index: call.index,
            }),
            tool_stop::Event::TextAfterCalls(bytes) => Self::TextAfterCalls(*bytes),
            tool_stop::Event::Quiet(ms) => Self::Quiet(*ms),
        }
    }
}

impl From<v0_1::tool_stop::Reaction> for tool_stop::Reaction {
    fn from(reaction: v0_1::tool_stop::Reaction) -> Self {
        match reaction {
            v0_1::tool_stop::Reaction::GoOn => Self::GoOn,
            v0_1::tool_stop::Reaction::Wait(ms) => Self::Wait(ms),
            v0_1::tool_stop::Reaction::Drop => Self::Drop,
            v0_1::tool_stop::Reaction::HideTail => Self::HideTail,
            v0_1::tool_stop::Reaction::Stop => Self::Stop,
        }
    }
}
