//! Runs one turn: feeds Codex's events to the state machine and carries out its outputs. The only async part.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::machine::{Input, Machine, Output};
use super::{Delta, Error, Rules, Timer};
use crate::codex::{Activity, Backend, Event, Order, Turn, Usage};
use crate::policy::{Caller, Fault, Generation, tool_stop};

/// The time limits of a turn.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The time for the whole answer, of which the turn may be only a part.
    pub total: Duration,
    /// When that time is over.
    pub end: Instant,
    /// The time from the turn's start to the first piece of the answer; none is no limit.
    pub first_token: Option<Duration>,
    /// The longest silence of Codex, and the name of that limit.
    pub silence: (Timer, Duration),
    /// Cancelled when running turns must end.
    pub ending: CancellationToken,
}

impl Limits {
    /// The next deadline that events of Codex do not extend, and its name.
    fn deadline(&self, started: Instant, begun: bool) -> (Timer, Instant) {
        match self.first_token.filter(|_| !begun) {
            Some(limit) if started + limit < self.end => (Timer::FirstToken, started + limit),
            _ => (Timer::Total, self.end),
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

/// Whether the answer begins with this event, even if nothing of it may be shown yet.
fn is_answer(event: &Event) -> bool {
    match event {
        Event::Text(_)
        | Event::Reasoning(_)
        | Event::Call { .. }
        | Event::Activity(_)
        | Event::Withheld
        | Event::Sampled(_)
        | Event::Ended(_) => true,
        Event::TextBreak | Event::ReasoningBreak | Event::Retrying(_) => false,
    }
}

/// Asks the tool-stop policy of the request's own generation.
pub struct Judge {
    generation: Arc<Generation>,
    caller: Caller,
    model: String,
    streaming: bool,
    /// The number of the turn among those of its request.
    turn: u32,
    memo: Vec<u8>,
}

impl Judge {
    /// `model` is the model's name in the answer.
    #[must_use]
    pub fn new(
        generation: Arc<Generation>,
        caller: Caller,
        model: String,
        streaming: bool,
    ) -> Self {
        Self {
            turn: generation.next_turn(),
            generation,
            caller,
            model,
            streaming,
            memo: Vec::new(),
        }
    }

    async fn ask(
        &mut self,
        event: tool_stop::Event,
        calls: u32,
        elapsed: Duration,
    ) -> Result<tool_stop::Reaction, Fault> {
        let progress = tool_stop::Progress {
            caller: self.caller.clone(),
            model: self.model.clone(),
            streaming: self.streaming,
            calls,
            elapsed_ms: millis(elapsed),
        };
        let memo = std::mem::take(&mut self.memo);
        let asked = self.generation.observe(self.turn, progress, event, memo);
        let (reaction, memo) = asked.await?;
        self.memo = memo;
        Ok(reaction)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// One running turn. Dropping it interrupts Codex and frees everything it held.
pub struct Exchange {
    turn: Turn,
    machine: Machine,
    judge: Judge,
    limits: Limits,
    started: Instant,
    /// When the last event of Codex arrived.
    heard: Instant,
    /// The answer has begun.
    begun: bool,
    /// The ids of Codex's own activities that are under way. During these Codex may be silent until the total timeout.
    at_work: HashSet<String>,
    /// When the machine's timer runs out.
    quiet: Option<Instant>,
    ready: VecDeque<Delta>,
    /// Kept for reuse, so that a delta costs no allocation.
    outputs: Vec<Output>,
}

impl Exchange {
    /// Begins a turn.
    ///
    /// # Errors
    /// If no worker could be had.
    pub async fn start(
        backend: &Backend,
        order: Order,
        rules: Rules,
        judge: Judge,
        limits: Limits,
    ) -> Result<Self, Error> {
        let started = Instant::now();
        let (timer, deadline) = limits.deadline(started, false);
        let turn = tokio::select! {
            turn = backend.start(order) => turn?,
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

    /// The turn's cost so far, and whether it is an estimate because the provider has not reported it.
    #[must_use]
    pub fn usage(&self) -> (Usage, bool) {
        self.machine.usage()
    }

    /// Waits for Codex, or for the first timer that runs out. Deadlines are checked before events: a turn that is never silent
    /// has limits too. The silence is checked after events: an event that waited for a slow reader arrived in time.
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

    /// Gives the machine an input, and carries out its outputs until no further input results.
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
