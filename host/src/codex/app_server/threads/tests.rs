//! Which threads are kept ready, and when they are used or closed, with the test in place of the worker.

use std::time::SystemTime;

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::codex::app_server::protocol::{THREAD_FORK, THREAD_START, UNSUBSCRIBE};
use crate::codex::app_server::rpc::tests::{Worker, connect};

struct Rig {
    threads: Arc<Threads>,
    worker: Worker,
    home: TempDir,
}

fn rig() -> Rig {
    let home = tempfile::tempdir().unwrap();
    let (connection, worker) = connect(Duration::from_secs(5));
    let config = Config {
        home: Some(home.path().to_owned()),
        ..Config::default()
    };
    let threads = Threads::new(connection, Arc::new(config));
    Rig {
        threads,
        worker,
        home,
    }
}

fn kind(name: &str) -> Description {
    let params = to_raw_value(&json!({"model": name})).unwrap();
    Description { params, key: None }
}

impl Rig {
    /// Prepares a thread, which the test opens as the worker.
    async fn prepare(&mut self, description: &Description, again: bool, thread: &str) {
        let answer = self
            .worker
            .answer(THREAD_START, json!({"thread": {"id": thread}}));
        let ((), asked) = tokio::join!(self.threads.prepare(description, again), answer);
        assert_eq!(asked.to_string(), description.params.get());
    }
}

#[tokio::test]
async fn what_was_asked_for_twice_is_kept_ready() {
    let mut rig = rig();
    rig.threads.prepare(&kind("a"), false).await;
    rig.prepare(&kind("a"), false, "t1").await;
    let opened = rig.threads.open(&kind("a")).await.unwrap();
    assert_eq!((opened.thread.as_str(), opened.was_ready), ("t1", true));
    let opening = rig
        .worker
        .answer(THREAD_START, json!({"thread": {"id": "t2"}}));
    let kind = kind("a");
    let (opened, _) = tokio::join!(rig.threads.open(&kind), opening);
    let opened = opened.unwrap();
    assert_eq!((opened.thread.as_str(), opened.was_ready), ("t2", false));
}

#[tokio::test]
async fn another_kind_is_another_thread() {
    let mut rig = rig();
    rig.prepare(&kind("a"), true, "t1").await;
    let other = kind("b");
    let opening = rig
        .worker
        .answer(THREAD_START, json!({"thread": {"id": "t2"}}));
    let (opened, _) = tokio::join!(rig.threads.open(&other), opening);
    assert!(!opened.unwrap().was_ready);
}

#[tokio::test]
async fn only_a_few_are_kept_of_a_kind_and_the_oldest_kind_is_given_back() {
    let mut rig = rig();
    for n in 0..READY {
        rig.prepare(&kind("a"), true, &format!("t{n}")).await;
    }
    rig.threads.prepare(&kind("a"), true).await;
    for n in 0..KINDS {
        rig.threads.prepare(&kind(&format!("k{n}")), false).await;
    }
    for n in 0..READY {
        let asked = rig.worker.answer(UNSUBSCRIBE, json!({})).await;
        assert_eq!(asked, json!({"threadId": format!("t{n}")}));
    }
    assert_eq!(rig.threads.lock().len(), KINDS);
}

#[tokio::test]
async fn a_new_login_makes_what_was_prepared_useless() {
    let mut rig = rig();
    rig.prepare(&kind("a"), true, "t1").await;
    let file = std::fs::File::create(rig.home.path().join("auth.json")).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(60))
        .unwrap();
    rig.threads.tidy();
    let asked = rig.worker.answer(UNSUBSCRIBE, json!({})).await;
    assert_eq!(asked, json!({"threadId": "t1"}));
    assert!(rig.threads.take(&kind("a")).is_none());
}

#[tokio::test]
async fn one_that_cannot_be_opened_is_tried_again_the_next_time() {
    let mut rig = rig();
    let params = kind("a");
    let refusing = async {
        let asked = rig.worker.next().await;
        let error = json!({"code": -32600, "message": "no"});
        rig.worker
            .say(json!({"id": asked["id"], "error": error}))
            .await;
    };
    tokio::join!(rig.threads.prepare(&params, true), refusing);
    for n in 0..READY {
        rig.prepare(&params, true, &format!("t{n}")).await;
    }
}

#[tokio::test]
async fn a_very_long_kind_is_not_remembered() {
    let rig = rig();
    let long = kind(&"x".repeat(LONGEST));
    rig.threads.prepare(&long, true).await;
    assert!(rig.threads.lock().is_empty());
}

#[tokio::test]
async fn kinds_with_keys_take_no_room_of_those_without() {
    let mut rig = rig();
    rig.prepare(&kind("a"), true, "t1").await;
    for n in 0..=KINDS {
        let keyed = kind("a").with_key(n.to_string());
        rig.threads.prepare(&keyed, false).await;
    }
    assert_eq!(rig.threads.lock().len(), KINDS + 1);
    let answer = rig
        .worker
        .answer(THREAD_FORK, json!({"thread": {"id": "t2"}}));
    let keyed = kind("a").with_key("1".to_owned());
    let ((), asked) = tokio::join!(rig.threads.prepare(&keyed, false), answer);
    assert_eq!(asked["model"], "a");
    let ready = [rig.threads.take(&keyed), rig.threads.take(&kind("a"))];
    assert_eq!(ready, [Some("t2".to_owned()), Some("t1".to_owned())]);
}
