//! A response as a stream of server-sent events.

use serde::Serialize;

use super::super::activity::Extension;
use super::super::tools::ToldCall;
use super::super::{Head, json};
use super::answer::{ResponseAnswer, ResponseStatus};
use super::object::{Body, ItemBody, PartBody};
use super::output::{Content, OutputItem, Step};
use super::{Context, Memory};
use crate::turn::Delta;

/// One server-sent event of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The event's name, which is also the `type` in its data.
    pub name: &'static str,
    /// The event's data as JSON.
    pub data: String,
}

/// The event that carries the gateway's own member. OpenAI's clients take it for a keep-alive and ignore it; for a type they do
/// not know, the helpers of the Node SDK (7) raise an error.
const ACTIVITY: &str = "keepalive";

/// Writes one answer. The last event has the final state and the whole answer; nothing follows, not even `[DONE]`.
#[derive(Debug)]
pub struct Events {
    pub(super) answer: ResponseAnswer,
    written: Written,
    writer: Writer,
}

/// The events before the first of an item that were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    None,
    Queued,
    Begun,
}

impl Events {
    /// An answer whose stream has not begun.
    #[must_use]
    pub fn new(head: Head, context: Context) -> Self {
        Self {
            answer: ResponseAnswer::new(head, context),
            written: Written::None,
            writer: Writer::default(),
        }
    }

    /// Appends the events of an answer whose turn has not begun: `response.created` and `response.queued`.
    pub(super) fn queue(&mut self, out: &mut Vec<Event>) {
        self.written = Written::Queued;
        for name in ["response.created", "response.queued"] {
            self.writer.whole(name, &self.answer, out);
        }
    }

    /// Appends the events `response.created` and `response.in_progress`, as far as they were not written yet.
    pub fn begin(&mut self, out: &mut Vec<Event>) {
        let names: &[_] = match std::mem::replace(&mut self.written, Written::Begun) {
            Written::None => &["response.created", "response.in_progress"],
            Written::Queued => &["response.in_progress"],
            Written::Begun => &[],
        };
        for name in names {
            self.writer.whole(name, &self.answer, out);
        }
    }

    /// Appends the events for a delta.
    pub fn push(&mut self, delta: Delta, out: &mut Vec<Event>) {
        if self.answer.has_ended() {
            return;
        }
        self.begin(out);
        let writer = &mut self.writer;
        if let Delta::Activity(activity) = &delta {
            let members = Members {
                x_codex: Some(activity.into()),
                ..Members::default()
            };
            writer.write(ACTIVITY, members, out);
        }
        self.answer.push(delta, &mut |step| writer.step(&step, out));
        self.end(out);
    }

    /// Appends the last event, if the answer has ended. To be called once then.
    pub(super) fn end(&mut self, out: &mut Vec<Event>) {
        let name = match self.answer.state() {
            ResponseStatus::InProgress | ResponseStatus::Queued => return,
            ResponseStatus::Completed => "response.completed",
            // OpenAI's schema has no event for a cancelled response; its status says it.
            ResponseStatus::Incomplete(_) | ResponseStatus::Cancelled => "response.incomplete",
            ResponseStatus::Failed => "response.failed",
        };
        self.writer.whole(name, &self.answer, out);
    }

    /// The memory to keep of the answer; to be called after the last delta was pushed. It is returned only once; nothing is
    /// returned if the answer has not ended, has failed, or if the client does not want it kept.
    pub fn take_memory(&mut self) -> Option<Memory> {
        self.answer.take_memory()
    }
}

/// The data of every event. Each kind of event has other members.
#[derive(Serialize)]
struct Data<'a> {
    r#type: &'static str,
    sequence_number: u64,
    #[serde(flatten)]
    members: Members<'a>,
}

#[derive(Default, Serialize)]
struct Members<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<Body<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<ItemBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    item_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_index: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary_index: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<PartBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<[(); 0]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    x_codex: Option<Extension<'a>>,
}

impl<'a> Members<'a> {
    /// The members that name the item, and the part of it: each of our items has one part.
    fn of(item: &'a OutputItem) -> Self {
        let (content_index, summary_index) = match item.content {
            Content::Message(_) => (Some(0), None),
            Content::Reasoning(_) => (None, Some(0)),
            Content::Call { .. } => (None, None),
        };
        Self {
            output_index: Some(item.index),
            item_id: Some(&item.id),
            content_index,
            summary_index,
            ..Self::default()
        }
    }

