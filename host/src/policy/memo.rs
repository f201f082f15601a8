//! Keeps a policy's answers by the declared input: the same input is not decided twice.
//!
//! Decisions are pure functions of the input that the policy declared, so that input is the key and a kept answer is exact.

use std::hash::Hash;
use std::io::{self, Write};

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use serde::Serialize;

/// The most answers kept of one function of a policy.
const ANSWERS: usize = 4_096;
/// The most bytes kept of one function of a policy, inputs included.
const BYTES: u64 = 4 << 20;
/// The most bytes of one answer with its input; a larger one is not kept.
const MOST: u64 = 64 << 10;
/// The least that an entry counts as, so that the bytes bound the number, too.
const LEAST: u64 = BYTES / ANSWERS as u64;

/// The answers of one function.
pub(super) struct Memo<K, A>(Cache<K, Kept<A>, Weight>);

#[derive(Clone)]
struct Kept<A> {
    answer: A,
    bytes: u64,
}

#[derive(Clone)]
struct Weight;

impl<K, A> Weighter<K, Kept<A>> for Weight {
    fn weight(&self, _: &K, kept: &Kept<A>) -> u64 {
        kept.bytes
    }
}

impl<K: Eq + Hash, A: Clone> Default for Memo<K, A> {
    fn default() -> Self {
        Self(Cache::with_weighter(ANSWERS, BYTES, Weight))
    }
}

impl<K: Eq + Hash + Serialize, A: Clone + Serialize> Memo<K, A> {
    /// The kept answer to a question.
    pub(super) fn get(&self, question: &K) -> Option<A> {
        self.0.get(question).map(|kept| kept.answer)
    }

    /// Keeps an answer, unless it is too large.
    pub(super) fn put(&self, question: K, answer: &A) {
        let bytes = LEAST.max(2 * size(&question).saturating_add(size(answer)));
        if bytes > MOST {
            return;
        }
        let answer = answer.clone();
        self.0.insert(question, Kept { answer, bytes });
    }
}

/// The bytes of a value as JSON: about half of what it takes in memory.
fn size(value: &impl Serialize) -> u64 {
    let mut counter = Counter(0);
    // A counter cannot fail, and the contract's types can all be written.
    match serde_json::to_writer(&mut counter, value) {
        Ok(()) => counter.0,
        Err(_) => u64::MAX / 4,
    }
}

struct Counter(u64);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_kept_for_its_question_alone() {
        let memo = Memo::default();
        memo.put("a".to_owned(), &1);
        assert_eq!(memo.get(&"a".to_owned()), Some(1));
        assert_eq!(memo.get(&"b".to_owned()), None);
    }

    #[test]
    fn answers_are_bounded_in_number_and_bytes() {
        let memo = Memo::default();
        for number in 0..3 * ANSWERS {
            memo.put(number, &"x".repeat(10));
        }
        assert!(memo.0.len() <= ANSWERS, "{}", memo.0.len());
        let memo = Memo::default();
        for number in 0..ANSWERS {
            memo.put(number, &"x".repeat(8 << 10));
        }
        assert!(memo.0.weight() <= BYTES, "{}", memo.0.weight());
        assert!(memo.0.len() > 100);
    }

    #[test]
    fn a_large_answer_is_not_kept() {
        let memo = Memo::default();
        let (small, large) = ("x".to_owned(), "x".repeat(32 << 10));
        memo.put(small.clone(), &large);
        memo.put(large, &small);
        assert_eq!(memo.0.len(), 0);
    }
}
