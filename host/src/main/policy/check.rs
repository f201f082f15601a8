//! `codex-gateway policy check`: everything that a start does with policies, and its words.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use codex_gateway::app::{self, StartError};
use codex_gateway::config::Problem;
use codex_gateway::policy::{Facts, Notice};
use serde_json::{Value, json};

use super::super::{EXIT_CONFIG, complain, fail, print, print_problems, report};
use super::subject::{With, block_on, config, wrong};

/// The arguments.
#[derive(Args)]
pub(crate) struct Arguments {
    /// A component, settings (`auth.json`) of a built-in policy, or a folder as POLICY_DIR.
    #[arg(value_name = "FILE|FOLDER")]
    path: PathBuf,
    #[command(flatten)]
    with: With,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let Arguments { path, with, json } = arguments;
    let (config, problems) = config();
    let checked = match path.is_dir() {
        true => block_on(app::check_folder(&config, path)),
        false => match with.draft(path, Facts::default()) {
            Ok(draft) => block_on(app::check_file(&config, draft)),
            Err(mistake) => return wrong(&mistake),
        },
    };
    let (notices, errors) = match checked {
        Ok(checked) => checked,
        Err(failed) => return failed,
    };
    let shown = match json {
        true => print(&format!("{}\n", told(&problems, &notices, &errors))),
        false => {
            report(&problems);
            notices.iter().for_each(|notice| complain(notice));
            errors.iter().for_each(print_problems);
            match errors.is_empty() && problems.is_empty() {
                true => print(&format!("{}: it can serve\n", path.display())),
                false => Ok(()),
            }
        }
    };
    if let Err(error) = shown {
        return fail(&error);
    }
    let is_configuration = errors.iter().any(StartError::is_configuration);
    match (errors.is_empty(), is_configuration || !problems.is_empty()) {
        (_, true) => ExitCode::from(EXIT_CONFIG),
        (true, false) => ExitCode::SUCCESS,
        (false, false) => ExitCode::FAILURE,
    }
}

fn told(problems: &[Problem], notices: &[Notice], errors: &[StartError]) -> Value {
    let of_none = |problem: String| json!({"file": null, "slot": null, "problem": problem});
    let problems = problems.iter().map(|problem| of_none(problem.to_string()));
    let refused = errors.iter().flat_map(|error| match error {
        StartError::Policies(refusals) => refusals
            .0
            .iter()
            .map(|refusal| {
                let slot = refusal.slot.map(|slot| slot.name());
                json!({"file": refusal.file(), "slot": slot, "problem": refusal.problem()})
            })
            .collect(),
        other => vec![of_none(other.to_string())],
    });
    let refused: Vec<Value> = problems.chain(refused).collect();
    let warnings = notices.iter();
    let warnings = warnings.map(|notice| json!({"file": notice.file(), "what": notice.what()}));
    json!({"ok": refused.is_empty(), "refused": refused, "warnings": warnings.collect::<Vec<_>>()})
}
