//! Decides the content of the answer and its end: a pure state machine, whose inputs and outputs `drive` carries.

mod answer;
mod progress;

use std::collections::VecDeque;

use super::blocks::{Block, Blocks, Found};
use super::{Delta, Error, Finish, Rules, Textual};
use crate::codex::{Event, TurnOutcome, Usage};
use crate::policy::tool_stop::{self, Reaction};
use answer::{AnswerText, Call};
use progress::Progress;

/// An input of the machine.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// An event of Codex. Not to be given while [`Machine::is_asking`]; if it is given, it is queued.
    Event(Event),
    /// The tool-stop policy answered the open question.
    Verdict(Reaction),
    /// The time of the last [`Output::Arm`] ran out. Not to be given while [`Machine::is_asking`].
    Quiet,
    /// The turn cannot go on: a limit, a policy fault, a shutdown.
    Fail(Error),
    /// The client has left.
    ClientGone,
}

/// An action for the driver, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Pass this to the client. Nothing is emitted after [`Delta::End`] or [`Delta::Failed`].
    Emit(Delta),
    /// Ask the tool-stop policy; its answer is [`Input::Verdict`].
    Ask(tool_stop::Event),
    /// Set the turn's one timer to this many milliseconds, whatever its state; when it runs out: [`Input::Quiet`].
    Arm(u32),
    /// Tell Codex to stop.
    Interrupt,
}

/// The state machine of one turn. The work per event does not grow with the number of earlier events.
#[derive(Debug)]
pub struct Machine {
    /// The client takes structured calls.
    tools: bool,
    /// See [`Rules::offered`].
    offered: Vec<String>,
    forbidden: Vec<String>,
    /// Events that wait for the open question's answer.
    queue: VecDeque<Event>,
    asked: Option<Asked>,
    wait: Option<u32>,
    blocks: Option<Blocks>,
    /// Blocks become calls, whose ids have this prefix.
    block_ids: Option<String>,
    answer: AnswerText,
    progress: Progress,
    /// The outputs of the present step; swapped with the caller's list during it.
    out: Vec<Output>,
}

#[derive(Debug)]
enum Asked {
    Call(Call),
    /// A textual call, with its text.
    Block(String),
    /// Text that waits at the front of the queue.
    Text,
    Quiet,
}

