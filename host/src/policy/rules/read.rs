//! Reads the rules for new generations from TOML: all mistakes, contradictions included.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::DeTable;

use super::super::callers::{Canary, NAMES};
use super::super::tables::{self, Member, Reading};
use super::{CanaryStep, Gate, Own, Rules, Steps};

/// The most bytes of a candidate's own rules, which have some lines.
const MAX_BYTES: usize = 64 << 10;
/// The longest probation.
const LONGEST_PROBATION: Duration = Duration::from_secs(7 * 86_400);
/// The times of a shadow and of a canary.
const TIMES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(30 * 86_400);
const TIMES_TOLD: &str = "a time as \"10m\", from \"1s\" to \"30d\"";
/// The largest number of decisions or requests.
const MOST: u64 = 1_000_000_000;
/// The most characters of a caller's id, or of a tenant.
const NAME: usize = 256;
/// The most digests that are accepted.
const MOST_ACCEPTED: usize = 16;

/// The members, of which a candidate's own rules have all but the last.
const MEMBERS: [&str; 6] = [
    "shadow",
    "canary",
    "promote",
    "probation",
    "max_denials",
    "accept",
];
const OF_SHADOW: [&str; 4] = ["for", "min_decisions", "max_differ", "max_faults"];
const OF_CANARY: [&str; 5] = ["callers", "tenants", "percent", "for", "min_requests"];

impl Own {
    /// Reads a candidate's `rollout.toml`.
    ///
    /// # Errors
    /// All its mistakes, each with its place and what is expected there.
    pub fn read(bytes: &[u8]) -> Result<Self, Vec<String>> {
        if bytes.len() > MAX_BYTES {
            return Err(vec![format!(
                "expected at most {MAX_BYTES} bytes, found more"
            )]);
        }
        let text = tables::text(bytes).map_err(|mistake| vec![mistake])?;
        let (mut reading, table) = Reading::begin(text)?;
        let (own, _) = reading.rollout("", table.get_ref());
        match reading.mistakes() {
            mistakes if mistakes.is_empty() => Ok(own),
            mistakes => Err(mistakes),
        }
    }
}

/// Where a table and its members are, for mistakes that are of several members.
#[derive(Default)]
struct Places {
    promote: Option<String>,
    canary: Option<String>,
}

