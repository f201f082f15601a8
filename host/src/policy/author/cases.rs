//! Runs cases: each call frozen and fresh and twice, so that a decision that is no pure function of its input is found.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::super::Slot;
use super::super::candidate::Instances;
use super::super::engine::Engine;
use super::super::facts::Facts;
use super::super::fault::Refusal;
use super::super::prepare;
use super::case::{Case, Step};
use super::coverage::Coverage;
use super::input::Call;
use super::matcher::{Difference, differences};
use super::play::{Play, ask};
use super::{Buckets, Draft, NamedFile, Outcome, Reply, Subject};

/// Prepared policies that are kept: cases often share their settings.
const KEPT: usize = 8;
/// The most bytes of what a policy prints in one case.
const PRINTED: usize = 16 << 10;

/// Runs cases with the built-in policies, or with others in place of some.
pub struct Runner {
    engine: Engine,
    components: [Option<NamedFile>; Slot::COUNT],
    settings: [Option<NamedFile>; Slot::COUNT],
    facts: Facts,
    prepared: VecDeque<([u8; 32], Arc<Pair>)>,
    coverage: Coverage,
}

/// The result of a case.
#[derive(Debug, Clone, Serialize)]
pub struct Ran {
    /// The case's file.
    pub case: String,
    /// The slot.
    pub slot: &'static str,
    /// The calls that were made.
    pub calls: usize,
    /// Everything that differs from its expectation.
    pub failures: Vec<Failure>,
    /// The output of the policy, cut.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub printed: String,
}

/// A call with an unexpected reply, or settings with an unexpected refusal.
#[derive(Debug, Clone, Serialize)]
pub struct Failure {
    /// The place in the case.
    pub place: String,
    /// The mistake of the case, the refusal of the settings, or why the decision is not pure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The differences from the expected reply.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
    /// The reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply: Option<Reply>,
}

/// One policy, frozen if it can be, and warm.
struct Pair {
    frozen: Option<Subject>,
    warm: Subject,
}

impl Failure {
    fn new(place: String, problem: String) -> Self {
        Self {
            place,
            problem: Some(problem),
            differences: Vec::new(),
            reply: None,
        }
    }
}

impl Runner {
    /// Runs cases with these components in place of the built-in ones.
    #[must_use]
    pub fn new(engine: Engine, components: [Option<NamedFile>; Slot::COUNT], facts: Facts) -> Self {
        Self {
            engine,
            components,
            settings: Default::default(),
            facts,
            prepared: VecDeque::new(),
            coverage: Coverage::default(),
        }
    }

    /// With these settings in place of those of the cases, slot by slot.
    #[must_use]
    pub fn with_settings(self, settings: [Option<NamedFile>; Slot::COUNT]) -> Self {
        Self { settings, ..self }
    }

    /// The denial codes that the cases met so far.
    #[must_use]
    pub fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// Finds the mistakes of a case that need no policy: in its slot, its questions and their input.
    ///
    /// # Errors
    /// The place of the first mistake, and the expectation.
    pub fn check(&self, case: &Case) -> Result<(), String> {
        let slot = self
            .slot(case)
            .map_err(|mistake| format!("slot: {mistake}"))?;
        case.check(slot)
    }

    /// The slot of a case; if it names none, the only one that has a component.
    fn slot(&self, case: &Case) -> Result<Slot, String> {
        let mut given = Slot::ALL
            .into_iter()
            .filter(|slot| self.components[*slot as usize].is_some());
        let only = given.next().filter(|_| given.next().is_none());
        case.slot.or(only).ok_or_else(|| {
            "expected the member `slot`: the policy is not of one slot only".to_owned()
        })
    }

    /// Runs a case. If it names no slot, the only one that has a component is meant.
    pub async fn run(&mut self, name: &str, case: &Case) -> Ran {
        let mut ran = Ran {
            case: name.to_owned(),
            slot: "",
            calls: 0,
            failures: Vec::new(),
            printed: String::new(),
        };
        let slot = match self.slot(case) {
            Ok(slot) => slot,
            Err(mistake) => {
                ran.failures.push(Failure::new("slot".to_owned(), mistake));
                return ran;
            }
        };
        ran.slot = slot.name();
        let component = self.components[slot as usize].clone();
        let mut draft = case.draft(name, slot, component, &self.facts);
        if let Some(settings) = &self.settings[slot as usize] {
            draft.settings = Some(settings.clone());
        }
        self.declare(&draft).await;
        match (self.pair(&draft).await, &case.refusal) {
            (Ok(pair), None) => self.play(&pair, slot, case, &mut ran).await,
            (Ok(_), Some(expected)) => ran.failures.push(Failure::new(
                "refusal".to_owned(),
                format!("expected {expected}, but the settings are accepted"),
            )),
            (Err(refusal), None) => ran
                .failures
                .push(Failure::new("settings".to_owned(), refusal.problem())),
            (Err(refusal), Some(expected)) => {
                let differences = differences(expected, &Value::String(refusal.problem()));
                ran.failures
                    .extend((!differences.is_empty()).then(|| Failure {
                        differences,
                        problem: None,
                        ..Failure::new("refusal".to_owned(), String::new())
                    }));
            }
        }
        ran
    }

