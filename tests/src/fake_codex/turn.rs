//! One turn of the fake: plays its script as notifications, until its end or an interrupt.

use std::path::Path;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::script::{Call, Script};
use crate::server::Server;

/// The interval at which a gate is polled.
const POLL: Duration = Duration::from_millis(2);

/// A turn that can be interrupted.
pub(crate) struct Turn {
    pub(crate) id: String,
    thread: String,
    injected: Vec<Value>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    refusals: usize,
    interrupted: bool,
    over: bool,
}

/// The reason why a turn ends before its script.
pub(crate) enum Stop {
    Interrupted,
    Exited,
}

impl Turn {
    pub(crate) fn new(id: String, thread: &str, injected: &[Value]) -> Self {
        let refusals = Script::asked_for(injected).refuse_interrupts;
        let state = Mutex::new(State {
            refusals,
            ..State::default()
        });
        Self {
            id,
            thread: thread.to_owned(),
            injected: injected.to_vec(),
            state,
            changed: Condvar::new(),
        }
    }

    /// Interrupts the turn; false if it has ended or the script refuses.
    pub(crate) fn interrupt(&self) -> bool {
        let mut state = self.state.lock().unwrap();
        if state.over || state.refusals > 0 {
            state.refusals = state.refusals.saturating_sub(1);
            return false;
        }
        state.interrupted = true;
        self.changed.notify_all();
        true
    }

    /// Waits before a delta as the script says; before the second one, for its gate, too.
    pub(crate) fn hold_back(&self, script: &Script, deltas: usize) -> Result<(), Stop> {
        if deltas == 1
            && let Some(gate) = &script.gate
        {
            while !Path::new(gate).exists() {
                self.pause(Some(POLL))?;
            }
        }
        self.pause(Some(Duration::from_millis(script.delay_ms)))
    }

    /// Waits for `time` or an interrupt, which is an error. `None` waits for an interrupt only.
    pub(crate) fn pause(&self, time: Option<Duration>) -> Result<(), Stop> {
        let state = self.state.lock().unwrap();
        let state = match time {
            Some(time) => {
                self.changed
                    .wait_timeout_while(state, time, |state| !state.interrupted)
                    .unwrap()
                    .0
            }
            None => self
                .changed
                .wait_while(state, |state| !state.interrupted)
                .unwrap(),
        };
        if state.interrupted {
            Err(Stop::Interrupted)
        } else {
            Ok(())
        }
    }
}

/// Plays a turn to its end.
pub(crate) fn play(server: &Server, turn: &Turn, script: &Script) {
    let mut player = Player {
        server,
        turn,
        script,
        deltas: 0,
    };
    player.notify(
        "turn/started",
        json!({"turn": {"id": turn.id, "items": [], "status": "inProgress", "error": null}}),
    );
    for item in &turn.injected {
        let params = json!({"threadId": turn.thread, "turnId": "auto-compact-0", "item": item});
        server.notify("rawResponseItem/completed", params);
    }
    let (status, error) = match player.play() {
        Ok(None) => ("completed", Value::Null),
        Ok(Some(error)) => ("failed", error),
        Err(Stop::Interrupted) => ("interrupted", Value::Null),
        Err(Stop::Exited) => return,
    };
    turn.state.lock().unwrap().over = true;
    if !error.is_null() {
        player.notify("error", json!({"error": error, "willRetry": false}));
    }
    player.notify(
        "turn/completed",
        json!({"turn": {"id": turn.id, "items": [], "status": status, "error": error}}),
    );
}

struct Player<'a> {
    server: &'a Server,
    turn: &'a Turn,
    script: &'a Script,
    deltas: usize,
}

