//! Events as bytes: the trail keeps thousands of them, and dozens of texts each would keep the allocator busy.

use std::sync::Arc;
use std::time::Duration;

use postcard::ser_flavors::Flavor;
use postcard::{Result, serialize_with_flavor, take_from_bytes};
use serde::{Deserialize, Serialize};

use super::asking::Asking;
use super::component::Decided;
use super::digest::Digest;
use super::event::{Asker, Event};
use super::exchange::{Exchange, Remembered, What};
use super::needs::Needs;
use super::world::{Authenticate, Catalog, Decide, Observe, Question, Quotas, Resolve, Verify};

/// Stand for the events that are no exchanges; the exchanges have numbers of their own.
const UNASKED: u8 = 254;
const SETTLED: u8 = 255;

/// The facts about its request that each event repeats, so that it can be read alone.
#[derive(Serialize, Deserialize)]
struct Head<'a> {
    id: &'a str,
    number: u64,
    generation: u64,
    digest: [u8; 32],
    at: Duration,
}

/// An exchange behind its kind: the question, its turn, the answer, the parts that the policy saw, the time that it took, and
/// whether it was kept.
type Body<Q, A> = (Q, Option<u32>, A, Needs, Duration, bool);

/// An event that happens now.
pub(super) trait Happening {
    /// Appends its bytes.
    ///
    /// # Errors
    /// None with the contract's types: all of them can be written.
    fn pack(&self, to: &mut Vec<u8>) -> Result<()>;

    /// The event itself.
    fn what(self) -> What;
}

/// A decision that was made now.
pub(super) struct Made<'a, A: Asking> {
    /// The question as it was asked, and as the policy saw it.
    pub(super) asked: &'a A,
    pub(super) question: &'a A::Question,
    /// The parts of it that the policy saw.
    pub(super) needs: &'a Arc<Needs>,
    /// The answer.
    pub(super) decided: &'a Decided<<A::Question as Question>::Answer>,
}

impl<A: Asking> Happening for Made<'_, A> {
    fn pack(&self, to: &mut Vec<u8>) -> Result<()> {
        let Decided {
            answer,
            from_memo,
            took,
        } = self.decided;
        let turn = self.question.turn();
        let question = (A::Question::KIND, self.asked.packed(), turn);
        write(to, &(question, answer, &**self.needs, took, from_memo))
    }

    fn what(self) -> What {
        A::Question::made(Exchange {
            asked: self.asked.whole().without_secrets(),
            answer: self.decided.answer.clone(),
            needs: Arc::clone(self.needs),
            took: self.decided.took,
            from_memo: self.decided.from_memo,
        })
    }
}

impl Happening for What {
    fn pack(&self, to: &mut Vec<u8>) -> Result<()> {
        match self {
            Self::Authenticate(exchange) => known(to, exchange),
            Self::Verify(exchange) => known(to, exchange),
            Self::Catalog(exchange) => known(to, exchange),
            Self::Resolve(exchange) => known(to, exchange),
            Self::Quotas(exchange) => known(to, exchange),
            Self::Decide(exchange) => known(to, exchange),
            Self::Observe(exchange) => known(to, exchange),
            Self::Unasked(question) => write(to, &(UNASKED, question)),
            Self::Settled(tokens) => write(to, &(SETTLED, tokens)),
        }
    }

    fn what(self) -> What {
        self
    }
}

fn known<Q: Remembered>(to: &mut Vec<u8>, made: &Exchange<Q>) -> Result<()> {
    let question = (Q::KIND, made.asked.packed(), made.asked.turn());
    let (took, from_memo) = (&made.took, &made.from_memo);
    write(to, &(question, &made.answer, &*made.needs, took, from_memo))
}

/// Appends an event.
///
/// # Errors
/// As [`Happening::pack`].
pub(super) fn pack(
    (request, at): (&Asker, Duration),
    happening: &impl Happening,
    to: &mut Vec<u8>,
) -> Result<()> {
    let head = Head {
        id: &request.id,
        number: request.number,
        generation: request.generation,
        digest: request.digest.bytes(),
        at,
    };
    write(to, &head)?;
    happening.pack(to)
}

/// The id of the request of a packed event.
pub(super) fn id(bytes: &[u8]) -> Option<&str> {
    take_from_bytes(bytes).ok().map(|(id, _)| id)
}

