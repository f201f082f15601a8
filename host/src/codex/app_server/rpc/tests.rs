//! A connection with the test in place of the worker.

use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tokio::io::{
    AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines as Input,
    ReadHalf, WriteHalf, split,
};

use tokio_util::sync::CancellationToken;

use super::*;
use crate::codex::app_server::pipes::{read, write};
use crate::codex::app_server::protocol::{Nothing, THREAD_START, UNSUBSCRIBE};

const SECOND: Duration = Duration::from_secs(1);

/// The worker's end of the pipes.
pub(in super::super) struct Worker {
    asked: Input<BufReader<ReadHalf<DuplexStream>>>,
    answers: WriteHalf<DuplexStream>,
}

impl Worker {
    /// Waits for a request of this method, answers it, and returns its parameters.
    pub(in super::super) async fn answer(&mut self, method: Method, result: Value) -> Value {
        let request = self.next().await;
        assert_eq!(request["method"], method);
        self.say(json!({"id": request["id"], "result": result}))
            .await;
        request["params"].clone()
    }

    pub(in super::super) async fn next(&mut self) -> Value {
        let line = self.asked.next_line().await.unwrap().expect("a line");
        serde_json::from_str(&line).unwrap()
    }

    pub(in super::super) async fn say(&mut self, message: Value) {
        self.answers
            .write_all(format!("{message}\n").as_bytes())
            .await
            .unwrap();
    }
}

pub(in super::super) fn connect(timeout: Duration) -> (Arc<Connection>, Worker) {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let (output, input) = split(ours);
    let (asked, answers) = split(theirs);
    let (connection, outbox) = Connection::new(timeout, Tap::default());
    tokio::spawn(write(
        outbox,
        input,
        CancellationToken::new(),
        Tap::default(),
    ));
    tokio::spawn(read(Arc::clone(&connection), output));
    let asked = BufReader::new(asked).lines();
    (connection, Worker { asked, answers })
}

fn ask(
    connection: &Arc<Connection>,
    method: Method,
) -> tokio::task::JoinHandle<Result<Value, Error>> {
    let connection = Arc::clone(connection);
    tokio::spawn(async move { connection.call(method, &Nothing {}).await })
}

#[tokio::test]
async fn answers_find_their_questions_in_any_order() {
    let (connection, mut worker) = connect(SECOND);
    let first = ask(&connection, "first");
    let first_id = worker.next().await["id"].clone();
    let second = ask(&connection, "second");
    let second_id = worker.next().await["id"].clone();
    worker.say(json!({"id": second_id, "result": 2})).await;
    worker.say(json!({"id": first_id, "result": 1})).await;
    assert_eq!(first.await.unwrap(), Ok(json!(1)));
    assert_eq!(second.await.unwrap(), Ok(json!(2)));
}

#[tokio::test]
async fn a_refusal_is_an_error_with_its_code_and_full_queues_mean_busy() {
    let (connection, mut worker) = connect(SECOND);
    for (code, expected) in [
        (
            -32600,
            Error::Rpc {
                method: "m",
                code: -32600,
                message: "no".to_owned(),
            },
        ),
        (-32001, Error::Busy),
    ] {
        let asked = ask(&connection, "m");
        let id = worker.next().await["id"].clone();
        worker
            .say(json!({"id": id, "error": {"code": code, "message": "no"}}))
            .await;
        assert_eq!(asked.await.unwrap(), Err(expected));
    }
}

#[tokio::test]
async fn only_so_many_questions_are_open_at_a_time() {
    let (connection, mut worker) = connect(SECOND);
    let asked: Vec<_> = (0..IN_FLIGHT + 10).map(|_| ask(&connection, "m")).collect();
    let mut open = Vec::new();
    for _ in 0..IN_FLIGHT {
        open.push(worker.next().await["id"].clone());
    }
    let more = tokio::time::timeout(Duration::from_millis(50), worker.next()).await;
    assert!(more.is_err(), "{more:?} was asked beyond the limit");
    for id in open {
        worker.say(json!({"id": id, "result": null})).await;
    }
    for _ in 0..10 {
        let id = worker.next().await["id"].clone();
        worker.say(json!({"id": id, "result": null})).await;
    }
    for asked in asked {
        assert_eq!(asked.await.unwrap(), Ok(Value::Null));
    }
}

