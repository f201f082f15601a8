//! How the turns of one answer begin, end and fail together.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use futures_util::future::BoxFuture;

use super::*;
use crate::codex;

/// A source that emits its deltas, and then never ends; its cost is the number of deltas emitted.
struct Scripted(Vec<Delta>, usize);

impl Source for Scripted {
    type Cost = usize;

    async fn next(&mut self) -> Option<Delta> {
        match self.0.get(self.1).cloned() {
            Some(delta) => {
                self.1 += 1;
                Some(delta)
            }
            None => std::future::pending().await,
        }
    }

    fn panicked(&mut self) -> Delta {
        Delta::Failed(turn::Error::Panicked)
    }

    fn end(self) -> usize {
        self.1
    }
}

fn relay() -> (Relay, mpsc::Receiver<Said>) {
    let (sender, said) = mpsc::channel(AHEAD);
    let relay = Relay {
        sender,
        stop: CancellationToken::new(),
        failed: Arc::new(|_| {}),
    };
    (relay, said)
}

/// Turns that all begin at once, each as its future says.
fn all<F>(starts: impl IntoIterator<Item = F>) -> Turns<impl FnMut(u32, bool) -> F> {
    let mut starts: Vec<Option<F>> = starts.into_iter().map(Some).collect();
    let count = u32::try_from(starts.len()).unwrap();
    Turns {
        count,
        at_once: count,
        start: move |choice, _| starts[choice as usize].take().expect("begun once"),
    }
}

#[tokio::test]
async fn when_one_choice_fails_the_others_end_with_it() {
    let (relay, mut said) = relay();
    let text = || Delta::Text("a".to_owned());
    let fails = vec![text(), Delta::Failed(turn::Error::Interrupted), text()];
    let turns = [vec![], fails].map(|script| async { Ok(Scripted(script, 0)) });
    let (begun, has_begun) = oneshot::channel();
    let run = relay.run(all(turns), begun, std::future::pending());
    let mut costs = run.await;
    costs.sort_unstable();
    assert_eq!(costs, [0, 2], "each tells what it cost");
    assert_eq!(has_begun.await, Ok(Ok(())));
    let mut heard = Vec::new();
    while let Some(delta) = said.recv().await {
        heard.push(delta);
    }
    assert!(matches!(
        heard[..],
        [(1, Delta::Text(_)), (1, Delta::Failed(_))]
    ));
}

/// As [`Scripted`], but it panics after its deltas.
struct Defective(Scripted);

impl Source for Defective {
    type Cost = usize;

    async fn next(&mut self) -> Option<Delta> {
        assert!(self.0.1 < self.0.0.len(), "a defect of the gateway");
        self.0.next().await
    }

    fn panicked(&mut self) -> Delta {
        self.0.panicked()
    }

    fn end(self) -> usize {
        self.0.end()
    }
}

#[tokio::test]
async fn a_turn_that_panics_ends_its_answer_with_an_error_and_says_what_it_cost() {
    let (relay, mut said) = relay();
    let text = Delta::Text("a".to_owned());
    let turns = [async { Ok(Defective(Scripted(vec![text], 0))) }];
    let (begun, _has_begun) = oneshot::channel();
    let costs = relay.run(all(turns), begun, std::future::pending());
    assert_eq!(costs.await, [1]);
    assert!(matches!(said.recv().await, Some((0, Delta::Text(_)))));
    let last = said.recv().await.unwrap().1;
    assert_eq!(last, Delta::Failed(turn::Error::Panicked));
    assert!(said.recv().await.is_none());
}

#[tokio::test]
async fn what_is_over_ends_and_says_what_it_cost() {
    let (relay, _said) = relay();
    let script = vec![Delta::Text("a".to_owned()); 2 * AHEAD];
    let turns = [async { Ok(Scripted(script, 0)) }];
    let (begun, has_begun) = oneshot::channel();
    let over = async { assert_eq!(has_begun.await, Ok(Ok(()))) };
    let costs = relay.run(all(turns), begun, over).await;
    assert_eq!(costs.len(), 1, "its reader reads nothing");
    assert!(costs[0] <= AHEAD + 1, "{costs:?}");
}

#[tokio::test(start_paused = true)]
async fn a_start_that_fails_waits_for_no_reader_when_all_is_over() {
    let (relay, _said) = relay();
    let script = vec![Delta::Text("a".to_owned()); 2 * AHEAD];
    let speaks = async move { Ok(Scripted(script, 0)) }.boxed();
    let fails = async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Err(turn::Error::Draining)
    }
    .boxed();
    let (begun, _has_begun) = oneshot::channel();
    let over = tokio::time::sleep(Duration::from_secs(1));
    let costs = relay.run(all([speaks, fails]), begun, over).await;
    assert_eq!(costs.len(), 1, "the reader reads nothing");
}

