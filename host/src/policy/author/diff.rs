//! Compares two policies of one slot: plays the same calls to both, and reports the decisions that differ.

use std::sync::Arc;
use std::time::Instant;

use super::super::Slot;
use super::super::engine::Engine;
use super::super::fault::{FaultKind, Refusal};
use super::super::report::{About, Counter, Report};
use super::case::{Case, Step};
use super::input::Call;
use super::play::Play;
use super::{Draft, Outcome, Reply, Subject};

/// Two prepared policies of one slot.
pub struct Sides {
    pub(super) drafts: [Draft; 2],
    sides: [Arc<Subject>; 2],
}

/// Calls one after the other, from a time in milliseconds since 1970.
#[derive(Debug, Clone)]
pub(super) struct Script {
    pub(super) start_ms: u64,
    pub(super) steps: Vec<Step>,
}

/// The calls of a script that could be put, each with its reply.
pub(super) type Played = Vec<(Call, Reply)>;

impl Sides {
    /// Prepares both, as a start does.
    ///
    /// # Errors
    /// The reason why a gateway would refuse one of them.
    pub async fn prepare(engine: &Engine, drafts: [Draft; 2]) -> Result<Self, Refusal> {
        let prepared = |draft: &Draft| {
            let (engine, draft) = (engine.clone(), draft.clone());
            async move {
                Subject::prepare(&engine, &draft, draft.options.instances)
                    .await
                    .map(Arc::new)
            }
        };
        let (from, to) = tokio::try_join!(prepared(&drafts[0]), prepared(&drafts[1]))?;
        Ok(Self {
            drafts,
            sides: [from, to],
        })
    }

    /// The slot of both.
    #[must_use]
    pub fn slot(&self) -> Slot {
        self.drafts[0].slot
    }

    /// The components of both; none where one cannot be read, which its preparation told.
    pub(super) fn components(&self) -> [Arc<[u8]>; 2] {
        let component = |draft: &Draft| draft.candidate().map(|candidate| candidate.wasm);
        self.drafts
            .each_ref()
            .map(|draft| component(draft).unwrap_or_else(|_| Arc::from(&[][..])))
    }

    /// The parts of the input that one of them declared, as words.
    pub(super) fn needs(&self) -> Vec<String> {
        self.sides.iter().flat_map(|side| side.needs()).collect()
    }

    /// Plays scripts to both at the same time, each side in a task of its own. The replies come in the order of the scripts.
    pub(super) async fn play(&self, scripts: Vec<Script>) -> Vec<[Played; 2]> {
        let scripts = Arc::new(scripts);
        let slot = self.slot();
        let [from, to] = self.sides.each_ref().map(|side| {
            let (side, scripts) = (Arc::clone(side), Arc::clone(&scripts));
            tokio::spawn(async move {
                let mut all = Vec::with_capacity(scripts.len());
                for script in &*scripts {
                    all.push(play(&side, slot, script).await);
                }
                all
            })
        });
        let (from, to) = tokio::join!(from, to);
        let pairs = from
            .unwrap_or_default()
            .into_iter()
            .zip(to.unwrap_or_default());
        pairs.map(|(from, to)| [from, to]).collect()
    }

    /// The replies to a script, if both give them again: an impure policy differs also from itself.
    pub(super) async fn confirm(&self, script: &Script, played: &[Played; 2]) -> bool {
        let again = self.play(vec![script.clone()]).await;
        let Some(again) = again.first() else {
            return false;
        };
        played.iter().zip(again).all(|(first, second)| {
            first.len() == second.len()
                && first
                    .iter()
                    .zip(second)
                    .all(|((_, first), (_, second))| is_same(first, second) == Some(true))
        })
    }

    /// Puts the calls of cases of this slot to both, in place of the cases' settings with their own, and reports what differs.
    pub async fn compare(&self, cases: &[(String, Case)]) -> Report {
        let began = Instant::now();
        let mut counter = Counter::default();
        for (name, case) in cases {
            if case.slot.is_none_or(|slot| slot == self.slot()) {
                self.compare_case(name, case, &mut counter).await;
            }
        }
        Report {
            took: began.elapsed(),
            ..counter.report()
        }
    }

    async fn compare_case(&self, name: &str, case: &Case, counter: &mut Counter) {
        let script = Script::of(case);
        let played = self.play(vec![script.clone()]).await;
        let Some(played) = played.into_iter().next() else {
            return;
        };
        let first = difference(&played);
        let is_pure = first.is_none() || self.confirm(&script, &played).await;
        let [from, to] = played;
        for (index, ((call, from), (_, to))) in from.into_iter().zip(to).enumerate() {
            // From the first reaction that differs on, each of them has another memo.
            let is_later =
                self.slot() == Slot::ToolStop && first.is_some_and(|first| index > first);
            match is_same(&from, &to).filter(|_| is_pure && !is_later) {
                None => counter.unknown(),
                Some(true) => counter.same(self.slot()),
                Some(false) => {
                    let request = format!("{name} calls[{index}]");
                    let (caller, model) = call.subject();
                    let about = About {
                        request: &request,
                        caller: caller.or_else(|| from.caller()).or_else(|| to.caller()),
                        model,
                    };
                    let outcomes = [from.told.clone(), to.told.clone()];
                    counter.differs(self.slot(), call.name(), outcomes, about);
                }
            }
        }
    }
}

impl Script {
    /// The calls of a case.
    pub(super) fn of(case: &Case) -> Self {
        Self {
            start_ms: case.start_ms,
            steps: case.calls.clone(),
        }
    }
}

async fn play(side: &Subject, slot: Slot, script: &Script) -> Played {
    let mut play = Play::new(slot, script.start_ms);
    let mut played = Vec::with_capacity(script.steps.len());
    for step in &script.steps {
        match play.step(side, step).await {
            Ok(made) => played.push(made),
            // A call that cannot be put ends the script for both.
            Err(_) => break,
        }
    }
    played
}

/// The first call that both decide otherwise; none from one on that cannot be compared.
pub(super) fn difference(played: &[Played; 2]) -> Option<usize> {
    let [from, to] = played;
    let mut pairs = from.iter().zip(to).enumerate();
    pairs
        .find_map(|(index, ((_, from), (_, to)))| match is_same(from, to) {
            Some(true) => None,
            Some(false) => Some(Some(index)),
            None => Some(None),
        })
        .flatten()
}

/// Whether both are the same decision: the answer, of `observe` without the memo, and of `admit` the buckets in any order. `None` if one
/// of them could not be made for a reason that is not the policy's.
pub(super) fn is_same(from: &Reply, to: &Reply) -> Option<bool> {
    let busy = FaultKind::Busy.code();
    let is_busy =
        |reply: &Reply| matches!(&reply.outcome, Outcome::Fault(failed) if failed.kind == busy);
    if is_busy(from) || is_busy(to) {
        return None;
    }
    let is_same = match (&from.outcome, &to.outcome) {
        (Outcome::Fault(from), Outcome::Fault(to)) => from.kind == to.kind,
        (Outcome::Ok(from), Outcome::Ok(to)) if from.get("reaction").is_some() => {
            from.get("reaction") == to.get("reaction")
        }
        (from, to) => from == to,
    };
    Some(is_same && from.buckets() == to.buckets())
}
