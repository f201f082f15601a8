//! Reads the names and ids of a message, as far as they come before the end of what was kept of it.

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// The longest name or id that is passed on: longer ones are not Codex's.
pub(super) const LONGEST: usize = 128;

/// The names and ids of a message of either protocol.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Facts {
    /// The method; with `proto` the type of the operation or event.
    pub(super) method: Option<String>,
    /// The id of the request or answer.
    pub(super) id: Option<Value>,
    pub(super) thread: Option<String>,
    pub(super) turn: Option<String>,
    /// The item or call.
    pub(super) item: Option<String>,
    /// The code of an error answer.
    pub(super) code: Option<i64>,
    /// Whether the message has a result, or an error.
    pub(super) is_answer: bool,
    pub(super) is_error: bool,
    /// Whether it is an event of `proto`: its id is that of the submission it is about.
    pub(super) is_event: bool,
}

impl Facts {
    /// Reads a message, or the beginning of one. Returns also whether it is one whole JSON value.
    pub(super) fn read(head: &[u8]) -> (Self, bool) {
        let mut facts = Self::default();
        let mut json = serde_json::Deserializer::from_slice(head);
        let reader = Reader {
            facts: &mut facts,
            at: At::Message,
        };
        // After an error there is nothing more to read: the facts before it hold.
        let is_whole = reader.deserialize(&mut json).is_ok() && json.end().is_ok();
        (facts, is_whole)
    }
}

/// The place of an object in a message.
#[derive(Debug, Clone, Copy)]
enum At {
    Message,
    Params,
    Result,
    Error,
    Thread,
    Turn,
    Item,
    /// The operation or event of `proto`.
    Op,
}

impl At {
    /// The place of a member that has facts inside.
    fn inner(self, member: &str) -> Option<Self> {
        Some(match (self, member) {
            (Self::Message, "params") => Self::Params,
            (Self::Message, "result") => Self::Result,
            (Self::Message, "error") => Self::Error,
            (Self::Message, "op" | "msg") => Self::Op,
            (Self::Params | Self::Result, "thread") => Self::Thread,
            (Self::Params | Self::Result, "turn") => Self::Turn,
            (Self::Params, "item") => Self::Item,
            _ => return None,
        })
    }
}

struct Reader<'f> {
    facts: &'f mut Facts,
    at: At,
}

impl Reader<'_> {
    fn note(&mut self, member: &str, value: Value) {
        let facts = &mut *self.facts;
        let slot = match (self.at, member) {
            (At::Message, "id") => {
                facts.id = Some(value).filter(|id| id.is_number() || word(id).is_some());
                return;
            }
            (At::Error, "code") => {
                facts.code = value.as_i64();
                return;
            }
            (At::Message, "method") | (At::Op, "type") => &mut facts.method,
            (At::Params, "threadId") | (At::Thread, "id") => &mut facts.thread,
            (At::Params, "turnId") | (At::Turn, "id") => &mut facts.turn,
            (At::Params, "itemId" | "callId") | (At::Item, "id") | (At::Op, "call_id") => {
                &mut facts.item
            }
            _ => return,
        };
        *slot = word(&value).map(str::to_owned);
    }

    /// Whether [`Reader::note`] has a use for the member.
    fn is_noted(&self, member: &str) -> bool {
        matches!(
            (self.at, member),
            (At::Message, "id" | "method")
                | (At::Error, "code")
                | (At::Op, "type" | "call_id")
                | (At::Params, "threadId" | "turnId" | "itemId" | "callId")
                | (At::Thread | At::Turn | At::Item, "id")
        )
    }
}

/// A text that can be a name or an id.
fn word(value: &Value) -> Option<&str> {
    let text = value.as_str()?;
    let is_word = !text.is_empty()
        && text.len() <= LONGEST
        && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_word.then_some(text)
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a part of a message")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(member) = map.next_key::<String>()? {
            if let At::Message = self.at {
                self.facts.is_answer |= member == "result";
                self.facts.is_error |= member == "error";
                self.facts.is_event |= member == "msg";
            }
            if let Some(at) = self.at.inner(&member) {
                let facts = &mut *self.facts;
                map.next_value_seed(Reader { facts, at })?;
            } else if self.is_noted(&member) {
                self.note(&member, map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}
