//! Tests of the protocol log: what a line says, what it never says, and that no turn waits for it.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;

fn config(folder: &std::path::Path, bodies: bool) -> ProtocolLogConfig {
    let journal = journal::Config {
        path: folder.join("proto.ndjson"),
        max_bytes: 4 << 20,
        max_files: 2,
    };
    ProtocolLogConfig { journal, bodies }
}

/// The lines of messages, as the writer makes them.
struct Written(Lines);

impl Written {
    fn new(bodies: bool) -> Self {
        Self(Lines::new(bodies))
    }

    fn of(&mut self, direction: Direction, message: &str, kept: usize) -> Value {
        let line = self.entry(Fact::Message(Message {
            at: Instant::now(),
            time: SystemTime::now(),
            pid: Some(7),
            direction,
            bytes: message.len(),
            head: message.as_bytes()[..message.len().min(kept)].into(),
            _room: None,
        }));
        let line = line.unwrap();
        assert!(!line.contains(&b'\n'));
        let mut line: Value = serde_json::from_slice(&line).unwrap();
        assert!(line["ts"].as_u64().unwrap() > 1_700_000_000_000);
        line.as_object_mut().unwrap().remove("ts");
        line
    }

    fn entry(&mut self, fact: Fact) -> Option<Vec<u8>> {
        let turns_lost = 0;
        self.0.line(Entry { turns_lost, fact })
    }

    fn sent(&mut self, message: &str) -> Value {
        self.of(Direction::ToCodex, message, HEAD)
    }

    fn received(&mut self, message: &str) -> Value {
        self.of(Direction::FromCodex, message, HEAD)
    }
}

#[test]
fn a_line_has_names_ids_sizes_and_times_of_a_message() {
    let mut written = Written::new(false);
    let asked = r#"{"id":3,"method":"turn/start","params":{"threadId":"t-1","input":[]}}"#;
    assert_eq!(
        written.sent(asked),
        json!({"pid": 7, "direction": "to_codex", "kind": "request", "method": "turn/start",
            "id": 3, "thread": "t-1", "bytes": asked.len()})
    );
    let started = r#"{"method":"item/started","params":{"threadId":"t-1","turnId":"u","item":{"id":"i","type":"x"}}}"#;
    assert_eq!(
        written.received(started),
        json!({"pid": 7, "direction": "from_codex", "kind": "notification",
            "method": "item/started", "thread": "t-1", "turn": "u", "item": "i",
            "bytes": started.len()})
    );
    let answer = r#"{"id":3,"result":{"turn":{"id":"u"}}}"#;
    let mut line = written.received(answer);
    assert!(line["duration_ms"].take().is_u64(), "{line}");
    assert_eq!(
        line,
        json!({"pid": 7, "direction": "from_codex", "kind": "answer", "method": "turn/start",
            "id": 3, "thread": "t-1", "turn": "u", "bytes": answer.len(), "duration_ms": null})
    );
    let again = written.received(answer);
    assert_eq!(again.get("method"), None, "it answers nothing");
}

