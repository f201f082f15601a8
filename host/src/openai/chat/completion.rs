//! A chat completion in one piece, collected from the same deltas as a stream.

use serde::Serialize;

use super::super::activity::{Actions, Extension};
use super::super::conversation::arguments_or_empty_object;
use super::super::json;
use super::super::tools::{Forms, ToldCall, ToolName};
use super::super::usage::UsageBody;
use super::super::{ApiError, Head};
use super::{Form, finish_reason};
use crate::codex::Usage;
use crate::turn::{self, Delta, Finish};

/// An answer that is being collected.
#[derive(Debug)]
pub struct Completion {
    head: Head,
    form: Form,
    calls: Forms,
    choices: Vec<Collected>,
}

/// The content of one choice.
#[derive(Debug, Default)]
struct Collected {
    content: String,
    reasoning: String,
    calls: Vec<Call>,
    actions: Actions,
    outcome: Option<Result<(Finish, Usage), turn::Error>>,
}

#[derive(Debug, Serialize)]
struct Call {
    id: String,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    function: Option<Function>,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom: Option<Custom>,
}

#[derive(Debug, Serialize)]
struct Custom {
    name: String,
    input: String,
}

#[derive(Debug, Serialize)]
struct Function {
    name: String,
    arguments: String,
}

#[derive(Serialize)]
struct Body<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<Choice<'a>>,
    usage: UsageBody,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    message: Message<'a>,
    logprobs: (),
    finish_reason: &'static str,
    /// The gateway's own member, not OpenAI's.
    #[serde(skip_serializing_if = "Option::is_none")]
    x_codex: Option<Extension<'a>>,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    reasoning_content: &'a str,
    #[serde(skip_serializing_if = "<[Call]>::is_empty")]
    tool_calls: &'a [Call],
    #[serde(skip_serializing_if = "Option::is_none")]
    function_call: Option<&'a Function>,
    refusal: (),
}

impl Completion {
    /// An answer without content so far.
    #[must_use]
    pub fn new(head: Head, form: Form) -> Self {
        let choices = (0..form.choices).map(|_| Collected::default()).collect();
        Self {
            head,
            form,
            calls: Forms::default(),
            choices,
        }
    }

    /// The same, for an answer whose calls have these forms.
    #[must_use]
    pub fn with_calls(self, calls: Forms) -> Self {
        Self { calls, ..self }
    }

    /// Adds a delta of a choice.
    pub fn push(&mut self, choice: u32, delta: Delta) {
        let choice = usize::try_from(choice).ok();
        if let Some(choice) = choice.and_then(|choice| self.choices.get_mut(choice)) {
            choice.push(delta, self.form.one_call, &self.calls);
        }
    }

    /// The JSON of the whole answer, with the sum of the usage of all choices.
    ///
    /// # Errors
    /// If a choice failed or did not end: a partial answer is not sent.
    pub fn into_json(self) -> Result<String, ApiError> {
        let mut usage = Usage::default();
        let mut choices = Vec::with_capacity(self.choices.len());
        for (index, collected) in (0..).zip(&self.choices) {
            let outcome = collected.outcome.clone();
            let (finish, cost) = outcome.unwrap_or(Err(turn::Error::Interrupted))?;
            usage += cost;
            choices.push(Choice {
                index,
                message: collected.message(self.form),
                logprobs: (),
                finish_reason: finish_reason(finish, self.form),
                x_codex: collected.actions.extension(),
            });
        }
        Ok(json::write(&Body {
            id: &self.head.id,
            object: "chat.completion",
            created: self.head.created,
            model: &self.head.model,
            choices,
            usage: usage.into(),
        }))
    }
}

impl Call {
    /// The call as chat has it. It has no tools whose calls are items.
    fn of(id: String, told: ToldCall) -> Option<Self> {
        let r#type = told.kind();
        let (mut function, mut custom) = (None, None);
        match told {
            ToldCall::Function(ToolName { name, .. }, arguments) => {
                function = Some(Function { name, arguments });
            }
            ToldCall::Custom(ToolName { name, .. }, input) => {
                custom = Some(Custom { name, input });
            }
            ToldCall::Item(..) => return None,
        }
        Some(Self {
            id,
            r#type,
            function,
            custom,
        })
    }
}

impl Collected {
    fn push(&mut self, delta: Delta, one_call: bool, calls: &Forms) {
        match delta {
            Delta::Text(text) => self.content.push_str(&text),
            Delta::Reasoning(text) => self.reasoning.push_str(&text),
            Delta::Call { index, .. } if one_call && index > 0 => {}
            Delta::Call {
                id,
                name,
                arguments,
                ..
            } => {
                let arguments = arguments_or_empty_object(arguments);
                let told = calls.tell(&name, &arguments);
                self.calls.extend(Call::of(id, told));
            }
            Delta::Activity(activity) => self.actions.push(activity),
            Delta::End { finish, usage, .. } => self.outcome = Some(Ok((finish, usage))),
            Delta::Failed(error) => self.outcome = Some(Err(error)),
        }
    }

    fn message(&self, form: Form) -> Message<'_> {
        let (calls, function) = match form.functions {
            true => (
                &[][..],
                self.calls.first().and_then(|call| call.function.as_ref()),
            ),
            false => (self.calls.as_slice(), None),
        };
        let is_text = !self.content.is_empty() || self.calls.is_empty();
        Message {
            role: "assistant",
            content: is_text.then_some(&self.content),
            reasoning_content: &self.reasoning,
            tool_calls: calls,
            function_call: function,
            refusal: (),
        }
    }
}
