//! `codex-gateway policy replay`: decides recorded decisions again, and shows what would have been different.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use codex_gateway::app::{self, ReplayError, StartError};
use codex_gateway::policy::{RECORDS_ENDING, Replayed, Slot, SlotFiles, Undecided, records_in};

use super::super::{EXIT_CONFIG, complain, fail, print, print_problems, report, runtime};
use super::differences::differences;
use super::subject::{by_name, config, slot_file};

/// The exit code for damaged records (EX_DATAERR of sysexits.h).
const EXIT_DATA: u8 = 65;
/// The exit code if something would be different.
pub(super) const EXIT_DIFFERS: u8 = 1;

/// The arguments.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Files of records, oldest first, or folders of them.
    #[arg(required = true, value_name = "FILE")]
    records: Vec<PathBuf>,
    /// A component in place of the configured one; the slot is that of its name (`auth.wasm`) or is given (`auth=FILE`). May be
    /// repeated.
    #[arg(long, value_name = "FILE")]
    with: Vec<String>,
    /// A settings file in place of the configured one, as for `--with` (`auth.json`, or `auth=FILE`). May be repeated.
    #[arg(long, value_name = "FILE")]
    settings: Vec<String>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let (config, problems) = config();
    report(&problems);
    let mut is_wrong = !problems.is_empty();
    let mut note = |mistake: String| {
        complain(&mistake);
        is_wrong = true;
    };
    let records = files(&arguments.records, &mut note);
    let given = given(arguments, &mut note);
    if is_wrong {
        return ExitCode::from(EXIT_CONFIG);
    }
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(failed) => return failed,
    };
    let replayed = runtime.block_on(app::replay(&config, given, &records));
    runtime.shutdown_background();
    match replayed {
        Ok(replayed) => show(&replayed, arguments.json),
        Err(error) => refuse(error),
    }
}

/// Complains of policies and records, with the exit code that says which of them are wrong.
pub(super) fn refuse(error: ReplayError) -> ExitCode {
    let error = match error {
        ReplayError::Undecided(Undecided::Policies(refusals)) => StartError::Policies(refusals),
        ReplayError::Start(error) => error,
        ReplayError::Undecided(Undecided::Damaged(damage)) => {
            complain(&damage);
            return ExitCode::from(EXIT_DATA);
        }
        ReplayError::Undecided(Undecided::Unreadable(error)) => {
            complain(&error);
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    print_problems(&error);
    ExitCode::from(EXIT_CONFIG)
}

fn show(replayed: &Replayed, json: bool) -> ExitCode {
    for remark in &replayed.remarks {
        complain(remark);
    }
    let text = match json {
        true => serde_json::to_string(&replayed.report).map(|text| text + "\n"),
        false => Ok(table(replayed)),
    };
    let printed = text.map_err(anyhow::Error::from);
    if let Err(error) = printed.and_then(|text| print(&text)) {
        return fail(&error);
    }
    match replayed.report.differ {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(EXIT_DIFFERS),
    }
}

/// The files of records; a folder stands for all of them in it.
pub(super) fn files(paths: &[PathBuf], note: &mut impl FnMut(String)) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in paths {
        let shown = path.display();
        if !path.is_dir() {
            match std::fs::metadata(path) {
                Ok(kind) if kind.is_file() => found.push(path.clone()),
                Ok(_) => note(format!("{shown}: expected a file or a folder")),
                Err(error) => note(format!("{shown}: {error}")),
            }
            continue;
        }
        match records_in(path) {
            Ok(files) if files.is_empty() => {
                note(format!(
                    "{shown}: expected files that end with {RECORDS_ENDING}, found none"
                ));
            }
            Ok(files) => found.extend(files),
            Err(error) => note(format!("{shown}: {error}")),
        }
    }
    found
}

fn given(arguments: &Arguments, note: &mut impl FnMut(String)) -> [SlotFiles; Slot::COUNT] {
    let mut given: [SlotFiles; Slot::COUNT] = Default::default();
    let with = arguments.with.iter().map(|text| (text, "wasm"));
    let settings = arguments.settings.iter().map(|text| (text, "json"));
    for (text, ending) in with.chain(settings) {
        let (slot, path) = match slot(text, ending) {
            Ok(found) => found,
            Err(mistake) => {
                note(mistake);
                continue;
            }
        };
        match app::replacement(path) {
            Ok(bytes) if ending == "wasm" => given[slot as usize].component = Some(bytes),
            Ok(bytes) => given[slot as usize].settings = Some(bytes),
            Err(error) => note(format!("{}: {error}", path.display())),
        }
    }
    given
}

/// The slot and the path of `SLOT=FILE`, or of a file whose name says the slot.
fn slot<'a>(text: &'a str, ending: &str) -> Result<(Slot, &'a Path), String> {
    let (given, path) = slot_file(text);
    let of_name =
        || by_name(path).filter(|_| path.extension().is_some_and(|found| found == ending));
    given
        .or_else(of_name)
        .map(|slot| (slot, path))
        .ok_or_else(|| {
            let names = Slot::ALL.map(|slot| format!("{slot}.{ending}")).join(", ");
            format!("{text}: expected a file named {names}, or SLOT=FILE")
        })
}

/// As a table for people.
fn table(replayed: &Replayed) -> String {
    let Replayed {
        report,
        digest,
        lines,
        of_others,
        ..
    } = replayed;
    let mut text = String::new();
    let span = replayed.times();
    let span = span.map_or(String::new(), |[from, to]| format!(" from {from} to {to}"));
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{lines} records{span}, {of_others} of other policies, the chain is whole\n\
         {} decisions made again by {} in {:.1} s: {} differ, {} faults, {} cannot be compared, {} were not recorded",
        report.decisions,
        digest.short(),
        report.took.as_secs_f64(),
        report.differ,
        report.faults,
        report.unknown,
        report.lost,
    );
    text.push_str(&differences(report));
    text
}
