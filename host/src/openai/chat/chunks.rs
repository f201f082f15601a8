//! A chat completion as a stream: writes the data of each server-sent event.

use serde::Serialize;

use super::super::activity::Extension;
use super::super::conversation::arguments_or_empty_object;
use super::super::json;
use super::super::tools::{Forms, ToldCall};
use super::super::usage::UsageBody;
use super::super::{ApiError, DONE, Head};
use super::{Form, finish_reason};
use crate::codex::{Activity, Usage};
use crate::turn::{Delta, Finish};

/// Writes one answer. The role comes first and `[DONE]` last; a failure is written last, and nothing follows it.
#[derive(Debug)]
pub struct Chunks {
    head: Head,
    form: Form,
    calls: Forms,
    begun: bool,
    /// Choices that have not ended.
    running: u32,
    /// The usage of the choices that have ended.
    usage: Usage,
}

#[derive(Serialize)]
struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: &'a [Choice<'a>],
    /// Absent if the client did not ask for it; if it did, `null` in all chunks but the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<UsageBody>>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    delta: Fragment<'a>,
    finish_reason: Option<&'static str>,
    /// The gateway's own member, not OpenAI's.
    #[serde(skip_serializing_if = "Option::is_none")]
    x_codex: Option<Extension<'a>>,
}

#[derive(Default, Serialize)]
struct Fragment<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[CallFragment<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_call: Option<FunctionFragment<'a>>,
}

#[derive(Serialize)]
struct CallFragment<'a> {
    index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function: Option<FunctionFragment<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom: Option<CustomFragment<'a>>,
}

#[derive(Serialize)]
struct CustomFragment<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    input: &'a str,
}

#[derive(Serialize)]
struct FunctionFragment<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    arguments: &'a str,
}

impl Chunks {
    /// An answer whose stream has not begun.
    #[must_use]
    pub fn new(head: Head, form: Form) -> Self {
        Self {
            head,
            form,
            calls: Forms::default(),
            begun: false,
            running: form.choices,
            usage: Usage::default(),
        }
    }

    /// The same, for an answer whose calls have these forms.
    #[must_use]
    pub fn with_calls(self, calls: Forms) -> Self {
        Self { calls, ..self }
    }

    /// Appends the chunks with the role, if they were not written yet. Written early, they show clients that their request is
    /// being answered.
    pub fn begin(&mut self, out: &mut Vec<String>) {
        if !std::mem::replace(&mut self.begun, true) {
            for choice in 0..self.form.choices {
                let fragment = Fragment {
                    role: Some("assistant"),
                    content: Some(""),
                    ..Fragment::default()
                };
                out.push(self.chunk(choice, fragment, None));
            }
        }
    }

    /// Appends the chunks for a delta of a choice.
    pub fn push(&mut self, choice: u32, delta: Delta, out: &mut Vec<String>) {
        if self.running == 0 {
            return;
        }
        match delta {
            Delta::Text(text) => {
                let content = Some(text.as_str());
                self.push_fragment(
                    choice,
                    Fragment {
                        content,
                        ..Fragment::default()
                    },
                    out,
                );
            }
            Delta::Reasoning(text) => {
                let reasoning_content = Some(text.as_str());
                self.push_fragment(
                    choice,
                    Fragment {
                        reasoning_content,
                        ..Fragment::default()
                    },
                    out,
                );
            }
            Delta::Call { index, .. } if self.form.one_call && index > 0 => {}
            Delta::Call {
                index,
                id,
                name,
                arguments,
            } => {
                let arguments = arguments_or_empty_object(arguments);
                let told = self.calls.tell(&name, &arguments);
                // The call's id and name come first, then its arguments: every client can join two fragments.
                self.push_call((choice, index), Some(&id), &told, out);
                self.push_call((choice, index), None, &told, out);
            }
            Delta::Activity(activity) => self.push_activity(choice, &activity, out),
            Delta::End { finish, usage, .. } => self.end(choice, finish, usage, out),
            Delta::Failed(error) => {
                self.running = 0;
                out.push(ApiError::from(error).to_json());
            }
        }
    }

    fn push_activity(&mut self, choice: u32, activity: &Activity, out: &mut Vec<String>) {
        self.begin(out);
        let choice = Choice {
            index: choice,
            delta: Fragment::default(),
            finish_reason: None,
            x_codex: Some(Extension::from(activity)),
        };
        out.push(self.write(&[choice], self.no_usage_yet()));
    }

    /// `id` is given in the call's first fragment only, which has the name and no arguments.
    fn push_call(
        &mut self,
        (choice, index): (u32, u32),
        id: Option<&str>,
        told: &ToldCall,
        out: &mut Vec<String>,
    ) {
        // Chat has no tools whose calls are items.
        let (ToldCall::Function(name, text) | ToldCall::Custom(name, text)) = told else {
            return;
        };
        let name = id.map(|_| name.name.as_str());
        let text = if id.is_some() { "" } else { text };
        let (mut function, mut custom) = (None, None);
        if let ToldCall::Custom(..) = told {
            custom = Some(CustomFragment { name, input: text });
        } else {
            let arguments = text;
            function = Some(FunctionFragment { name, arguments });
        }
        let mut fragment = Fragment::default();
        if self.form.functions {
            fragment.function_call = function;
        } else {
            fragment.tool_calls = Some([CallFragment {
                index,
                id,
                r#type: id.map(|_| told.kind()),
                function,
                custom,
            }]);
        }
        self.push_fragment(choice, fragment, out);
    }

    fn push_fragment(&mut self, choice: u32, fragment: Fragment<'_>, out: &mut Vec<String>) {
        self.begin(out);
        out.push(self.chunk(choice, fragment, None));
    }

    fn end(&mut self, choice: u32, finish: Finish, usage: Usage, out: &mut Vec<String>) {
        self.begin(out);
        let reason = finish_reason(finish, self.form);
        out.push(self.chunk(choice, Fragment::default(), Some(reason)));
        self.usage += usage;
        self.running -= 1;
        if self.running > 0 {
            return;
        }
        if self.form.include_usage {
            out.push(self.write(&[], Some(Some(self.usage.into()))));
        }
        out.push(DONE.to_owned());
    }

    fn chunk(
        &self,
        index: u32,
        delta: Fragment<'_>,
        finish_reason: Option<&'static str>,
    ) -> String {
        let choice = Choice {
            index,
            delta,
            finish_reason,
            x_codex: None,
        };
        self.write(&[choice], self.no_usage_yet())
    }

    /// The `usage` member of the chunks before the last.
    fn no_usage_yet(&self) -> Option<Option<UsageBody>> {
        self.form.include_usage.then_some(None)
    }

    fn write(&self, choices: &[Choice<'_>], usage: Option<Option<UsageBody>>) -> String {
        json::write(&Chunk {
            id: &self.head.id,
            object: "chat.completion.chunk",
            created: self.head.created,
            model: &self.head.model,
            choices,
            usage,
        })
    }
}