#[test]
fn an_error_and_a_call_of_codexs_are_paired_with_their_answers() {
    let mut written = Written::new(false);
    written.sent(r#"{"id":4,"method":"turn/interrupt","params":{}}"#);
    // The same id, in the other direction.
    written
        .received(r#"{"id":4,"method":"item/tool/call","params":{"threadId":"t","callId":"c"}}"#);
    let failed = written.received(r#"{"id":4,"error":{"code":-32600,"message":"no"}}"#);
    assert_eq!(
        (&failed["kind"], &failed["method"], &failed["code"]),
        (&json!("error"), &json!("turn/interrupt"), &json!(-32600))
    );
    let answered = written.sent(r#"{"id":4,"result":{"success":true}}"#);
    assert_eq!(
        (&answered["kind"], &answered["method"], &answered["thread"]),
        (&json!("answer"), &json!("item/tool/call"), &json!("t"))
    );
}

#[test]
fn the_messages_of_an_old_codex_are_named_too() {
    let mut written = Written::new(false);
    let sent = written.sent(r#"{"id":"turn","op":{"type":"user_turn","items":[]}}"#);
    assert_eq!(
        (&sent["kind"], &sent["method"], &sent["id"]),
        (&json!("request"), &json!("user_turn"), &json!("turn"))
    );
    let event =
        written.received(r#"{"id":"turn","msg":{"type":"agent_message_delta","delta":"x"}}"#);
    assert_eq!(
        (&event["kind"], &event["method"]),
        (&json!("notification"), &json!("agent_message_delta"))
    );
}

#[test]
fn the_lines_of_a_turn_name_the_clients_request() {
    let mut written = Written::new(false);
    let mut works_for = |thread: Option<&str>, request: &str| {
        let line = written.entry(Fact::Turn {
            pid: Some(7),
            thread: thread.map(str::to_owned),
            request: request.to_owned(),
        });
        assert_eq!(line, None);
    };
    works_for(Some("t-1"), "req-1");
    works_for(Some("t-2"), "req-2");
    works_for(Some("t-1"), "req-3");
    let of = |thread: &str| {
        format!(r#"{{"method":"turn/completed","params":{{"threadId":"{thread}"}}}}"#)
    };
    assert_eq!(written.received(&of("t-1"))["req_id"], "req-3");
    assert_eq!(written.received(&of("t-2"))["req_id"], "req-2");
    assert_eq!(written.received(&of("t-3")).get("req_id"), None);
}

#[test]
fn a_line_without_bodies_has_nothing_that_was_said() {
    let mut written = Written::new(false);
    let said = "my secret";
    for message in [
        json!({"id": 1, "method": "thread/inject_items", "params": {"threadId": said, "items": [said]}}),
        json!({"id": said, "method": "turn/start", "params": {"input": said, "model": said}}),
        json!({"method": said, "params": {"delta": said, "itemId": said}}),
        json!({"id": 1, "result": {"text": said}}),
        json!({"id": 1, "error": {"message": said, "code": said}}),
        json!({"id": "turn", "op": {"type": said, "items": said}}),
        json!(said),
        json!([said]),
    ] {
        let line = written.received(&message.to_string());
        assert!(!line.to_string().contains("secret"), "{line}");
    }
    assert_eq!(written.received("no json: my secret")["kind"], "unreadable");
}

#[test]
fn with_bodies_only_conversations_are_written() {
    let mut written = Written::new(true);
    let start = r#"{"id":1,"method":"turn/start","params":{"input":"hello"}}"#;
    let whole: Value = serde_json::from_str(start).unwrap();
    assert_eq!(written.sent(start)["body"], whole);
    let answer = written.received(r#"{"id":1,"result":{"turn":{"id":"u"}}}"#);
    assert_eq!(answer["body"]["result"]["turn"]["id"], "u");
    written.sent(r#"{"id":2,"method":"config/read","params":{}}"#);
    let config = r#"{"id":2,"result":{"config":{"experimental_bearer_token":"sk-1"}}}"#;
    let line = written.received(config);
    assert_eq!(
        (line.get("body"), &line["method"]),
        (None, &json!("config/read"))
    );
    let unknown = written.received(r#"{"id":9,"result":{"config":{"token":"sk-1"}}}"#);
    assert_eq!(unknown.get("body"), None, "it is not known what was asked");
    let with_line_ends = "{\"method\"\n:\r\"turn/started\"}";
    assert_eq!(written.received(with_line_ends).get("body"), None);
    // Codex does not decide that a message is a conversation by giving it two names.
    let twice = r#"{"method":"account/updated","params":{"token":"sk-1"},"method":"turn/x"}"#;
    assert_eq!(written.received(twice)["body"]["method"], "turn/x");
}

#[test]
fn of_a_long_message_the_beginning_is_read() {
    let mut written = Written::new(true);
    let long = format!(
        r#"{{"id":1,"method":"turn/start","params":{{"threadId":"t","input":"{}","turnId":"u"}}}}"#,
        "x".repeat(100)
    );
    let line = written.of(Direction::ToCodex, &long, 80);
    assert_eq!(
        line,
        json!({"pid": 7, "direction": "to_codex", "kind": "request", "method": "turn/start",
            "id": 1, "thread": "t", "bytes": long.len()})
    );
}

#[tokio::test]
async fn messages_are_written_and_counted_without_a_wait() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), false);
    let path = config.journal.path.clone();
    let log = ProtocolLog::open(config).unwrap();
    let tap = Tap::new(Some(&log), Some(7));
    tap.sent(b"{\"id\":1,\"method\":\"initialize\"}\n");
    tap.received(b"{\"id\":1,\"result\":{}}");
    log.close().await;
    assert_eq!(log.counts(), (2, 0));
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(
        (&lines[0]["bytes"], &lines[1]["method"]),
        (&json!(30), &json!("initialize"))
    );
    Tap::default().sent(b"no log, no line");
}

#[tokio::test]
async fn a_disk_that_hangs_costs_lines_and_bounded_memory() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), true);
    let path = config.journal.path.clone();
    let log = ProtocolLog::open(config).unwrap();
    // Another process holds the lock on the file, and does not release it.
    let held = std::fs::File::open(path).unwrap();
    held.lock().unwrap();
    let tap = Tap::new(Some(&log), None);
    let text = "x".repeat(BODY - 100);
    let long = json!({"method": "turn/x", "params": text}).to_string();
    for _ in 0..100 {
        tap.received(long.as_bytes());
    }
    // The writer has taken some more out of the queue: one is a line that waits for the disk, the next one waits for that.
    let waiting = (WAITING / long.len() + 3) as u64;
    let (written, dropped) = log.counts();
    assert!(written == 0 && dropped >= 100 - waiting, "{dropped}");
    log.0.journal.close_within(Duration::from_millis(50));
}

#[tokio::test]
async fn a_line_names_no_request_rather_than_a_wrong_one() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), false);
    let path = config.journal.path.clone();
    let log = ProtocolLog::open(config).unwrap();
    let held = std::fs::File::open(&path).unwrap();
    held.lock().unwrap();
    let tap = Tap::new(Some(&log), Some(7));
    let message = |method: &str| {
        let message = json!({"method": method, "params": {"threadId": "t"}}).to_string();
        tap.received(message.as_bytes());
    };
    // While the disk hangs, the queue fills with turns of one thread, until the last is dropped.
    for turn in 0.. {
        message("turn/x");
        tap.works_for(Some("t"), &format!("req-{turn}"));
        if log.counts().1 > 0 {
            break;
        }
    }
    while log.counts().1 < 3 {
        tap.works_for(Some("t"), "req-last");
    }
    held.unlock().unwrap();
    let written = loop {
        match log.0.journal.flush() {
            Some(written) => break written,
            None => tokio::task::yield_now().await,
        }
    };
    written.await.unwrap();
    message("turn/unknown");
    tap.works_for(Some("t"), "req-next");
    message("turn/known");
    log.close().await;
    let text = std::fs::read_to_string(path).unwrap();
    let line = |method: &str| -> Value {
        let line = text.lines().find(|line| line.contains(method));
        serde_json::from_str(line.unwrap()).unwrap()
    };
    assert_eq!(line("turn/unknown").get("req_id"), None);
    assert_eq!(line("turn/known")["req_id"], "req-next");
}
