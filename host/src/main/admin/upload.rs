//! The body of an upload: files for slots and a candidate's rules as `multipart/form-data`; and the conditions of a shadow, as given on the command line.

use std::path::Path;

use anyhow::ensure;
use clap::Args;
use codex_gateway::app;
use codex_gateway::policy::{SIGNATURE_ENDING, Slot};
use codex_gateway::secret::Secret;
use hyper::body::Bytes;
use serde_json::{Value, json};

/// The part with a candidate's own rules.
const RULES: &str = "rollout.toml";
/// The most bytes of an upload: the gateway's own limit.
const LIMIT: u64 = 32 << 20;

/// The conditions that a candidate in shadow must meet; the gateway knows what is not said.
#[derive(Args)]
pub(super) struct Gate {
    /// With fewer decisions in a slot that it changes not enough was seen.
    #[arg(long, value_name = "COUNT")]
    min_decisions: Option<u64>,
    /// It fails if more decisions differ.
    #[arg(long, value_name = "COUNT")]
    max_differ: Option<u64>,
    /// It fails if it cannot make more decisions than so many.
    #[arg(long, value_name = "COUNT")]
    max_faults: Option<u64>,
    /// Let it serve by itself if it passes.
    #[arg(long)]
    promote: bool,
}

impl Gate {
    /// Checks before an upload of these files that there is one shadow, if there are conditions, and that its length can be read.
    pub(super) fn is_with(&self, shadow: Option<&str>, files: &[String]) -> anyhow::Result<()> {
        if let Some(length) = shadow {
            let is_rules = |argument: &String| part(argument).is_ok_and(|(name, _)| name == RULES);
            ensure!(
                !files.iter().any(is_rules),
                "--shadow and {RULES} both say what the candidate does: give one of them"
            );
            let is_read = humantime::parse_duration(length).is_ok();
            ensure!(
                is_read,
                "--shadow: expected a length of time, as 10m or '1h 30m', found `{length}`"
            );
        }
        let counts = [self.min_decisions, self.max_differ, self.max_faults];
        let is_said = self.promote || counts.iter().any(Option::is_some);
        ensure!(
            shadow.is_some() || !is_said,
            "--min-decisions, --max-differ, --max-faults and --promote are conditions of a shadow: give --shadow 10m, too"
        );
        Ok(())
    }

    /// As the gateway reads them.
    pub(super) fn conditions(&self, length: Option<&str>) -> Value {
        let mut conditions = json!({});
        if let Some(length) = length {
            conditions["for"] = length.into();
        }
        for (name, count) in [
            ("min_decisions", self.min_decisions),
            ("max_differ", self.max_differ),
            ("max_faults", self.max_faults),
        ] {
            if let Some(count) = count {
                conditions[name] = count.into();
            }
        }
        if self.promote {
            conditions["promote"] = true.into();
        }
        conditions
    }
}

/// The content type and the body of an upload of these files, and of the signatures beside them.
///
/// # Errors
/// All mistakes: arguments that name no slot, and files that cannot be read.
pub(super) fn form(arguments: &[String]) -> anyhow::Result<(String, Bytes)> {
    // No file has so many letters at random.
    let boundary = Secret::random("upload-");
    let boundary = boundary.reveal();
    let (mut body, mut mistakes) = (Vec::new(), Vec::new());
    for argument in arguments {
        let part = part(argument).and_then(|(name, path)| {
            let wrong = |error| format!("{path}: {error}");
            let bytes = app::replacement(Path::new(path)).map_err(wrong)?;
            let signature = app::signature_of(Path::new(path)).map_err(wrong)?;
            let signature =
                signature.map(|signature| (format!("{name}{SIGNATURE_ENDING}"), signature));
            Ok([Some((name, bytes)), signature].into_iter().flatten())
        });
        match part {
            Ok(files) => {
                for (name, bytes) in files {
                    let head = format!(
                        "--{boundary}\r\ncontent-disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\n\r\n"
                    );
                    body.extend_from_slice(head.as_bytes());
                    body.extend_from_slice(&bytes);
                    body.extend_from_slice(b"\r\n");
                }
            }
            Err(mistake) => mistakes.push(mistake),
        }
    }
    ensure!(mistakes.is_empty(), "{}", mistakes.join("; "));
    ensure!(
        body.len() as u64 <= LIMIT,
        "all files together may have at most {LIMIT} bytes"
    );
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    let kind = format!("multipart/form-data; boundary={boundary}");
    Ok((kind, body.into()))
}

/// The name of a part, and the path of its file.
fn part(argument: &str) -> Result<(String, &str), String> {
    let (slot, path) = match argument.split_once('=') {
        Some((slot, path)) => (slot.to_owned(), path),
        None => {
            let stem = Path::new(argument).file_stem();
            let stem = stem.unwrap_or_default().to_string_lossy();
            (stem.into_owned(), argument)
        }
    };
    if format!("{slot}.toml") == RULES && path.ends_with(".toml") {
        return Ok((RULES.to_owned(), path));
    }
    let slots = Slot::ALL.map(Slot::name);
    if !slots.contains(&slot.as_str()) {
        return Err(format!(
            "{argument}: expected SLOT=FILE, where SLOT is one of {}; or {RULES}, with the candidate's own rules",
            slots.join(", ")
        ));
    }
    match Path::new(path)
        .extension()
        .and_then(|ending| ending.to_str())
    {
        Some(ending @ ("wasm" | "json")) => Ok((format!("{slot}.{ending}"), path)),
        _ => Err(format!(
            "{argument}: expected a file that ends in .wasm (a component) or .json (its settings)"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_goes_to_its_slot_by_its_ending() {
        let named = |argument: &str| part(argument).map(|(name, _)| name);
        assert_eq!(named("auth=new.wasm").unwrap(), "auth.wasm");
        assert_eq!(named("tool-stop=a/b.json").unwrap(), "tool-stop.json");
        assert_eq!(
            named("policies/rate-limit.json").unwrap(),
            "rate-limit.json"
        );
        assert_eq!(named("rules/rollout.toml").unwrap(), RULES);
        assert_eq!(named("rollout=canary.toml").unwrap(), RULES);
        for wrong in [
            "rollout=x.json",
            "rollout.json",
            "new.wasm",
            "auht=new.wasm",
            "auth=new.toml",
            "auth=",
        ] {
            assert!(named(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn all_files_that_cannot_be_sent_are_told() {
        // A pipe would be waited for.
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("auth.json");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let pipe = pipe.display().to_string();
        let files = ["auth=/nowhere/x.json", "auht=y.json", &pipe].map(str::to_owned);
        let error = form(&files).unwrap_err().to_string();
        assert!(
            error.contains("auth.json: it is a pipe, not a regular file"),
            "{error}"
        );
        assert!(error.contains("/nowhere/x.json: No such file"), "{error}");
        assert!(error.contains("auht=y.json: expected SLOT=FILE"), "{error}");
    }
}