impl Player<'_> {
    /// The error that the turn ends with, if any.
    fn play(&mut self) -> Result<Option<Value>, Stop> {
        let script = self.script;
        self.misbehave()?;
        if let Some(message) = &script.retry {
            self.speak()?;
            let error = json!({"message": message, "codexErrorInfo": {"responseStreamDisconnected": {"httpStatusCode": null}}});
            self.notify("error", json!({"error": error, "willRetry": true}));
        }
        self.speak()?;
        let calls: Vec<String> = script.call.iter().map(|call| self.call(call)).collect();
        let error = match &script.incomplete {
            Some(reason) => {
                let message = format!("Incomplete response returned, reason: {reason}");
                Some(json!({"message": message, "codexErrorInfo": "other"}))
            }
            None => script.error.clone(),
        };
        if error.is_some() {
            self.wait_for_answers(&calls)?;
            return Ok(error);
        }
        let tokens = script.usage;
        let usage = json!({
            "totalTokens": tokens.input + tokens.output, "inputTokens": tokens.input,
            "cachedInputTokens": tokens.cached, "cacheWriteInputTokens": 0,
            "outputTokens": tokens.output, "reasoningOutputTokens": tokens.reasoning,
        });
        self.notify(
            "rawResponse/completed",
            json!({"responseId": "resp", "usage": usage}),
        );
        self.wait_for_answers(&calls)?;
        Ok(None)
    }

    fn misbehave(&self) -> Result<(), Stop> {
        let script = self.script;
        for _ in 0..script.garbage_lines {
            self.server.write_raw(b"this is no JSON-RPC\n");
        }
        if script.garbage {
            self.server.write_raw(b"this is no JSON\n{\"method\":\n[1,2]\n\n\xff\xfe\n{\"id\":987654,\"result\":{}}\n");
            self.notify(
                "something/new",
                json!({"item": 3, "error": "text", "turn": []}),
            );
        }
        if script.long_line > 0 {
            let mut line = vec![b'x'; script.long_line];
            line.push(b'\n');
            self.server.write_raw(&line);
        }
        if let Some(method) = &script.ask {
            let (thread, turn) = (&self.turn.thread, &self.turn.id);
            let params = json!({"threadId": thread, "turnId": turn});
            self.server
                .write(&json!({"id": 0, "method": method, "params": params}));
        }
        if script.half_line {
            self.server
                .write_raw(b"{\"method\":\"item/agentMessage/delta\",\"params\":{\"thr");
            self.server.exit(1);
            return Err(Stop::Exited);
        }
        if script.hang {
            self.turn.pause(None)
        } else {
            Ok(())
        }
    }

    fn speak(&mut self) -> Result<(), Stop> {
        if !self.script.reasoning.is_empty() {
            let id = self.server.name("rs");
            for (index, part) in self.script.reasoning.iter().enumerate() {
                let at = json!({"itemId": id, "summaryIndex": index});
                self.notify("item/reasoning/summaryPartAdded", at);
                let delta = json!({"itemId": id, "summaryIndex": index, "delta": part});
                self.delta("item/reasoning/summaryTextDelta", delta)?;
            }
            let item = json!({"type": "reasoning", "id": id, "summary": self.script.reasoning, "content": []});
            self.notify("item/completed", json!({"item": item}));
        }
        for (deltas, times) in self.script.all_messages() {
            let id = self.server.name("msg");
            let item = |text: String| json!({"item": {"type": "agentMessage", "id": id, "text": text, "phase": null}});
            self.notify("item/started", item(String::new()));
            let sent = if self.script.whole { 0 } else { times };
            for delta in (0..sent).flat_map(|_| &deltas) {
                let delta = json!({"itemId": id, "delta": delta});
                self.delta("item/agentMessage/delta", delta)?;
            }
            self.notify("item/completed", item(deltas.concat().repeat(times)));
        }
        Ok(())
    }

    fn delta(&mut self, method: &str, params: Value) -> Result<(), Stop> {
        self.perhaps_exit()?;
        self.turn.hold_back(self.script, self.deltas)?;
        self.notify(method, params);
        self.deltas += 1;
        self.perhaps_exit()
    }

    fn perhaps_exit(&self) -> Result<(), Stop> {
        if self.script.exit_after != Some(self.deltas) {
            return Ok(());
        }
        self.server.exit(1);
        Err(Stop::Exited)
    }

    /// Makes a call, and returns the id of the request for its result.
    fn call(&self, call: &Call) -> String {
        let Call {
            name, arguments, ..
        } = call;
        let id = call.id.clone().unwrap_or_else(|| self.server.name("call"));
        let item = json!({"type": "function_call", "id": format!("fc-{id}"), "name": name, "arguments": arguments, "call_id": id});
        self.notify("rawResponseItem/completed", json!({"item": item}));
        let request = self.server.name("request");
        let (thread, turn) = (&self.turn.thread, &self.turn.id);
        let params = json!({"threadId": thread, "turnId": turn, "callId": id, "tool": name, "arguments": {}});
        self.server
            .write(&json!({"id": request, "method": "item/tool/call", "params": params}));
        request
    }

    /// Codex does not report the end of a response, however it ended, until the calls in it are answered.
    fn wait_for_answers(&self, requests: &[String]) -> Result<(), Stop> {
        while !requests.iter().all(|id| self.server.is_answered(id)) {
            self.turn.pause(Some(POLL))?;
        }
        Ok(())
    }

    /// A notification about this turn.
    fn notify(&self, method: &str, mut params: Value) {
        params["threadId"] = json!(self.turn.thread);
        params["turnId"] = json!(self.turn.id);
        self.server.notify(method, params);
    }
}
