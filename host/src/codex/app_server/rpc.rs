//! One connection to a worker: matches answers to requests, and delivers notifications to turns, both by id.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};

use super::decode;
use super::protocol::{
    self, Answered, Incoming, Method, Notification, Params, Reply, Request, RpcError,
};
use super::route::Route;
use crate::codex::Error;
use crate::codex::complaints::Complaints;
use crate::codex::protocol_log::Tap;

/// Limit of outstanding requests: Codex refuses or forgets requests if there are many more.
const IN_FLIGHT: usize = 64;

/// Lines that may wait for the writer: requests are bounded by [`IN_FLIGHT`], the other lines are refusals.
const OUTBOX: usize = 256;

/// The request by which Codex asks for the output of a call of one of the client's functions.
const TOOL_CALL: &str = "item/tool/call";

/// The JSON-RPC code for an unknown method.
const METHOD_NOT_FOUND: i64 = -32601;

/// Codex's error code for full queues.
const OVERLOADED: i64 = -32001;

/// Limit in bytes for an error's message: it may contain an upstream's whole answer.
const MAX_MESSAGE: usize = 64 * 1024;

type Answer = Result<Box<RawValue>, RpcError>;

/// The worker's stdin and stdout, shared by every turn on it.
#[derive(Debug)]
pub(super) struct Connection {
    outbox: mpsc::Sender<Vec<u8>>,
    in_flight: Semaphore,
    next_id: AtomicU64,
    timeout: Duration,
    /// Notified when a request timed out: the worker may no longer answer.
    doubt: Notify,
    table: Mutex<Table>,
    complaints: Complaints,
    pub(super) tap: Tap,
}

/// The requests that wait for answers, and the turns that wait for notifications.
#[derive(Debug, Default)]
struct Table {
    answers: HashMap<u64, Pending>,
    routes: HashMap<String, Arc<Route>>,
    /// The reason why the connection is closed; then no message comes any more.
    closed: Option<String>,
}

#[derive(Debug)]
struct Pending {
    method: Method,
    answer: oneshot::Sender<Answer>,
}

impl Connection {
    /// A connection, and the lines that its writer is to send.
    pub(super) fn new(timeout: Duration, tap: Tap) -> (Arc<Self>, mpsc::Receiver<Vec<u8>>) {
        let (outbox, lines) = mpsc::channel(OUTBOX);
        let connection = Self {
            outbox,
            in_flight: Semaphore::new(IN_FLIGHT),
            next_id: AtomicU64::new(1),
            timeout,
            doubt: Notify::new(),
            table: Mutex::default(),
            complaints: Complaints::default(),
            tap,
        };
        (Arc::new(connection), lines)
    }

