//! The WIT exports of the model policy: keeps the configured rules and converts questions and results.

use codex_policy_settings::component::applying;
use codex_policy_settings::who;

use crate::decide;
use crate::settings::Settings;
use bindings::codex::policy::types::{Caller, Denial};
use bindings::exports::codex::policy::lifecycle::Need;
use bindings::exports::codex::policy::model::{Ask, Card, Guest as Model, Target};

codex_policy_settings::component! {
    world: "model-policy",
    name: "codex-model",
    rules: decide::Rules,
    parse: Settings::parse,
    needs: needs,
}

/// The parts of its questions that the rules read.
fn needs(rules: &decide::Rules) -> Vec<Need> {
    let access = rules.access.as_deref().unwrap_or_default();
    let callers = access.iter().any(|entry| entry.who.names_callers());
    let groups = access.iter().any(|entry| entry.who.names_groups());
    applying([
        (true, Need::Model),
        (true, Need::Effort),
        (callers, Need::Caller),
        (groups, Need::Groups),
    ])
}

impl Model for Policy {
    fn catalog(caller: Option<Caller>) -> Vec<Card> {
        let Some(rules) = RULES.get() else {
            return Vec::new();
        };
        let card = |id: &String| Card {
            id: id.clone(),
            owned_by: rules.owned_by.clone(),
            // The list holds names, not releases, so there is no date of creation.
            created: 0,
        };
        rules.list(caller.as_ref().map(view)).map(card).collect()
    }

    fn resolve(ask: Ask) -> Result<Target, Denial> {
        let rules = RULES.get().ok_or_else(unconfigured)?;
        let caller = view(&ask.caller);
        let target = rules.resolve(caller, ask.requested.as_deref(), ask.effort.as_deref())?;
        Ok(Target {
            id: target.id,
            model: target.model,
            effort: target.effort,
            provider: target.provider,
        })
    }
}

fn view(caller: &Caller) -> who::Caller<'_> {
    who::Caller {
        id: &caller.id,
        tenant: caller.tenant.as_deref(),
        groups: &caller.groups,
    }
}

impl From<decide::Denial> for Denial {
    fn from(denial: decide::Denial) -> Self {
        Self {
            status: denial.status,
            kind: denial.kind.to_owned(),
            code: denial.code.to_owned(),
            message: denial.message,
            param: denial.param.map(str::to_owned),
            headers: Vec::new(),
        }
    }
}

fn unconfigured() -> Denial {
    Denial {
        status: 503,
        kind: "server_error".to_owned(),
        code: "policy_unavailable".to_owned(),
        message: "The model policy has not been configured.".to_owned(),
        param: None,
        headers: Vec::new(),
    }
}