#[tokio::test]
async fn nothing_begins_for_one_who_has_left_and_an_error_is_told_before_it_begins() {
    let (left, _said) = relay();
    let (begun, has_begun) = oneshot::channel();
    drop(has_begun);
    let waits = [std::future::pending::<Result<Scripted, _>>()];
    let over = std::future::pending::<()>;
    assert!(left.run(all(waits), begun, over()).await.is_empty());
    let (refused, _said) = relay();
    let (begun, has_begun) = oneshot::channel();
    let fails = [async { Err::<Scripted, _>(turn::Error::Draining) }];
    assert!(refused.run(all(fails), begun, over()).await.is_empty());
    assert_eq!(has_begun.await, Ok(Err(turn::Error::Draining)));
}

/// Turns of which each begins when it finds the only place free, later than another is refused; counts the attempts to begin, and
/// those of turns that take the place of another.
struct OnePlace {
    is_taken: Arc<AtomicBool>,
    attempts: Arc<AtomicU32>,
    followers: Arc<AtomicU32>,
}

/// A source that ends after its delta, and then frees its place.
struct Placed(Scripted, Arc<AtomicBool>);

impl Source for Placed {
    type Cost = usize;

    async fn next(&mut self) -> Option<Delta> {
        let is_over = self.0.1 == self.0.0.len();
        if is_over { None } else { self.0.next().await }
    }

    fn panicked(&mut self) -> Delta {
        self.0.panicked()
    }

    fn end(self) -> usize {
        self.1.store(false, Ordering::Relaxed);
        self.0.end()
    }
}

impl OnePlace {
    fn new(is_taken: bool) -> Self {
        Self {
            is_taken: Arc::new(AtomicBool::new(is_taken)),
            attempts: Arc::default(),
            followers: Arc::default(),
        }
    }

    /// The turns; without a free place they fail as `refusal` says.
    fn turns(
        &self,
        count: u32,
        refusal: turn::Error,
    ) -> Turns<impl FnMut(u32, bool) -> BoxFuture<'static, Result<Placed, turn::Error>>> {
        let (is_taken, attempts) = (Arc::clone(&self.is_taken), Arc::clone(&self.attempts));
        let followers = Arc::clone(&self.followers);
        let start = move |choice: u32, follows| {
            let (is_taken, refusal) = (Arc::clone(&is_taken), refusal.clone());
            attempts.fetch_add(1, Ordering::Relaxed);
            followers.fetch_add(u32::from(follows), Ordering::Relaxed);
            async move {
                if is_taken.swap(true, Ordering::Relaxed) {
                    return Err(refusal);
                }
                tokio::task::yield_now().await;
                let text = Delta::Text(choice.to_string());
                Ok(Placed(Scripted(vec![text], 0), is_taken))
            }
            .boxed()
        };
        Turns {
            count,
            at_once: 3,
            start,
        }
    }
}

fn late() -> turn::Error {
    turn::Error::Timeout {
        timer: turn::Timer::FirstToken,
        after_ms: 1,
    }
}

#[tokio::test]
async fn a_turn_without_a_place_waits_for_another_turn_of_its_answer() {
    for refusal in [turn::Error::Codex(codex::Error::Busy), late()] {
        let place = OnePlace::new(false);
        let (relay, mut said) = relay();
        let (begun, _has_begun) = oneshot::channel();
        let costs = relay.run(place.turns(7, refusal), begun, std::future::pending());
        assert_eq!(costs.await, [1; 7]);
        let mut choices = Vec::new();
        while let Some((choice, delta)) = said.recv().await {
            assert_eq!(delta, Delta::Text(choice.to_string()));
            choices.push(choice);
        }
        assert_eq!(choices, [0, 1, 2, 3, 4, 5, 6], "in their order");
        assert_eq!(place.followers.load(Ordering::Relaxed), 6);
        let attempts = place.attempts.load(Ordering::Relaxed);
        assert!(
            attempts <= 3 * 7,
            "it asks only when one has ended: {attempts}"
        );
    }
}

#[tokio::test]
async fn without_a_turn_that_runs_a_missing_place_is_an_error() {
    let place = OnePlace::new(true);
    let (relay, _said) = relay();
    let (begun, has_begun) = oneshot::channel();
    let turns = place.turns(7, late());
    let costs = relay.run(turns, begun, std::future::pending());
    assert!(costs.await.is_empty());
    assert_eq!(has_begun.await, Ok(Err(late())));
    let attempts = place.attempts.load(Ordering::Relaxed);
    assert_eq!(attempts, 3, "no more begin than may run at once");
}

#[tokio::test]
async fn an_error_that_is_not_a_missing_place_ends_the_answer() {
    let (relay, mut said) = relay();
    let (begun, _has_begun) = oneshot::channel();
    let waits = async { Ok(Scripted(Vec::new(), 0)) }.boxed();
    let fails = async { Err(turn::Error::Draining) }.boxed();
    let turns = all([waits, fails]);
    relay.run(turns, begun, std::future::pending()).await;
    let failed = Delta::Failed(turn::Error::Draining);
    assert_eq!(said.recv().await, Some((1, failed)));
}
