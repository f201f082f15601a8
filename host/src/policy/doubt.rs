//! Doubts: a fault is put to other policies beside the request, and is held against those that had it only if the others decide.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::Slot;
use super::fault::FaultKind;

/// The most questions of one slot that are asked again at once; one answer is enough.
const AT_ONCE: usize = 2;

/// How often both are asked in turn if the doubted ones were late.
const ROUNDS: u32 = 3;

/// The questions that are being asked again.
pub(super) struct Doubts([Arc<Semaphore>; Slot::COUNT]);

impl Default for Doubts {
    fn default() -> Self {
        Self(Slot::ALL.map(|_| Arc::new(Semaphore::new(AT_ONCE))))
    }
}

impl Doubts {
    /// Calls `blame` if `confirmed` says that others decide. While enough questions of the slot are asked again, a further one is not.
    pub(super) fn ask<F>(
        &self,
        slot: Slot,
        confirmed: impl FnOnce() -> F,
        blame: impl FnOnce() + Send + 'static,
    ) where
        F: Future<Output = bool> + Send + 'static,
    {
        let Ok(permit) = Arc::clone(&self.0[slot as usize]).try_acquire_owned() else {
            return;
        };
        let confirmed = confirmed();
        tokio::spawn(async move {
            if confirmed.await {
                blame();
            }
            drop(permit);
        });
    }
}

/// Whether other policies decide where the doubted ones had this fault. On a busy machine any policy may be late, and a client can
/// make it busy: policies that were late are asked again, each time after the others have decided.
pub(super) async fn is_worse<P: Clone, F: Future<Output = bool>>(
    fault: FaultKind,
    (others, doubted): (P, P),
    decides: impl Fn(P) -> F,
) -> bool {
    if fault != FaultKind::Deadline {
        return decides(others).await;
    }
    for _ in 0..ROUNDS {
        if !decides(others.clone()).await || decides(doubted.clone()).await {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// The verdict on policies with this fault, if the others and they decide, question by question, as listed; and how often they are asked.
    async fn verdict(fault: FaultKind, others: &[bool], doubted: &[bool]) -> (bool, [usize; 2]) {
        let answers = [others, doubted];
        let asked = RefCell::new([0; 2]);
        let decides = |who: usize| {
            let mut asked = asked.borrow_mut();
            let answer = answers[who][asked[who]];
            asked[who] += 1;
            std::future::ready(answer)
        };
        let is_worse = is_worse(fault, (0, 1), decides).await;
        (is_worse, asked.into_inner())
    }

    #[tokio::test]
    async fn a_late_policy_is_worse_if_it_stays_late_where_others_are_not() {
        let late = FaultKind::Deadline;
        let (yes, no) = ([true; 3], [false; 3]);
        assert_eq!(verdict(late, &yes, &no).await, (true, [3, 3]));
        // One slow moment.
        assert_eq!(verdict(late, &yes, &[true]).await, (false, [1, 1]));
        let last = [false, false, true];
        assert_eq!(verdict(late, &yes, &last).await, (false, [3, 3]));
        // The others are late, too.
        assert_eq!(verdict(late, &no, &no).await, (false, [1, 0]));
        let slow = [true, false];
        assert_eq!(verdict(late, &slow, &no).await, (false, [2, 1]));
    }

    #[tokio::test]
    async fn another_fault_is_asked_once() {
        for fault in [FaultKind::Trap, FaultKind::Memory, FaultKind::Nonsense] {
            assert_eq!(verdict(fault, &[true], &[]).await, (true, [1, 0]));
            assert_eq!(verdict(fault, &[false], &[]).await, (false, [1, 0]));
        }
    }

    #[tokio::test]
    async fn a_slot_is_not_asked_without_bound() {
        let doubts = Doubts::default();
        let (blamed, blames) = std::sync::mpsc::channel();
        let ask = |slot| {
            let blamed = blamed.clone();
            let blame = move || blamed.send(slot).unwrap();
            doubts.ask(slot, || std::future::ready(true), blame);
        };
        // None has run yet.
        (0..AT_ONCE + 5).for_each(|_| ask(Slot::Auth));
        ask(Slot::Model);
        while doubts
            .0
            .iter()
            .any(|asked| asked.available_permits() < AT_ONCE)
        {
            tokio::task::yield_now().await;
        }
        let blamed: Vec<_> = blames.try_iter().collect();
        assert_eq!(blamed, [Slot::Auth, Slot::Auth, Slot::Model]);
    }
}
