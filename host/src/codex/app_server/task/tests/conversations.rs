//! A conversation that goes on in the thread of its last turn.

use super::*;
use crate::codex::tests::{self as items, output, said};

fn call(id: &str) -> Item {
    items::call(id, "f", "{\"a\": 1}")
}

fn with_tool() -> Plan {
    Plan {
        tools: vec![Tool {
            name: "f".to_owned(),
            description: None,
            parameters: json!({"type": "object"}),
        }],
        ..plan()
    }
}

/// The next request of the conversation.
fn then(mut plan: Plan, items: impl IntoIterator<Item = Item>) -> Plan {
    plan.history.extend(items);
    plan
}

impl Rig {
    /// Ends the first turn with this answer.
    pub(super) async fn answer(&mut self, text: &str) {
        let delta = json!({"itemId": "m", "delta": text});
        self.hear("item/agentMessage/delta", delta).await;
        self.end("completed").await;
        while self.next().await.is_some() {}
    }

    /// Has the model call the function once for each id, and its response end.
    async fn call(&mut self, ids: &[&str]) {
        for id in ids {
            let item = json!({"type": "function_call", "call_id": id, "name": "f", "arguments": "{\"a\":1}"});
            self.hear("rawResponseItem/completed", json!({"item": item}))
                .await;
        }
        self.hear("rawResponse/completed", json!({"usage": null}))
            .await;
        for _ in 0..=ids.len() {
            assert!(self.next().await.is_some());
        }
    }

    /// Has Codex ask for the output of a call.
    async fn ask(&mut self, id: &str, request: u64) {
        let params =
            json!({"threadId": "t", "turnId": "k", "callId": id, "tool": "f", "arguments": {}});
        let method = "item/tool/call";
        self.worker
            .say(json!({"id": request, "method": method, "params": params}))
            .await;
    }

    /// Ends the turn before, and begins the next one.
    pub(super) async fn go_on(&mut self, plan: Plan) {
        drop(self.exchange.take());
        let task = std::mem::replace(&mut self.task, tokio::spawn(async {}));
        task.await.unwrap();
        let place = Place {
            conversation: Conversation::of(&plan),
            site: self.site.clone(),
        };
        let Turn(exchange, started, task) = turn(&self.pool, plan, place).await;
        (self.exchange, self.started, self.task) = (Some(exchange), started, task);
    }
}

async fn begun(plan: Plan) -> Rig {
    let place = Place {
        conversation: Conversation::of(&plan),
        site: None,
    };
    let mut rig = begin_at(plan, place).await;
    rig.open().await;
    rig.inject().await;
    rig.start().await;
    rig
}

fn user(text: &str) -> Value {
    json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]})
}

#[tokio::test]
async fn only_what_is_new_is_injected_into_the_same_thread() {
    let mut rig = begun(plan()).await;
    rig.answer("yes").await;
    let second = then(
        plan(),
        [said(Role::Assistant, "yes"), said(Role::User, "go on")],
    );
    rig.go_on(second.clone()).await;
    assert_eq!(
        rig.inject().await,
        json!({"threadId": "t", "items": [user("go on")]})
    );
    rig.start().await;
    rig.answer("and on").await;
    let third = then(
        second,
        [said(Role::Assistant, "and on"), said(Role::User, "and on?")],
    );
    rig.go_on(third).await;
    assert_eq!(
        rig.inject().await,
        json!({"threadId": "t", "items": [user("and on?")]})
    );
}

#[tokio::test]
async fn a_thread_that_codex_has_lost_is_replaced_by_a_new_one_with_the_whole_history() {
    let mut rig = begun(plan()).await;
    rig.answer("yes").await;
    rig.go_on(then(
        plan(),
        [said(Role::Assistant, "yes"), said(Role::User, "go on")],
    ))
    .await;
    let asked = rig.worker.next().await;
    assert_eq!(asked["method"], protocol::INJECT_ITEMS);
    let error = json!({"code": protocol::INVALID_REQUEST, "message": "thread not found"});
    rig.worker
        .say(json!({"id": asked["id"], "error": error}))
        .await;
    rig.worker.answer(protocol::UNSUBSCRIBE, json!({})).await;
    let forked = json!({"thread": {"id": "t"}});
    rig.worker.answer(protocol::THREAD_FORK, forked).await;
    let items = rig.inject().await["items"].clone();
    assert_eq!(items.as_array().unwrap().len(), 4);
    rig.start().await;
    rig.answer("again").await;
}

/// A conversation whose thread is no longer kept, at its next turn.
async fn whose_thread_is_gone(plan: Plan) -> Rig {
    let mut rig = begun(plan.clone()).await;
    rig.answer("yes").await;
    std::mem::replace(&mut rig.task, tokio::spawn(async {}))
        .await
        .unwrap();
    let (threads, signed_in) = rig.kept();
    assert_eq!(threads.kept.tidy(signed_in).len(), 1);
    let more = [said(Role::Assistant, "yes"), said(Role::User, "go on")];
    rig.go_on(then(plan, more)).await;
    rig
}

