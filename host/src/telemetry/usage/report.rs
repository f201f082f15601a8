//! Reads events back: sums over a period, or the last events.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use super::Event;
use crate::file::journal::Files;

/// The most buckets of one report.
const MOST_BUCKETS: usize = 10_000;
const HOUR_MS: u64 = 60 * 60 * 1_000;

/// The key by which a report groups events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Hours, UTC.
    Hour,
    /// Days, UTC.
    Day,
    /// The caller.
    Caller,
    /// The model's name in the answer.
    Model,
}

impl Group {
    /// All groups.
    pub const ALL: [Self; 4] = [Self::Hour, Self::Day, Self::Caller, Self::Model];

    /// The name in requests.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Caller => "caller",
            Self::Model => "model",
        }
    }

    fn key(self, event: &Event) -> Key {
        let begin = |length| Key::Time(event.ts - event.ts % length);
        match self {
            Self::Hour => begin(HOUR_MS),
            Self::Day => begin(24 * HOUR_MS),
            Self::Caller => Key::Name(event.caller.clone()),
            Self::Model => Key::Name(event.requested_model.clone()),
        }
    }
}

/// The events to add up, and how to group them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The first time that counts, in milliseconds since 1970.
    pub start: u64,
    /// The first time that does not count any more, in milliseconds since 1970.
    pub end: u64,
    /// If absent, there are no buckets.
    pub group: Option<Group>,
    /// If given, only this caller's events count.
    pub caller: Option<String>,
}

/// A sum of events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Requests that began a turn.
    pub requests: u64,
    /// Their tokens.
    #[serde(flatten)]
    pub tokens: Sums,
}

/// Sums of an [`Event`]'s members of the same names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names are the event's")]
pub struct Sums {
    pub prompt_tokens_est: u64,
    pub completion_tokens_est: u64,
    pub total_tokens_est: u64,
    pub cached_tokens: u64,
    pub reasoning_tokens: u64,
}

impl Totals {
    fn add(&mut self, event: &Event) {
        let tokens = &mut self.tokens;
        for (sum, more) in [
            (&mut self.requests, 1),
            (&mut tokens.prompt_tokens_est, event.prompt_tokens_est),
            (
                &mut tokens.completion_tokens_est,
                event.completion_tokens_est,
            ),
            (&mut tokens.total_tokens_est, event.total_tokens_est),
            (&mut tokens.cached_tokens, event.cached_tokens),
            (&mut tokens.reasoning_tokens, event.reasoning_tokens),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

/// The key of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// The begin of the period, in milliseconds since 1970.
    Time(u64),
    /// A caller or model.
    Name(String),
}

/// The result of a query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The sum of all events.
    pub totals: Totals,
    /// In the order of their keys; empty without a group.
    pub buckets: Vec<(Key, Totals)>,
}

/// The report would be too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {MOST_BUCKETS} buckets")]
pub struct TooManyBuckets;

pub(super) fn report(
    files: &Files,
    query: &Query,
) -> std::io::Result<Result<Report, TooManyBuckets>> {
    let mut totals = Totals::default();
    let mut buckets: BTreeMap<Key, Totals> = BTreeMap::new();
    events(files, query.caller.as_deref(), |event| {
        if !(query.start..query.end).contains(&event.ts) {
            return;
        }
        totals.add(&event);
        if let Some(group) = query.group
            && buckets.len() <= MOST_BUCKETS
        {
            buckets.entry(group.key(&event)).or_default().add(&event);
        }
    })?;
    if buckets.len() > MOST_BUCKETS {
        return Ok(Err(TooManyBuckets));
    }
    let buckets = buckets.into_iter().collect();
    Ok(Ok(Report { totals, buckets }))
}

pub(super) fn last(
    files: &Files,
    limit: usize,
    caller: Option<&str>,
) -> std::io::Result<Vec<Event>> {
    let mut last = VecDeque::new();
    events(files, caller, |event| {
        last.push_back(event);
        if last.len() > limit {
            last.pop_front();
        }
    })?;
    Ok(last.into())
}

/// Passes every event of the caller, or of all callers, to `each`. Lines that are no events are skipped.
fn events(files: &Files, caller: Option<&str>, mut each: impl FnMut(Event)) -> std::io::Result<()> {
    files.lines(|line| {
        let Ok(event) = serde_json::from_slice::<Event>(line) else {
            return;
        };
        if caller.is_none_or(|caller| caller == event.caller) {
            each(event);
        }
    })
}
