//! The fake's JSON-RPC server: requests on stdin, threads, answers.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use serde_json::{Value, json};

use crate::journal::Journal;
use crate::script::{Script, StartFault};
use crate::turn::{self, Turn};

/// The state that the fake's threads share.
pub(crate) struct Server {
    pub(crate) journal: Journal,
    fault: StartFault,
    threads: Mutex<HashMap<String, Conversation>>,
    ids: AtomicU64,
    /// The fake's own requests that were answered.
    answered: Mutex<HashSet<String>>,
    exit: mpsc::Sender<u8>,
}

/// One of Codex's threads.
#[derive(Default)]
struct Conversation {
    items: Vec<Value>,
    turn: Option<Arc<Turn>>,
}

type Answer = Result<Value, String>;

/// Serves until stdin ends, or a script ends it.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let fault = StartFault::read();
    let (exit, exited) = mpsc::channel();
    let server = Arc::new(Server {
        journal: Journal::open(arguments),
        fault: fault.clone(),
        threads: Mutex::default(),
        ids: AtomicU64::new(1),
        answered: Mutex::default(),
        exit,
    });
    if !fault.stderr.is_empty() {
        eprintln!("{}", fault.stderr);
    }
    if let Some(code) = fault.exit {
        return ExitCode::from(code);
    }
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            server.take(&line);
        }
        server.exit(0);
    });
    // Returning ends every other thread.
    ExitCode::from(exited.recv().unwrap_or_default())
}

impl Server {
    /// Ends the process.
    pub(crate) fn exit(&self, code: u8) {
        let _ = self.exit.send(code);
    }

    /// A unique name.
    pub(crate) fn name(&self, prefix: &str) -> String {
        format!("{prefix}-{}", self.ids.fetch_add(1, Ordering::Relaxed))
    }

    /// Whether this request of the fake was answered.
    pub(crate) fn is_answered(&self, request: &str) -> bool {
        self.answered.lock().unwrap().contains(request)
    }

    /// Writes one line to stdout.
    pub(crate) fn write(&self, message: &Value) {
        self.write_raw(format!("{message}\n").as_bytes());
    }

    /// Writes bytes to stdout, in one piece.
    pub(crate) fn write_raw(&self, bytes: &[u8]) {
        let mut stdout = std::io::stdout().lock();
        // If stdout has no reader, the process is about to end anyway.
        let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
    }

    /// Writes a notification.
    pub(crate) fn notify(&self, method: &str, params: Value) {
        self.write(&json!({"method": method, "params": params, "emittedAtMs": 0}));
    }

    fn take(self: &Arc<Self>, line: &str) {
        let Ok(message) = serde_json::from_str::<Value>(line) else {
            self.journal.note(json!({"garbage": line}));
            return;
        };
        self.journal.note(message.clone());
        let (id, method) = (
            message["id"].clone(),
            message["method"].as_str().unwrap_or_default(),
        );
        if let (Some(id), "") = (id.as_str(), method) {
            self.answered.lock().unwrap().insert(id.to_owned());
        }
        if id.is_null() || method.is_empty() || self.fault.silent {
            return;
        }
        if self.fault.delay_ms > 0 {
            std::thread::sleep(Duration::from_millis(self.fault.delay_ms));
        }
        let params = &message["params"];
        let script = self.script(params);
        if [&self.fault.no_reply, &script.no_reply]
            .into_iter()
            .flatten()
            .any(|mute| mute == method)
        {
            return;
        }
        let (answer, then) = self.answer(method, params);
        match answer {
            Ok(result) => self.write(&json!({"id": id, "result": result})),
            Err(message) => {
                self.write(&json!({"id": id, "error": {"code": -32600, "message": message}}))
            }
        }
        if let Some(turn) = then {
            let server = Arc::clone(self);
            std::thread::spawn(move || turn::play(&server, &turn, &script));
        }
    }

    fn script(&self, params: &Value) -> Script {
        let thread = params["threadId"].as_str().unwrap_or_default();
        let threads = self.threads.lock().unwrap();
        threads
            .get(thread)
            .map_or_else(Script::default, |thread| Script::asked_for(&thread.items))
    }

