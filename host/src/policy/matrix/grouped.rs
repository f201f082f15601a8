//! Joins the cells of a matrix to lines: endpoints with the same decision, then models, then callers.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::outcome::{Kind, Outcome};
use super::Cell;

/// The most lines; cells beyond them are only counted.
const LINES: usize = 200;
/// The most names of a list that a sentence has.
const NAMES: usize = 6;

/// The model that runs, if it is the one that is asked for.
const ITSELF: &str = "itself";

/// The matrix, or what changes in it.
#[derive(Debug, Clone, Serialize)]
pub struct Lines {
    /// The callers that were asked about; a key is never in them.
    pub callers: Vec<String>,
    /// The models.
    pub models: Vec<String>,
    /// The endpoints.
    pub endpoints: Vec<String>,
    /// The decisions of one generation, or those of two that differ.
    pub lines: Vec<Line>,
    /// The lines that are too many.
    pub further: usize,
}

/// Decisions that are the same for each caller, model and endpoint.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// The callers.
    pub callers: Vec<String>,
    /// The models.
    pub models: Vec<String>,
    /// The endpoints.
    pub endpoints: Vec<String>,
    /// The meaning for them.
    pub meaning: Meaning,
    /// The decision of the first generation.
    pub from: String,
    /// The decision of the second one, if there are two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The line as a sentence.
    pub sentence: String,
}

/// The meaning of a line for its callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Meaning {
    /// They may no longer use the models.
    Loses,
    /// They may use them now.
    Gains,
    /// They cannot be decided about.
    Fault,
    /// They get another model or effort, or another refusal.
    Other,
    /// They may use the models (one generation).
    May,
    /// They may not (one generation).
    MayNot,
}

/// The meaning, and both decisions in words, without the name of the model that is asked for: several models are one line.
type Change = (Meaning, String, Option<String>);

impl Lines {
    /// The lines of cells whose places are on these axes.
    pub(super) fn of(names: [Vec<String>; 3], cells: &[Cell]) -> Self {
        let mut changes: BTreeMap<([usize; 2], Change), Vec<usize>> = BTreeMap::new();
        for Cell { at, outcomes } in cells {
            let [caller, model, endpoint] = *at;
            let name = names[1].get(model).map_or("", String::as_str);
            if let Some(change) = change(outcomes, name) {
                let place = changes.entry(([caller, model], change)).or_default();
                place.push(endpoint);
            }
        }
        // Models with the same change at the same endpoints; then callers with the same change of the same models.
        let mut by_model: BTreeMap<(usize, Change, Vec<usize>), Vec<usize>> = BTreeMap::new();
        for (([caller, model], change), endpoints) in changes {
            let models = by_model.entry((caller, change, endpoints)).or_default();
            models.push(model);
        }
        let mut by_caller: BTreeMap<(Change, Vec<usize>, Vec<usize>), Vec<usize>> = BTreeMap::new();
        for ((caller, change, endpoints), models) in by_model {
            let callers = by_caller.entry((change, models, endpoints)).or_default();
            callers.push(caller);
        }
        let total = by_caller.len();
        let lines = by_caller.into_iter().take(LINES);
        let lines = lines
            .map(|((change, models, endpoints), callers)| {
                Line::of(&names, [callers, models, endpoints], change)
            })
            .collect();
        let [callers, models, endpoints] = names;
        Self {
            callers,
            models,
            endpoints,
            lines,
            further: total.saturating_sub(LINES),
        }
    }
}

/// The change of a cell; none if both generations decide alike.
fn change(outcomes: &[Outcome], model: &str) -> Option<Change> {
    let words = |outcome: &Outcome| {
        let own = format!("{model} runs {model}");
        let begin = format!("{model} runs ");
        match outcome.words.strip_prefix(&begin) {
            Some(rest) if outcome.words.starts_with(&own) && rest.len() == model.len() => {
                format!("runs {ITSELF}")
            }
            Some(rest) => format!("runs {rest}"),
            None => outcome.words.clone(),
        }
    };
    match outcomes {
        [only] => {
            let meaning = match only.kind {
                Kind::Answered => Meaning::May,
                Kind::Denied => Meaning::MayNot,
                Kind::Fault(_) => Meaning::Fault,
            };
            Some((meaning, words(only), None))
        }
        [from, to] if from != to => {
            let meaning = match (from.kind, to.kind) {
                (_, Kind::Fault(_)) => Meaning::Fault,
                (Kind::Answered, Kind::Denied) => Meaning::Loses,
                (Kind::Denied | Kind::Fault(_), Kind::Answered) => Meaning::Gains,
                _ => Meaning::Other,
            };
            // The model that ran before, or runs now, would make a line of each.
            Some(match meaning {
                Meaning::Loses => (meaning, "allowed".to_owned(), Some(words(to))),
                Meaning::Gains => (meaning, words(from), Some("allowed".to_owned())),
                _ => (meaning, words(from), Some(words(to))),
            })
        }
        _ => None,
    }
}

