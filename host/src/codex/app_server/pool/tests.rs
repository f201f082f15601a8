//! Which worker gets the next turn, and what happens to turns when workers come and go.

use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;

use super::*;
use crate::codex::Config;
use crate::codex::app_server::rpc::Connection;
use crate::codex::app_server::rpc::tests::{Worker, connect};
use crate::codex::protocol_log::Tap;

fn pool(capacity: usize, queue: usize) -> Arc<Pool> {
    let status = Status::starting("app-server", "1".to_owned());
    Pool::new(capacity, queue, watch::channel(status).0)
}

/// A worker that gets no requests.
fn join(pool: &Arc<Pool>, pid: u32) -> Seat {
    let (connection, _) = Connection::new(Duration::from_secs(1), Tap::default());
    pool.join(Some(pid), Threads::new(connection, Arc::default()))
}

/// A pool with one worker, which the test plays, and room for one turn.
pub(in super::super) fn pool_of_one() -> (Arc<Pool>, Arc<Connection>, Worker, Seat) {
    let pool = pool(1, 0);
    let (connection, worker) = connect(Duration::from_secs(1));
    let threads = Threads::new(Arc::clone(&connection), Arc::new(Config::default()));
    let seat = pool.join(None, threads);
    (pool, connection, worker, seat)
}

impl Pool {
    /// Turns that hold a lease.
    pub(in super::super) fn running(&self) -> usize {
        self.lock().all.iter().map(|member| member.running).sum()
    }

    /// The threads of the first worker.
    pub(in super::super) fn threads(&self) -> Arc<Threads> {
        Arc::clone(&self.lock().all[0].threads)
    }

    fn loads(&self) -> Vec<usize> {
        self.lock()
            .all
            .iter()
            .map(|member| member.running)
            .collect()
    }
}

#[tokio::test]
async fn each_turn_goes_to_the_least_loaded() {
    let pool = pool(3, 0);
    let _seats = (join(&pool, 1), join(&pool, 2));
    let mut leases = Vec::new();
    for _ in 0..4 {
        leases.push(pool.lease(|_| false, false).await.unwrap());
    }
    assert_eq!(pool.loads(), [2, 2]);
    leases.retain(|lease| lease.seat != 0);
    leases.push(pool.lease(|_| false, false).await.unwrap());
    assert_eq!(pool.loads(), [1, 2]);
    while let Ok(lease) = pool.lease(|_| false, false).await {
        leases.push(lease);
    }
    assert_eq!(pool.loads(), [3, 3], "and no more than it can run");
    drop(leases);
    assert_eq!(pool.loads(), [0, 0]);
}

#[tokio::test]
async fn whoever_waits_gets_the_worker_that_comes() {
    let pool = pool(1, 1);
    let mut waiting = pin!(pool.lease(|_| false, false));
    assert!(waiting.as_mut().now_or_never().is_none());
    assert!(!pool.is_open());
    assert_eq!(pool.lease(|_| false, false).await.unwrap_err(), Full);
    let _seat = join(&pool, 1);
    let lease = waiting.await.unwrap();
    assert_eq!(lease.pool.status.borrow().workers.len(), 1);
    assert!(pool.is_open());
}

#[tokio::test]
async fn a_closed_worker_gets_no_new_turn_and_is_idle_after_its_last() {
    let pool = pool(2, 4);
    let old = join(&pool, 1);
    let running = pool.lease(|_| false, false).await.unwrap();
    let new = join(&pool, 2);
    old.close();
    assert!(old.idle().now_or_never().is_none());
    let leases = (
        pool.lease(|_| false, false).await.unwrap(),
        pool.lease(|_| false, false).await.unwrap(),
    );
    assert_eq!(pool.loads(), [1, 2]);
    let mut waiting = pin!(pool.lease(|_| false, false));
    assert!(waiting.as_mut().now_or_never().is_none());
    drop(running);
    old.idle().await;
    assert!(
        waiting.as_mut().now_or_never().is_none(),
        "its place is no place any more"
    );
    drop(old);
    drop(leases);
    waiting.await.unwrap();
    assert_eq!(new.begun(), 3);
}

#[tokio::test]
async fn places_are_right_after_any_coming_and_going() {
    let pool = pool(2, 64);
    for round in 0..50 {
        let seat = join(&pool, round);
        let held = pool.lease(|_| false, false).await.unwrap();
        let mut waiting: Vec<_> = (0..3)
            .map(|_| Box::pin(pool.lease(|_| false, false)))
            .collect();
        for lease in &mut waiting {
            // One gets the second place, which it may lose with the worker before it is polled again.
            let _ = lease.as_mut().now_or_never();
        }
        seat.close();
        drop(seat);
        drop(held);
        drop(waiting);
    }
    let _seat = join(&pool, 99);
    let leases = (
        pool.lease(|_| false, false).await.unwrap(),
        pool.lease(|_| false, false).await.unwrap(),
    );
    let mut third = pin!(pool.lease(|_| false, false));
    assert!(
        third.as_mut().now_or_never().is_none(),
        "two places, not more"
    );
    drop(leases);
    third.await.unwrap();
}

#[tokio::test]
async fn those_who_watch_hear_of_workers_and_not_of_turns() {
    let pool = pool(2, 0);
    let mut status = pool.status.subscribe();
    let seat = join(&pool, 7);
    assert!(status.has_changed().unwrap());
    assert!(status.borrow_and_update().ready);
    let lease = pool.lease(|_| false, false).await.unwrap();
    assert!(!status.has_changed().unwrap());
    let shown = status.borrow().workers.clone();
    assert_eq!(
        shown,
        [WorkerStatus {
            pid: Some(7),
            turns: 1,
            begun: 1,
            leaving: false
        }]
    );
    seat.close();
    assert!(status.borrow_and_update().workers[0].leaving);
    drop((lease, seat));
    let last = status.borrow_and_update().clone();
    assert_eq!((last.ready, last.workers.len()), (false, 0));
    assert!(last.reason.is_some());
}

#[tokio::test]
async fn a_turn_goes_to_the_worker_that_suits_if_it_has_room() {
    let pool = pool(1, 0);
    let _seats = (join(&pool, 1), join(&pool, 2));
    let second = Arc::clone(&pool.lock().all[1].threads);
    let suits = |threads: &Threads| std::ptr::eq(threads, &*second);
    let first = pool.lease(suits, false).await.unwrap();
    assert_eq!(pool.loads(), [0, 1]);
    let other = pool.lease(suits, false).await.unwrap();
    assert_eq!(pool.loads(), [1, 1], "another is better than none");
    drop((first, other));
}
