//! `codex-gateway policy test`: runs cases against policies, and shows what differs from its expectation.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use clap::Args;
use codex_gateway::app;
use codex_gateway::policy::{
    CASE_ENDING, Case, CoveredSlot, Draft, Engine, Facts, NamedFile, Ran, Refusal, Runner, Slot,
};
use serde_json::json;

use super::super::text::harmless;
use super::super::{EXIT_CONFIG, complain, fail, print};
use super::found::{MAX_DEPTH, find};
use super::subject::{block_on, by_name, read, slot_file, workbench, wrong};

/// The exit code if a case failed.
const EXIT_FAILED: u8 = 1;
/// The time between two looks at the files.
const LOOK: Duration = Duration::from_millis(300);
/// The most characters of a reply that is shown.
const SHOWN: usize = 2_000;

/// The arguments.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Cases (`*.case.json`), or folders of them.
    #[arg(required = true, value_name = "FILE|FOLDER")]
    paths: Vec<PathBuf>,
    /// A component in place of the built-in one of each slot that it fits, or of one slot (`auth=FILE`). May be repeated.
    #[arg(long, value_name = "FILE")]
    with: Vec<String>,
    /// Settings in place of the cases' own, of one slot if that is said (`auth=FILE`). May be repeated.
    #[arg(long, value_name = "FILE")]
    settings: Vec<String>,
    /// Only cases whose path contains this text.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Run again whenever a case or a component changes, until it is interrupted.
    #[arg(long)]
    watch: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// The result of all cases.
struct Tested {
    ran: Vec<Ran>,
    /// Cases that cannot be read.
    wrong: Vec<String>,
    coverage: Vec<CoveredSlot>,
    took: Duration,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let (engine, facts) = match workbench() {
        Ok(ready) => ready,
        Err(failed) => return failed,
    };
    loop {
        let seen = arguments.signature();
        let code = once(arguments, &engine, &facts);
        if !arguments.watch {
            return code;
        }
        while arguments.signature() == seen {
            std::thread::sleep(LOOK);
        }
    }
}

fn once(arguments: &Arguments, engine: &Engine, facts: &Facts) -> ExitCode {
    let files = arguments.files();
    let files = files.and_then(|files| Ok((files, arguments.settings()?)));
    let ((cases, components), settings) = match files {
        Ok(found) => found,
        Err(mistake) => return wrong(&mistake),
    };
    let runner = Runner::new(engine.clone(), components, facts.clone()).with_settings(settings);
    // A mistake is told before anything runs.
    let wrong = mistakes(&cases, &runner);
    let cases = if wrong.is_empty() { cases } else { Vec::new() };
    let tested = match block_on(test(&cases, runner)) {
        Ok(tested) => tested,
        Err(failed) => return failed,
    };
    let tested = Tested {
        wrong: [wrong, tested.wrong].concat(),
        ..tested
    };
    let text = match arguments.json {
        true => tested.json(),
        false => tested.shown(),
    };
    if let Err(error) = print(&text) {
        return fail(&error);
    }
    tested.wrong.iter().for_each(|mistake| complain(mistake));
    let failed = tested.ran.iter().any(|ran| !ran.failures.is_empty());
    match (tested.wrong.is_empty(), failed) {
        (false, _) => ExitCode::from(EXIT_CONFIG),
        (true, true) => ExitCode::from(EXIT_FAILED),
        (true, false) => ExitCode::SUCCESS,
    }
}

/// Reads a case.
///
/// # Errors
/// A line for a person.
fn case(path: &Path, runner: &Runner) -> Result<Case, String> {
    let read = || {
        let bytes = app::read_case(path).map_err(|error| error.to_string())?;
        let case = Case::read(&bytes)?;
        runner.check(&case).map(|()| case)
    };
    read().map_err(|mistake| format!("{}: {mistake}", path.display()))
}

/// The mistakes of all cases. No case is kept: together they may be larger than the memory.
fn mistakes(cases: &[PathBuf], runner: &Runner) -> Vec<String> {
    let mistakes = cases.iter().map(|path| case(path, runner).err());
    mistakes.flatten().collect()
}

async fn test(cases: &[PathBuf], mut runner: Runner) -> Tested {
    let began = Instant::now();
    let (mut ran, mut wrong) = (Vec::new(), Vec::new());
    for path in cases {
        match case(path, &runner) {
            Ok(case) => ran.push(runner.run(&path.display().to_string(), &case).await),
            // It changed meanwhile.
            Err(mistake) => wrong.push(mistake),
        }
    }
    Tested {
        ran,
        wrong,
        coverage: runner.coverage().slots(),
        took: began.elapsed(),
    }
}

