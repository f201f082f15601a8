//! Runs one exchange: Codex's events into the machine, the machine's wishes into deeds. The only async part.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::machine::{Input, Machine, Output, Question, Reaction};
use super::{Delta, Error, Rules, Timer};
use crate::codex::{Activity, Backend, Event, Plan, Turn, Usage};
use crate::policy::{Caller, Fault, Generation, tool_stop};

/// How long an exchange may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// From its start to its end.
    pub total: Duration,
    /// From its start to the first piece of the answer; none is no limit.
    pub first_token: Option<Duration>,
    /// Without a word from Codex, and which limit that is.
    pub silence: (Timer, Duration),
    /// Cancelled when what still runs must end.
    pub ending: CancellationToken,
}

impl Limits {
    /// What of the limits that no word of Codex's puts off runs out first, and when.
    fn deadline(&self, started: Instant, begun: bool) -> (Timer, Instant) {
        match self.first_token.filter(|_| !begun) {
            Some(limit) if limit < self.total => (Timer::FirstToken, started + limit),
            _ => (Timer::Total, started + self.total),
        }
    }

    fn overrun(&self, timer: Timer) -> Error {
        let limit = match timer {
            Timer::Total => self.total,
            Timer::FirstToken => self.first_token.unwrap_or(self.total),
            Timer::StreamIdle | Timer::Idle | Timer::ProtoIdle => self.silence.1,
        };
        let after_ms = millis(limit);
        Error::Timeout { timer, after_ms }
    }
}

/// Whether the answer has begun with this, though perhaps nothing of it may be shown yet.
fn is_answer(event: &Event) -> bool {
    !matches!(
        event,
        Event::TextBreak | Event::ReasoningBreak | Event::Retrying(_)
    )
}

/// Asks the tool-stop policy of the request's own generation.
pub struct Judge {
    generation: Arc<Generation>,
    caller: Caller,
    model: String,
    streaming: bool,
    memo: Vec<u8>,
}

impl Judge {
    /// `model` as the answer calls it.
    #[must_use]
    pub fn new(
        generation: Arc<Generation>,
        caller: Caller,
        model: String,
        streaming: bool,
    ) -> Self {
        Self {
            generation,
            caller,
            model,
            streaming,
            memo: Vec::new(),
        }
    }

