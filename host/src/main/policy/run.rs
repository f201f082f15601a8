//! `codex-gateway policy run`: asks a policy one question, and shows the answer and what the guest printed.

use std::fmt::Write as _;
use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use codex_gateway::app;
use codex_gateway::policy::{
    Buckets, Call, Draft, Failed, MAX_CASE, Moment, Outcome, Refusal, Reply, Subject as Prepared,
    moment,
};
use serde_json::{Value, json};

use super::super::{fail, print};
use super::subject::{Subject, block_on, workbench, wrong};

/// The exit code if the policy could not answer.
const EXIT_FAULT: u8 = 1;

/// The arguments.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    subject: Subject,
    /// The question; by default authenticate, resolve, admit or observe.
    #[arg(long, value_name = "QUESTION")]
    call: Option<String>,
    /// The input as JSON, as in records; missing members are filled in. A file, or - for standard input.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// The request that an auth policy is asked about, as 'GET /v1/models?limit=1'.
    #[arg(long, value_name = "REQUEST", conflicts_with = "input")]
    request: Option<String>,
    /// The key that the client presents.
    #[arg(long, value_name = "KEY", requires = "request")]
    key: Option<String>,
    /// A header of the request, as 'user-agent: curl'. May be repeated.
    #[arg(long, value_name = "HEADER", requires = "request")]
    header: Vec<String>,
    /// The time, as 2026-12-01T23:30Z; by default it is now.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
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
    let read = read.and_then(|draft| Ok((arguments.call(&draft)?, draft)));
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

impl Arguments {
    fn call(&self, draft: &Draft) -> Result<Call, String> {
        let now_ms = match &self.at {
            Some(at) => moment("--at", at)?,
            None => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH);
                u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
            }
        };
        let moment = Moment {
            now_ms,
            elapsed_ms: 0,
        };
        Call::read(draft.slot, self.call.as_deref(), &self.given()?, moment)
    }

    fn given(&self) -> Result<Value, String> {
        if let Some(request) = &self.request {
            return self.request(request);
        }
        let Some(path) = &self.input else {
            return Ok(Value::Null);
        };
        let shown = path.display();
        let bytes = match path.as_os_str() == "-" {
            true => {
                let mut bytes = Vec::new();
                let read = std::io::stdin().take(MAX_CASE + 1).read_to_end(&mut bytes);
                read.map(|_| bytes)
            }
            false => app::read_case(path),
        };
        let bytes = bytes.map_err(|error| format!("{shown}: {error}"))?;
        if bytes.len() as u64 > MAX_CASE {
            return Err(format!("{shown}: expected at most {MAX_CASE} bytes"));
        }
        serde_json::from_slice(&bytes).map_err(|error| format!("{shown}: {error}"))
    }

    fn request(&self, request: &str) -> Result<Value, String> {
        let expected = || {
            format!(
                "--request: expected a method and a path, as 'GET /v1/models', found `{request}`"
            )
        };
        let (method, target) = request.split_once(' ').ok_or_else(expected)?;
        if !target.starts_with('/') {
            return Err(expected());
        }
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let mut headers = Vec::new();
        for header in &self.header {
            let (name, value) = header
                .split_once(':')
                .ok_or_else(|| format!("--header: expected 'NAME: VALUE', found `{header}`"))?;
            headers.push((name.trim().to_ascii_lowercase(), value.trim()));
        }
        Ok(json!({
            "method": method,
            "path": path,
            "query": query,
            "headers": headers,
            "credential": self.key,
        }))
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
