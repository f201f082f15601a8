//! The provider's cache keys: each conversation's, for longer than the thread is kept that had it, and those of conversations
//! that begin alike.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use super::conversation::{Conversation, Digest};
use crate::hex::hex;

/// Limit of conversations that are remembered: 200 bytes each.
const MOST: usize = 4096;

/// How long a conversation is remembered. Providers keep the prompt of an idle conversation for five to ten minutes.
const LONGEST: Duration = Duration::from_secs(600);

/// The requests a minute of one key, roughly: providers have those beyond go to a machine that may not have the prompt.
const A_MINUTE: u32 = 15;

/// The most keys of conversations that begin alike.
const SPREAD: u8 = 64;

/// The keys of the conversations of all workers.
#[derive(Debug, Default)]
pub(super) struct CacheKeys {
    list: Mutex<List>,
    uses: Mutex<HashMap<String, Uses>>,
}

/// The requests with a key, since the first within a minute.
#[derive(Debug)]
struct Uses {
    since: Instant,
    count: u32,
}

impl Uses {
    const PERIOD: Duration = Duration::from_secs(60);

    fn is_current(&self) -> bool {
        self.since.elapsed() < Self::PERIOD
    }
}

#[derive(Debug, Default)]
struct List {
    keys: HashMap<Digest, Known>,
    /// The longest known first. A conversation that was remembered again is here twice.
    order: VecDeque<(Digest, Instant)>,
}

#[derive(Debug)]
struct Known {
    key: String,
    since: Instant,
}

impl CacheKeys {
    /// Remembers the key of a conversation.
    pub(super) fn remember(&self, digest: Digest, key: String) {
        let since = Instant::now();
        let mut list = self.list.lock();
        list.keys.insert(digest, Known { key, since });
        list.order.push_back((digest, since));
        list.tidy();
    }

    /// The key of the conversation, or of as much of it as is known.
    pub(super) fn find(&self, conversation: &Conversation) -> Option<String> {
        let list = self.list.lock();
        let mut latest_first = conversation.answers.iter().rev();
        latest_first.find_map(|(_, digest)| {
            let known = list.keys.get(digest)?;
            (known.since.elapsed() < LONGEST).then(|| known.key.clone())
        })
    }

    /// A key for one more of the conversations that begin alike: the first that has had few requests within a minute. It is the
    /// same after a restart, and for another gateway.
    pub(super) fn of_group(&self, group: &Digest) -> String {
        let mut uses = self.uses.lock();
        let is_free = |key: &String| {
            let known = uses.get(key).filter(|known| known.is_current());
            known.is_none_or(|known| known.count < A_MINUTE)
        };
        let mut keys = (0..SPREAD).map(|number| derived(group, number));
        let key = keys.find(is_free);
        let key = key.unwrap_or_else(|| derived(group, 0));
        count(&mut uses, &key);
        key
    }

    /// Counts a request with this key.
    pub(super) fn used(&self, key: &str) {
        count(&mut self.uses.lock(), key);
    }
}

fn count(uses: &mut HashMap<String, Uses>, key: &str) {
    if let Some(known) = uses.get_mut(key).filter(|known| known.is_current()) {
        known.count = known.count.saturating_add(1);
        return;
    }
    if uses.len() >= MOST {
        uses.retain(|_, known| known.is_current());
    }
    if uses.len() < MOST {
        let since = Instant::now();
        uses.insert(key.to_owned(), Uses { since, count: 1 });
    }
}

/// A key in the form of a thread's id.
fn derived(group: &Digest, number: u8) -> String {
    let digest = Sha256::new().chain_update(group).chain_update([number]);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.finalize()[..16]);
    // Version 8 of UUIDs: any bytes.
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = hex(&bytes);
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32];
    parts.map(|part| &digits[part]).join("-")
}

impl List {
    fn tidy(&mut self) {
        while let Some((digest, since)) = self.order.front().copied()
            && (self.order.len() > MOST || since.elapsed() >= LONGEST)
        {
            self.order.pop_front();
            if self
                .keys
                .get(&digest)
                .is_some_and(|known| known.since == since)
            {
                self.keys.remove(&digest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codex::tests::said;
    use crate::codex::{Plan, Role};

    fn after(answers: &[&str]) -> Conversation {
        let mut history = vec![said(Role::User, "hi")];
        for answer in answers {
            history.extend([said(Role::Assistant, answer), said(Role::User, "go on")]);
        }
        let plan = Plan {
            history,
            ..Plan::default()
        };
        Conversation::of(&plan).unwrap()
    }

    fn digest(conversation: &Conversation) -> Digest {
        conversation.answers.back().unwrap().1
    }

    #[test]
    fn a_conversation_that_branches_has_the_key_of_its_beginning() {
        let keys = CacheKeys::default();
        keys.remember(digest(&after(&["yes"])), "k".to_owned());
        assert_eq!(keys.find(&after(&["yes", "and?"])), Some("k".to_owned()));
        assert_eq!(keys.find(&after(&["no"])), None);
        keys.remember(digest(&after(&["yes", "and?"])), "l".to_owned());
        assert_eq!(keys.find(&after(&["yes", "and?"])), Some("l".to_owned()));
    }

    #[test]
    fn one_more_key_for_each_fifteen_requests_a_minute() {
        let keys = CacheKeys::default();
        let group = [7; 32];
        let first = keys.of_group(&group);
        assert_eq!(
            first.split('-').map(str::len).collect::<Vec<_>>(),
            [8, 4, 4, 4, 12]
        );
        for _ in 1..A_MINUTE {
            keys.used(&first);
        }
        let second = keys.of_group(&group);
        assert_ne!(first, second);
        assert_eq!(keys.of_group(&group), second);
        assert_ne!(keys.of_group(&[8; 32]), first);
        let minute_ago = Instant::now().checked_sub(Uses::PERIOD).unwrap();
        keys.uses.lock().get_mut(&first).unwrap().since = minute_ago;
        assert_eq!(keys.of_group(&group), first);
        assert_eq!(
            CacheKeys::default().of_group(&group),
            first,
            "after a restart"
        );
    }

    #[test]
    fn uses_are_counted_of_a_bounded_number_of_keys() {
        let keys = CacheKeys::default();
        for n in 0..=MOST {
            keys.used(&n.to_string());
        }
        assert_eq!(keys.uses.lock().len(), MOST);
    }

    #[test]
    fn the_oldest_are_forgotten_beyond_the_limit() {
        let keys = CacheKeys::default();
        let first = after(&["first"]);
        keys.remember(digest(&first), "k".to_owned());
        for n in 0..MOST {
            let mut other = [0; 32];
            other[..8].copy_from_slice(&n.to_le_bytes());
            keys.remember(other, "o".to_owned());
        }
        assert_eq!(keys.find(&first), None);
        let list = keys.list.lock();
        assert_eq!((list.keys.len(), list.order.len()), (MOST, MOST));
    }
}
