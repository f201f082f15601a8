//! One turn with the test in place of the worker: the order of its requests, and what it gives back.

mod agents;
mod conversations;
mod images;

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::*;
use crate::codex::app_server::pool::tests::pool_of_one;
use crate::codex::app_server::pool::{Pool, Seat};
use crate::codex::app_server::rpc::tests::Worker;
use crate::codex::tests::said;
use crate::codex::{Item, Part, Role, Tool};

/// A turn that was started.
struct Rig {
    worker: Worker,
    connection: Arc<Connection>,
    exchange: Option<TurnReceiver>,
    started: oneshot::Receiver<Result<(), Error>>,
    task: JoinHandle<()>,
    pool: Arc<Pool>,
    _seat: Seat,
    /// For agents.
    site: Option<Arc<WorkspaceRoot>>,
}

fn plan() -> Plan {
    Plan {
        model: "m".to_owned(),
        history: vec![said(Role::Developer, "Be terse."), said(Role::User, "hi")],
        ..Plan::default()
    }
}

/// Begins a turn that is no conversation's.
async fn begin(plan: Plan) -> Rig {
    let place = Place {
        conversation: None,
        site: None,
    };
    begin_at(plan, place).await
}

async fn begin_at(plan: Plan, place: Place) -> Rig {
    let (pool, connection, worker, _seat) = pool_of_one();
    let site = place.site.clone();
    let Turn(exchange, started, task) = turn(&pool, plan, place).await;
    Rig {
        worker,
        connection,
        exchange: Some(exchange),
        started,
        task,
        pool,
        _seat,
        site,
    }
}

struct Turn(
    TurnReceiver,
    oneshot::Receiver<Result<(), Error>>,
    JoinHandle<()>,
);

async fn turn(pool: &Arc<Pool>, plan: Plan, place: Place) -> Turn {
    let lease = pool.lease(|_| false, false).await.unwrap();
    let (exchange, task) = prepare(lease, &plan, place, 1 << 20);
    let (sender, started) = oneshot::channel();
    let task = tokio::spawn(async move { drop(task.run(Arc::new(plan), sender).await) });
    Turn(exchange, started, task)
}

impl Rig {
    async fn open(&mut self) -> Value {
        self.worker
            .answer(protocol::THREAD_START, json!({"thread": {"id": "t"}}))
            .await
    }

    async fn inject(&mut self) -> Value {
        self.worker.answer(protocol::INJECT_ITEMS, json!({})).await
    }

    async fn start(&mut self) -> Value {
        let asked = self
            .worker
            .answer(protocol::TURN_START, json!({"turn": {"id": "k"}}))
            .await;
        self.hear(
            "turn/started",
            json!({"turn": {"id": "k", "status": "inProgress"}}),
        )
        .await;
        asked
    }

    async fn hear(&mut self, method: &str, mut params: Value) {
        params["threadId"] = json!("t");
        params["turnId"] = json!("k");
        self.worker
            .say(json!({"method": method, "params": params}))
            .await;
    }

    async fn end(&mut self, status: &str) {
        self.hear(
            "turn/completed",
            json!({"turn": {"id": "k", "status": status}}),
        )
        .await;
    }

    async fn next(&mut self) -> Option<Event> {
        self.exchange.as_mut().unwrap().next().await
    }

    /// Checks that the thread is closed, the task has ended, and the lease is given back.
    async fn cleaned_up(mut self) {
        let asked = self.worker.answer(protocol::UNSUBSCRIBE, json!({})).await;
        assert_eq!(asked, json!({"threadId": "t"}));
        self.task.await.unwrap();
        assert_eq!(self.pool.running(), 0);
    }
}

