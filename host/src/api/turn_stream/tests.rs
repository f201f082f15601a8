//! How the turns of one answer begin, end and fail together.

use super::*;

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
    let stop = CancellationToken::new();
    (Relay { sender, stop }, said)
}

#[tokio::test]
async fn when_one_choice_fails_the_others_end_with_it() {
    let (relay, mut said) = relay();
    let text = || Delta::Text("a".to_owned());
    let fails = vec![text(), Delta::Failed(turn::Error::Interrupted), text()];
    let turns = [vec![], fails].map(|script| async { Ok(Scripted(script, 0)) });
    let (begun, has_begun) = oneshot::channel();
    let run = relay.run(turns.into_iter(), begun, std::future::pending());
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
    let costs = relay.run(turns.into_iter(), begun, std::future::pending());
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
    let costs = relay.run(turns.into_iter(), begun, over).await;
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
    let costs = relay.run([speaks, fails].into_iter(), begun, over).await;
    assert_eq!(costs.len(), 1, "the reader reads nothing");
}

#[tokio::test]
async fn nothing_begins_for_one_who_has_left_and_an_error_is_told_before_it_begins() {
    let (left, _said) = relay();
    let (begun, has_begun) = oneshot::channel();
    drop(has_begun);
    let waits = [std::future::pending::<Result<Scripted, _>>()];
    let over = std::future::pending::<()>;
    assert!(left.run(waits.into_iter(), begun, over()).await.is_empty());
    let (refused, _said) = relay();
    let (begun, has_begun) = oneshot::channel();
    let fails = [async { Err::<Scripted, _>(turn::Error::Draining) }];
    assert!(
        refused
            .run(fails.into_iter(), begun, over())
            .await
            .is_empty()
    );
    assert_eq!(has_begun.await, Ok(Err(turn::Error::Draining)));
}
