//! Runs one exchange: Codex's events into the machine, the machine's wishes into deeds. The only async part.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::machine::{Input, Machine, Output, Question, Reaction};
use super::{Delta, Error, Rules};
use crate::codex::{Backend, Plan, Turn, Usage};
use crate::policy::{Caller, Fault, Generation, tool_stop};

/// How long an exchange may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// From its start to its end.
    pub total: Duration,
    /// Without a word from Codex.
    pub idle: Duration,
    /// Cancelled when what still runs must end.
    pub ending: CancellationToken,
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
        let turn = tokio::select! {
            turn = backend.start(plan) => turn?,
            () = limits.ending.cancelled() => return Err(Error::Draining),
        };
        Ok(Self {
            turn,
            machine: Machine::new(rules),
            judge,
            limits,
            started,
            heard: Instant::now(),
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

    /// What the turn has cost so far; estimated where the provider has not said.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.machine.usage().0
    }

    /// Waits for Codex, or for the first timer that runs out. Timers come first: a turn that is never silent has limits,
    /// too.
    async fn listen(&mut self) -> Input {
        let total = self.started + self.limits.total;
        let idle = self.heard + self.limits.idle;
        let deadline = self
            .quiet
            .map_or(total.min(idle), |quiet| quiet.min(total).min(idle));
        tokio::select! {
            biased;
            () = self.limits.ending.cancelled() => return Input::Fail(Error::Draining),
            () = tokio::time::sleep_until(deadline) => {}
            event = self.turn.next() => {
                self.heard = Instant::now();
                return match event {
                    Some(event) => Input::Event(event),
                    None => Input::Fail(Error::Interrupted),
                };
            }
        }
        if self.quiet.is_some_and(|quiet| quiet <= deadline) {
            self.quiet = None;
            Input::Quiet
        } else if total <= deadline {
            Input::Fail(Error::Timeout(millis(self.limits.total)))
        } else {
            Input::Fail(Error::Idle(millis(self.limits.idle)))
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