#[tokio::test]
async fn without_its_thread_it_keeps_the_key_in_a_fork_of_an_empty_one() {
    let mut rig = whose_thread_is_gone(plan()).await;
    let asked = rig.worker.next().await;
    assert_eq!(asked["method"], protocol::THREAD_FORK);
    let stored = std::fs::read(asked["params"]["path"].as_str().unwrap()).unwrap();
    let stored: Value = serde_json::from_slice(&stored).unwrap();
    assert_eq!(stored["payload"]["session_id"], "t");
    let forked = json!({"id": asked["id"], "result": {"thread": {"id": "t"}}});
    rig.worker.say(forked).await;
    let items = rig.inject().await["items"].clone();
    assert_eq!(items.as_array().unwrap().len(), 4, "the whole history");
    assert_eq!(rig.start().await["environments"], json!([]));
    let usage = json!({"inputTokens": 9, "outputTokens": 2});
    let usage = json!({"tokenUsage": {"last": usage, "total": {"inputTokens": 99}}});
    let delta = json!({"itemId": "m", "delta": "on"});
    rig.hear("item/agentMessage/delta", delta).await;
    rig.hear("thread/tokenUsage/updated", usage).await;
    assert_eq!(rig.next().await, Some(Event::Text("on".to_owned())));
    let Some(Event::Sampled(usage)) = rig.next().await else {
        panic!("no usage")
    };
    assert_eq!((usage.input, usage.output), (9, 2));
}

#[tokio::test]
async fn with_functions_or_with_a_codex_that_cannot_fork_it_begins_anew() {
    let mut rig = whose_thread_is_gone(with_tool()).await;
    rig.open().await;
    let mut rig = whose_thread_is_gone(plan()).await;
    let asked = rig.worker.next().await;
    assert_eq!(asked["method"], protocol::THREAD_FORK);
    let error = json!({"code": protocol::INVALID_REQUEST, "message": "unknown variant"});
    rig.worker
        .say(json!({"id": asked["id"], "error": error}))
        .await;
    rig.open().await;
    rig.inject().await;
    assert_eq!(rig.start().await.get("environments"), None);
}

#[tokio::test]
async fn an_open_call_gets_the_clients_output_in_the_same_turn() {
    let mut rig = begun(with_tool()).await;
    rig.call(&["c1", "c2"]).await;
    rig.ask("c2", 7).await;
    rig.ask("c1", 8).await;
    let calls = [call("x"), call("y"), output("x", "one"), output("y", "two")];
    rig.go_on(then(with_tool(), calls.clone())).await;
    for (request, text) in [(8, "one"), (7, "two")] {
        let answer = rig.worker.next().await;
        let items = json!([{"type": "inputText", "text": text}]);
        assert_eq!(
            answer,
            json!({"id": request, "result": {"contentItems": items, "success": true}})
        );
    }
    assert_eq!((&mut rig.started).await.unwrap(), Ok(()));
    rig.answer("three").await;
    let last = [said(Role::Assistant, "three"), said(Role::User, "thanks")];
    rig.go_on(then(then(with_tool(), calls), last)).await;
    assert_eq!(rig.inject().await["items"], json!([user("thanks")]));
}

#[tokio::test]
async fn a_call_whose_output_codex_does_not_ask_for_is_interrupted() {
    let mut rig = begun(with_tool()).await;
    rig.call(&["c1", "c2"]).await;
    rig.ask("c1", 7).await;
    drop(rig.exchange.take());
    rig.worker.answer(protocol::TURN_INTERRUPT, json!({})).await;
    rig.end("interrupted").await;
    rig.cleaned_up().await;
}

#[tokio::test]
async fn a_turn_that_stays_open_is_interrupted_and_its_thread_closed() {
    let mut rig = begun(with_tool()).await;
    rig.call(&["c1"]).await;
    rig.ask("c1", 7).await;
    drop(rig.exchange.take());
    std::mem::replace(&mut rig.task, tokio::spawn(async {}))
        .await
        .unwrap();
    assert_eq!(rig.pool.running(), 0, "it holds no place");
    let (threads, signed_in) = rig.kept();
    let gone = threads.kept.tidy(signed_in);
    assert_eq!(gone.len(), 1);
    threads.close_kept(gone);
    let asked = rig.worker.answer(protocol::TURN_INTERRUPT, json!({})).await;
    assert_eq!(asked, json!({"threadId": "t", "turnId": "k"}));
    rig.cleaned_up().await;
}

impl Rig {
    /// The worker's threads, and a state of Codex's files that none of them was opened with.
    fn kept(&self) -> (Arc<Threads>, ConfigStamp) {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("auth.json"), "{}").unwrap();
        let config = crate::codex::Config {
            home: Some(home.path().to_owned()),
            ..crate::codex::Config::default()
        };
        (self.pool.threads(), ConfigStamp::now(&config))
    }
}