#[tokio::test]
async fn a_turn_is_a_thread_with_the_history_and_nothing_else() {
    let mut rig = begin(Plan {
        effort: Some("low".to_owned()),
        verbosity: Some("high".to_owned()),
        output_schema: Some(json!({"type": "object"})),
        tools: vec![Tool {
            name: "f".to_owned(),
            description: None,
            parameters: json!({"type": "object"}),
        }],
        ..plan()
    })
    .await;
    let thread = rig.open().await;
    assert_eq!(
        thread,
        json!({
            "model": "m", "config": {"model_verbosity": "high"}, "approvalPolicy": "never", "sandbox": "read-only",
            "ephemeral": true, "environments": [], "baseInstructions": "", "developerInstructions": "",
            "experimentalRawEvents": true,
            "dynamicTools": [{"type": "function", "name": "f", "description": "", "inputSchema": {"type": "object"}}],
        })
    );
    let text = |role: &str, text: &str| json!({"type": "message", "role": role, "content": [{"type": "input_text", "text": text}]});
    let items = json!([text("developer", "Be terse."), text("user", "hi")]);
    assert_eq!(rig.inject().await, json!({"threadId": "t", "items": items}));
    assert_eq!(
        rig.start().await,
        json!({"threadId": "t", "input": [], "effort": "low", "summary": "auto", "outputSchema": {"type": "object"}})
    );
    assert_eq!((&mut rig.started).await.unwrap(), Ok(()));
    rig.hear(
        "item/agentMessage/delta",
        json!({"itemId": "m", "delta": "yes"}),
    )
    .await;
    rig.end("completed").await;
    assert_eq!(rig.next().await, Some(Event::Text("yes".to_owned())));
    assert_eq!(rig.next().await, Some(Event::Ended(TurnOutcome::Completed)));
    assert_eq!(rig.next().await, None);
    rig.cleaned_up().await;
}

#[tokio::test]
async fn every_kind_of_item_has_its_wire_form() {
    let image = Part::Image {
        url: "data:x".to_owned(),
        detail: Some("low".to_owned()),
    };
    let text = || Part::Text("a".to_owned());
    let output = |parts| Item::CallOutput {
        id: "c".to_owned(),
        parts,
    };
    let mut rig = begin(Plan {
        history: vec![
            Item::Message {
                role: Role::Assistant,
                parts: vec![text()],
            },
            Item::Call {
                id: "c".to_owned(),
                name: "f".to_owned(),
                arguments: "{}".to_owned(),
            },
            output(vec![text()]),
            output(vec![]),
            output(vec![text(), image]),
        ],
        ..Plan::default()
    })
    .await;
    assert_eq!(rig.open().await.get("model"), None, "Codex's own default");
    let items = rig.inject().await["items"].clone();
    let expected = json!([
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "a"},
        {"type": "function_call_output", "call_id": "c", "output": ""},
        {"type": "function_call_output", "call_id": "c", "output": [
            {"type": "input_text", "text": "a"},
            {"type": "input_image", "image_url": "data:x", "detail": "low"},
        ]},
    ]);
    assert_eq!(items, expected);
}

#[tokio::test]
async fn without_history_nothing_is_injected() {
    let mut rig = begin(Plan::default()).await;
    rig.open().await;
    rig.start().await;
    rig.end("completed").await;
    assert_eq!(rig.next().await, Some(Event::Ended(TurnOutcome::Completed)));
    rig.cleaned_up().await;
}

