//! A real app-server without a gateway before it, to measure what the gateway adds.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::gateway::Gateway;
use crate::remains::children;

/// A process like a gateway's worker, driven by hand: one turn at a time.
pub struct Bare {
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    asked: u64,
}

/// The time to the first piece of an answer.
#[derive(Debug, Clone, Copy)]
pub struct First {
    /// Since the request for a thread.
    pub after_thread: Duration,
    /// Since the conversation was sent to the thread, which existed by then.
    pub after_history: Duration,
}

impl Bare {
    /// A second process like the gateway's first child: same program, arguments, environment and folder.
    ///
    /// # Panics
    /// If the gateway has no child, or the process cannot be started.
    pub async fn like(gateway: &Gateway) -> Self {
        let model = children(&gateway.home());
        let process = format!("/proc/{}", model.first().expect("a child").pid);
        let process = Path::new(&process);
        let read = |name: &str| std::fs::read(process.join(name)).expect("the child is there");
        let texts = |bytes: Vec<u8>| -> Vec<String> {
            let text = String::from_utf8(bytes).expect("text");
            let texts = text.split_terminator('\0').map(str::to_owned);
            texts.collect()
        };
        let program = std::fs::read_link(process.join("exe")).expect("a program");
        let environment = texts(read("environ"));
        let pairs = environment.iter().filter_map(|pair| pair.split_once('='));
        let mut child = Command::new(program)
            .args(texts(read("cmdline")).into_iter().skip(1))
            .env_clear()
            .envs(pairs)
            .current_dir(std::fs::read_link(process.join("cwd")).expect("a folder"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");
        let input = child.stdin.take().expect("a pipe");
        let output = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut bare = Self {
            _child: child,
            input,
            output,
            asked: 0,
        };
        let capabilities = json!({"experimentalApi": true});
        let client = json!({"name": "bare", "title": "bare", "version": "0"});
        let hello = json!({"clientInfo": client, "capabilities": capabilities});
        bare.ask("initialize", hello).await;
        bare.write(&json!({"method": "initialized"})).await;
        bare
    }

    /// Runs a turn of one user message to its end.
    pub async fn turn(&mut self, model: &str, text: &str) -> First {
        let started = Instant::now();
        let thread = json!({
            "model": model, "approvalPolicy": "never", "sandbox": "read-only", "ephemeral": true,
            "environments": [], "baseInstructions": "", "experimentalRawEvents": true,
        });
        let answer = self.ask("thread/start", thread).await;
        let thread = answer["thread"]["id"]
            .as_str()
            .expect("a thread")
            .to_owned();
        let opened = Instant::now();
        let content = json!([{"type": "input_text", "text": text}]);
        let item = json!({"type": "message", "role": "user", "content": content});
        self.ask(
            "thread/inject_items",
            json!({"threadId": thread, "items": [item]}),
        )
        .await;
        self.send("turn/start", json!({"threadId": thread, "input": []}))
            .await;
        self.until("item/agentMessage/delta").await;
        let first = First {
            after_thread: started.elapsed(),
            after_history: opened.elapsed(),
        };
        self.until("turn/completed").await;
        self.ask("thread/unsubscribe", json!({"threadId": thread}))
            .await;
        first
    }

    async fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params).await;
        loop {
            let line = self.read().await;
            if line["id"] == id && line.get("method").is_none() {
                assert!(line.get("error").is_none(), "{method}: {line}");
                return line["result"].clone();
            }
        }
    }

    async fn until(&mut self, method: &str) {
        while self.read().await["method"] != method {}
    }

    async fn send(&mut self, method: &str, params: Value) -> u64 {
        self.asked += 1;
        let id = self.asked;
        self.write(&json!({"id": id, "method": method, "params": params}))
            .await;
        id
    }

    async fn write(&mut self, message: &Value) {
        let line = format!("{message}\n");
        let written = self.input.write_all(line.as_bytes()).await;
        written.expect("it reads");
    }

    async fn read(&mut self) -> Value {
        let line = self.output.next_line().await.expect("it writes");
        serde_json::from_str(&line.expect("it goes on")).expect("JSON")
    }
}
