//! Parses and checks the operator's settings of the tool-stop policy.

use codex_policy::settings::Ignored;
use codex_policy::{Need, Policy, applying};
use codex_policy_settings::who::{Pattern, Who, mistake};
use serde::Deserialize;

use crate::decide::{Mode, Rule, Rules, Treatment};

/// The longest grace; longer pauses are a matter for the host's timeouts.
const LONGEST_GRACE_MS: u32 = 60_000;

/// The treatment of a turn if the settings are empty.
const USUAL: Treatment = Treatment {
    mode: Mode::Off,
    grace_ms: 300,
    max_calls: 0,
    suppress_tail: false,
    dedup: false,
};

/// The settings as they are written; `settings.schema.json` describes the members.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    mode: Option<Mode>,
    grace_ms: Option<u32>,
    max_calls: Option<u32>,
    suppress_tail: Option<bool>,
    dedup: Option<bool>,
    rules: Vec<RuleSettings>,
    /// The facts from the host; this policy needs none of them.
    #[serde(rename = "host")]
    _host: Ignored,
}

/// The treatment of some callers or models, where it differs from the usual one.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RuleSettings {
    callers: Vec<Pattern>,
    groups: Vec<Pattern>,
    tenants: Vec<Pattern>,
    models: Vec<Pattern>,
    mode: Option<Mode>,
    grace_ms: Option<u32>,
    max_calls: Option<u32>,
    suppress_tail: Option<bool>,
    dedup: Option<bool>,
}

impl Policy for Rules {
    const NAME: &'static str = "codex-tool-stop";
    const SCHEMA: &'static str = include_str!("../settings.schema.json");
    type Settings = Settings;

    fn configure(settings: Settings) -> Result<Self, String> {
        let mut mistakes = Vec::new();
        let usual = Treatment {
            mode: settings.mode.unwrap_or(USUAL.mode),
            grace_ms: settings.grace_ms.unwrap_or(USUAL.grace_ms),
            max_calls: settings.max_calls.unwrap_or(USUAL.max_calls),
            suppress_tail: settings.suppress_tail.unwrap_or(USUAL.suppress_tail),
            dedup: settings.dedup.unwrap_or(USUAL.dedup),
        };
        check_grace("", usual.grace_ms, &mut mistakes);
        let rules = settings.rules.into_iter().enumerate();
        let rules = rules
            .map(|(index, rule)| {
                let place = format!("rules[{index}].");
                rule.check(usual, &place, &mut mistakes)
            })
            .collect();
        if mistakes.is_empty() {
            Ok(Self { rules, usual })
        } else {
            Err(mistakes.join("; "))
        }
    }

    fn needs(&self) -> Vec<Need> {
        let any = |reads: fn(&Rule) -> bool| self.rules.iter().any(reads);
        applying([
            (any(|rule| rule.who.names_callers()), Need::Caller),
            (any(|rule| rule.who.names_groups()), Need::Groups),
            (any(|rule| !rule.models.is_empty()), Need::Model),
        ])
    }
}

impl RuleSettings {
    /// The rule; members that it does not set are taken from `usual`.
    fn check(self, usual: Treatment, place: &str, mistakes: &mut Vec<String>) -> Rule {
        let lists = [
            ("callers", &self.callers),
            ("groups", &self.groups),
            ("tenants", &self.tenants),
            ("models", &self.models),
        ];
        for (name, list) in lists {
            if let Some(what) = mistake(list) {
                mistakes.push(format!("{place}{name}: {what}"));
            }
        }
        let treatment = Treatment {
            mode: self.mode.unwrap_or(usual.mode),
            grace_ms: self.grace_ms.unwrap_or(usual.grace_ms),
            max_calls: self.max_calls.unwrap_or(usual.max_calls),
            suppress_tail: self.suppress_tail.unwrap_or(usual.suppress_tail),
            dedup: self.dedup.unwrap_or(usual.dedup),
        };
        if self.grace_ms.is_some() {
            check_grace(place, treatment.grace_ms, mistakes);
        }
        Rule {
            who: Who::new(self.callers, self.groups, self.tenants),
            models: self.models.iter().map(Pattern::to_lower_case).collect(),
            treatment,
        }
    }
}

fn check_grace(place: &str, grace_ms: u32, mistakes: &mut Vec<String>) {
    if grace_ms > LONGEST_GRACE_MS {
        mistakes.push(format!(
            "{place}grace_ms: give milliseconds up to {LONGEST_GRACE_MS}"
        ));
    }
}

#[cfg(test)]
mod tests;
