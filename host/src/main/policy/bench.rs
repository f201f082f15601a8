//! `codex-gateway policy bench`: measures a policy beside the built-in one of its slot, in one run.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use codex_gateway::policy::{Call, Draft, Engine, Facts, Measured, built_in, measure};
use serde_json::json;

use super::super::text::{Style, harmless, table};
use super::super::{complain, fail, print};
use super::question::Asked;
use super::subject::{Subject, block_on, read, workbench, wrong};

/// The arguments.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    subject: Subject,
    /// The first question of this case, with the case's settings and grants.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["settings", "grant", "call", "input", "request"])]
    case: Option<PathBuf>,
    #[command(flatten)]
    asked: Asked,
    /// Settings of the built-in policy; by default the key that is asked about, one limit, or none.
    #[arg(long, value_name = "FILE")]
    built_in_settings: Option<PathBuf>,
    /// How many seconds decisions are measured.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let facts = match workbench() {
        Ok((_, facts)) => facts,
        Err(failed) => return failed,
    };
    // Without a cache: the times to freeze and to compile are measured, too.
    let engine = match Engine::new(None) {
        Ok(engine) => engine,
        Err(error) => {
            return fail(&anyhow::anyhow!(
                "the policy engine cannot start: {error:#}"
            ));
        }
    };
    let (drafts, call) = match arguments.drafts(facts) {
        Ok(read) => read,
        Err(mistake) => return wrong(&mistake),
    };
    let budget = Duration::from_secs(arguments.seconds);
    let measured = match block_on(measure(&engine, &drafts, &call, budget)) {
        Ok(Ok(measured)) => measured,
        Ok(Err(refusal)) => return wrong(&refusal),
        Err(failed) => return failed,
    };
    let text = match arguments.json {
        true => format!("{}\n", json!({ "measured": measured })),
        false => shown(&measured),
    };
    if let Err(error) = print(&text) {
        return fail(&error);
    }
    match measured.iter().find(|measured| measured.faults > 0) {
        Some(faulty) => {
            complain(&format!(
                "{}: {} of {} decisions were faults; `codex-gateway policy run` shows one",
                faulty.file, faulty.faults, faulty.decisions
            ));
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}

impl Arguments {
    /// The policy and, unless it is that one, the built-in one of its slot; and the question.
    fn drafts(&self, facts: Facts) -> Result<(Vec<Draft>, Call), String> {
        let (draft, call) = match &self.case {
            Some(case) => self.subject.case(case, facts)?,
            None => {
                let draft = self.subject.draft(facts)?;
                let call = self.asked.call(&draft)?;
                (draft, call)
            }
        };
        let settings = self.built_in_settings.as_deref().map(read).transpose()?;
        if draft.component.is_none() {
            return match settings {
                None => Ok((vec![draft], call)),
                Some(_) => Err(
                    "--built-in-settings: the built-in policy alone is measured: give --settings"
                        .to_owned(),
                ),
            };
        }
        let built_in = built_in(&draft, settings, &call);
        Ok((vec![draft, built_in], call))
    }
}

fn shown(measured: &[Measured]) -> String {
    let heads = [
        "POLICY",
        "INSTANCES",
        "DECISIONS",
        "P50",
        "P99",
        "FREEZE",
        "COMPILE",
        "FILE",
        "IMAGE",
    ];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    rows.extend(measured.iter().map(|measured| {
        let freeze = measured.freeze_ms.map(|freeze| format!("{freeze} ms"));
        vec![
            harmless(&measured.file),
            measured.instances.name().to_owned(),
            measured.decisions.to_string(),
            format!("{} ns", measured.p50_ns),
            format!("{} ns", measured.p99_ns),
            freeze.unwrap_or_else(|| "-".to_owned()),
            format!("{} ms", measured.compile_ms),
            format!("{} KiB", measured.wasm_bytes.div_ceil(1024)),
            format!("{} KiB", measured.image_bytes.div_ceil(1024)),
        ]
    }));
    let style = Style {
        is_coloured: false,
        now: std::time::SystemTime::now(),
    };
    table(&style, &rows, &[2, 3, 4, 5, 6, 7, 8])
}