#[tokio::test(start_paused = true)]
async fn a_question_without_an_answer_times_out_and_raises_doubt() {
    let (connection, _worker) = connect(SECOND);
    let answer = connection
        .call::<_, IgnoredAny>("m", &Nothing {})
        .await
        .map(drop);
    assert_eq!(
        answer,
        Err(Error::RpcTimeout {
            method: "m",
            after_ms: 1000
        })
    );
    connection.doubted().await;
}

#[tokio::test(start_paused = true)]
async fn a_thread_that_comes_too_late_is_given_back() {
    let (connection, mut worker) = connect(SECOND);
    let asked = ask(&connection, THREAD_START);
    let id = worker.next().await["id"].clone();
    assert!(asked.await.unwrap().is_err());
    worker
        .say(json!({"id": id, "result": {"thread": {"id": "t"}}}))
        .await;
    let request = worker.next().await;
    assert_eq!(
        (&request["method"], &request["params"]["threadId"]),
        (&json!(UNSUBSCRIBE), &json!("t"))
    );
}

#[tokio::test]
async fn a_turn_nobody_waits_for_is_interrupted() {
    let (_connection, mut worker) = connect(SECOND);
    let params = json!({"threadId": "t", "turn": {"id": "k", "status": "inProgress"}});
    worker
        .say(json!({"method": "turn/started", "params": params}))
        .await;
    let request = worker.next().await;
    assert_eq!(request["method"], "turn/interrupt");
    assert_eq!(request["params"], json!({"threadId": "t", "turnId": "k"}));
}

#[tokio::test]
async fn questions_of_the_worker_are_declined_but_for_the_clients_tools() {
    let (_connection, mut worker) = connect(SECOND);
    worker
        .say(json!({"id": 0, "method": "item/tool/call", "params": {}}))
        .await;
    let approval = json!({"decision": "decline"});
    for (method, expected) in [
        ("item/commandExecution/requestApproval", &approval),
        ("item/fileChange/requestApproval", &approval),
        (
            "mcpServer/elicitation/request",
            &json!({"action": "decline"}),
        ),
    ] {
        worker
            .say(json!({"id": method, "method": method, "params": {}}))
            .await;
        let declined = json!({"id": method, "result": expected});
        assert_eq!(worker.next().await, declined);
    }
    worker
        .say(json!({"id": "x", "method": "item/tool/requestUserInput", "params": {}}))
        .await;
    let refusal = worker.next().await;
    assert_eq!(
        (&refusal["id"], &refusal["error"]["code"]),
        (&json!("x"), &json!(METHOD_NOT_FOUND))
    );
}

#[tokio::test]
async fn lines_that_make_no_sense_are_passed_over() {
    let (connection, mut worker) = connect(SECOND);
    worker.answers.write_all(b"garbage\n\n[]\n\xff\xff\n{\"id\":77,\"result\":1}\n{\"method\":\"error\",\"params\":3}\n").await.unwrap();
    let asked = ask(&connection, "m");
    let id = worker.next().await["id"].clone();
    worker.say(json!({"id": id, "result": "well"})).await;
    assert_eq!(asked.await.unwrap(), Ok(json!("well")));
}

#[tokio::test]
async fn a_closed_connection_fails_what_waits_and_what_comes() {
    let (connection, mut worker) = connect(SECOND);
    let asked = ask(&connection, "m");
    worker.next().await;
    connection.close("killed");
    let killed = Err(Error::WorkerExited("killed".to_owned()));
    assert_eq!(asked.await.unwrap(), killed);
    assert_eq!(ask(&connection, "m").await.unwrap(), killed);
}

#[tokio::test]
async fn hanging_up_closes_the_workers_input() {
    let (stdin, mut input) = tokio::io::duplex(1024);
    let (outbox, lines) = mpsc::channel(1);
    let hang_up = CancellationToken::new();
    tokio::spawn(write(lines, stdin, hang_up.clone(), Tap::default()));
    outbox.send(b"last words".to_vec()).await.unwrap();
    let mut heard = vec![0; 10];
    input.read_exact(&mut heard).await.unwrap();
    hang_up.cancel();
    let end = tokio::time::timeout(SECOND, input.read_to_end(&mut heard)).await;
    assert_eq!(end.unwrap().unwrap(), 0);
    assert_eq!(heard, b"last words");
}
