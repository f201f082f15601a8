//! A line of the records: an event in the life of a request as JSON, and read back.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::super::digest::Digest;
use super::super::event::{Asker, Event};
use super::super::exchange::{Exchange, Remembered, What};
use super::super::fault::{Fault, FaultKind};
use super::super::needs::Needs;
use super::super::world::{
    Authenticate, Catalog, Decide, Observe, Question, Quotas, Resolve, Verify, World,
};

/// The longest line.
pub(super) const LINE: usize = 32 << 20;

/// The version of the lines.
pub(super) const VERSION: u32 = 1;

/// The first line of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::policy) struct Header {
    /// The version of the lines.
    pub(super) records: u32,
    /// The gateway's version.
    pub(super) gateway: String,
    /// The run of the gateway: the numbers of requests are its own.
    pub(in crate::policy) run: String,
    /// The time in UTC, as RFC 3339.
    pub(super) at: String,
    /// The file whose last hash follows; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::policy) after: Option<String>,
    /// The last hash of that file, or zeros.
    pub(super) continues: String,
}

/// A line for decisions that could not be recorded.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Lost {
    /// How many requests and decisions, since the last such line of the run.
    pub(super) lost: u64,
}

/// The members that all events have.
#[derive(Serialize)]
struct Common<'a> {
    at: String,
    request: &'a str,
    number: u64,
    policy: &'a Digest,
}

#[derive(Serialize)]
struct Settled<'a> {
    #[serde(flatten)]
    common: Common<'a>,
    tokens: u64,
}

#[derive(Serialize)]
struct Made<'a, Q, A> {
    #[serde(flatten)]
    common: Common<'a>,
    slot: &'static str,
    question: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    turn: Option<u32>,
    input: Q,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<A>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<Told>,
    #[serde(skip_serializing_if = "Option::is_none")]
    took_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_memo: Option<bool>,
}

/// A fault, as it is told.
#[derive(Serialize, Deserialize)]
struct Told {
    kind: String,
    policy: String,
    cause: String,
}

/// Writes an event as a JSON object without its hash.
pub(super) fn write(event: &Event, time: SystemTime) -> serde_json::Result<Vec<u8>> {
    let common = Common {
        at: humantime::format_rfc3339_millis(time).to_string(),
        request: &event.request.id,
        number: event.request.number,
        policy: &event.request.digest,
    };
    match &event.what {
        What::Authenticate(exchange) => made(common, exchange),
        What::Verify(exchange) => made(common, exchange),
        What::Catalog(exchange) => made(common, exchange),
        What::Resolve(exchange) => made(common, exchange),
        What::Quotas(exchange) => made(common, exchange),
        What::Decide(exchange) => made(common, exchange),
        What::Observe(exchange) => made(common, exchange),
        What::Unasked(question) => serde_json::to_vec(&Made {
            common,
            slot: <Quotas as Question>::World::SLOT.name(),
            question: Quotas::NAME,
            turn: None,
            input: question,
            answer: None::<()>,
            fault: None,
            took_us: None,
            from_memo: None,
        }),
        What::Settled(tokens) => serde_json::to_vec(&Settled {
            common,
            tokens: *tokens,
        }),
    }
}

fn made<Q: Question>(common: Common<'_>, exchange: &Exchange<Q>) -> serde_json::Result<Vec<u8>> {
    let told = |fault: &Fault| Told {
        kind: fault.kind.code().to_owned(),
        policy: fault.policy.clone(),
        cause: fault.cause.clone(),
    };
    let answer = exchange.answer.as_ref();
    serde_json::to_vec(&Made {
        common,
        slot: Q::World::SLOT.name(),
        question: Q::NAME,
        turn: exchange.asked.turn(),
        input: exchange.asked.clone().masked(),
        answer: answer.ok().cloned().map(Q::masked_answer),
        fault: answer.err().map(told),
        took_us: Some(u64::try_from(exchange.took.as_micros()).unwrap_or(u64::MAX)),
        from_memo: Some(exchange.from_memo),
    })
}

/// A line that was read.
pub(in crate::policy) enum Line {
    Header(Header),
    Lost(u64),
    /// An event, and its time.
    Event(SystemTime, Box<Event>),
}