impl Arguments {
    /// The cases, in the order of their names, and the components.
    ///
    /// # Errors
    /// A line for a person.
    fn files(&self) -> Result<(Vec<PathBuf>, [Option<NamedFile>; Slot::COUNT]), String> {
        let mut cases = Vec::new();
        for path in &self.paths {
            find(path, MAX_DEPTH, &mut cases)?;
        }
        let is_meant = |path: &PathBuf| {
            let text = self.filter.as_deref().unwrap_or_default();
            path.to_string_lossy().contains(text)
        };
        cases.retain(is_meant);
        if cases.is_empty() {
            let paths: Vec<_> = self
                .paths
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            let filter = self.filter.as_ref();
            let filter =
                filter.map_or_else(String::new, |text| format!(" whose paths contain `{text}`"));
            return Err(format!(
                "{}: expected files that end with {CASE_ENDING}{filter}, found none",
                paths.join(", ")
            ));
        }
        let mut components: [Option<NamedFile>; Slot::COUNT] = Default::default();
        for text in &self.with {
            let (slot, path) = slot_file(text);
            let file = read(path)?;
            let told = |refusal: Refusal| refusal.to_string();
            let slots = match slot {
                Some(slot) => vec![slot],
                None => Draft::slots(&file).map_err(told)?,
            };
            for slot in slots {
                Draft::fits(&file, slot).map_err(told)?;
                components[slot as usize] = Some(file.clone());
            }
        }
        Ok((cases, components))
    }

    /// The settings that take the place of the cases' own: of the slot that is said or that is the file's name, or of all.
    ///
    /// # Errors
    /// A line for a person.
    fn settings(&self) -> Result<[Option<NamedFile>; Slot::COUNT], String> {
        let mut settings: [Option<NamedFile>; Slot::COUNT] = Default::default();
        for text in &self.settings {
            let (slot, path) = slot_file(text);
            let file = read(path)?;
            let slot = slot.or_else(|| by_name(path));
            let slots = slot.map_or(Slot::ALL.to_vec(), |slot| vec![slot]);
            for slot in slots {
                settings[slot as usize] = Some(file.clone());
            }
        }
        Ok(settings)
    }

    /// The state of all files, taken without reading them.
    fn signature(&self) -> Vec<(PathBuf, Option<(u64, SystemTime)>)> {
        let mut paths = Vec::new();
        for path in &self.paths {
            // A path that is gone is told by the run.
            let _ = find(path, MAX_DEPTH, &mut paths);
        }
        let given = self.with.iter().chain(&self.settings);
        paths.extend(given.map(|text| slot_file(text).1.to_owned()));
        let state = |path: &PathBuf| {
            let found = std::fs::metadata(path).ok()?;
            Some((found.len(), found.modified().ok()?))
        };
        let states = paths.into_iter();
        states.map(|path| (path.clone(), state(&path))).collect()
    }
}

impl Tested {
    fn failed(&self) -> usize {
        let failed = self.ran.iter().filter(|ran| !ran.failures.is_empty());
        failed.count() + self.wrong.len()
    }

    fn json(&self) -> String {
        let failed = self.failed();
        let report = json!({
            "ok": failed == 0,
            "passed": self.ran.len() + self.wrong.len() - failed,
            "failed": failed,
            "cases": self.ran,
            "wrong": self.wrong,
            "coverage": self.coverage,
        });
        format!("{report}\n")
    }

    fn shown(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        for ran in &self.ran {
            let verdict = if ran.failures.is_empty() {
                "ok  "
            } else {
                "FAIL"
            };
            let _ = writeln!(text, "{verdict}  {}", harmless(&ran.case));
            if !ran.failures.is_empty() {
                failures(&mut text, ran);
            }
        }
        let failed = self.failed();
        let _ = writeln!(
            text,
            "\n{} cases: {} passed, {failed} failed, in {:.1} s",
            self.ran.len() + self.wrong.len(),
            self.ran.len() + self.wrong.len() - failed,
            self.took.as_secs_f64(),
        );
        for covered in &self.coverage {
            let _ = writeln!(text, "{}", coverage(covered));
        }
        text
    }
}

fn failures(text: &mut String, ran: &Ran) {
    for failure in &ran.failures {
        let place = &failure.place;
        if let Some(problem) = &failure.problem {
            let _ = writeln!(text, "      {place}: {}", harmless(problem));
        }
        for difference in &failure.differences {
            let _ = writeln!(text, "      {place}: {}", harmless(&difference.to_string()));
        }
        let reply = failure.reply.as_ref();
        if let Some(Ok(reply)) = reply.map(|reply| serde_json::to_string(&reply.outcome)) {
            let shown: String = harmless(&reply).chars().take(SHOWN).collect();
            let _ = writeln!(text, "      {place}: the reply is {shown}");
        }
    }
    if !ran.printed.is_empty() {
        let _ = writeln!(text, "      it printed:");
        for line in ran.printed.lines() {
            let _ = writeln!(text, "        {}", harmless(line));
        }
    }
}

fn coverage(covered: &CoveredSlot) -> String {
    let CoveredSlot {
        slot,
        met,
        missing,
        undeclared,
    } = covered;
    let joined = |codes: &[String]| harmless(&codes.join(", "));
    let Some(missing) = missing else {
        let codes: Vec<_> = met.keys().cloned().collect();
        let codes = if codes.is_empty() {
            "none".to_owned()
        } else {
            joined(&codes)
        };
        return format!(
            "{slot}: denial codes that were met: {codes} (its schema declares none in x-denials)"
        );
    };
    let all = met.len() - undeclared.len() + missing.len();
    let mut text = format!("{slot}: {} of {all} denial codes met", all - missing.len());
    if !missing.is_empty() {
        let _ = write!(text, "; not met: {}", joined(missing));
    }
    if !undeclared.is_empty() {
        let _ = write!(text, "; not in x-denials: {}", joined(undeclared));
    }
    text
}
