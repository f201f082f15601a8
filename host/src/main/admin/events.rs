//! `admin watch`: a line for each event of policies' lives, or for each decision, until interrupted.

use std::io::{ErrorKind, Write};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Args;
use http_body_util::BodyExt;
use hyper::Method;
use serde_json::Value;
use tokio::time::timeout;

use super::client::{Client, segment};
use super::status::duration;
use super::text::{Style, Tone, joined, plain, short};

/// The longest wait for an answer, and for the next bytes: the gateway sends some every 15 seconds.
const SILENCE: Duration = Duration::from_secs(60);
/// The longest line.
const MAX_LINE: usize = 1 << 20;

/// The events that are shown.
#[derive(Args)]
pub(super) struct Watch {
    /// Show decisions as they are made, instead.
    #[arg(long)]
    decisions: bool,
    /// Only of this share of the requests, as 0.1.
    #[arg(long, requires = "decisions", value_name = "NUMBER")]
    share: Option<f64>,
    /// Only about this caller.
    #[arg(long, requires = "decisions", value_name = "ID")]
    caller: Option<String>,
    /// Only of this slot: auth, model, rate-limit or tool-stop.
    #[arg(long, requires = "decisions", value_name = "SLOT")]
    slot: Option<String>,
    /// Only denials and faults.
    #[arg(long, requires = "decisions")]
    refused: bool,
}

impl Watch {
    /// Prints events as they come, for people or as lines of JSON.
    ///
    /// # Errors
    /// When the gateway ends the stream.
    pub(super) async fn run(
        &self,
        client: &Client,
        is_json: bool,
        style: &Style,
    ) -> anyhow::Result<()> {
        let silent = || "the gateway sends nothing any more: is it stopped?";
        let (path, words): (String, fn(&Value, &Style) -> String) = match self.decisions {
            true => (self.path(), decision),
            false => ("events".to_owned(), life),
        };
        let opened = timeout(SILENCE, client.open(Method::GET, &path, None)).await;
        let mut body = opened.with_context(silent)??.into_body();
        if !is_json {
            let what = if self.decisions {
                "decisions"
            } else {
                "events"
            };
            let _ = writeln!(std::io::stderr(), "{what} from now on, until Ctrl-C");
        }
        let mut unread: Vec<u8> = Vec::new();
        loop {
            let frame = timeout(SILENCE, body.frame()).await.with_context(silent)?;
            let Some(Ok(frame)) = frame else {
                bail!("the gateway ended the events: it stops, or the connection broke");
            };
            if let Some(bytes) = frame.data_ref() {
                unread.extend_from_slice(bytes);
            }
            ensure!(
                unread.len() <= MAX_LINE,
                "the gateway sent a line that is too long"
            );
            let mut lines = String::new();
            while let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = unread.drain(..=end).collect();
                let data = line.strip_prefix(b"data:");
                let event = data.map(serde_json::from_slice::<Value>);
                lines += &match event {
                    Some(Ok(event)) if is_json => format!("{event}\n"),
                    Some(Ok(event)) => words(&event, style),
                    _ => continue,
                };
            }
            let mut out = std::io::stdout().lock();
            match out.write_all(lines.as_bytes()).and_then(|()| out.flush()) {
                // The reader has ended.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                written => written.context("cannot write to standard output")?,
            }
        }
    }

    /// The path of decisions, with what is asked for.
    fn path(&self) -> String {
        let share = self.share.map(|share| share.to_string());
        let refused = self.refused.then(|| "true".to_owned());
        let asked = [
            ("share", &share),
            ("caller", &self.caller),
            ("slot", &self.slot),
            ("refused", &refused),
        ];
        let asked = asked.into_iter().filter_map(|(name, value)| {
            let value = value.as_ref()?;
            Some(format!("{name}={}", segment(value)))
        });
        let asked: Vec<_> = asked.collect();
        format!("decisions?{}", asked.join("&"))
    }
}

/// The line for events that were not read in time.
fn missed(event: &Value, style: &Style) -> Option<String> {
    let missed = plain(event.get("missed")?);
    let line = format!("{missed} came too fast to be shown");
    Some(style.tone(Tone::Doubtful, &line) + "\n")
}

fn life(event: &Value, style: &Style) -> String {
    if let Some(line) = missed(event, style) {
        return line;
    }
    let what = plain(&event["what"]);
    let tone = match what.as_str() {
        "failed" | "taken-back" => Tone::Bad,
        "passed" | "kept" => Tone::Good,
        _ => Tone::Head,
    };
    let why = event.get("why").map(|why| format!(": {}", plain(why)));
    format!(
        "{}  {}  {}  by {}{}\n",
        plain(&event["at"]),
        style.tone(tone, &format!("{what:<11}")),
        short(&event["digest"]),
        plain(&event["by"]),
        why.unwrap_or_default(),
    )
}

fn decision(event: &Value, style: &Style) -> String {
    if let Some(line) = missed(event, style) {
        return line;
    }
    let outcome = plain(&event["outcome"]);
    let tone = match outcome.as_str() {
        "answered" => Tone::Good,
        "denied" => Tone::Doubtful,
        _ => Tone::Bad,
    };
    let parts = ["status", "code"].map(|name| event.get(name).map(plain));
    let mut how: Vec<String> = parts.into_iter().flatten().collect();
    how.extend(
        event
            .get("rules")
            .map(|rules| format!("by {}", joined(rules))),
    );
    let about = ["caller", "model"].map(|name| event.get(name).map(plain));
    let about: Vec<String> = about.into_iter().flatten().collect();
    let is_kept = event["from_memo"].as_bool() == Some(true);
    let took = duration(event["took_us"].as_u64().unwrap_or_default());
    let cells = [
        plain(&event["at"]),
        style.tone(tone, &format!("{outcome:<8}")),
        format!("{} {}", plain(&event["slot"]), plain(&event["question"])),
        how.join(" "),
        about.join(" "),
        if is_kept {
            format!("{took}, memo")
        } else {
            took
        },
        plain(&event["request"]),
    ];
    let cells: Vec<String> = cells.into_iter().filter(|cell| !cell.is_empty()).collect();
    cells.join("  ") + "\n"
}