/// All members that any line has.
#[derive(Deserialize)]
struct Members<'a> {
    at: Option<String>,
    request: Option<String>,
    #[serde(default)]
    number: u64,
    policy: Option<String>,
    question: Option<String>,
    turn: Option<u32>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    answer: Option<&'a RawValue>,
    fault: Option<Told>,
    #[serde(default)]
    took_us: u64,
    #[serde(default)]
    from_memo: bool,
    tokens: Option<u64>,
    lost: Option<u64>,
    records: Option<u32>,
}

/// Reads a line whose hash is right.
///
/// # Errors
/// One line that says what is wrong with it.
pub(super) fn read(line: &[u8]) -> Result<Line, String> {
    let members: Members<'_> = parse(line)?;
    match members {
        Members {
            records: Some(version),
            ..
        } => match version == VERSION {
            true => parse(line).map(Line::Header),
            false => Err(format!(
                "expected records of version {VERSION}, found {version}"
            )),
        },
        Members {
            lost: Some(lost), ..
        } => Ok(Line::Lost(lost)),
        members => event(members),
    }
}

fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

fn event(members: Members<'_>) -> Result<Line, String> {
    let lacks = |name: &str| format!("expected the member `{name}`");
    let at = members.at.as_deref().ok_or_else(|| lacks("at"))?;
    let at = humantime::parse_rfc3339(at).map_err(|error| format!("`at`: {error}"))?;
    let digest = members.policy.as_deref().and_then(Digest::parse);
    let digest = digest.ok_or_else(|| lacks("policy"))?;
    let id = members.request.clone().ok_or_else(|| lacks("request"))?;
    let request = Arc::new(Asker::new(
        members.number,
        id,
        (0, digest),
        Default::default(),
    ));
    let what = match (members.tokens, members.question.as_deref()) {
        (Some(tokens), _) => What::Settled(tokens),
        (None, Some(Authenticate::NAME)) => asked::<Authenticate>(&members)?,
        (None, Some(Verify::NAME)) => asked::<Verify>(&members)?,
        (None, Some(Catalog::NAME)) => asked::<Catalog>(&members)?,
        (None, Some(Resolve::NAME)) => asked::<Resolve>(&members)?,
        (None, Some(Quotas::NAME)) if members.answer.is_none() && members.fault.is_none() => {
            What::Unasked(input(&members)?)
        }
        (None, Some(Quotas::NAME)) => asked::<Quotas>(&members)?,
        (None, Some(Decide::NAME)) => asked::<Decide>(&members)?,
        (None, Some(Observe::NAME)) => asked::<Observe>(&members)?,
        (None, Some(other)) => return Err(format!("there is no question `{other}`")),
        (None, None) => return Err(lacks("question")),
    };
    let event = Event {
        request,
        at: Duration::ZERO,
        what,
    };
    Ok(Line::Event(at, Box::new(event)))
}

fn input<Q: Question>(members: &Members<'_>) -> Result<Q, String> {
    let input = members.input.ok_or("expected the member `input`")?;
    parse(input.get().as_bytes()).map_err(|error| format!("`input`: {error}"))
}

fn asked<Q: Remembered>(members: &Members<'_>) -> Result<What, String> {
    let asked: Q = input(members)?;
    let answer = match (members.answer, &members.fault) {
        (Some(answer), _) => {
            let answer = parse(answer.get().as_bytes());
            Ok(answer.map_err(|error| format!("`answer`: {error}"))?)
        }
        (
            None,
            Some(Told {
                kind,
                policy,
                cause,
            }),
        ) => {
            let mut kinds = FaultKind::ALL.into_iter();
            let known = kinds.find(|known| known.code() == kind);
            Err(Fault {
                slot: Q::World::SLOT,
                policy: policy.clone(),
                kind: known.ok_or_else(|| format!("there is no fault `{kind}`"))?,
                cause: cause.clone(),
            })
        }
        (None, None) => return Err("expected the member `answer` or `fault`".to_owned()),
    };
    Ok(Q::made(Exchange {
        asked: asked.of_turn(members.turn.unwrap_or_default()),
        answer,
        needs: Arc::new(Needs::default()),
        took: Duration::from_micros(members.took_us),
        from_memo: members.from_memo,
    }))
}