impl Line {
    fn of(names: &[Vec<String>; 3], at: [Vec<usize>; 3], change: Change) -> Self {
        let (meaning, from, to) = change;
        let mut lists = names.iter().zip(&at).map(|(names, at)| {
            let names = at.iter().filter_map(|at| names.get(*at));
            names.cloned().collect::<Vec<_>>()
        });
        let mut list = || lists.next().unwrap_or_default();
        let (callers, models, endpoints) = (list(), list(), list());
        let who = told(&callers, names[0].len(), "callers");
        let what = told(&models, names[1].len(), "models");
        let place = match endpoints.len() == names[2].len() {
            true => String::new(),
            false => format!(" at {}", told(&endpoints, usize::MAX, "endpoints")),
        };
        let one = callers.len() == 1;
        let other = to.as_deref().unwrap_or_default();
        let sentence = match meaning {
            Meaning::Loses => {
                let verb = if one { "loses" } else { "lose" };
                format!("{who} {verb} {what}{place}: {other}")
            }
            Meaning::Gains => format!("{who} may now use {what}{place}"),
            Meaning::Fault => format!(
                "{who} cannot be decided about for {what}{place}: {}",
                to.as_deref().unwrap_or(&from)
            ),
            Meaning::Other => match (from.strip_prefix("runs "), other.strip_prefix("runs ")) {
                (Some(before), Some(now)) => {
                    let verb = if models.len() == 1 { "runs" } else { "run" };
                    format!("for {who}, {what}{place} now {verb} {now} instead of {before}")
                }
                _ => format!("{who} with {what}{place}: {from} becomes {other}"),
            },
            Meaning::May if from.strip_prefix("runs ") == Some(ITSELF) => {
                format!("{who} may use {what}{place}")
            }
            Meaning::May => {
                let verb = if models.len() == 1 {
                    "which"
                } else {
                    "each of which"
                };
                format!("{who} may use {what}{place}, {verb} {from}")
            }
            Meaning::MayNot => match models.len() == names[1].len() {
                true => format!("{who} may use no model{place}: {from}"),
                false => format!("{who} may not use {what}{place}: {from}"),
            },
        };
        Self {
            callers,
            models,
            endpoints,
            meaning,
            from,
            to,
            sentence,
        }
    }
}

/// A list of names: all of several are told by their number, and a long list is cut.
fn told(names: &[String], all: usize, noun: &str) -> String {
    if names.len() == all && all > 1 {
        return format!("all {all} {noun}");
    }
    let shown = names.iter().take(NAMES).cloned().collect::<Vec<_>>();
    match names.len().checked_sub(NAMES).filter(|more| *more > 0) {
        Some(more) => format!("{} and {more} more {noun}", shown.join(", ")),
        None => match shown.split_last() {
            Some((last, before)) if !before.is_empty() => {
                format!("{} and {last}", before.join(", "))
            }
            _ => shown.join(", "),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::fault::FaultKind;
    use super::*;

    fn outcome(words: &str, kind: Kind) -> Outcome {
        Outcome {
            words: words.to_owned(),
            kind,
        }
    }

    fn names(count: usize, noun: &str) -> Vec<String> {
        (0..count).map(|number| format!("{noun}{number}")).collect()
    }

    fn cells(decide: impl Fn([usize; 3]) -> Vec<Outcome>, sizes: [usize; 3]) -> Vec<Cell> {
        let mut cells = Vec::new();
        for caller in 0..sizes[0] {
            for model in 0..sizes[1] {
                for endpoint in 0..sizes[2] {
                    let at = [caller, model, endpoint];
                    cells.push(Cell {
                        at,
                        outcomes: decide(at),
                    });
                }
            }
        }
        cells
    }

    fn sentences(sizes: [usize; 3], decide: impl Fn([usize; 3]) -> Vec<Outcome>) -> Vec<String> {
        let [callers, models, endpoints] = sizes;
        let axes = [
            names(callers, "c"),
            names(models, "m"),
            names(endpoints, "e"),
        ];
        let lines = Lines::of(axes, &cells(decide, sizes)).lines;
        lines.into_iter().map(|line| line.sentence).collect()
    }

    fn runs(model: usize) -> Outcome {
        outcome(&format!("m{model} runs x{model}"), Kind::Answered)
    }

    #[test]
    fn models_that_all_callers_lose_are_one_line() {
        let denied = outcome("denied 404 model_not_found", Kind::Denied);
        let told = sentences([3, 12, 2], |[_, model, _]| {
            let to = if model < 10 {
                denied.clone()
            } else {
                runs(model)
            };
            vec![runs(model), to]
        });
        let expected = "all 3 callers lose m0, m1, m2, m3, m4, m5 and 4 more models: denied 404 model_not_found";
        assert_eq!(told, [expected]);
    }

    #[test]
    fn an_endpoint_is_told_if_others_do_not_change() {
        let denied = outcome("denied 401 x", Kind::Denied);
        let told = sentences([2, 1, 2], |at| match at {
            [1, 0, 1] => vec![denied.clone(), runs(0)],
            _ => vec![runs(0), runs(0)],
        });
        assert_eq!(told, ["c1 may now use m0 at e1"]);
    }

    #[test]
    fn a_fault_and_another_target_are_told() {
        let other = outcome("m0 runs other", Kind::Answered);
        let fault = outcome("fault trap", Kind::Fault(FaultKind::Trap));
        let told = sentences([1, 2, 1], |[_, model, _]| match model {
            0 => vec![runs(0), other.clone()],
            _ => vec![runs(1), fault.clone()],
        });
        assert_eq!(
            told,
            [
                "c0 cannot be decided about for m1: fault trap",
                "for c0, m0 now runs other instead of x0",
            ]
        );
    }

    #[test]
    fn lines_are_bounded_and_the_others_counted() {
        let sizes = [2 * LINES, 1, 1];
        let axes = [names(sizes[0], "c"), names(1, "m"), names(1, "e")];
        let decide =
            |[caller, ..]: [usize; 3]| vec![outcome(&format!("denied {caller}"), Kind::Denied)];
        let lines = Lines::of(axes, &cells(decide, sizes));
        assert_eq!((lines.lines.len(), lines.further), (LINES, LINES));
    }
}
