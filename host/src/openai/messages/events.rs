//! A message as a stream of server-sent events.

use serde::Serialize;

use super::super::activity::Extension;
use super::super::{ApiError, Head, json};
use super::answer::{Answer, Kind, Step};
use super::body::{Block, Body, Ending, SIGNATURE, UsageBody};
use super::{Form, MessagesError};
use crate::codex::Usage;
use crate::turn::Delta;

/// One server-sent event of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The event's name, which is also the `type` in its data.
    pub name: &'static str,
    /// The event's data as JSON.
    pub data: String,
}

impl Event {
    /// The event that clients ignore: it shows that the stream is alive.
    #[must_use]
    pub fn ping() -> Self {
        Self::new("ping", &Data::Ping { x_codex: None })
    }

    fn new(name: &'static str, data: &Data<'_>) -> Self {
        let data = json::write(data);
        Self { name, data }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Data<'a> {
    MessageStart {
        message: Body<'a>,
    },
    ContentBlockStart {
        index: usize,
        content_block: &'a Block,
    },
    ContentBlockDelta {
        index: usize,
        delta: Growth<'a>,
    },
    ContentBlockStop {
        index: usize,
    },
    MessageDelta {
        delta: Ending<'a>,
        usage: UsageBody,
    },
    MessageStop,
    Ping {
        /// The gateway's own member, not Anthropic's.
        #[serde(skip_serializing_if = "Option::is_none")]
        x_codex: Option<Extension<'a>>,
    },
}

#[derive(Serialize)]
#[serde(tag = "type")]
enum Growth<'a> {
    #[serde(rename = "text_delta")]
    Text { text: &'a str },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: &'a str },
    #[serde(rename = "signature_delta")]
    Signature { signature: &'a str },
    #[serde(rename = "input_json_delta")]
    Input { partial_json: &'a str },
}

/// Writes one answer. A failure is written last, as `error`; nothing follows it, not even `message_stop`.
#[derive(Debug)]
pub struct Events {
    head: Head,
    request_id: String,
    /// The estimate of the prompt's tokens: a stream begins with a count of them.
    prompt: u64,
    answer: Answer,
    blocks: Blocks,
    begun: bool,
    ended: bool,
}

/// Writes the steps of the content, and numbers the blocks.
#[derive(Debug, Default)]
struct Blocks {
    begun: usize,
    /// The kind of the last block; none if it is a call.
    kind: Option<Kind>,
}

impl Events {
    /// An answer whose stream has not begun. `prompt` is the estimate of the prompt's tokens.
    #[must_use]
    pub fn new(head: Head, form: Form, request_id: String, prompt: u64) -> Self {
        Self {
            head,
            request_id,
            prompt,
            answer: Answer::new(form),
            blocks: Blocks::default(),
            begun: false,
            ended: false,
        }
    }

    /// Appends the event `message_start`, if it was not written yet.
    pub fn begin(&mut self, out: &mut Vec<Event>) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        let usage = Usage {
            input: self.prompt,
            ..Usage::default()
        };
        let message = Body::new(&self.head, &[], Ending::default(), usage.into());
        out.push(Event::new("message_start", &Data::MessageStart { message }));
    }

    /// Appends the events for a delta.
    pub fn push(&mut self, delta: Delta, out: &mut Vec<Event>) {
        if self.ended {
            return;
        }
        self.begin(out);
        let blocks = &mut self.blocks;
        self.answer
            .push(&delta, &mut |step| blocks.step(&step, out));
        match delta {
            Delta::Activity(activity) => {
                let x_codex = Some(Extension::from(&activity));
                out.push(Event::new("ping", &Data::Ping { x_codex }));
            }
            Delta::End {
                finish,
                stop,
                usage,
                ..
            } => {
                self.ended = true;
                let (delta, usage) = (Ending::new(finish, stop.as_deref()), usage.into());
                let data = Data::MessageDelta { delta, usage };
                out.push(Event::new("message_delta", &data));
                out.push(Event::new("message_stop", &Data::MessageStop));
            }
            Delta::Failed(error) => {
                self.ended = true;
                let error = MessagesError::from(&ApiError::from(error));
                out.push(Event {
                    name: "error",
                    data: error.to_json(Some(&self.request_id)),
                });
            }
            Delta::Text(_) | Delta::Reasoning(_) | Delta::Call { .. } => {}
        }
    }
}

impl Blocks {
    fn step(&mut self, step: &Step<'_>, out: &mut Vec<Event>) {
        let index = self.begun.saturating_sub(1);
        match step {
            Step::Began(content_block) => {
                let index = self.begun;
                self.begun += 1;
                self.kind = match content_block {
                    Block::Text { .. } => Some(Kind::Text),
                    Block::Thinking { .. } => Some(Kind::Thinking),
                    Block::ToolUse { .. } => None,
                };
                let data = Data::ContentBlockStart {
                    index,
                    content_block,
                };
                out.push(Event::new("content_block_start", &data));
            }
            Step::Grew(text) => {
                let delta = match self.kind {
                    Some(Kind::Text) => Growth::Text { text },
                    Some(Kind::Thinking) => Growth::Thinking { thinking: text },
                    None => Growth::Input { partial_json: text },
                };
                grow(index, delta, out);
            }
            Step::Ended => {
                if self.kind == Some(Kind::Thinking) {
                    let signature = SIGNATURE;
                    grow(index, Growth::Signature { signature }, out);
                }
                let data = Data::ContentBlockStop { index };
                out.push(Event::new("content_block_stop", &data));
            }
        }
    }
}

fn grow(index: usize, delta: Growth<'_>, out: &mut Vec<Event>) {
    let data = Data::ContentBlockDelta { index, delta };
    out.push(Event::new("content_block_delta", &data));
}
