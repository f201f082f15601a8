//! `codex-gateway policy diff`: shows what two policies of one slot decide differently, over cases, over a recording, or by a search.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use codex_gateway::app::{self, ReplayError};
use codex_gateway::policy::{
    BUILT_IN_CASES, Case, Draft, Engine, Replayed, Report, Search, Searched, Seeds, Sides, Slot,
    Undecided, compare_records,
};
use serde_json::{Value, json};

use super::super::text::harmless;
use super::super::{complain, fail, print};
use super::differences::differences;
use super::found::{MAX_DEPTH, find};
use super::replay::{self, EXIT_DIFFERS};
use super::subject::{BesideBoth, block_on, workbench, wrong};

/// The folders within each other that are looked at for cases, unless they are named.
const NEAR: usize = 2;
/// The most characters of a reply that is shown.
const SHOWN: usize = 2_000;
/// A search without limit.
const ALL: u64 = u64::MAX;

/// The arguments.
#[derive(Args)]
pub(crate) struct Arguments {
    /// A component, the name of a slot (`auth`) for its built-in policy, or settings (`auth.json`) of a built-in policy.
    #[arg(value_name = "A")]
    from: PathBuf,
    /// The policy that it is compared with, as for A.
    #[arg(value_name = "B")]
    to: PathBuf,
    #[command(flatten)]
    beside: BesideBoth,
    /// Cases (`*.case.json`), or folders of them; by default those in the folders of A and B. Their calls are put to both, with the
    /// settings of A and B in place of the cases' own. May be repeated.
    #[arg(long, value_name = "FILE|FOLDER")]
    cases: Vec<PathBuf>,
    /// Records, or folders of them, oldest first, in place of cases. May be repeated.
    #[arg(long, value_name = "FILE")]
    recording: Vec<PathBuf>,
    /// Search an input that both decide differently for so long (`10s`), and print the smallest as a case.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    search: Option<Duration>,
    /// End the search after so many inputs, too: on every machine after the same ones.
    #[arg(long, value_name = "COUNT", requires = "search")]
    inputs: Option<u64>,
    /// Search the same inputs in the same order as another search with this seed.
    #[arg(long, value_name = "NUMBER", requires = "search")]
    seed: Option<u64>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// The results.
struct Compared {
    /// The files of both.
    names: [String; 2],
    slot: Slot,
    cases: usize,
    report: Option<Report>,
    recording: Option<Replayed>,
    searched: Option<Searched>,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let (engine, facts) = match workbench() {
        Ok(ready) => ready,
        Err(failed) => return failed,
    };
    let paths = [&arguments.from, &arguments.to].map(PathBuf::as_path);
    let read = arguments.beside.drafts(paths, &facts);
    let read = read.and_then(|drafts| Ok((arguments.cases(drafts[0].slot)?, drafts)));
    let (cases, drafts) = match read {
        Ok(read) => read,
        Err(mistake) => return wrong(&mistake),
    };
    let mut mistakes = Vec::new();
    let records = replay::files(&arguments.recording, &mut |mistake| mistakes.push(mistake));
    if let Some(mistake) = mistakes.first() {
        return wrong(mistake);
    }
    let compared = match block_on(arguments.compare(&engine, drafts, &cases, &records)) {
        Ok(Ok(compared)) => compared,
        Ok(Err(error)) => return replay::refuse(ReplayError::Undecided(error)),
        Err(failed) => return failed,
    };
    let remarks = compared
        .recording
        .iter()
        .flat_map(|replayed| &replayed.remarks);
    remarks.for_each(|remark| complain(remark));
    let text = match arguments.json {
        true => format!("{}\n", compared.json()),
        false => compared.shown(),
    };
    match print(&text) {
        Err(error) => fail(&error),
        Ok(()) if compared.differs() => ExitCode::from(EXIT_DIFFERS),
        Ok(()) => ExitCode::SUCCESS,
    }
}

impl Arguments {
    async fn compare(
        &self,
        engine: &Engine,
        drafts: [Draft; 2],
        cases: &[(String, Case)],
        records: &[PathBuf],
    ) -> Result<Compared, Undecided> {
        let refused = |refusal| Undecided::Policies(codex_gateway::policy::Refusals(vec![refusal]));
        let slot = drafts[0].slot;
        let names = drafts.each_ref().map(name);
        let recording = match records.is_empty() {
            true => None,
            false => Some(compare_records(engine, &drafts, records).await?),
        };
        let sides = Sides::prepare(engine, drafts).await.map_err(refused)?;
        let report = match cases.is_empty() {
            true => None,
            false => Some(sides.compare(cases).await),
        };
        let searched = match self.search {
            None => None,
            Some(time) => {
                let mut seeds = Seeds::default();
                cases.iter().for_each(|(_, case)| seeds.case(slot, case));
                seeds.records(slot, records)?;
                let search = Search {
                    seed: self.seed.unwrap_or_else(any_seed),
                    time,
                    inputs: self.inputs.unwrap_or(ALL),
                };
                Some(sides.search(search, seeds).await)
            }
        };
        Ok(Compared {
            names,
            slot,
            cases: cases.len(),
            report,
            recording,
            searched,
        })
    }

