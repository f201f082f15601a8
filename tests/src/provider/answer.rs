//! The scripted answer on the wire: server-sent events, or an HTTP error.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{Script, Shared};

/// The reason why an answer ends early: the client disconnected, or the script says so.
#[derive(Debug)]
enum Stop {
    Abandoned,
    Scripted,
}

type Told = Result<(), Stop>;

/// Answers request number `id`.
pub(super) fn answer(shared: Arc<Shared>, script: Script, id: usize) -> Response {
    if let Some(status) = script.status {
        shared.count(|counts| counts.finished += 1);
        let status = StatusCode::from_u16(status).expect("an HTTP status");
        return (status, axum::Json(script.body)).into_response();
    }
    let (events, read) = mpsc::channel(1);
    let mut voice = Voice {
        shared: Arc::clone(&shared),
        script,
        id,
        events,
        deltas: 0,
    };
    tokio::spawn(async move {
        let told = voice.tell().await;
        shared.count(|counts| match told {
            Ok(()) | Err(Stop::Scripted) => counts.finished += 1,
            Err(Stop::Abandoned) => counts.abandoned += 1,
        });
    });
    let body = stream::unfold(read, |mut read| async move {
        let event = read.recv().await?;
        if event.is_err() {
            // The server flushes when the body is pending: without this pause the break would discard the events before it.
            tokio::task::yield_now().await;
        }
        Some((event, read))
    });
    (
        [(header::CONTENT_TYPE, "text/event-stream")],
        Body::from_stream(body),
    )
        .into_response()
}

struct Voice {
    shared: Arc<Shared>,
    script: Script,
    id: usize,
    events: mpsc::Sender<io::Result<String>>,
    deltas: usize,
}

impl Voice {
    async fn tell(&mut self) -> Told {
        let script = self.script.clone();
        let response = json!({"id": format!("resp_{}", self.id)});
        self.event(json!({"type": "response.created", "response": response}))
            .await?;
        let mut index = 0;
        if !script.reasoning.is_empty() || !script.raw_reasoning.is_empty() {
            self.reason(&script).await?;
            index += 1;
        }
        if !script.refusal.is_empty() {
            self.refuse(&script.refusal, index).await?;
            index += 1;
        }
        // A model that refuses or calls functions sends no text, unless the script has one.
        let silent = !script.calls.is_empty() || !script.refusal.is_empty();
        let silent = silent && script.text == Script::default().text;
        let first = (&script.text, if silent { 0 } else { script.repeat });
        let others = script.messages.iter().map(|deltas| (deltas, 1));
        for (deltas, times) in std::iter::once(first).chain(others) {
            if !deltas.is_empty() && times > 0 {
                self.message(deltas, times, index).await?;
                index += 1;
            }
        }
        for call in &script.calls {
            let (kind, arguments) = match call.custom {
                true => ("custom_tool_call", "input"),
                false => ("function_call", "arguments"),
            };
            let item = json!({
                "type": kind, "id": format!("fc_{}_{index}", self.id), "status": "completed",
                "call_id": format!("call_{}_{index}", self.id), "name": call.name, arguments: call.arguments,
            });
            self.event(
                json!({"type": "response.output_item.added", "output_index": index, "item": item}),
            )
            .await?;
            self.event(
                json!({"type": "response.output_item.done", "output_index": index, "item": item}),
            )
            .await?;
            index += 1;
        }
        self.end(&script).await
    }

    async fn reason(&mut self, script: &Script) -> Told {
        let id = format!("rs_{}", self.id);
        let item = json!({"type": "reasoning", "id": id, "summary": []});
        self.event(json!({"type": "response.output_item.added", "output_index": 0, "item": item}))
            .await?;
        for word in script.raw_reasoning.split_inclusive(' ') {
            let kind = "response.reasoning_text.delta";
            self.delta(json!({"type": kind, "item_id": id, "content_index": 0, "delta": word}))
                .await?;
        }
        for (part, text) in script.reasoning.iter().enumerate() {
            let kind = "response.reasoning_summary_part.added";
            self.event(json!({"type": kind, "item_id": id, "summary_index": part}))
                .await?;
            for word in text.split_inclusive(' ') {
                let kind = "response.reasoning_summary_text.delta";
                self.delta(
                    json!({"type": kind, "item_id": id, "summary_index": part, "delta": word}),
                )
                .await?;
            }
        }
        let summary: Vec<_> = script
            .reasoning
            .iter()
            .map(|text| json!({"type": "summary_text", "text": text}))
            .collect();
        let mut item =
            json!({"type": "reasoning", "id": id, "summary": summary, "encrypted_content": "x"});
        if !script.raw_reasoning.is_empty() {
            item["content"] = json!([{"type": "reasoning_text", "text": script.raw_reasoning}]);
        }
        self.event(json!({"type": "response.output_item.done", "output_index": 0, "item": item}))
            .await
    }

