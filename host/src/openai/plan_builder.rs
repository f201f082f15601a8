//! Builds the plan of a request before the model is decided.

use serde_json::Value;

use super::conversation::{characters, instruction, with_own_ids, without_instructions};
use super::format::Format;
use super::tools::Offer;
use super::{Reading, Target};
use crate::codex::{Item, Plan, Tool};
use crate::turn::Rules;

/// The assumed number of characters per token of a prompt.
const CHARACTERS_PER_TOKEN: u64 = 4;

/// The plan and rules without the model and the conversation.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct PlanBuilder {
    plan: Plan,
    rules: Rules,
    /// Instructions for which Codex has no setting, placed at the end of the conversation.
    closing: Vec<Item>,
    ignore_instructions: bool,
}

impl PlanBuilder {
    pub(super) fn new(offer: Offer, format: Format) -> Self {
        let forbidden = offer.forbidden();
        let (tools, choice) = offer.split();
        let json_object = matches!(format, Format::JsonObject(_));
        let (output_schema, form) = format.split();
        let closing = [form, choice].into_iter().flatten().map(instruction);
        Self {
            rules: Rules {
                tools: !tools.is_empty(),
                offered: tools.iter().map(|tool| tool.name.clone()).collect(),
                forbidden,
                structured: json_object || output_schema.is_some(),
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

    /// Sets the limits of the answer.
    pub(super) fn limit(&mut self, stop: Vec<String>, max_tokens: Option<u64>) {
        self.rules.stop = stop;
        self.rules.max_tokens = max_tokens;
    }

    /// Sets verbosity and service tier, in the API's words.
    pub(super) fn tune(&mut self, verbosity: Option<&str>, service_tier: Option<&str>) {
        self.plan.verbosity = verbosity.map(str::to_owned);
        self.plan.service_tier = match service_tier {
            Some("flex") => Some("flex".to_owned()),
            Some("priority" | "fast") => Some("priority".to_owned()),
            // Codex does this by default, or does not know it.
            _ => None,
        };
    }

    /// Sets the client's name for requests whose prompts begin alike.
    pub(super) fn share(&mut self, cache_key: Option<String>) {
        self.plan.cache_key = cache_key.filter(|key| !key.is_empty());
    }

    /// Sets how reasoning is summarised.
    pub(super) fn reasoning_summary(&mut self, summary: Option<&str>) {
        self.plan.summary = summary.map(str::to_owned);
    }

    /// Drops all that shapes an answer: tools, formats and limits.
    pub(super) fn plain(self) -> Self {
        Self {
            plan: Plan {
                tools: Vec::new(),
                output_schema: None,
                json: false,
                ..self.plan
            },
            rules: Rules::default(),
            closing: Vec::new(),
            ..self
        }
    }

    /// Applies the operator's settings: to the client's instructions, not to the gateway's own at the end.
    pub(super) fn apply(&mut self, reading: &Reading) {
        self.ignore_instructions = reading.ignore_instructions;
    }

    /// The estimated tokens of a prompt with this conversation: the model reads the tools and the schema of its answer, too.
    fn estimate_tokens(&self, history: &[Item]) -> u64 {
        let schema = self.plan.output_schema.as_ref().map_or(0, json_characters);
        let offered = self.plan.tools.iter().map(tool_characters).sum::<u64>() + schema;
        (characters(history) + characters(&self.closing) + offered).div_ceil(CHARACTERS_PER_TOKEN)
    }

    /// The plan for Codex, and the rules that the gateway enforces.
    pub(super) fn into_plan(self, mut history: Vec<Item>, target: Target) -> (Plan, Rules) {
        if self.ignore_instructions {
            history = without_instructions(history);
        }
        let rules = Rules {
            prompt_tokens_estimate: self.estimate_tokens(&history),
            ..self.rules
        };
        let mut history = with_own_ids(history);
        let closing = self.closing.len();
        history.extend(self.closing);
        let plan = Plan {
            closing,
            model: target.model,
            effort: target.effort,
            provider: target.provider,
            history,
            ..self.plan
        };
        (plan, rules)
    }
}

fn tool_characters(tool: &Tool) -> u64 {
    let description = tool.description.as_deref().unwrap_or_default();
    let words = tool.name.chars().count() + description.chars().count();
    words as u64 + json_characters(&tool.parameters)
}

/// The characters of a schema as it is sent, without blanks.
fn json_characters(schema: &Value) -> u64 {
    schema.to_string().chars().count() as u64
}