impl Machine {
    /// The machine of a turn that has not begun.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        let answer = AnswerText::new(&rules);
        Self {
            tools: rules.tools,
            offered: rules.offered,
            forbidden: rules.forbidden,
            queue: VecDeque::new(),
            asked: None,
            wait: None,
            blocks: (rules.textual_tools != Textual::Ignored).then(Blocks::new),
            answer,
            block_ids: match rules.textual_tools {
                Textual::Calls { id_prefix } => Some(id_prefix),
                Textual::Ignored | Textual::Text => None,
            },
            progress: Progress::default(),
            out: Vec::new(),
        }
    }

    /// Takes one input and appends the resulting outputs to `out`.
    pub fn step(&mut self, input: Input, out: &mut Vec<Output>) {
        if self.is_done() {
            return;
        }
        std::mem::swap(&mut self.out, out);
        match input {
            Input::Event(event) => self.queue.push_back(event),
            Input::Verdict(reaction) => self.settle(reaction),
            Input::Quiet => self.quiet(),
            Input::Fail(error) => self.fail(error),
            Input::ClientGone => self.leave(),
        }
        self.end_if_cut();
        while !self.is_done()
            && !self.is_asking()
            && let Some(event) = self.queue.pop_front()
        {
            self.hear(event);
            self.end_if_cut();
        }
        std::mem::swap(&mut self.out, out);
    }

    /// Whether a question is open: until its answer no event is to be given.
    #[must_use]
    pub fn is_asking(&self) -> bool {
        self.asked.is_some()
    }

    /// Whether the turn is over: further inputs have no effect.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.progress.done
    }

    /// The number of calls of the answer so far, including the one the policy is asked about, without dropped ones.
    #[must_use]
    pub fn calls(&self) -> u32 {
        let asked = matches!(self.asked, Some(Asked::Call(_) | Asked::Block(_)));
        self.progress.calls + u32::from(asked)
    }

    /// The turn's cost so far, and whether any of it is estimated.
    #[must_use]
    pub fn usage(&self) -> (Usage, bool) {
        self.answer.usage()
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Text(text) => self.hear_text(text),
            Event::TextBreak => self.progress.text_break = true,
            Event::Reasoning(text) => self.hear_reasoning(text),
            Event::ReasoningBreak => self.progress.reasoning_break = true,
            Event::Call {
                id,
                name,
                arguments,
            } => self.hear_call(Call {
                id,
                name,
                arguments,
            }),
            Event::Activity(action) => self.answer.emit(Delta::Activity(action), &mut self.out),
            Event::Withheld => self.progress.withheld = true,
            Event::Sampled(usage) => self.close_response(usage),
            Event::Retrying(reason) => self.retry(reason),
            Event::Ended(outcome) => self.conclude(outcome),
        }
    }

    fn hear_text(&mut self, mut text: String) {
        let read = std::mem::take(&mut self.progress.read);
        if text.len() == read {
            return;
        }
        self.answer.open();
        self.progress.withheld = false;
        if std::mem::take(&mut self.progress.after_call) {
            let bytes = u32::try_from(text.len() - read).unwrap_or(u32::MAX);
            self.hear_later(text, read);
            return self.ask(Asked::Text, tool_stop::Event::TextAfterCalls(bytes));
        }
        let in_block = self.blocks.as_ref().is_some_and(Blocks::is_holding);
        if std::mem::take(&mut self.progress.text_break) && (self.answer.has_text() || in_block) {
            text.insert_str(read, "\n\n");
        }
        let Some(blocks) = &mut self.blocks else {
            return self.answer.add_text(text, &mut self.out);
        };
        let Found { before, block } = blocks.push(text.get(read..).unwrap_or_default());
        self.answer.add_text(before, &mut self.out);
        // The policy is not asked about blocks after the end of the answer.
        if let Some((block, rest)) = block.filter(|_| self.answer.cut().is_none()) {
            let read = text.len() - rest.len();
            self.hear_later(text, read);
            self.hear_block(block);
        }
    }

    fn hear_later(&mut self, text: String, read: usize) {
        self.queue.push_front(Event::Text(text));
        self.progress.read = read;
    }

    fn hear_block(&mut self, block: Block) {
        if let Some(prefix) = self
            .block_ids
            .as_ref()
            .filter(|_| self.calls_a_tool(&block))
        {
            let call = Call {
                id: format!("{prefix}{}", self.progress.calls),
                arguments: block.to_json(),
                name: block.name.clone(),
            };
            let question = self.called(block.name, block.arguments, true);
            return self.ask(Asked::Call(call), question);
        }
        if let Some(text) = self.answer.admit_block(block.text, &mut self.out) {
            let question = self.called(block.name, block.arguments, true);
            self.ask(Asked::Block(text), question);
        }
    }

    /// Whether the block is a call of a tool that the client takes.
    fn calls_a_tool(&self, block: &Block) -> bool {
        let in_prompt = self.offered.is_empty() && self.forbidden.is_empty();
        !block.name.is_empty() && (in_prompt || self.offered.contains(&block.name))
    }

    fn hear_reasoning(&mut self, mut text: String) {
        if text.is_empty() {
            return;
        }
        self.answer.open();
        if std::mem::take(&mut self.progress.reasoning_break) && self.answer.has_reasoning() {
            text.insert_str(0, "\n\n");
        }
        self.answer.add_reasoning(text, &mut self.out);
    }

    fn hear_call(&mut self, call: Call) {
        self.answer.open();
        self.progress.withheld = false;
        // Of a client that takes none, or that forbade it, Codex itself reports the error to the model.
        if self.tools && !self.forbidden.contains(&call.name) {
            self.progress.called = true;
            let question = self.called(call.name.clone(), call.arguments.clone(), false);
            self.ask(Asked::Call(call), question);
        }
    }

    fn called(&self, name: String, arguments: String, textual: bool) -> tool_stop::Event {
        tool_stop::Event::Called(tool_stop::Call {
            name,
            arguments,
            textual,
            index: self.progress.calls,
        })
    }

    fn ask(&mut self, asked: Asked, question: tool_stop::Event) {
        self.asked = Some(asked);
        self.out.push(Output::Ask(question));
    }

    fn quiet(&mut self) {
        if !self.is_asking()
            && let Some(ms) = self.wait.take()
        {
            self.ask(Asked::Quiet, tool_stop::Event::Quiet(ms));
        }
    }

    fn settle(&mut self, reaction: Reaction) {
        let Some(asked) = self.asked.take() else {
            return;
        };
        match (asked, reaction) {
            (Asked::Text, Reaction::Drop) => self.answer.drop_tail(),
            (_, Reaction::Drop) | (Asked::Text | Asked::Quiet, _) => {}
            (Asked::Call(call), _) => {
                self.begin_call();
                self.answer.add_call(call, &mut self.out);
            }
            (Asked::Block(text), _) => {
                self.begin_call();
                self.answer.add_block(text, &mut self.out);
            }
        }
        match reaction {
            Reaction::GoOn | Reaction::Drop => {}
            Reaction::Wait(ms) => {
                self.wait = Some(ms);
                self.out.push(Output::Arm(ms));
            }
            Reaction::HideTail => {
                self.progress.after_call = false;
                self.answer.withhold_tail();
            }
            Reaction::Stop => self.finish(self.answer.finish()),
        }
    }

    fn begin_call(&mut self) {
        self.release_block();
        self.progress.calls += 1;
        self.progress.after_call = true;
    }

    fn close_response(&mut self, usage: Usage) {
        self.release_block();
        self.answer.release(&mut self.out);
        self.answer.close(usage);
        // Codex would wait for the outputs of the calls without end: the client sends them in its next request.
        if self.progress.called {
            self.finish(self.answer.finish());
        }
    }

    fn retry(&mut self, reason: String) {
        if self.answer.is_sent() {
            return self.fail(Error::Restarted(reason));
        }
        self.answer.forget_held();
        self.blocks = self.blocks.take().map(|_| Blocks::new());
        self.progress.called = false;
    }

    fn conclude(&mut self, outcome: TurnOutcome) {
        self.progress.ended = true;
        match outcome {
            TurnOutcome::Completed => self.complete(),
            TurnOutcome::MaxOutputTokens => self.finish(Finish::Length),
            TurnOutcome::ContentFilter => self.finish(Finish::ContentFilter),
            TurnOutcome::Interrupted => self.fail(Error::Interrupted),
            TurnOutcome::Failed(error) => self.fail(Error::Codex(error)),
        }
    }

    /// Ends the answer when the model is done. Only a complete answer is checked for a JSON object.
    fn complete(&mut self) {
        if self.progress.withheld {
            // The model refused, and its words are lost.
            return self.finish(Finish::ContentFilter);
        }
        self.release_block();
        self.answer.release(&mut self.out);
        if self.answer.is_malformed() {
            return self.fail(Error::NotJson);
        }
        self.finish(self.answer.finish());
    }

    /// Adds an unfinished block as text.
    fn release_block(&mut self) {
        if let Some(blocks) = &mut self.blocks {
            let text = blocks.flush();
            self.answer.add_text(text, &mut self.out);
        }
    }

    /// Ends the answer with all text that is held back, as far as stop sequences and limits allow.
    fn finish(&mut self, finish: Finish) {
        self.release_block();
        self.answer.release(&mut self.out);
        self.end(self.answer.cut().unwrap_or(finish));
    }

    fn end_if_cut(&mut self) {
        if let Some(finish) = self.answer.cut() {
            self.end(finish);
        }
    }

    fn end(&mut self, finish: Finish) {
        let (usage, estimated) = self.answer.usage();
        self.leave_with(Delta::End {
            finish,
            stop: self.answer.stopped_at(),
            usage,
            estimated,
        });
    }

    fn fail(&mut self, error: Error) {
        self.leave_with(Delta::Failed(error));
    }

    fn leave_with(&mut self, last: Delta) {
        if !self.is_done() {
            self.leave();
            self.answer.emit(last, &mut self.out);
        }
    }

    fn leave(&mut self) {
        self.progress.done = true;
        self.asked = None;
        if !self.progress.ended {
            self.out.push(Output::Interrupt);
        }
    }
}

#[cfg(test)]
mod tests;
