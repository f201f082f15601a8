//! `codex-gateway policy bench`: measures a policy beside the built-in one of its slot, in one run.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use codex_gateway::policy::{Call, Draft, Engine, Facts, Measured, Moment, measure};
use serde_json::{Value, json};

use super::super::text::{Style, table};
use super::super::{complain, fail, print};
use super::subject::{Subject, block_on, workbench, wrong};

/// The time of the question: 2026-01-01T00:00:00Z, in milliseconds since 1970.
const NOW_MS: u64 = 1_767_225_600_000;

/// The arguments.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    subject: Subject,
    /// The question; by default authenticate, resolve, admit or observe.
    #[arg(long, value_name = "QUESTION")]
    call: Option<String>,
    /// The first question of this case, with the case's settings and grants.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["settings", "grant", "call"])]
    case: Option<PathBuf>,
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
    let read = arguments.question(facts);
    let (draft, call) = match read {
        Ok(read) => read,
        Err(mistake) => return wrong(&mistake),
    };
    let drafts = drafts(draft);
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
    fn question(&self, facts: Facts) -> Result<(Draft, Call), String> {
        if let Some(case) = &self.case {
            return self.subject.case(case, facts);
        }
        let draft = self.subject.draft(facts)?;
        let moment = Moment {
            now_ms: NOW_MS,
            elapsed_ms: 0,
        };
        let call = Call::read(draft.slot, self.call.as_deref(), &Value::Null, moment)?;
        Ok((draft, call))
    }
}

/// The policy and, unless it is that one, the built-in one of its slot without settings.
fn drafts(draft: Draft) -> Vec<Draft> {
    if draft.component.is_none() {
        return vec![draft];
    }
    let built_in = Draft {
        component: None,
        settings: None,
        ..draft.clone()
    };
    vec![draft, built_in]
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
            measured.file.replace(char::is_control, "\u{fffd}"),
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