#[tokio::test]
async fn an_interrupted_turn_tells_what_still_comes() {
    let mut rig = begin(plan()).await;
    rig.open().await;
    rig.inject().await;
    rig.start().await;
    rig.exchange.as_ref().unwrap().interrupt();
    let asked = rig.worker.answer(protocol::TURN_INTERRUPT, json!({})).await;
    assert_eq!(asked, json!({"threadId": "t", "turnId": "k"}));
    rig.hear(
        "item/agentMessage/delta",
        json!({"itemId": "m", "delta": "last"}),
    )
    .await;
    rig.end("interrupted").await;
    assert_eq!(rig.next().await, Some(Event::Text("last".to_owned())));
    assert_eq!(
        rig.next().await,
        Some(Event::Ended(TurnOutcome::Interrupted))
    );
    rig.cleaned_up().await;
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_resists_is_interrupted_again_and_in_the_end_given_up() {
    let mut rig = begin(plan()).await;
    rig.open().await;
    rig.inject().await;
    rig.start().await;
    rig.exchange.as_ref().unwrap().interrupt();
    for _ in 0..3 {
        rig.worker.answer(protocol::TURN_INTERRUPT, json!({})).await;
    }
    let ended = tokio::time::timeout(2 * INTERRUPT_LIMIT, rig.next()).await;
    assert_eq!(ended.unwrap(), Some(Event::Ended(TurnOutcome::Interrupted)));
}

/// Drops the reader's end after so many answered requests, and checks the requests after that.
async fn dropped_after(answered: usize) {
    let mut rig = begin(plan()).await;
    if answered > 0 {
        rig.open().await;
    }
    if answered > 1 {
        rig.inject().await;
        rig.start().await;
    }
    rig.exchange = None;
    if answered == 0 {
        rig.open().await;
    }
    if answered > 1 {
        rig.worker.answer(protocol::TURN_INTERRUPT, json!({})).await;
        rig.end("interrupted").await;
    }
    rig.cleaned_up().await;
}

#[tokio::test]
async fn a_turn_dropped_at_any_moment_gives_everything_back() {
    for answered in 0..3 {
        dropped_after(answered).await;
    }
}

#[tokio::test]
async fn a_refused_thread_costs_only_the_lease() {
    let mut rig = begin(plan()).await;
    let request = rig.worker.next().await;
    rig.worker
        .say(json!({"id": request["id"], "error": {"code": -32600, "message": "no such provider"}}))
        .await;
    let refused = rig.started.await.unwrap();
    assert!(
        matches!(
            refused,
            Err(Error::Rpc {
                method: "thread/start",
                ..
            })
        ),
        "{refused:?}"
    );
    rig.task.await.unwrap();
    assert_eq!(rig.pool.running(), 0);
}

#[tokio::test]
async fn a_refused_history_closes_the_thread() {
    let mut rig = begin(plan()).await;
    rig.open().await;
    let request = rig.worker.next().await;
    rig.worker
        .say(json!({"id": request["id"], "error": {"code": -32600, "message": "remote image"}}))
        .await;
    let refused = (&mut rig.started).await.unwrap();
    assert!(
        matches!(
            refused,
            Err(Error::Rpc {
                method: "thread/inject_items",
                ..
            })
        ),
        "{refused:?}"
    );
    rig.cleaned_up().await;
}

#[tokio::test]
async fn a_lost_worker_ends_the_turn() {
    let mut rig = begin(plan()).await;
    rig.open().await;
    rig.inject().await;
    rig.start().await;
    assert_eq!((&mut rig.started).await.unwrap(), Ok(()));
    rig.connection.close("killed");
    let lost = TurnOutcome::Failed(Error::WorkerExited("killed".to_owned()));
    assert_eq!(rig.next().await, Some(Event::Ended(lost)));
    rig.task.await.unwrap();
    assert_eq!(rig.pool.running(), 0);
}

#[tokio::test]
async fn a_reader_that_falls_behind_loses_the_turn_not_the_worker() {
    let mut rig = begin(plan()).await;
    rig.open().await;
    rig.inject().await;
    rig.start().await;
    for _ in 0..20 {
        rig.hear(
            "item/agentMessage/delta",
            json!({"itemId": "m", "delta": "x".repeat(100_000)}),
        )
        .await;
    }
    rig.worker.answer(protocol::TURN_INTERRUPT, json!({})).await;
    rig.end("interrupted").await;
    let mut last = None;
    while let Some(event) = rig.next().await {
        last = Some(event);
    }
    let slow = TurnOutcome::Failed(Error::SlowReader {
        limit_bytes: 1 << 20,
    });
    assert_eq!(last, Some(Event::Ended(slow)));
    rig.cleaned_up().await;
}
