//! Reads the settings of log, usage records and traces.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::env::Vars;
use super::read::Reader;
use super::{Environment, env};
use crate::file::journal;
use crate::spelling;
use crate::telemetry::{Config, Filter, Log, TARGETS, traces};

pub(super) fn read(reader: &mut Reader<'_>, environment: Environment) -> Config {
    Config {
        log: Log {
            filter: filter(reader),
            json: reader.choice(
                env::PROXY_LOG_FORMAT,
                &[("text", false), ("json", true)],
                // In production a program reads the log.
                environment == Environment::Prod,
            ),
        },
        usage: usage(reader),
        traces: traces(reader),
    }
}

fn filter(reader: &mut Reader<'_>) -> Filter {
    let Some(text) = reader.text(env::PROXY_LOG) else {
        return Filter::default();
    };
    let filter = match Filter::parse(&text) {
        Ok(filter) => filter,
        Err(error) => {
            let expected = "a level (off, error, warn, info, debug or trace), or directives as \
                 `codex_gateway=debug,policy=info`";
            reader.note(env::PROXY_LOG, expected, format!("`{text}` ({error})"));
            return Filter::default();
        }
    };
    for target in filter.targets() {
        let crate_name = target.split("::").next().unwrap_or(target);
        if let Some(meant) = spelling::nearest(crate_name, TARGETS) {
            let what = format!("nothing is logged as `{target}`: did you mean `{meant}`?");
            reader.warn(env::PROXY_LOG.name, what);
        }
    }
    filter
}

fn usage(reader: &mut Reader<'_>) -> Option<journal::Config> {
    let limits = [env::TOKEN_LOG_MAX_BYTES, env::TOKEN_LOG_MAX_FILES];
    journal(reader, env::TOKEN_LOG_PATH, limits)
}

/// The files of a journal, if `path` is set; `limits` are the variables for the size and the number of its files.
pub(super) fn journal(
    reader: &mut Reader<'_>,
    path: env::Variable,
    limits: [env::Variable; 2],
) -> Option<journal::Config> {
    let path = reader.file(path);
    let [max_bytes, max_files] = limits;
    let max_bytes = reader.number(max_bytes, 4_096..=1 << 40, 16 << 20);
    let max_files = reader.number(max_files, 2..=1_000, 5);
    Some(journal::Config {
        path: path?,
        max_bytes,
        max_files: u32::try_from(max_files).unwrap_or(2),
    })
}

/// Notes that a journal has a file of another one, if it has, and warns if others can read it.
pub(super) fn judge_journals(
    reader: &mut Reader<'_>,
    journals: &[(env::Variable, Option<&journal::Config>)],
) {
    let mut seen: Vec<(env::Variable, PathBuf)> = Vec::new();
    for (variable, journal) in journals {
        let Some(journal) = journal else { continue };
        let path = real(&journal.path);
        let other = seen.iter().find(|(_, other)| is_shared(&path, other));
        if let Some((other, _)) = other {
            let expected = format!("another file than that of {}", other.name);
            let found = format!("`{}`", journal.path.display());
            reader.note(*variable, expected, found);
        }
        let others = |found: std::fs::Metadata| found.is_file() && found.mode() & 0o004 != 0;
        if std::fs::metadata(&path).is_ok_and(others) {
            let what = format!(
                "other users of this machine may read {0}; chmod 600 {0}",
                journal.path.display()
            );
            reader.warn(variable.name, what);
        }
        seen.push((*variable, path));
    }
}

/// The path without links and dots, as far as it exists.
fn real(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let folder = |whole: &Path| {
        let folder = whole.parent()?.canonicalize().ok()?;
        Some(folder.join(whole.file_name()?))
    };
    let found = whole.canonicalize().ok();
    found.or_else(|| folder(&whole)).unwrap_or(whole)
}

/// Whether two journals have a file in common: the same, or one is named like an older file of the other.
fn is_shared(one: &Path, other: &Path) -> bool {
    let is_older = |older: &Path, newest: &Path| {
        let names = (older.to_str(), newest.to_str());
        let (Some(older), Some(newest)) = names else {
            return false;
        };
        let number = older
            .strip_prefix(newest)
            .and_then(|rest| rest.strip_prefix('.'));
        number.is_some_and(|number| number.parse::<u32>().is_ok())
    };
    one == other || is_older(one, other) || is_older(other, one)
}

fn traces(reader: &mut Reader<'_>) -> Option<traces::Config> {
    let endpoint = reader.text(env::OTEL_EXPORTER_OTLP_ENDPOINT);
    let service = reader.text(env::OTEL_SERVICE_NAME);
    let endpoint = endpoint?;
    // OpenTelemetry's own variables are the process's, as its library reads them.
    let queue = env::Process.get("OTEL_BSP_MAX_QUEUE_SIZE");
    let queue = queue.and_then(|queue| queue.trim().parse().ok());
    if !traces::is_endpoint(&endpoint) {
        let expected = "the http:// URL of a collector near by, as http://127.0.0.1:4318 (TLS is its business)";
        reader.note(
            env::OTEL_EXPORTER_OTLP_ENDPOINT,
            expected,
            format!("`{endpoint}`"),
        );
    }
    Some(traces::Config {
        endpoint: base(&endpoint).to_owned(),
        service: service.unwrap_or_else(|| "codex-gateway".to_owned()),
        queue: queue.filter(|queue| *queue > 0).unwrap_or(traces::QUEUE),
    })
}

/// The endpoint without the signal's path: OpenTelemetry has variables with that path and variables without it.
fn base(endpoint: &str) -> &str {
    let endpoint = endpoint.trim_end_matches('/');
    let base = endpoint.strip_suffix("/v1/traces").unwrap_or(endpoint);
    base.trim_end_matches('/')
}