    /// Sends a request and waits for the answer. An answer that comes after the timeout, or after this future was dropped,
    /// is not ignored: a thread it opened is closed.
    pub(super) async fn call<P: Serialize + ?Sized, R: DeserializeOwned>(
        &self,
        method: Method,
        params: &P,
    ) -> Result<R, Error> {
        let asked = async {
            // The semaphore is never closed.
            let _permit = self.in_flight.acquire().await.ok();
            let (line, answered) = self.ask(method, params)?;
            // If the writer is gone, the connection is about to be closed, which ends the wait.
            let _ = self.outbox.send(line).await;
            answered
                .await
                .map_err(|_| Error::WorkerExited(self.why_closed()))
        };
        let Ok(answer) = tokio::time::timeout(self.timeout, asked).await else {
            self.doubt.notify_one();
            let after_ms = u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX);
            return Err(Error::RpcTimeout { method, after_ms });
        };
        read_answer(method, answer?)
    }

    /// Waits until a request has timed out.
    pub(super) async fn doubted(&self) {
        self.doubt.notified().await;
    }

    /// Registers a request, and returns its line.
    fn ask<P: Serialize + ?Sized>(
        &self,
        method: Method,
        params: &P,
    ) -> Result<(Vec<u8>, oneshot::Receiver<Answer>), Error> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let line =
            line(&Request { id, method, params }).map_err(|error| malformed(method, &error))?;
        let (answer, answered) = oneshot::channel();
        let mut table = self.lock();
        match &table.closed {
            Some(why) => Err(Error::WorkerExited(why.clone())),
            None => {
                table.answers.insert(id, Pending { method, answer });
                Ok((line, answered))
            }
        }
    }

    /// Sends a request without waiting for the answer: to end a thread or turn that is not needed any more.
    pub(super) fn ask_in_passing<P: Serialize>(&self, method: Method, params: &P) {
        if let Ok((line, _)) = self.ask(method, params) {
            self.send_or_drop(line);
        }
    }

    /// Sends a notification to the worker.
    pub(super) async fn notify(&self, method: Method) {
        if let Ok(line) = line(&serde_json::json!({"method": method})) {
            // A closed outbox means a closed connection, which `close` reports to every waiting task.
            let _ = self.outbox.send(line).await;
        }
    }

    /// Delivers the thread's notifications to `route` from now on.
    pub(super) fn register(&self, thread: &str, route: Arc<Route>) -> Result<(), Error> {
        let mut table = self.lock();
        match &table.closed {
            Some(why) => Err(Error::WorkerExited(why.clone())),
            None => {
                table.routes.insert(thread.to_owned(), route);
                Ok(())
            }
        }
    }

    /// Drops the thread's notifications from now on.
    pub(super) fn unregister(&self, thread: &str) {
        self.lock().routes.remove(thread);
    }

    /// Closes the connection: pending requests fail, turns end with `WorkerExited`.
    pub(super) fn close(&self, why: &str) {
        let table = {
            let mut table = self.lock();
            let closed = Table {
                closed: Some(why.to_owned()),
                ..Table::default()
            };
            std::mem::replace(&mut *table, closed)
        };
        for route in table.routes.into_values() {
            route.fail(Error::WorkerExited(why.to_owned()));
        }
    }

    /// Takes one line from the worker. A line that cannot be read is skipped; the log names the position, but not the
    /// text: it may be the client's.
    pub(super) fn take(&self, line: &[u8]) {
        let incoming: Incoming<'_> = match serde_json::from_slice(line) {
            Ok(incoming) => incoming,
            Err(error) => {
                let about = format_args!("byte {} of {}", error.column(), line.len());
                let what = "Codex wrote a line that is not JSON-RPC";
                return self.complaints.warn(what, &about);
            }
        };
        match (incoming.id, incoming.method) {
            (Some(id), Some(method)) if method == TOOL_CALL => self.keep_call(id, incoming.params),
            (Some(id), Some(method)) => self.decline(id, &method),
            (None, Some(method)) => self.dispatch(&method, incoming.params),
            (Some(id), None) => {
                let answer = match (incoming.error, incoming.result) {
                    (Some(error), _) => Err(error),
                    (None, Some(result)) => Ok(result.to_owned()),
                    (None, None) => Ok(RawValue::NULL.to_owned()),
                };
                self.settle(id.as_u64(), answer);
            }
            (None, None) => {}
        }
    }

    fn dispatch(&self, method: &str, params: Option<&RawValue>) {
        let Some(what) = Notification::of(method) else {
            return;
        };
        let params: Params<'_> = match serde_json::from_str(params.map_or("{}", RawValue::get)) {
            Ok(params) => params,
            Err(error) => {
                let about = format_args!("byte {} of {method}", error.column());
                return self.complaints.warn(decode::UNEXPECTED, &about);
            }
        };
        let Some(thread) = params.thread_id.as_deref() else {
            return;
        };
        let route = self.lock().routes.get(thread).cloned();
        match route {
            Some(route) => route.accept(what, params),
            None if what == Notification::TurnStarted => self.stop_orphan(&params),
            None => {}
        }
    }

    /// Interrupts a turn that started after its reader gave up: it would run, and cost, to its end.
    fn stop_orphan(&self, params: &Params<'_>) {
        let turn = params
            .turn
            .and_then(|turn| serde_json::from_str::<protocol::Named>(turn.get()).ok());
        if let (Some(thread_id), Some(turn)) = (params.thread_id.as_deref(), turn) {
            let what = "a turn started after it had been given up: it is interrupted";
            self.complaints.warn(what, &turn.id);
            let interrupt = protocol::TurnInterrupt {
                thread_id,
                turn_id: &turn.id,
            };
            self.ask_in_passing(protocol::TURN_INTERRUPT, &interrupt);
        }
    }

    fn settle(&self, id: Option<u64>, answer: Answer) {
        let pending = id.and_then(|id| self.lock().answers.remove(&id));
        let Some(Pending {
            method,
            answer: waiting,
        }) = pending
        else {
            let about = format_args!("id {id:?}");
            let what = "Codex answered a request it was not asked";
            return self.complaints.warn(what, &about);
        };
        if let Err(Ok(late)) = waiting.send(answer)
            && [protocol::THREAD_START, protocol::THREAD_FORK].contains(&method)
            && let Ok(started) = serde_json::from_str::<protocol::ThreadStarted>(late.get())
        {
            let what = "a thread came after it had been given up: it is closed";
            self.complaints.warn(what, &started.thread.id);
            self.ask_in_passing(
                protocol::UNSUBSCRIBE,
                &protocol::Thread {
                    thread_id: &started.thread.id,
                },
            );
        }
    }

    /// Keeps a call of one of the client's functions open: such a call is meant to stop its turn. The code that knows that
    /// the client will run it interrupts the turn.
    fn keep_call(&self, id: Value, params: Option<&RawValue>) {
        let call = params.and_then(|params| serde_json::from_str(params.get()).ok());
        let Some(protocol::ToolCall { thread_id, call_id }) = call else {
            let what = "a call of Codex's has an unexpected shape";
            return self.complaints.warn(what, &id);
        };
        // If the turn is being given up, Codex forgets its calls.
        if let Some(route) = self.lock().routes.get(thread_id.as_ref()) {
            route.calls.add(call_id, id);
        }
    }

    /// Answers calls as failed, so that Codex no longer waits for their output.
    pub(super) fn give_up_calls(&self, requests: Vec<Value>) {
        for id in requests {
            let result = serde_json::json!({"contentItems": [], "success": false});
            self.reply(id, Reply::Result(result));
        }
    }

    /// Answers calls with the outputs of the client's functions.
    pub(super) async fn answer_calls(&self, outputs: impl Iterator<Item = (Value, Vec<&str>)>) {
        for (id, texts) in outputs {
            let text = |text| serde_json::json!({"type": "inputText", "text": text});
            let items: Vec<Value> = texts.into_iter().map(text).collect();
            let reply = Reply::Result(serde_json::json!({"contentItems": items, "success": true}));
            if let Ok(line) = line(&Answered { id, reply }) {
                // A closed outbox means a closed connection, which `close` reports to every waiting task.
                let _ = self.outbox.send(line).await;
            }
        }
    }

    /// Declines a request from the worker: an unanswered one would stop the turn it belongs to.
    fn decline(&self, id: Value, method: &str) {
        let reply = match method {
            // There is no person to approve.
            "item/commandExecution/requestApproval" | "item/fileChange/requestApproval" => {
                Reply::Result(serde_json::json!({"decision": "decline"}))
            }
            "mcpServer/elicitation/request" => {
                Reply::Result(serde_json::json!({"action": "decline"}))
            }
            _ => Reply::Error(RpcError {
                code: METHOD_NOT_FOUND,
                message: format!("{method} is not supported"),
            }),
        };
        let what = "Codex asked something that the gateway declines";
        self.complaints.warn(what, &method);
        self.reply(id, reply);
    }

    fn reply(&self, id: Value, reply: Reply) {
        if let Ok(line) = line(&Answered { id, reply }) {
            self.send_or_drop(line);
        }
    }

    fn send_or_drop(&self, line: Vec<u8>) {
        // The reader must not wait for a worker that does not read.
        if self.outbox.try_send(line).is_err() {
            let what = "Codex does not read its input: a message to it was dropped";
            self.complaints.warn(what, &"");
        }
    }

    fn why_closed(&self) -> String {
        self.lock().closed.clone().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock()
    }
}

fn read_answer<R: DeserializeOwned>(method: Method, answer: Answer) -> Result<R, Error> {
    match answer {
        Ok(result) => serde_json::from_str(result.get()).map_err(|error| malformed(method, &error)),
        Err(RpcError {
            code: OVERLOADED, ..
        }) => Err(Error::Busy),
        Err(RpcError { code, mut message }) => {
            message.truncate(message.floor_char_boundary(MAX_MESSAGE));
            Err(Error::Rpc {
                method,
                code,
                message,
            })
        }
    }
}

pub(super) fn malformed(method: Method, error: &serde_json::Error) -> Error {
    Error::Rpc {
        method,
        code: 0,
        message: format!("malformed at byte {}", error.column()),
    }
}

fn line<T: Serialize>(message: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
pub(super) mod tests;
