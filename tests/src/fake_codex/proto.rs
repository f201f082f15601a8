//! The fake as an old Codex: one conversation on stdin and stdout, one turn in it.

use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use serde_json::{Value, json};

use crate::journal::{self, Journal};
use crate::script::{Script, StartFault};
use crate::turn::{Stop, Turn};

/// Runs until it was asked to shut down and stdin ends, or a script ends it.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let fault = StartFault::read();
    let journal = Journal::open(arguments);
    if !fault.stderr.is_empty() {
        eprintln!("{}", fault.stderr);
    }
    if let Some(code) = fault.exit {
        return ExitCode::from(code);
    }
    let (exit, exited) = mpsc::channel();
    if !fault.silent {
        std::thread::sleep(Duration::from_millis(fault.delay_ms));
        let record = record();
        say(
            "",
            json!({"type": "session_configured", "session_id": "fake", "rollout_path": record}),
        );
    }
    std::thread::spawn(move || listen(&journal, &fault, &exit));
    // Returning ends every other thread.
    ExitCode::from(exited.recv().unwrap_or_default())
}

/// Old versions write a file for every conversation.
fn record() -> Option<String> {
    let folder = journal::home()?.join("sessions/2026/01/02");
    std::fs::create_dir_all(&folder).ok()?;
    let path = folder.join(format!("rollout-{}.jsonl", std::process::id()));
    std::fs::write(&path, "{}\n").ok()?;
    Some(path.to_string_lossy().into_owned())
}

fn listen(journal: &Journal, fault: &StartFault, exit: &mpsc::Sender<u8>) {
    let (mut turn, mut leaves): (Option<Arc<Turn>>, bool) = (None, false);
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        let Ok(submission) = serde_json::from_str::<Value>(&line) else {
            journal.note(json!({"garbage": line}));
            continue;
        };
        journal.note(submission.clone());
        let op = &submission["op"];
        let kind = op["type"].as_str().unwrap_or_default();
        if fault.silent || fault.no_reply.as_deref() == Some(kind) {
            continue;
        }
        match kind {
            "user_turn" if turn.is_none() => {
                let items = [json!({"role": "user", "content": op["items"]})];
                let id = submission["id"].as_str().unwrap_or_default();
                let begun = Arc::new(Turn::new(id.to_owned(), "", &items));
                turn = Some(Arc::clone(&begun));
                let player = Player {
                    turn: begun,
                    script: Script::asked_for(&items),
                    exit: exit.clone(),
                    deltas: 0,
                };
                std::thread::spawn(move || player.run());
            }
            "interrupt" => drop(turn.as_ref().map(|turn| turn.interrupt())),
            "shutdown" => {
                leaves = true;
                say("shutdown", json!({"type": "shutdown_complete"}));
            }
            _ => {}
        }
    }
    // Codex 0.42 does not end with stdin, unless it was asked to shut down.
    if leaves {
        let _ = exit.send(0);
    }
}

fn say(id: &str, msg: Value) {
    write_raw(format!("{}\n", json!({"id": id, "msg": msg})).as_bytes());
}

fn write_raw(bytes: &[u8]) {
    let mut stdout = std::io::stdout().lock();
    // If stdout has no reader, the process is about to end anyway.
    let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
}

/// Plays the script of a turn.
struct Player {
    turn: Arc<Turn>,
    script: Script,
    exit: mpsc::Sender<u8>,
    deltas: usize,
}

impl Player {
    fn run(mut self) {
        self.say(json!({"type": "task_started", "model_context_window": 272_000}));
        match self.play() {
            Ok(last) => self.say(json!({"type": "task_complete", "last_agent_message": last})),
            Err(Stop::Interrupted) => {
                self.say(json!({"type": "turn_aborted", "reason": "interrupted"}));
            }
            Err(Stop::Exited) => {}
        }
    }

    /// The last message; none if the turn fails.
    fn play(&mut self) -> Result<Option<String>, Stop> {
        let script = self.script.clone();
        self.misbehave(&script)?;
        self.say(json!({"type": "token_count", "info": null, "rate_limits": null}));
        if let Some(message) = &script.retry {
            self.speak(&script)?;
            self.say(json!({"type": "stream_error", "message": message}));
        }
        let last = self.speak(&script)?;
        if let Some(error) = &script.error {
            self.say(json!({"type": "error", "message": error["message"]}));
            return Ok(None);
        }
        let tokens = script.usage;
        let usage = json!({
            "input_tokens": tokens.input, "cached_input_tokens": tokens.cached, "output_tokens": tokens.output,
            "reasoning_output_tokens": tokens.reasoning, "total_tokens": tokens.input + tokens.output,
        });
        let info = json!({"total_token_usage": usage, "last_token_usage": usage});
        self.say(json!({"type": "token_count", "info": info}));
        Ok(last)
    }

    fn misbehave(&self, script: &Script) -> Result<(), Stop> {
        if script.garbage {
            write_raw(b"this is no JSON\n{\"id\":\n[1,2]\n\n\xff\xfe\n");
            self.say(json!({"type": "something_new", "delta": 3}));
        }
        if script.long_line > 0 {
            let mut line = vec![b'x'; script.long_line];
            line.push(b'\n');
            write_raw(&line);
        }
        if script.half_line {
            write_raw(b"{\"id\":\"turn\",\"msg\":{\"type\":\"agent_mess");
            return self.leave();
        }
        if script.hang {
            self.turn.pause(None)
        } else {
            Ok(())
        }
    }

    fn speak(&mut self, script: &Script) -> Result<Option<String>, Stop> {
        for part in &script.reasoning {
            self.say(json!({"type": "agent_reasoning_section_break"}));
            self.delta("agent_reasoning_delta", part)?;
        }
        for part in &script.reasoning {
            self.say(json!({"type": "agent_reasoning", "text": part}));
        }
        let mut last = None;
        for (deltas, times) in script.all_messages() {
            let sent = if script.whole { 0 } else { times };
            for delta in (0..sent).flat_map(|_| &deltas) {
                self.delta("agent_message_delta", delta)?;
            }
            let message = deltas.concat().repeat(times);
            self.say(json!({"type": "agent_message", "message": message}));
            last = Some(message);
        }
        Ok(last)
    }

    fn delta(&mut self, kind: &str, delta: &str) -> Result<(), Stop> {
        if self.script.exit_after == Some(self.deltas) {
            return self.leave();
        }
        self.turn.hold_back(&self.script, self.deltas)?;
        self.say(json!({"type": kind, "delta": delta}));
        self.deltas += 1;
        Ok(())
    }

    fn leave(&self) -> Result<(), Stop> {
        let _ = self.exit.send(1);
        Err(Stop::Exited)
    }

    fn say(&self, msg: Value) {
        say(&self.turn.id, msg);
    }
}