    async fn ask(
        &mut self,
        question: Question,
        calls: u32,
        elapsed: Duration,
    ) -> Result<Reaction, Fault> {
        let progress = tool_stop::Progress {
            caller: self.caller.clone(),
            model: self.model.clone(),
            streaming: self.streaming,
            calls,
            elapsed_ms: millis(elapsed),
        };
        let event = match question {
            Question::Called {
                name,
                arguments,
                textual,
                index,
            } => tool_stop::Event::Called(tool_stop::Call {
                name,
                arguments,
                textual,
                index,
            }),
            Question::TextAfterCalls(bytes) => tool_stop::Event::TextAfterCalls(bytes),
            Question::Quiet(ms) => tool_stop::Event::Quiet(ms),
        };
        let memo = std::mem::take(&mut self.memo);
        let (reaction, memo) = self.generation.observe(progress, event, memo).await?;
        self.memo = memo;
        Ok(match reaction {
            tool_stop::Reaction::GoOn => Reaction::GoOn,
            tool_stop::Reaction::Wait(ms) => Reaction::Wait(ms),
            tool_stop::Reaction::Drop => Reaction::Drop,
            tool_stop::Reaction::HideTail => Reaction::HideTail,
            tool_stop::Reaction::Stop => Reaction::Stop,
        })
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// One exchange under way. Dropping it tells Codex to stop and frees everything it held.
pub struct Exchange {
    turn: Turn,
    machine: Machine,
    judge: Judge,
    limits: Limits,
    started: Instant,
    /// When Codex last said something.
    heard: Instant,
    /// The answer has begun.
    begun: bool,
    /// What Codex does itself at the moment, by its ids: it may do so in silence, within the limit of the whole.
    at_work: HashSet<String>,
    /// When the machine's timer runs out.
    quiet: Option<Instant>,
    ready: VecDeque<Delta>,
    /// Kept to be used again: no allocation a delta.
    outputs: Vec<Output>,
}

impl Exchange {
    /// Begins a turn.
    ///
    /// # Errors
    /// If no worker could be had.
    pub async fn start(
        backend: &Backend,
        plan: Plan,
        rules: Rules,
        judge: Judge,
        limits: Limits,
    ) -> Result<Self, Error> {
        let started = Instant::now();
        let (timer, deadline) = limits.deadline(started, false);
        let turn = tokio::select! {
            turn = backend.start(plan) => turn?,
            () = limits.ending.cancelled() => return Err(Error::Draining),
            () = tokio::time::sleep_until(deadline) => return Err(limits.overrun(timer)),
        };
        Ok(Self {
            turn,
            machine: Machine::new(rules),
            judge,
            limits,
            started,
            heard: Instant::now(),
            begun: false,
            at_work: HashSet::new(),
            quiet: None,
            ready: VecDeque::new(),
            outputs: Vec::new(),
        })
    }

    /// The next delta; none after [`Delta::End`] or [`Delta::Failed`]. Not cancel-safe: a decision may be under way.
    pub async fn next(&mut self) -> Option<Delta> {
        loop {
            if let Some(delta) = self.ready.pop_front() {
                return Some(delta);
            }
            if self.machine.is_done() {
                return None;
            }
            let input = self.listen().await;
            self.step(input).await;
        }
    }

    /// What the turn has cost so far, and whether that is an estimate: the provider has not said.
    #[must_use]
    pub fn usage(&self) -> (Usage, bool) {
        self.machine.usage()
    }

    /// Waits for Codex, or for the first timer that runs out. Deadlines come before what Codex says: a turn that is never
    /// silent has limits, too. Silence comes after it: what waits for a slow reader was said in time.
    async fn listen(&mut self) -> Input {
        let (timer, deadline) = self.limits.deadline(self.started, self.begun);
        let first = self.quiet.map_or(deadline, |quiet| quiet.min(deadline));
        let (silence, most) = self.limits.silence;
        tokio::select! {
            biased;
            () = self.limits.ending.cancelled() => Input::Fail(Error::Draining),
            () = tokio::time::sleep_until(first) => {
                if deadline <= first {
                    return Input::Fail(self.limits.overrun(timer));
                }
                self.quiet = None;
                Input::Quiet
            }
            event = self.turn.next() => {
                self.heard = Instant::now();
                match event {
                    Some(event) => {
                        self.begun |= is_answer(&event);
                        if let Event::Activity(activity) = &event {
                            self.note_work(activity);
                        }
                        Input::Event(event)
                    }
                    None => Input::Fail(Error::Interrupted),
                }
            }
            () = tokio::time::sleep_until(self.heard + most), if self.at_work.is_empty() => {
                Input::Fail(self.limits.overrun(silence))
            }
        }
    }

    fn note_work(&mut self, activity: &Activity) {
        if activity.is_over() {
            self.at_work.remove(&activity.id);
        } else {
            self.at_work.insert(activity.id.clone());
        }
    }

    /// Gives the machine an input, and does what it wants until it wants nothing more.
    async fn step(&mut self, input: Input) {
        let mut next = Some(input);
        while let Some(input) = next.take() {
            let mut outputs = std::mem::take(&mut self.outputs);
            self.machine.step(input, &mut outputs);
            for output in outputs.drain(..) {
                match output {
                    Output::Emit(delta) => self.ready.push_back(delta),
                    Output::Arm(ms) => {
                        self.quiet = Some(Instant::now() + Duration::from_millis(ms.into()))
                    }
                    Output::Interrupt => self.turn.interrupt(),
                    Output::Ask(question) => {
                        let answer = self
                            .judge
                            .ask(question, self.machine.calls(), self.started.elapsed())
                            .await;
                        next = Some(match answer {
                            Ok(reaction) => Input::Verdict(reaction),
                            Err(fault) => Input::Fail(Error::Policy(fault.to_string())),
                        });
                    }
                }
            }
            self.outputs = outputs;
        }
    }
}