impl Reading<'_> {
    /// The table `[rollout]` of `policies.toml`.
    pub(in super::super) fn rules(&mut self, table: &DeTable<'_>) -> Rules {
        let (own, accept) = self.rollout("rollout", table);
        Rules {
            accept,
            ..Rules::default().with(own)
        }
    }

    /// The rules, and the digests that are accepted. Only a table with a `name` may have those.
    fn rollout(&mut self, name: &str, table: &DeTable<'_>) -> (Own, Vec<String>) {
        let (mut own, mut accept) = (Own::default(), Vec::new());
        let mut places = Places::default();
        let within = |member: &str| match name {
            "" => member.to_owned(),
            name => format!("{name}.{member}"),
        };
        for member in self.members(name, table) {
            match member.name {
                "shadow" => own.steps.shadow = Some(self.gate(&within("shadow"), &member)),
                "canary" => {
                    own.steps.canary = Some(self.canary(&within("canary"), &member));
                    places.canary = Some(member.place);
                }
                "promote" => {
                    own.steps.promote = self.boolean(&member).unwrap_or_default();
                    places.promote = Some(member.place);
                }
                "probation" => {
                    let expected = "a time as \"10m\", at most \"7d\", or \"0s\" for none";
                    let range = Duration::ZERO..=LONGEST_PROBATION;
                    own.probation = self.duration(&member, range, expected);
                }
                "max_denials" => {
                    let number = self.number(&member, 0..=u64::from(u32::MAX));
                    own.max_denials = number.and_then(|number| u32::try_from(number).ok());
                }
                "accept" if !name.is_empty() => accept = self.digests(&member),
                _ => {
                    let known = if name.is_empty() {
                        &MEMBERS[..5]
                    } else {
                        &MEMBERS
                    };
                    self.unknown(&member, known);
                }
            }
        }
        self.promotion(&mut own.steps, &places);
        (own, accept)
    }

    /// The steps know which of them is the last one.
    fn promotion(&mut self, steps: &mut Steps, places: &Places) {
        if !steps.promote {
            return;
        }
        match (&mut steps.shadow, &mut steps.canary) {
            (None, None) => {
                let expected = "a table `shadow` or `canary` that the candidate passes before";
                self.note(
                    places.promote.as_deref().unwrap_or_default(),
                    expected,
                    "none",
                );
            }
            (_, Some(canary)) => {
                canary.promote = true;
                if canary.duration.is_none() {
                    let expected = "a member `for`, since with `promote` it ends by itself";
                    self.note(
                        places.canary.as_deref().unwrap_or_default(),
                        expected,
                        "none",
                    );
                }
            }
            (Some(gate), None) => gate.promote = true,
        }
    }

    fn gate(&mut self, name: &str, member: &Member<'_>) -> Gate {
        let mut gate = Gate::default();
        let Some(table) = self.table(name, member) else {
            return gate;
        };
        for member in self.members(name, table) {
            match member.name {
                "for" => {
                    let found = self.duration(&member, TIMES, TIMES_TOLD);
                    gate.duration = found.unwrap_or(gate.duration);
                }
                "min_decisions" => {
                    let found = self.number(&member, 0..=MOST);
                    gate.min_decisions = found.unwrap_or(gate.min_decisions);
                }
                "max_differ" => gate.max_differ = self.number(&member, 0..=MOST),
                "max_faults" => {
                    let found = self.number(&member, 0..=MOST);
                    gate.max_faults = found.unwrap_or(gate.max_faults);
                }
                _ => self.unknown(&member, &OF_SHADOW),
            }
        }
        gate
    }

    fn canary(&mut self, name: &str, member: &Member<'_>) -> CanaryStep {
        let mut step = CanaryStep {
            who: Canary::default(),
            duration: None,
            min_requests: 1,
            promote: false,
        };
        let Some(table) = self.table(name, member) else {
            // One mistake is enough.
            step.duration = Some(Duration::ZERO);
            return step;
        };
        let (mut is_anybody, mut counted) = (false, None);
        for member in self.members(name, table) {
            match member.name {
                "callers" => {
                    let found = self.names(&member);
                    is_anybody |= found.as_ref().is_none_or(|names| !names.is_empty());
                    step.who.callers = found.unwrap_or_default();
                }
                "tenants" => {
                    let found = self.names(&member);
                    is_anybody |= found.as_ref().is_none_or(|names| !names.is_empty());
                    step.who.tenants = found.unwrap_or_default();
                }
                "percent" => {
                    let found = self.number(&member, 0..=100);
                    is_anybody |= found != Some(0);
                    let found = found.and_then(|percent| u8::try_from(percent).ok());
                    step.who.percent = found.unwrap_or_default();
                }
                "for" => {
                    let found = self.duration(&member, TIMES, TIMES_TOLD);
                    step.duration = Some(found.unwrap_or_default());
                }
                "min_requests" => {
                    let found = self.number(&member, 0..=MOST);
                    step.min_requests = found.unwrap_or(step.min_requests);
                    counted = Some(member.place);
                }
                _ => self.unknown(&member, &OF_CANARY),
            }
        }
        if !is_anybody {
            let expected = "`callers`, `tenants`, or a `percent` above 0";
            self.note(&member.place, expected, "none");
        }
        if let (Some(place), None) = (counted, step.duration) {
            let expected = "a member `for` beside it, at whose end requests are counted";
            self.note(&place, expected, "none");
        }
        step
    }

    fn names(&mut self, member: &Member<'_>) -> Option<Vec<String>> {
        let is_name = |name: &str| (1..=NAME).contains(&name.chars().count());
        let expected = format!("names, each of 1 to {NAME} characters, in quotes");
        self.texts(member, NAMES, (is_name, &expected))
    }

    fn digests(&mut self, member: &Member<'_>) -> Vec<String> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let is_digest =
            |digest: &str| (12..=64).contains(&digest.len()) && digest.bytes().all(is_digit);
        let expected = "digests, each with 12 or more of its digits, in quotes";
        let digests = self.texts(member, MOST_ACCEPTED, (is_digest, expected));
        digests.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