    /// The members of an item's first and last event.
    fn around(item: &'a OutputItem, body: ItemBody<'a>) -> Self {
        Self {
            output_index: Some(item.index),
            item: Some(body),
            ..Self::default()
        }
    }
}

/// Writes events and numbers them.
#[derive(Debug, Default)]
struct Writer {
    next: u64,
}

impl Writer {
    fn write(&mut self, name: &'static str, members: Members<'_>, out: &mut Vec<Event>) {
        let data = json::write(&Data {
            r#type: name,
            sequence_number: self.next,
            members,
        });
        self.next += 1;
        out.push(Event { name, data });
    }

    fn whole(&mut self, name: &'static str, answer: &ResponseAnswer, out: &mut Vec<Event>) {
        let members = Members {
            response: Some(answer.into()),
            ..Members::default()
        };
        self.write(name, members, out);
    }

    fn step(&mut self, step: &Step<'_>, out: &mut Vec<Event>) {
        match step {
            Step::Began(item) => self.began(item, out),
            Step::Grew(item, delta) => self.grew(item, delta, out),
            Step::Ended(item) => self.ended(item, out),
        }
    }

    fn began(&mut self, item: &OutputItem, out: &mut Vec<Event>) {
        let members = Members::around(item, ItemBody::begun(item));
        self.write("response.output_item.added", members, out);
        let (name, part) = match item.content {
            Content::Message(_) => ("response.content_part.added", PartBody::output("")),
            Content::Reasoning(_) => {
                let empty = PartBody::summary("");
                ("response.reasoning_summary_part.added", empty)
            }
            Content::Call { .. } => return,
        };
        let members = Members {
            part: Some(part),
            ..Members::of(item)
        };
        self.write(name, members, out);
    }

    fn grew(&mut self, item: &OutputItem, delta: &str, out: &mut Vec<Event>) {
        let (name, logprobs) = match &item.content {
            Content::Message(_) => ("response.output_text.delta", Some([])),
            Content::Reasoning(_) => ("response.reasoning_summary_text.delta", None),
            Content::Call { told, .. } => match told {
                ToldCall::Function(..) => ("response.function_call_arguments.delta", None),
                ToldCall::Custom(..) => ("response.custom_tool_call_input.delta", None),
                ToldCall::Item(..) => return,
            },
        };
        let members = Members {
            delta: Some(delta),
            logprobs,
            ..Members::of(item)
        };
        self.write(name, members, out);
    }

    fn ended(&mut self, item: &OutputItem, out: &mut Vec<Event>) {
        match &item.content {
            Content::Message(text) => {
                let members = Members {
                    text: Some(text),
                    logprobs: Some([]),
                    ..Members::of(item)
                };
                self.write("response.output_text.done", members, out);
                let members = Members {
                    part: Some(PartBody::output(text)),
                    ..Members::of(item)
                };
                self.write("response.content_part.done", members, out);
            }
            Content::Reasoning(text) => {
                let members = Members {
                    text: Some(text),
                    ..Members::of(item)
                };
                self.write("response.reasoning_summary_text.done", members, out);
                let members = Members {
                    part: Some(PartBody::summary(text)),
                    ..Members::of(item)
                };
                self.write("response.reasoning_summary_part.done", members, out);
            }
            Content::Call { told, .. } => self.called(item, told, out),
        }
        let members = Members::around(item, item.into());
        self.write("response.output_item.done", members, out);
    }

    fn called(&mut self, item: &OutputItem, told: &ToldCall, out: &mut Vec<Event>) {
        let (name, members) = match told {
            ToldCall::Function(name, arguments) => (
                "response.function_call_arguments.done",
                Members {
                    name: Some(&name.name),
                    arguments: Some(arguments),
                    ..Members::of(item)
                },
            ),
            ToldCall::Custom(_, input) => (
                "response.custom_tool_call_input.done",
                Members {
                    input: Some(input),
                    ..Members::of(item)
                },
            ),
            ToldCall::Item(..) => return,
        };
        self.write(name, members, out);
    }
}