    fn answer(&self, method: &str, params: &Value) -> (Answer, Option<Arc<Turn>>) {
        if self.fault.refuse.as_deref() == Some(method) {
            return (Err(format!("{method} refused by fake-start.json")), None);
        }
        if method == "turn/start" {
            return match self.start_turn(params) {
                Ok(turn) => (
                    Ok(
                        json!({"turn": {"id": turn.id, "items": [], "status": "inProgress", "error": null}}),
                    ),
                    Some(turn),
                ),
                Err(message) => (Err(message), None),
            };
        }
        let answer = match method {
            "initialize" => Ok(json!({"userAgent": "fake/0.169.0", "platformOs": "linux"})),
            "getAuthStatus" => auth_status(),
            "command/exec" => Ok(match StartFault::read().sandbox {
                Some(words) => json!({"exitCode": 1, "stdout": "", "stderr": words}),
                None => json!({"exitCode": 0, "stdout": "", "stderr": ""}),
            }),
            "config/read" => Ok(json!({"config": {}})),
            "server/diagnostics" => Ok(json!({"gauges": []})),
            "thread/start" => self.start_thread(params),
            "thread/inject_items" => self.inject(params),
            "thread/unsubscribe" => self.unsubscribe(params),
            "turn/interrupt" => self.interrupt(params),
            _ => Err(format!("Invalid request: unknown variant `{method}`")),
        };
        (answer, None)
    }

    fn start_thread(&self, params: &Value) -> Answer {
        if params["modelProvider"]
            .as_str()
            .is_some_and(|provider| provider == "unknown")
        {
            return Err(
                "failed to load configuration: Model provider `unknown` not found".to_owned(),
            );
        }
        let id = self.name("thread");
        self.threads
            .lock()
            .unwrap()
            .insert(id.clone(), Conversation::default());
        let profile = params["permissions"].as_str();
        let profile = profile.map(|profile| json!({"id": profile}));
        Ok(json!({
            "thread": {"id": id, "ephemeral": true},
            "model": params["model"],
            "activePermissionProfile": profile,
        }))
    }

    fn inject(&self, params: &Value) -> Answer {
        let items = params["items"].as_array().cloned().unwrap_or_default();
        if items.is_empty() {
            return Err("items must not be empty".to_owned());
        }
        if params["items"].to_string().contains("\"image_url\":\"http") {
            return Err(
                "remote image URLs are not supported; use an inline data URL instead".to_owned(),
            );
        }
        self.with_thread(params, |thread| thread.items.extend(items))
            .map(|()| json!({}))
    }

    fn start_turn(&self, params: &Value) -> Result<Arc<Turn>, String> {
        let id = self.name("turn");
        self.with_thread(params, |thread| {
            let turn = Arc::new(Turn::new(
                id,
                params["threadId"].as_str().unwrap_or_default(),
                &thread.items,
            ));
            thread.turn = Some(Arc::clone(&turn));
            turn
        })
    }

    fn interrupt(&self, params: &Value) -> Answer {
        let turn = self.with_thread(params, |thread| thread.turn.clone())?;
        match turn {
            Some(turn) if turn.id == params["turnId"] && turn.interrupt() => Ok(json!({})),
            _ => Err("no active turn to interrupt".to_owned()),
        }
    }

    fn unsubscribe(&self, params: &Value) -> Answer {
        self.with_thread(params, |_| ())?;
        let id = params["threadId"].as_str().unwrap_or_default();
        self.threads.lock().unwrap().remove(id);
        Ok(json!({"status": "unsubscribed"}))
    }

    fn with_thread<T>(
        &self,
        params: &Value,
        act: impl FnOnce(&mut Conversation) -> T,
    ) -> Result<T, String> {
        let id = params["threadId"].as_str().unwrap_or_default();
        let mut threads = self.threads.lock().unwrap();
        threads
            .get_mut(id)
            .map(act)
            .ok_or_else(|| format!("thread not found: {id}"))
    }
}

fn auth_status() -> Answer {
    let Some(signed_in) = StartFault::read().signed_in else {
        return Err("Invalid request: unknown variant `getAuthStatus`".to_owned());
    };
    let method = signed_in.then_some("apikey");
    Ok(json!({"authMethod": method, "authToken": null, "requiresOpenaiAuth": true}))
}
