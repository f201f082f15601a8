//! The WIT exports of the tool-stop policy: keeps the configured rules and converts events and reactions.

use codex_policy_settings::component::applying;
use codex_policy_settings::who;

use crate::decide;
use crate::settings::Settings;
use bindings::exports::codex::policy::lifecycle::Need;
use bindings::exports::codex::policy::tool_stop::{Event, Guest as ToolStop, Progress, Reaction};

codex_policy_settings::component! {
    world: "tool-stop-policy",
    name: "codex-tool-stop",
    rules: decide::Rules,
    parse: Settings::parse,
    needs: needs,
}

/// The parts of its questions that the rules read.
fn needs(rules: &decide::Rules) -> Vec<Need> {
    let rules = &rules.rules;
    let callers = rules.iter().any(|rule| rule.who.names_callers());
    let groups = rules.iter().any(|rule| rule.who.names_groups());
    let models = rules.iter().any(|rule| !rule.models.is_empty());
    applying([
        (callers, Need::Caller),
        (groups, Need::Groups),
        (models, Need::Model),
    ])
}

impl ToolStop for Policy {
    fn observe(progress: Progress, event: Event, memo: Vec<u8>) -> (Reaction, Vec<u8>) {
        let event = match &event {
            Event::Called(call) => decide::Event::Called {
                name: &call.name,
                arguments: &call.arguments,
            },
            Event::TextAfterCalls(_) => decide::Event::Text,
            Event::Quiet(_) => decide::Event::Quiet,
        };
        let turn = decide::Turn {
            caller: who::Caller {
                id: &progress.caller.id,
                tenant: progress.caller.tenant.as_deref(),
                groups: &progress.caller.groups,
            },
            model: &progress.model,
            calls: progress.calls,
        };
        // This interface has no denial: without configuration, the policy lets the turn go on.
        let Some(rules) = RULES.get() else {
            return (Reaction::GoOn, memo);
        };
        let (reaction, memo) = rules.observe(turn, event, memo);
        let reaction = match reaction {
            decide::Reaction::GoOn => Reaction::GoOn,
            decide::Reaction::Wait(ms) => Reaction::Wait(ms),
            decide::Reaction::Drop => Reaction::Drop,
            decide::Reaction::HideTail => Reaction::HideTail,
            decide::Reaction::Stop => Reaction::Stop,
        };
        (reaction, memo)
    }
}
