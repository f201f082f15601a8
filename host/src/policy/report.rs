//! The report of a comparison: what candidates would have decided otherwise, grouped.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::Slot;
use super::outcome::{Kind, Outcome};
use super::words::{NAME, text_within};

/// The most groups; what differs beyond them is only counted.
const GROUPS: usize = 200;
/// The most examples of a group.
const EXAMPLES: usize = 3;
/// The most bytes of an outcome: reports are copied, and all candidates have some.
const WORDS: usize = 1 << 10;

/// The decisions that a candidate would have made otherwise than the policies that serve.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The decisions that were compared.
    pub decisions: u64,
    /// Those that the candidate made itself, slot by slot: where its policy is the one that serves, it makes none.
    #[serde(serialize_with = "by_slot")]
    pub asked: [u64; Slot::COUNT],
    /// Those with another outcome, faults included.
    pub differ: u64,
    /// Those that the candidate could not make.
    pub faults: u64,
    /// Those that cannot be compared: the candidate refused the request before, or needs a secret, which is not kept.
    pub unknown: u64,
    /// Those that came faster than they could be compared.
    pub lost: u64,
    /// The time that it took.
    #[serde(rename = "took_ms", serialize_with = "millis")]
    pub took: Duration,
    /// Why it ended before the last decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gave_up: Option<String>,
    /// The groups of those that differ, the most frequent first.
    pub differences: Vec<Difference>,
    /// The decisions that differ and are in no group, as there are too many.
    pub ungrouped: u64,
}

/// One line, with the most frequent differences.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 3;
        let (differ, decisions) = (self.differ, self.decisions);
        write!(f, "{differ} of the last {decisions} decisions would differ")?;
        if let Some(why) = &self.gave_up {
            write!(f, ", as far as it was seen: {why}")?;
        }
        for Difference { kind, count, .. } in self.differences.iter().take(MOST) {
            let Group { slot, from, to, .. } = kind;
            let caller = kind.caller.as_ref().map(|caller| format!(", {caller}"));
            let caller = caller.unwrap_or_default();
            write!(f, "; {slot}: {from} → {to} ({count} times{caller})")?;
        }
        Ok(())
    }
}

/// The change that a difference means for its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// They would be refused.
    Refused,
    /// They would no longer be refused.
    Allowed,
    /// They could not be decided.
    Fault,
    /// They would be answered otherwise, or refused otherwise.
    Other,
}

impl Change {
    fn of([from, to]: &[Outcome; 2]) -> Self {
        match (from.kind, to.kind) {
            (_, Kind::Fault(_)) => Self::Fault,
            (Kind::Answered, Kind::Denied) => Self::Refused,
            (Kind::Denied, Kind::Answered) => Self::Allowed,
            _ => Self::Other,
        }
    }
}

/// Decisions that differ in the same way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The properties that they have in common.
    #[serde(flatten)]
    pub kind: Group,
    /// How many there are.
    pub count: u64,
    /// The ids of some of their requests.
    pub examples: Vec<String>,
}

/// The properties that decisions of one group have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Group {
    /// The name of the slot.
    pub slot: &'static str,
    /// The function that was asked.
    pub question: &'static str,
    /// The change for the requests.
    pub change: Change,
    /// The outcome with the policies that serve.
    pub from: String,
    /// The outcome with the candidate.
    pub to: String,
    /// The caller, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    /// The model, if the question is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

impl Group {
    /// The same difference with both sides exchanged.
    fn reversed(&self) -> Self {
        let change = match self.change {
            Change::Refused => Change::Allowed,
            Change::Allowed => Change::Refused,
            other => other,
        };
        Self {
            change,
            from: self.to.clone(),
            to: self.from.clone(),
            ..self.clone()
        }
    }
}

impl Report {
    /// The slot with the fewest decisions of the candidate, among those that it changes, and their number.
    pub(super) fn least_asked(&self, changed: &[Slot]) -> Option<(Slot, u64)> {
        let asked = changed
            .iter()
            .map(|slot| (*slot, self.asked[*slot as usize]));
        asked.min_by_key(|(_, asked)| *asked)
    }
}

/// The subject of a decision.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct About<'a> {
    pub(super) request: &'a str,
    pub(super) caller: Option<&'a str>,
    pub(super) model: Option<&'a str>,
}

/// Counts comparisons.
#[derive(Debug, Default)]
pub(super) struct Counter {
    report: Report,
    groups: HashMap<Group, (u64, Vec<String>)>,
    /// Those that are expected.
    known: HashSet<Group>,
    /// The decisions that allow what would be refused otherwise and are not expected; and the group of the first one.
    unexpected: Option<(u64, Group)>,
}

impl Counter {
    /// Expects the differences of reports that were made the other way round.
    pub(super) fn expect(&mut self, known: &[Report]) {
        let known = known.iter().flat_map(|report| &report.differences);
        self.known = known.map(|known| known.kind.reversed()).collect();
    }

    /// Counts a decision that both make with the same policy.
    pub(super) fn unasked(&mut self) {
        self.report.decisions += 1;
    }

    /// Counts a decision that is the same with both.
    pub(super) fn same(&mut self, slot: Slot) {
        self.report.decisions += 1;
        self.report.asked[slot as usize] += 1;
    }

    /// Counts a decision that cannot be compared.
    pub(super) fn unknown(&mut self) {
        self.report.unknown += 1;
    }

