//! `codex-gateway policy run`: asks a policy one question, and shows the answer and what the guest printed.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use codex_gateway::policy::{Buckets, Failed, Outcome, Refusal, Reply, Subject as Prepared};
use serde_json::Value;

use super::super::{fail, print};
use super::question::Asked;
use super::subject::{Subject, block_on, workbench, wrong};

/// The exit code if the policy could not answer.
const EXIT_FAULT: u8 = 1;

/// The arguments.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    subject: Subject,
    #[command(flatten)]
    asked: Asked,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let (engine, facts) = match workbench() {
        Ok(ready) => ready,
        Err(failed) => return failed,
    };
    let read = arguments.subject.draft(facts);
    let read = read.and_then(|draft| Ok((arguments.asked.call(&draft)?, draft)));
    let (call, draft) = match read {
        Ok(read) => read,
        Err(mistake) => return wrong(&mistake),
    };
    let asked = block_on(async {
        let prepared = Prepared::prepare(&engine, &draft, draft.options.instances).await?;
        let (reply, _) = prepared.ask(&call, Buckets::Full).await;
        Ok::<_, Refusal>(reply)
    });
    let reply = match asked {
        Ok(Ok(reply)) => reply,
        Ok(Err(refusal)) => return wrong(&refusal),
        Err(failed) => return failed,
    };
    let text = match arguments.json {
        true => Ok(format!("{}\n", told(&reply))),
        false => shown(&reply),
    };
    if let Err(error) = text
        .map_err(anyhow::Error::from)
        .and_then(|text| print(&text))
    {
        return fail(&error);
    }
    match reply.outcome {
        Outcome::Fault(_) => ExitCode::from(EXIT_FAULT),
        Outcome::Ok(_) | Outcome::Denied(_) => ExitCode::SUCCESS,
    }
}

fn told(reply: &Reply) -> Value {
    let mut told = serde_json::to_value(reply).unwrap_or_default();
    told["saw"] = reply.saw.clone();
    told["took_us"] = u64::try_from(reply.took.as_micros())
        .unwrap_or(u64::MAX)
        .into();
    told
}

/// For people: of a fault first what the guest itself says.
fn shown(reply: &Reply) -> serde_json::Result<String> {
    let mut text = String::new();
    if !reply.printed.is_empty() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}\n", reply.printed.trim_start_matches('\n'));
    }
    match &reply.outcome {
        Outcome::Fault(Failed { kind, trap, frames }) => {
            for (index, frame) in frames.iter().enumerate() {
                let _ = writeln!(text, "{index:>4}: {frame}");
            }
            let _ = writeln!(text, "fault: {kind}: {trap}");
        }
        Outcome::Ok(answer) => {
            let _ = writeln!(text, "ok {}", serde_json::to_string_pretty(answer)?);
        }
        Outcome::Denied(denial) => {
            let _ = writeln!(text, "denied {}", serde_json::to_string_pretty(denial)?);
        }
    }
    for (what, value) in [
        ("quotas", serde_json::to_value(&reply.quotas)?),
        ("statuses", serde_json::to_value(&reply.statuses)?),
        ("it saw", reply.saw.clone()),
    ] {
        if !value.is_null() {
            let _ = writeln!(text, "{what} {value}");
        }
    }
    let _ = writeln!(text, "in {} µs", reply.took.as_micros());
    Ok(text)
}
