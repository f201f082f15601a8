//! Parses and checks the operator's settings of the rate-limit policy.

use codex_policy::rate_limit::Unit;
use codex_policy::settings::Ignored;
use codex_policy::{Need, Policy, applying};
use serde::Deserialize;

use crate::decide::{Rule, Rules};
use crate::scope::{Per, Scope};

/// The endpoints a rule counts if it names none: those that start a turn.
const GENERATING: [&str; 5] = [
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/responses/compact",
    "/v1/completions",
    "/v1/messages",
];

/// The largest limit; with the longest window it keeps the host's arithmetic within 64 bits.
const LARGEST_LIMIT: u64 = 1_000_000_000;

/// The longest window, 31 days.
const LONGEST_WINDOW_MS: u64 = 31 * 24 * 3_600_000;

const MINUTE_MS: u64 = 60_000;

/// The settings as they are written; `settings.schema.json` describes the members.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    rules: Vec<RuleSettings>,
    /// The facts from the host; this policy needs none of them.
    #[serde(rename = "host")]
    _host: Ignored,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RuleSettings {
    name: String,
    unit: Option<Unit>,
    limit: Option<u64>,
    window_ms: Option<u64>,
    per: PerSettings,
    only: Scope,
    except: Scope,
    streaming_only: bool,
    endpoints: Option<Vec<String>>,
}

/// One property, or several.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "expected caller, tenant, address, model or all, or a list of these"
)]
enum PerSettings {
    One(Per),
    Several(Vec<Per>),
}

impl Default for PerSettings {
    fn default() -> Self {
        Self::One(Per::default())
    }
}

impl Policy for Rules {
    const NAME: &'static str = "codex-rate-limit";
    const SCHEMA: &'static str = include_str!("../settings.schema.json");
    type Settings = Settings;

    fn configure(settings: Settings) -> Result<Self, String> {
        let mut mistakes = Vec::new();
        let mut rules: Vec<Rule> = Vec::with_capacity(settings.rules.len());
        for (index, rule) in settings.rules.into_iter().enumerate() {
            let mut complain = |text: &str| mistakes.push(format!("rules[{index}].{text}"));
            if rules.iter().any(|earlier| earlier.name == rule.name) {
                complain("name: an earlier rule has the same, choose another");
            }
            rules.push(check(rule, &mut complain));
        }
        if mistakes.is_empty() {
            Ok(Self(rules))
        } else {
            Err(mistakes.join("; "))
        }
    }

    fn needs(&self) -> Vec<Need> {
        let any = |reads: fn(&Rule) -> bool| self.0.iter().any(reads);
        let callers = any(|rule| {
            let is_of_caller = |per: &Per| matches!(per, Per::Caller | Per::Tenant);
            rule.per.iter().any(is_of_caller)
                || rule.only.names_callers()
                || rule.except.names_callers()
        });
        let models = any(|rule| {
            let named = !(rule.only.models.is_empty() && rule.except.models.is_empty());
            named || rule.per.contains(&Per::Model)
        });
        let groups = any(|rule| !(rule.only.groups.is_empty() && rule.except.groups.is_empty()));
        applying([
            (!self.0.is_empty(), Need::Endpoint),
            (any(|rule| rule.per.contains(&Per::Address)), Need::Client),
            (callers, Need::Caller),
            (groups, Need::Groups),
            (models, Need::Model),
            (any(|rule| rule.streaming_only), Need::Streaming),
            (any(|rule| rule.unit == Unit::Tokens), Need::EstimatedTokens),
            (any(Rule::is_early), Need::ByAddress),
        ])
    }
}

/// The rule, which may only be used if there was no complaint.
fn check(settings: RuleSettings, complain: &mut impl FnMut(&str)) -> Rule {
    let name = settings.name;
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        complain("name: name the rule, in printable ASCII without blanks");
    }
    if settings.unit.is_none() {
        complain("unit: choose requests, tokens or concurrent");
    }
    let unit = settings.unit.unwrap_or(Unit::Requests);
    let limit = settings.limit.unwrap_or(0);
    if !(1..=LARGEST_LIMIT).contains(&limit) {
        complain("limit: give a number from 1 to 1000000000, or leave the rule out");
    }
    let window_ms = match (unit, settings.window_ms) {
        (Unit::Concurrent, None) => 0,
        (_, window) => window.unwrap_or(MINUTE_MS),
    };
    if unit == Unit::Concurrent && settings.window_ms.is_some() {
        complain("window_ms: what is concurrent has no window, leave it out");
    } else if unit != Unit::Concurrent && !(1..=LONGEST_WINDOW_MS).contains(&window_ms) {
        complain("window_ms: give a number from 1 to 2678400000, which is 31 days");
    }
    let per = match settings.per {
        PerSettings::One(per) => vec![per],
        PerSettings::Several(several) => several,
    };
    let repeated = (0..)
        .zip(&per)
        .any(|(end, word)| per.iter().take(end).any(|earlier| earlier == word));
    if per.is_empty() || repeated || (per.len() > 1 && per.contains(&Per::All)) {
        complain("per: name different words, and all only alone");
    }
    let (only, mistake) = settings.only.checked();
    mistake
        .iter()
        .for_each(|text| complain(&format!("only: {text}")));
    let (except, mistake) = settings.except.checked();
    mistake
        .iter()
        .for_each(|text| complain(&format!("except: {text}")));
    let endpoints = settings
        .endpoints
        .unwrap_or_else(|| GENERATING.map(str::to_owned).into());
    if endpoints.is_empty() {
        complain("endpoints: name at least one, or leave it out");
    }
    if !endpoints.iter().all(|entry| is_endpoint(entry)) {
        complain(
            "endpoints: name paths such as \"/v1/responses\", or \"/v1/*\" for all below \"/v1\"",
        );
    }
    let endpoints = endpoints
        .iter()
        .map(|entry| entry.trim_end_matches('/').to_owned())
        .collect();
    Rule {
        name,
        unit,
        limit,
        window_ms,
        per,
        only,
        except,
        streaming_only: settings.streaming_only,
        endpoints,
    }
}

fn is_endpoint(entry: &str) -> bool {
    let path = entry.strip_suffix("/*").unwrap_or(entry);
    let mut bytes = path.bytes();
    entry.starts_with('/') && bytes.all(|byte| byte.is_ascii_graphic() && !b"?#*".contains(&byte))
}

#[cfg(test)]
mod tests;