    /// Notes the denial codes that the policy declares.
    async fn declare(&mut self, draft: &Draft) {
        if self.coverage.knows(draft.slot) {
            return;
        }
        let Ok(candidate) = draft.candidate() else {
            return;
        };
        // Its refusal comes with its preparation.
        if let Ok(manifest) = prepare::manifest(&self.engine, &candidate).await {
            self.coverage.declare(draft.slot, &manifest.settings_schema);
        }
    }

    async fn pair(&mut self, draft: &Draft) -> Result<Arc<Pair>, Refusal> {
        let digest = draft.candidate()?.digest();
        if let Some((_, pair)) = self.prepared.iter().find(|(known, _)| *known == digest) {
            return Ok(Arc::clone(pair));
        }
        let subject = Subject::prepare(&self.engine, draft, Instances::Frozen).await?;
        let pair = Arc::new(match subject.about().instances {
            Instances::Frozen => Pair {
                frozen: Some(subject),
                warm: Subject::prepare(&self.engine, draft, Instances::Warm).await?,
            },
            Instances::Warm => Pair {
                frozen: None,
                warm: subject,
            },
        });
        self.prepared.push_back((digest, Arc::clone(&pair)));
        if self.prepared.len() > KEPT {
            self.prepared.pop_front();
        }
        Ok(pair)
    }

    async fn play(&mut self, pair: &Pair, slot: Slot, case: &Case, ran: &mut Ran) {
        let mut play = Play::new(slot, case.start_ms);
        for (index, step) in case.calls.iter().enumerate() {
            ran.calls += 1;
            let place = format!("calls[{index}]");
            pair.warm.discard_idle();
            let first = pair.frozen.as_ref().unwrap_or(&pair.warm);
            match play.step(first, step).await {
                Ok((call, reply)) => {
                    let impure = pair.again(&call, &reply).await;
                    if let Some(code) = reply.code() {
                        self.coverage.meet(slot, code);
                    }
                    print(&mut ran.printed, &reply.printed);
                    let found = serde_json::to_value(&reply).unwrap_or_default();
                    let differences = differences(&step.expect, &found);
                    let problem = impure.or_else(|| step.unexpected(&reply));
                    if problem.is_some() || !differences.is_empty() {
                        ran.failures.push(Failure {
                            place,
                            problem,
                            differences,
                            reply: Some(reply),
                        });
                    }
                }
                Err(mistake) => ran.failures.push(Failure::new(place, mistake)),
            }
        }
    }
}

impl Step {
    /// The problem of a fault that is not expected: no expectation of something else is met by one.
    fn unexpected(&self, reply: &Reply) -> Option<String> {
        let is_expected = self
            .expect
            .get("fault")
            .is_some_and(|fault| !fault.is_null());
        match &reply.outcome {
            Outcome::Fault(failed) if !is_expected => Some(format!(
                "the policy could not answer ({}), and `expect` names no `fault`",
                failed.kind
            )),
            _ => None,
        }
    }
}

impl Pair {
    /// How the policy answers otherwise when it is asked the same again, if it does.
    async fn again(&self, call: &Call, first: &Reply) -> Option<String> {
        let known = Buckets::Known(first.statuses.clone().unwrap_or_default());
        let asked = match &self.frozen {
            Some(frozen) => vec![
                (frozen, "asked again"),
                (&self.warm, "in an instance that was configured anew"),
                (&self.warm, "in the same instance for the second time"),
            ],
            None => vec![(&self.warm, "in the same instance for the second time")],
        };
        for (subject, how) in asked {
            let (reply, _) = ask(subject, call, known.clone()).await;
            if !reply.is_same(first) {
                let shown = serde_json::to_string(&reply.outcome).unwrap_or_default();
                return Some(format!(
                    "the decision is no pure function of its input: {how}, the policy answers {shown}"
                ));
            }
        }
        None
    }
}

/// Adds what a call printed, within bounds.
fn print(all: &mut String, printed: &str) {
    if printed.is_empty() || all.len() > PRINTED {
        return;
    }
    if !all.is_empty() {
        all.push('\n');
    }
    all.push_str(printed);
    if all.len() > PRINTED {
        all.truncate(all.floor_char_boundary(PRINTED));
        all.push('…');
    }
}
