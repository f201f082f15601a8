//! `admin watch`: a line for each event of policies' lives, until interrupted.

use std::io::{ErrorKind, Write};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use http_body_util::BodyExt;
use hyper::Method;
use serde_json::Value;
use tokio::time::timeout;

use super::client::Client;
use super::text::{Style, Tone, plain, short};

/// The longest wait for an answer, and for the next bytes: the gateway sends some every 15 seconds.
const SILENCE: Duration = Duration::from_secs(60);
/// The longest line.
const MAX_LINE: usize = 1 << 20;

/// Prints events as they come, for people or as lines of JSON.
///
/// # Errors
/// When the gateway ends the stream.
pub(super) async fn watch(client: &Client, is_json: bool, style: &Style) -> anyhow::Result<()> {
    let silent = || "the gateway sends nothing any more: is it stopped?";
    let opened = timeout(SILENCE, client.open(Method::GET, "events", None)).await;
    let mut body = opened.with_context(silent)??.into_body();
    if !is_json {
        let told = "events from now on, until Ctrl-C";
        let _ = writeln!(std::io::stderr(), "{told}");
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
        while let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = unread.drain(..=end).collect();
            let data = line
                .strip_prefix(b"data:")
                .map(serde_json::from_slice::<Value>);
            if let Some(Ok(event)) = data {
                let line = match is_json {
                    true => format!("{event}\n"),
                    false => words(&event, style),
                };
                let mut out = std::io::stdout().lock();
                match out.write_all(line.as_bytes()).and_then(|()| out.flush()) {
                    // The reader has ended.
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                    written => written.context("cannot write to standard output")?,
                }
            }
        }
    }
}

fn words(event: &Value, style: &Style) -> String {
    let what = plain(&event["what"]);
    if let Some(missed) = event.get("missed") {
        let line = format!("{} events came too fast to be shown", plain(missed));
        return style.tone(Tone::Doubtful, &line) + "\n";
    }
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
