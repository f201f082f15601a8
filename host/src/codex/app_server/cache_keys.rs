//! Remembers the provider's cache key of each conversation, for longer than the thread is kept that had it.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::conversation::{Conversation, Digest};

/// Limit of conversations that are remembered: 200 bytes each.
const MOST: usize = 4096;

/// How long a conversation is remembered. Providers keep the prompt of an idle conversation for five to ten minutes.
const LONGEST: Duration = Duration::from_secs(600);

/// The keys of the conversations of all workers.
#[derive(Debug, Default)]
pub(super) struct CacheKeys {
    list: Mutex<List>,
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