    /// The cases of a slot, with their names.
    ///
    /// # Errors
    /// A line for a person.
    fn cases(&self, slot: Slot) -> Result<Vec<(String, Case)>, String> {
        let mut paths = Vec::new();
        for path in &self.cases {
            find(path, MAX_DEPTH, &mut paths)?;
        }
        let mut cases = Vec::new();
        if self.cases.is_empty() && self.recording.is_empty() {
            for path in [&self.from, &self.to] {
                match path.is_file() {
                    true => find(folder(path), NEAR, &mut paths)?,
                    false => cases.extend(built_in(slot)?),
                }
            }
        }
        paths.sort();
        paths.dedup();
        for path in paths {
            let name = path.display().to_string();
            let told = |mistake: String| format!("{name}: {mistake}");
            let bytes = app::read_case(&path).map_err(|error| told(error.to_string()))?;
            cases.push((name.clone(), Case::read(&bytes).map_err(told)?));
        }
        let mut known = std::collections::BTreeSet::new();
        cases.retain(|(name, case)| {
            case.slot.is_none_or(|of| of == slot) && known.insert(name.clone())
        });
        for (name, case) in &cases {
            case.check(slot)
                .map_err(|mistake| format!("{name}: {mistake}"))?;
        }
        if cases.is_empty() && self.recording.is_empty() && self.search.is_none() {
            return Err(format!(
                "expected cases of the {slot} slot in the folders of A and B, --cases, --recording or --search"
            ));
        }
        Ok(cases)
    }
}

/// The folder of a file.
fn folder(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    folder.unwrap_or(Path::new("."))
}

/// The cases of the built-in policy of a slot.
fn built_in(slot: Slot) -> Result<Vec<(String, Case)>, String> {
    let of_slot = format!("{slot}/cases/");
    let cases = BUILT_IN_CASES.iter();
    let cases = cases.filter(|(path, _)| path.starts_with(&of_slot));
    let cases = cases.map(|(path, text)| Ok(((*path).to_owned(), Case::read(text.as_bytes())?)));
    cases.collect()
}

/// The files of a policy.
fn name(draft: &Draft) -> String {
    let file = |file: &Option<(String, _)>| file.as_ref().map(|(name, _)| name.clone());
    let component =
        file(&draft.component).unwrap_or_else(|| format!("the built-in {}", draft.slot));
    match file(&draft.settings) {
        Some(settings) => format!("{component} with {settings}"),
        None => component,
    }
}

fn any_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::from(now.unwrap_or_default().subsec_nanos())
}

impl Compared {
    fn differs(&self) -> bool {
        let reports = self.report.iter();
        let recorded = self.recording.iter().map(|replayed| &replayed.report);
        reports.chain(recorded).any(|report| report.differ > 0)
            || self
                .searched
                .iter()
                .any(|searched| searched.found.is_some())
    }

    fn json(&self) -> Value {
        let [from, to] = &self.names;
        json!({
            "slot": self.slot.name(),
            "from": from,
            "to": to,
            "differs": self.differs(),
            "cases": self.report,
            "recording": self.recording.as_ref().map(|replayed| &replayed.report),
            "search": self.searched,
        })
    }

    fn shown(&self) -> String {
        let [from, to] = self.names.each_ref().map(|name| harmless(name));
        let mut text = format!("A: {from}\nB: {to}\n");
        let sources = [
            (self.report.as_ref(), format!("{} cases", self.cases)),
            (
                self.recording.as_ref().map(|replayed| &replayed.report),
                "the recording".to_owned(),
            ),
        ];
        for (report, source) in sources {
            let Some(report) = report else {
                continue;
            };
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{} calls of {source}: {} differ, {} faults, {} cannot be compared",
                report.decisions + report.unknown,
                report.differ,
                report.faults,
                report.unknown,
            );
            text.push_str(&differences(report));
        }
        if let Some(searched) = &self.searched {
            text.push_str(&search(searched));
        }
        text
    }
}

fn search(searched: &Searched) -> String {
    let Searched {
        seed,
        inputs,
        kinds,
        took_ms,
        found,
    } = searched;
    let seconds = *took_ms as f64 / 1_000.0;
    let mut text = format!(
        "search with --seed {seed}: {inputs} inputs in {seconds:.1} s, {kinds} kinds of answers: "
    );
    let Some(found) = found else {
        text.push_str("none is decided differently\n");
        return text;
    };
    let case = serde_json::to_string_pretty(&found.case).unwrap_or_default();
    let _ = writeln!(
        text,
        "one is decided differently\n\nThe smallest found, as a case that passes with A and fails with B:\n\n{case}\n"
    );
    for (side, reply) in [("A", &found.from), ("B", &found.to)] {
        let reply = serde_json::to_string(reply).unwrap_or_default();
        let shown: String = harmless(&reply).chars().take(SHOWN).collect();
        let _ = writeln!(text, "{side}: {shown}");
    }
    text
}