    async fn message(&mut self, deltas: &[String], times: usize, index: usize) -> Told {
        let id = format!("msg_{}_{index}", self.id);
        if !self.script.whole {
            let phase = &self.script.phase;
            let item = json!({
                "type": "message", "id": id, "role": "assistant", "phase": phase, "content": [],
            });
            let kind = "response.output_item.added";
            self.event(json!({"type": kind, "output_index": index, "item": item}))
                .await?;
            for delta in (0..times).flat_map(|_| deltas) {
                let kind = "response.output_text.delta";
                let event = json!({
                    "type": kind, "item_id": id, "output_index": index, "content_index": 0, "delta": delta,
                });
                self.delta(event).await?;
            }
        }
        let text = deltas.concat().repeat(times);
        let content = json!([{"type": "output_text", "text": text, "annotations": []}]);
        let item = json!({
            "type": "message", "id": id, "role": "assistant", "status": "completed",
            "phase": self.script.phase, "content": content,
        });
        let kind = "response.output_item.done";
        self.event(json!({"type": kind, "output_index": index, "item": item}))
            .await
    }

    async fn refuse(&mut self, refusal: &str, index: usize) -> Told {
        let id = format!("msg_{}_{index}", self.id);
        let item = |content| {
            json!({
                "type": "message", "id": id, "role": "assistant", "status": "completed", "content": content,
            })
        };
        let place = |kind: &str| json!({"type": kind, "item_id": id, "output_index": index, "content_index": 0});
        let part = |text: &str| json!({"type": "refusal", "refusal": text});
        self.event(json!({"type": "response.output_item.added", "output_index": index, "item": item(json!([]))}))
            .await?;
        let mut event = place("response.content_part.added");
        event["part"] = part("");
        self.event(event).await?;
        for word in refusal.split_inclusive(' ') {
            let mut event = place("response.refusal.delta");
            event["delta"] = json!(word);
            self.delta(event).await?;
        }
        let mut event = place("response.refusal.done");
        event["refusal"] = json!(refusal);
        self.event(event).await?;
        let mut event = place("response.content_part.done");
        event["part"] = part(refusal);
        self.event(event).await?;
        let item = item(json!([part(refusal)]));
        self.event(
            json!({"type": "response.output_item.done", "output_index": index, "item": item}),
        )
        .await
    }

    async fn end(&mut self, script: &Script) -> Told {
        if script.unfinished {
            return Ok(());
        }
        if let Some(code) = &script.error {
            let message = format!("scripted {code}");
            let error = json!({"type": "error", "code": code, "message": message, "param": null});
            return self.event(error).await;
        }
        let mut response = json!({"id": format!("resp_{}", self.id)});
        let kind = if let Some(reason) = &script.incomplete {
            response["incomplete_details"] = json!({"reason": reason});
            "response.incomplete"
        } else if let Some(code) = &script.failed {
            let message = script.message.clone();
            let message = message.unwrap_or_else(|| format!("scripted {code}"));
            response["error"] = json!({"code": code, "message": message});
            "response.failed"
        } else {
            let tokens = script.usage;
            response["usage"] = json!({
                "input_tokens": tokens.input, "input_tokens_details": {"cached_tokens": tokens.cached},
                "output_tokens": tokens.output, "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
                "total_tokens": tokens.input + tokens.output,
            });
            "response.completed"
        };
        self.event(json!({"type": kind, "response": response}))
            .await
    }

    /// Sends one delta, after the cut, stall or delay that the script has for this position.
    async fn delta(&mut self, event: Value) -> Told {
        if self.script.cut == Some(self.deltas) {
            let _ = self.events.send(Err(io::Error::other("cut"))).await;
            return Err(Stop::Scripted);
        }
        if self.script.stall == Some(self.deltas) {
            self.stall().await?;
        }
        if self.script.delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(self.script.delay_ms)).await;
        }
        self.deltas += 1;
        self.event(event).await
    }

    async fn stall(&mut self) -> Told {
        let mut released = self.shared.released.subscribe();
        self.shared.count(|counts| counts.stalled += 1);
        let told = tokio::select! {
            _ = released.changed() => Ok(()),
            () = self.events.closed() => Err(Stop::Abandoned),
        };
        self.shared.count(|counts| counts.stalled -= 1);
        told
    }

    async fn event(&self, event: Value) -> Told {
        let kind = event["type"].as_str().unwrap_or_default();
        let frame = format!("event: {kind}\ndata: {event}\n\n");
        self.events
            .send(Ok(frame))
            .await
            .map_err(|_| Stop::Abandoned)
    }
}