/// Reads an event back. Its request has no followers any more.
pub(super) fn unpack(bytes: &[u8]) -> Option<Event> {
    let (head, rest): (Head<'_>, _) = take_from_bytes(bytes).ok()?;
    let (kind, body) = rest.split_first()?;
    let what = match *kind {
        Authenticate::KIND => made::<Authenticate>(body),
        Verify::KIND => made::<Verify>(body),
        Catalog::KIND => made::<Catalog>(body),
        Resolve::KIND => made::<Resolve>(body),
        Quotas::KIND => made::<Quotas>(body),
        Decide::KIND => made::<Decide>(body),
        Observe::KIND => made::<Observe>(body),
        UNASKED => postcard::from_bytes(body).ok().map(What::Unasked),
        SETTLED => postcard::from_bytes(body).ok().map(What::Settled),
        _ => None,
    };
    let decided_by = (head.generation, Digest::from(head.digest));
    let id = head.id.to_owned();
    Some(Event {
        request: Arc::new(Asker::new(head.number, id, decided_by, Default::default())),
        at: head.at,
        what: what?,
    })
}

fn made<Q: Remembered>(body: &[u8]) -> Option<What> {
    let body = postcard::from_bytes(body).ok()?;
    let (asked, turn, answer, needs, took, from_memo): Body<Q, _> = body;
    Some(Q::made(Exchange {
        asked: asked.of_turn(turn.unwrap_or_default()),
        answer,
        needs: Arc::new(needs),
        took,
        from_memo,
    }))
}

fn write(to: &mut Vec<u8>, value: &impl Serialize) -> Result<()> {
    serialize_with_flavor(value, Append(to))
}

/// Lets `postcard` append to bytes that are there already.
struct Append<'a>(&'a mut Vec<u8>);

impl Flavor for Append<'_> {
    type Output = ();

    fn try_extend(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn try_push(&mut self, byte: u8) -> Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn finalize(self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Slot;
    use super::super::fault::{Fault, FaultKind};
    use super::*;

    fn asked<Q: Remembered>(
        question: serde_json::Value,
        answer: std::result::Result<serde_json::Value, Fault>,
    ) -> What {
        let asked: Q = serde_json::from_value(question).unwrap();
        Q::made(Exchange {
            asked: asked.of_turn(7),
            answer: answer.map(|answer| serde_json::from_value(answer).unwrap()),
            needs: Arc::new(Needs::everything()),
            took: Duration::from_micros(11),
            from_memo: true,
        })
    }

    fn events() -> Vec<What> {
        let caller = json!({"id": "alice", "tenant": "acme", "groups": ["a", "b"]});
        let request = json!({
            "id": "req_1", "method": "GET", "path": "/v1/models", "query": null, "host": "localhost",
            "client": "127.0.0.1", "headers": [["user-agent", "test"], ["x", ""]],
            "credential": {"scheme": "Bearer", "fingerprint": "f", "secret": null}, "now_ms": 1_000,
        });
        let denial = json!({"Err": {
            "status": 429, "kind": "k", "code": "c", "message": "m", "param": null, "headers": [["retry-after", "1"]],
        }});
        let limits = json!({
            "client": "127.0.0.1", "caller": caller, "endpoint": "/v1/models", "model": null,
            "streaming": true, "estimated_tokens": 5, "now_ms": 1_000,
        });
        let fault = Fault {
            slot: Slot::ToolStop,
            policy: "test".to_owned(),
            kind: FaultKind::Deadline,
            cause: "slow".to_owned(),
        };
        let card = json!([{"id": "m", "owned_by": "o", "created": 1}]);
        let target = json!({"Ok": {"id": "m", "model": "n", "effort": null, "provider": "p"}});
        let status = json!([{"name": "n", "granted": true, "remaining": 1, "reset_ms": 2}]);
        let quota = json!([{
            "name": "n", "key": "k", "unit": "Tokens", "limit": 1, "window_ms": 2, "cost": 3,
        }]);
        let progress = json!({
            "caller": caller, "model": "m", "streaming": false, "calls": 1, "elapsed_ms": 2,
        });
        let called =
            json!({"Called": {"name": "f", "arguments": "{}", "textual": false, "index": 0}});
        vec![
            asked::<Authenticate>(request.clone(), Ok(denial.clone())),
            asked::<Verify>(
                request,
                Ok(json!({"Ok": {"caller": caller, "headers": [["a", "b"]]}})),
            ),
            asked::<Catalog>(json!({"caller": caller, "now_ms": 1}), Ok(card)),
            asked::<Resolve>(
                json!({"ask": {"caller": caller, "requested": "m", "effort": null}, "now_ms": 1}),
                Ok(target),
            ),
            asked::<Quotas>(limits.clone(), Ok(quota)),
            asked::<Decide>(json!({"ask": limits, "statuses": status}), Ok(denial)),
            asked::<Observe>(
                json!({"progress": progress, "event": called, "memo": [1, 2]}),
                Err(fault),
            ),
            What::Unasked(serde_json::from_value(limits).unwrap()),
            What::Settled(12),
        ]
    }

    #[test]
    fn what_is_packed_is_read_back() {
        for what in events() {
            let decided_by = (3, Digest::from([7; 32]));
            let request = Asker::new(5, "req_1".to_owned(), decided_by, Default::default());
            let at = Duration::from_nanos(1_234_567_890);
            let mut bytes = Vec::new();
            pack((&request, at), &what, &mut bytes).unwrap();
            assert_eq!(id(&bytes), Some("req_1"));
            let event = unpack(&bytes).unwrap();
            let told = (event.request.number, event.request.generation, event.at);
            assert_eq!(told, (5, 3, at));
            assert_eq!(event.request.digest, request.digest);
            if let What::Observe(exchange) = &event.what {
                assert_eq!(exchange.asked.turn, 7);
            }
            let mut again = Vec::new();
            pack((&event.request, event.at), &event.what, &mut again).unwrap();
            assert_eq!(bytes, again);
        }
    }
}
