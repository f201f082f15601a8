//! The turns of a request: their plans, and how each of them starts.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;

use super::Shared;
use super::bodies::Room;
use super::request_context::RequestContext;
use super::turn_stream::TurnStream;
use crate::codex::{Order, Plan};
use crate::policy::{Caller, Generation};
use crate::turn::drive::{Exchange, Judge, Limits};
use crate::turn::{self, Rules, Textual};

/// The turns of a request: each prompt is answered `samples` times. The choices of a prompt follow each other, as at OpenAI.
#[derive(Debug)]
pub(super) struct Choices {
    prompts: Vec<(Arc<Plan>, Rules)>,
    samples: u32,
}

impl Choices {
    /// At least one prompt, at least one sample of each.
    pub(super) fn new(prompts: Vec<(Plan, Rules)>, samples: u32) -> Self {
        let shared = |(plan, rules)| (Arc::new(plan), rules);
        Self {
            prompts: prompts.into_iter().map(shared).collect(),
            samples: samples.max(1),
        }
    }

    /// One prompt, one answer.
    pub(super) fn one(plan: Plan, rules: Rules) -> Self {
        Self::new(vec![(plan, rules)], 1)
    }

    pub(super) fn count(&self) -> u32 {
        let prompts = u32::try_from(self.prompts.len()).unwrap_or(u32::MAX);
        prompts.saturating_mul(self.samples)
    }

    /// The estimated tokens of the longest prompt.
    pub(super) fn longest_prompt(&self) -> u64 {
        let tokens = self.rules().map(|rules| rules.prompt_tokens_estimate);
        tokens.max().unwrap_or_default()
    }

    /// The tokens that all turns may cost.
    pub(super) fn estimated_tokens(&self) -> u64 {
        let estimate = |rules: &Rules| {
            let most = rules.max_tokens.unwrap_or_default();
            rules.prompt_tokens_estimate.saturating_add(most)
        };
        let once = self.rules().map(estimate).fold(0, u64::saturating_add);
        once.saturating_mul(self.samples.into())
    }

    fn rules(&self) -> impl Iterator<Item = &Rules> {
        self.prompts.iter().map(|(_, rules)| rules)
    }

    /// Notes the caller and the request of all plans.
    pub(super) fn sign(&mut self, caller: &Caller, request: &str) {
        let caller = key(caller);
        for (plan, _) in &mut self.prompts {
            let plan = Arc::make_mut(plan);
            plan.caller.clone_from(&caller);
            request.clone_into(&mut plan.request);
        }
    }

    /// The plan of a choice. Those of a prompt share it: no conversation is copied.
    fn plan(&self, choice: u32) -> Option<(Arc<Plan>, Rules)> {
        let prompt = usize::try_from(choice / self.samples).ok()?;
        let (plan, mut rules) = self.prompts.get(prompt)?.clone();
        if let Textual::Calls { id_prefix } = &mut rules.textual_tools {
            // Clients send the ids back: they are unique among the choices.
            *id_prefix += &format!("{choice}_");
        }
        Some((plan, rules))
    }
}

/// Starts the turns of a request.
pub(super) struct Starter {
    pub(super) shared: Shared,
    pub(super) context: RequestContext,
    pub(super) caller: Caller,
    /// The model's name in the answer.
    pub(super) model: String,
    pub(super) streaming: bool,
    pub(super) limits: Limits,
    /// The client asks for Codex's own activity.
    pub(super) tells_activity: bool,
    pub(super) choices: Choices,
    /// The memory for the body and the choices: released with them, when all have begun.
    pub(super) _room: Room,
}

impl Starter {
    /// Starts the turn of a choice. A choice can be started again. `follows`: see [`Order`].
    pub(super) fn start(
        &self,
        choice: u32,
        follows: bool,
    ) -> impl Future<Output = Result<TurnStream, turn::Error>> + Send + use<> {
        let planned = self.choices.plan(choice);
        let judge = self.judge();
        let limits = self.limits.clone();
        let (backend, context) = (self.shared.backend.clone(), self.context.clone());
        let tells_activity = self.tells_activity;
        async move {
            // A choice without a plan would be a defect of the gateway.
            let (plan, rules) = planned.ok_or(turn::Error::Panicked)?;
            let began = context.elapsed();
            let order = Order { plan, follows };
            let start = Exchange::start(&backend, order, rules, judge, limits);
            let started = AssertUnwindSafe(start).catch_unwind().await;
            let exchange = started.unwrap_or(Err(turn::Error::Panicked))?;
            Ok(TurnStream::new(exchange, context, began, tells_activity))
        }
    }

    /// Each turn has a judge of its own: the tool-stop policy's memo is about one turn.
    fn judge(&self) -> Judge {
        let generation: Arc<Generation> = Arc::clone(self.context.generation());
        let (caller, model) = (self.caller.clone(), self.model.clone());
        Judge::new(generation, caller, model, self.streaming)
    }
}

/// The key of a caller and its tenant. Both are free texts: the length keeps two pairs apart.
pub(super) fn key(caller: &Caller) -> String {
    let Caller { id, tenant, .. } = caller;
    let tenant = tenant.as_deref().unwrap_or_default();
    format!("{} {id} {tenant}", id.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(tokens: u64, most: Option<u64>) -> (Plan, Rules) {
        let plan = Plan {
            model: format!("model-{tokens}"),
            ..Plan::default()
        };
        let rules = Rules {
            prompt_tokens_estimate: tokens,
            max_tokens: most,
            textual_tools: Textual::Calls {
                id_prefix: "call_x_".to_owned(),
            },
            ..Rules::default()
        };
        (plan, rules)
    }

    #[test]
    fn the_choices_of_a_prompt_follow_each_other() {
        let choices = Choices::new(vec![prompt(3, Some(10)), prompt(5, None)], 3);
        assert_eq!(choices.count(), 6);
        assert_eq!(choices.longest_prompt(), 5);
        assert_eq!(choices.estimated_tokens(), 3 * (13 + 5));
        let mut found = Vec::new();
        for choice in 0..6 {
            let (plan, rules) = choices.plan(choice).unwrap();
            found.push((plan.model.clone(), rules.textual_tools));
        }
        let expected = |choice: u32| {
            let model = if choice < 3 { "model-3" } else { "model-5" };
            let id_prefix = format!("call_x_{choice}_");
            (model.to_owned(), Textual::Calls { id_prefix })
        };
        assert_eq!(found, (0..6).map(expected).collect::<Vec<_>>());
        assert!(choices.plan(6).is_none());
        let one = Choices::new(vec![prompt(3, None)], 1);
        let id_prefix = "call_x_0_".to_owned();
        let (_, rules) = one.plan(0).unwrap();
        assert_eq!(rules.textual_tools, Textual::Calls { id_prefix });
    }
}
