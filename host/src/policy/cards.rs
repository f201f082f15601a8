//! The models of a caller, shared between the kept answer and those who got it.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::bindings::model::Card;

/// The models of a caller, shared with the kept answer.
#[derive(Debug, Clone)]
pub struct Cards(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    cards: Vec<Card>,
    /// The list as it is sent, once it was sent.
    sent: OnceLock<Bytes>,
}

impl Cards {
    /// The list as clients get it: written once for all who get the same kept answer. There is one way to write it.
    pub fn sent(&self, write: impl FnOnce(&[Card]) -> Bytes) -> Bytes {
        let Shared { cards, sent } = &*self.0;
        sent.get_or_init(|| write(cards)).clone()
    }
}

impl PartialEq for Cards {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.cards == other.0.cards
    }
}

impl Eq for Cards {}

impl Deref for Cards {
    type Target = [Card];

    fn deref(&self) -> &Self::Target {
        &self.0.cards
    }
}

impl Serialize for Cards {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.cards.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Cards {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::from)
    }
}

impl From<Vec<Card>> for Cards {
    fn from(cards: Vec<Card>) -> Self {
        let sent = OnceLock::new();
        Self(Arc::new(Shared { cards, sent }))
    }
}

impl FromIterator<Card> for Cards {
    fn from_iter<I: IntoIterator<Item = Card>>(cards: I) -> Self {
        Self::from(cards.into_iter().collect::<Vec<_>>())
    }
}
