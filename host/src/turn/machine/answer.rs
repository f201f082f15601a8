//! The answer's content so far: text passes the stop sequences, the withheld tail and the token limit.

use serde::de::IgnoredAny;

use super::Output;
use crate::codex::Usage;
use crate::turn::meter::Meter;
use crate::turn::search::{Scan, Search};
use crate::turn::{BYTES_PER_TOKEN, Delta, Finish, Rules};

/// The answer so far. Nothing is added once it is [cut](AnswerText::cut).
#[derive(Debug)]
pub(super) struct AnswerText {
    stop: Search,
    tail: Tail,
    gap: Gap,
    /// Bytes of text that the client may still get.
    room: Option<usize>,
    meter: Meter,
    /// Calls that the client got.
    calls: u32,
    /// The client got, or may still get, content of the present upstream response.
    sent: bool,
    spoken: bool,
    thought: bool,
    cut: Option<Finish>,
    /// The stop sequence that ended the answer.
    stopped_at: Option<String>,
    /// The whole text, if it has to be a JSON object.
    json: Option<String>,
}

/// How text is handled.
#[derive(Debug, Default)]
enum Tail {
    #[default]
    Shown,
    /// Kept until it is known whether another call follows.
    Withheld(String),
    Dropped,
}

/// The gap between two blocks that follow each other.
#[derive(Debug, Default)]
struct Gap {
    /// Replaces the white space; if absent, the gap stays as the model wrote it.
    delimiter: Option<String>,
    /// The white space since the last block, until other text follows.
    blank: Option<String>,
}

/// A call as the model made it.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) arguments: String,
}

impl AnswerText {
    pub(super) fn new(rules: &Rules) -> Self {
        let room = |tokens: u64| {
            usize::try_from(tokens.saturating_mul(BYTES_PER_TOKEN)).unwrap_or(usize::MAX)
        };
        Self {
            stop: Search::new(&rules.stop),
            tail: Tail::default(),
            gap: Gap {
                delimiter: rules.block_delimiter.clone(),
                blank: None,
            },
            room: rules.max_tokens.map(room),
            meter: Meter::new(rules.prompt_tokens_estimate),
            calls: 0,
            sent: false,
            spoken: false,
            thought: false,
            cut: None,
            stopped_at: None,
            json: rules.json_object.then(String::new),
        }
    }

    /// Why the answer must end here: a stop sequence or the limit was met.
    pub(super) fn cut(&self) -> Option<Finish> {
        self.cut
    }

    /// The stop sequence that ended the answer; none if something else did.
    pub(super) fn stopped_at(&self) -> Option<String> {
        self.stopped_at.clone()
    }

    /// The finish reason, if Codex or a policy ends the answer here.
    pub(super) fn finish(&self) -> Finish {
        match self.calls {
            0 => Finish::Stop,
            _ => Finish::ToolCalls,
        }
    }

    /// Whether the answer is complete and should be a JSON object, but is none.
    pub(super) fn is_malformed(&self) -> bool {
        let text = self
            .json
            .as_ref()
            .filter(|_| self.cut.is_none() && self.calls == 0);
        text.is_some_and(|text| {
            !text.trim_start().starts_with('{') || serde_json::from_str::<IgnoredAny>(text).is_err()
        })
    }

    /// Whether content of the present upstream response reached the client, so that the response cannot be repeated.
    pub(super) fn is_sent(&self) -> bool {
        self.sent
    }

    /// Whether there is text to which more may be joined.
    pub(super) fn has_text(&self) -> bool {
        self.spoken || self.stop.holding() > 0
    }

    /// Whether there is reasoning to which more may be joined.
    pub(super) fn has_reasoning(&self) -> bool {
        self.thought
    }

    /// The cost so far, and whether any of it is estimated.
    pub(super) fn usage(&self) -> (Usage, bool) {
        self.meter.total()
    }

    /// Notes that the present upstream response has content.
    pub(super) fn open(&mut self) {
        self.meter.open();
    }

    /// Notes that the present upstream response is complete and cost this much.
    pub(super) fn close(&mut self, usage: Usage) {
        self.meter.count(usage);
        self.sent = false;
    }

    /// Drops the held-back text of an upstream response that is repeated.
    pub(super) fn forget_held(&mut self) {
        self.stop.flush();
    }

    pub(super) fn add_text(&mut self, text: String, out: &mut Vec<Output>) {
        match self.stop.push(&text) {
            Scan::Clear(text) => self.show(text, out),
            Scan::Hit { before, word, .. } => self.stop_after(before, word, out),
        }
    }