    /// Counts a decision with another outcome.
    pub(super) fn differs(
        &mut self,
        slot: Slot,
        question: &'static str,
        outcomes: [Outcome; 2],
        about: About<'_>,
    ) {
        let change = Change::of(&outcomes);
        let [from, to] = outcomes;
        let report = &mut self.report;
        report.decisions += 1;
        report.asked[slot as usize] += 1;
        report.differ += 1;
        report.faults += u64::from(change == Change::Fault);
        let cut = |text: &str| text_within(NAME, text.to_owned());
        let group = Group {
            slot: slot.name(),
            question,
            change,
            from: text_within(WORDS, from.words),
            to: text_within(WORDS, to.words),
            caller: about.caller.map(cut),
            model: about.model.map(cut),
        };
        if change == Change::Allowed && !self.known.contains(&group) {
            let (count, _) = self.unexpected.get_or_insert_with(|| (0, group.clone()));
            *count += 1;
        }
        if !self.groups.contains_key(&group) && self.groups.len() >= GROUPS {
            report.ungrouped += 1;
            return;
        }
        let (count, examples) = self.groups.entry(group).or_default();
        *count += 1;
        if examples.len() < EXAMPLES && !about.request.is_empty() {
            examples.push(about.request.to_owned());
        }
    }

    /// The report so far, without its groups.
    pub(super) fn counts(&self) -> &Report {
        &self.report
    }

    /// The number of decisions that allow what would be refused otherwise and are not expected, and the group of the first one.
    pub(super) fn unexpected(&self) -> Option<&(u64, Group)> {
        self.unexpected.as_ref()
    }

    /// The report so far.
    pub(super) fn report(&self) -> Report {
        let groups = self.groups.iter();
        let mut differences: Vec<_> = groups
            .map(|(kind, (count, examples))| Difference {
                kind: kind.clone(),
                count: *count,
                examples: examples.clone(),
            })
            .collect();
        fn key(of: &Difference) -> (&str, &str, &str) {
            (of.kind.slot, &of.kind.from, &of.kind.to)
        }
        differences.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| key(a).cmp(&key(b))));
        Report {
            differences,
            ..self.report.clone()
        }
    }
}

fn by_slot<S: Serializer>(asked: &[u64; Slot::COUNT], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(Slot::ALL.into_iter().map(Slot::name).zip(asked))
}

fn millis<S: Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(took.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(words: &str) -> Outcome {
        Outcome {
            words: words.to_owned(),
            kind: Kind::Answered,
        }
    }

    #[test]
    fn what_differs_alike_is_one_group() {
        let mut counter = Counter::default();
        for number in 0..10 {
            let request = format!("req_{number}");
            let about = About {
                request: &request,
                caller: Some(if number == 0 { "alice" } else { "bob" }),
                model: None,
            };
            let outcomes = [outcome("a"), outcome("b")];
            counter.differs(Slot::Auth, "authenticate", outcomes, about);
        }
        counter.same(Slot::Model);
        counter.unasked();
        let report = counter.report();
        assert_eq!((report.decisions, report.differ), (12, 10));
        assert_eq!(report.asked, [10, 1, 0, 0]);
        let counts: Vec<_> = report.differences.iter().map(|group| group.count).collect();
        assert_eq!(counts, [9, 1]);
        assert_eq!(report.differences[0].kind.caller.as_deref(), Some("bob"));
        assert_eq!(report.differences[0].examples, ["req_1", "req_2", "req_3"]);
    }

    #[test]
    fn a_denial_is_expected_if_a_report_made_the_other_way_round_has_it() {
        let (admitted, denied) = (outcome("admitted"), outcome("denied 429 limit"));
        let denied = Outcome {
            kind: Kind::Denied,
            ..denied
        };
        fn about(caller: &str) -> About<'_> {
            About {
                caller: Some(caller),
                ..About::default()
            }
        }
        let mut seen = Counter::default();
        let outcomes = [admitted.clone(), denied.clone()];
        seen.differs(Slot::RateLimit, "decide", outcomes, about("bob"));
        let mut counter = Counter::default();
        counter.expect(&[seen.report()]);
        let mut denies = |caller: &str| {
            let outcomes = [denied.clone(), admitted.clone()];
            counter.differs(Slot::RateLimit, "decide", outcomes, about(caller));
            counter.unexpected().map(|(count, _)| *count)
        };
        assert_eq!(denies("bob"), None);
        assert_eq!(denies("alice"), Some(1));
        // Also those beyond the groups of a report.
        for number in 0..GROUPS as u64 {
            assert_eq!(denies(&number.to_string()), Some(number + 2));
        }
    }

    #[test]
    fn an_outcome_of_a_report_is_cut() {
        let mut counter = Counter::default();
        let outcomes = [outcome(&"x".repeat(16 << 10)), outcome("b")];
        counter.differs(Slot::Model, "catalog", outcomes, About::default());
        let report = counter.report();
        assert!(report.differences[0].kind.from.len() < 2 * WORDS);
    }

    #[test]
    fn groups_are_bounded_and_nothing_is_uncounted() {
        let mut counter = Counter::default();
        for number in 0..(2 * GROUPS) {
            let outcomes = [outcome("a"), outcome(&number.to_string())];
            counter.differs(Slot::Auth, "authenticate", outcomes, About::default());
        }
        let report = counter.report();
        assert_eq!(report.differences.len(), GROUPS);
        assert_eq!(report.ungrouped, GROUPS as u64);
        assert_eq!(report.differ, 2 * GROUPS as u64);
    }
}
