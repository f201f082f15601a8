//! A request as Codex will be asked it, while the model is not decided yet.

use super::conversation::{characters, instruction, without_instructions};
use super::format::Format;
use super::tools::Offer;
use super::{Reading, Target};
use crate::codex::{Item, Plan};
use crate::turn::Rules;

/// Characters a token of a prompt is taken to have.
const CHARACTERS_PER_TOKEN: u64 = 4;

/// All but the model and the conversation.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct PlanBuilder {
    plan: Plan,
    rules: Rules,
    /// What Codex can only be told in words, at the end of the conversation.
    closing: Vec<Item>,
    ignore_instructions: bool,
}

impl PlanBuilder {
    pub(super) fn new(offer: Offer, format: Format) -> Self {
        let (tools, choice) = offer.split();
        let json_object = matches!(format, Format::JsonObject(_));
        let (output_schema, form) = format.split();
        let closing = [form, choice].into_iter().flatten().map(instruction);
        Self {
            rules: Rules {
                tools: !tools.is_empty(),
                json_object,
                ..Rules::default()
            },
            plan: Plan {
                tools,
                json: json_object || output_schema.is_some(),
                output_schema,
                ..Plan::default()
            },
            closing: closing.collect(),
            ignore_instructions: false,
        }
    }

    /// What the answer ends at.
    pub(super) fn limit(&mut self, stop: Vec<String>, max_tokens: Option<u64>) {
        self.rules.stop = stop;
        self.rules.max_tokens = max_tokens;
    }

    /// How the model is to work, in the API's words.
    pub(super) fn tune(&mut self, verbosity: Option<&str>, service_tier: Option<&str>) {
        self.plan.verbosity = verbosity.map(str::to_owned);
        self.plan.service_tier = match service_tier {
            Some("flex") => Some("flex".to_owned()),
            Some("priority" | "fast") => Some("priority".to_owned()),
            // What Codex does anyway, or does not know.
            _ => None,
        };
    }

    /// How reasoning is to be told.
    pub(super) fn reasoning_summary(&mut self, summary: Option<&str>) {
        self.plan.summary = summary.map(str::to_owned);
    }

    /// What the operator decided: about all that is asked but the closing words, which are ours.
    pub(super) fn apply(&mut self, reading: &Reading) {
        self.ignore_instructions = reading.ignore_instructions;
    }

    /// The tokens a prompt with this conversation probably has.
    fn estimate_tokens(&self, history: &[Item]) -> u64 {
        (characters(history) + characters(&self.closing)).div_ceil(CHARACTERS_PER_TOKEN)
    }

    /// What to ask Codex, and what is left for us to enforce.
    pub(super) fn into_plan(self, mut history: Vec<Item>, target: Target) -> (Plan, Rules) {
        if self.ignore_instructions {
            history = without_instructions(history);
        }
        let rules = Rules {
            prompt_tokens_estimate: self.estimate_tokens(&history),
            ..self.rules
        };
        history.extend(self.closing);
        let plan = Plan {
            model: target.model,
            effort: target.effort,
            provider: target.provider,
            history,
            ..self.plan
        };
        (plan, rules)
    }
}