    /// Adds the text before a block that the stop sequences held back, and returns the block, which may now be shown; nothing if
    /// a stop sequence or the limit ends the answer first.
    pub(super) fn admit_block(&mut self, block: String, out: &mut Vec<Output>) -> Option<String> {
        let before = self.stop.holding();
        match self.stop.push(&block) {
            Scan::Hit { before, word, .. } => {
                self.stop_after(before, word, out);
                None
            }
            Scan::Clear(mut text) => {
                text.push_str(&self.stop.flush());
                let block = text.split_off(before);
                self.show(text, out);
                self.cut.is_none().then_some(block)
            }
        }
    }

    pub(super) fn add_reasoning(&mut self, text: String, out: &mut Vec<Output>) {
        self.emit(Delta::Reasoning(text), out);
    }

    /// Adds a call, as a delta of the next index.
    pub(super) fn add_call(&mut self, call: Call, out: &mut Vec<Output>) {
        self.show_tail(out);
        if self.cut.is_some() {
            return;
        }
        let index = self.calls;
        self.calls += 1;
        let call = Delta::Call {
            index,
            id: call.id,
            name: call.name,
            arguments: call.arguments,
        };
        self.emit(call, out);
    }

    /// Adds a block that was admitted.
    pub(super) fn add_block(&mut self, block: String, out: &mut Vec<Output>) {
        self.show_tail(out);
        if self.gap.blank.take().is_some()
            && let Some(delimiter) = self.gap.delimiter.clone()
        {
            self.show(delimiter, out);
        }
        self.show(block, out);
        self.gap.blank = self.gap.delimiter.is_some().then(String::new);
    }

    /// From here on, text is shown only if another call follows.
    pub(super) fn withhold_tail(&mut self) {
        if !matches!(self.tail, Tail::Withheld(_)) {
            self.tail = Tail::Withheld(String::new());
        }
    }

    /// From here on, text is left out until another call follows.
    pub(super) fn drop_tail(&mut self) {
        self.tail = Tail::Dropped;
    }

    /// Adds the text that was held back because it might have become a stop sequence or be followed by another block.
    pub(super) fn release(&mut self, out: &mut Vec<Output>) {
        self.release_search(out);
        let blank = self.gap.blank.take().unwrap_or_default();
        self.show(blank, out);
    }

    fn release_search(&mut self, out: &mut Vec<Output>) {
        let text = self.stop.flush();
        self.show(text, out);
    }

    /// Before a call is added, shows the text that was held back or withheld before it.
    fn show_tail(&mut self, out: &mut Vec<Output>) {
        self.release_search(out);
        if let Tail::Withheld(text) = std::mem::take(&mut self.tail) {
            self.show(text, out);
        }
    }

    fn stop_after(&mut self, last: String, word: String, out: &mut Vec<Output>) {
        self.show(last, out);
        if self.cut.is_none() {
            // Calls before the stop sequence still have to be answered by the client, so they decide the finish reason.
            self.cut = Some(self.finish());
            self.stopped_at = Some(word);
        }
    }

    fn show(&mut self, mut text: String, out: &mut Vec<Output>) {
        if text.is_empty() || self.cut.is_some() || matches!(self.tail, Tail::Dropped) {
            return;
        }
        if let Some(mut blank) = self.gap.blank.take() {
            let is_blank = text.trim().is_empty();
            blank.push_str(&text);
            if is_blank {
                self.gap.blank = Some(blank);
                return;
            }
            text = blank;
        }
        if let Tail::Withheld(withheld) = &mut self.tail {
            self.sent = true;
            self.spoken = true;
            return withheld.push_str(&text);
        }
        let room = self.room.unwrap_or(usize::MAX);
        if text.len() > room {
            text.truncate(text.floor_char_boundary(room));
            self.cut = Some(Finish::Length);
        }
        self.room = self.room.map(|room| room - text.len());
        if let Some(json) = &mut self.json {
            json.push_str(&text);
        }
        if !text.is_empty() {
            self.emit(Delta::Text(text), out);
        }
    }

    /// Every delta leaves here: content is counted, and a response of which the client got content cannot be repeated.
    pub(super) fn emit(&mut self, delta: Delta, out: &mut Vec<Output>) {
        match &delta {
            Delta::Text(text) => {
                self.sent = true;
                self.spoken = true;
                self.meter.add_answer(text.len());
            }
            Delta::Reasoning(text) => {
                self.sent = true;
                self.thought = true;
                self.meter.add_reasoning(text.len());
            }
            Delta::Call {
                name, arguments, ..
            } => {
                self.sent = true;
                self.meter.add_answer(name.len() + arguments.len());
            }
            Delta::Activity(_) | Delta::End { .. } | Delta::Failed(_) => {}
        }
        out.push(Output::Emit(delta));
    }
}
