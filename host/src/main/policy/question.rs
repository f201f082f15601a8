//! The question of a subcommand: a request, or an input as in records, at a time.

use std::io::Read;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use codex_gateway::app;
use codex_gateway::policy::{Call, Draft, MAX_CASE, Moment, moment};
use serde_json::{Value, json};

use super::super::read_key;

/// The arguments that say it.
#[derive(Args)]
pub(super) struct Asked {
    /// The question; by default authenticate, resolve, admit or observe.
    #[arg(long, value_name = "QUESTION")]
    call: Option<String>,
    /// The input as JSON, as in records; missing members are filled in. A file, or - for standard input.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// The request that an auth policy is asked about, as 'GET /v1/models?limit=1'.
    #[arg(long, value_name = "REQUEST", conflicts_with = "input")]
    request: Option<String>,
    /// The key that the client presents; - reads it from standard input, as a command line stays in the shell's history.
    #[arg(long, value_name = "KEY", requires = "request")]
    key: Option<String>,
    /// A header of the request, as 'user-agent: curl'. May be repeated.
    #[arg(long, value_name = "HEADER", requires = "request")]
    header: Vec<String>,
    /// The time, as 2026-12-01T23:30Z; by default it is now.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
}

impl Asked {
    /// Reads the question.
    ///
    /// # Errors
    /// A line for a person.
    pub(super) fn call(&self, draft: &Draft) -> Result<Call, String> {
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
            "credential": self.key()?,
        }))
    }

    fn key(&self) -> Result<Option<String>, String> {
        match self.key.as_deref() {
            Some("-") => {
                let key = read_key().map_err(|error| format!("--key: {error}"))?;
                Ok(Some(key))
            }
            given => Ok(given.map(str::to_owned)),
        }
    }
}
