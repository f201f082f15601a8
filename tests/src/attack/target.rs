//! The gateway under attack: a process with few descriptors, hostile policies, and a log that is not read.

use std::fmt;
use std::io::{BufRead, BufReader, PipeReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{SPARE_FILES, SPARE_KIB, SPARE_THREADS};
use crate::gateway::KEY;
use crate::guests::{EVERY, deploy};

/// The descriptors of the process: fewer than there are half-sent connections.
pub(super) const FILES: usize = 512;

/// A running gateway.
pub(super) struct Target {
    child: Child,
    pub(super) address: String,
    policies: TempDir,
    _state: TempDir,
    /// The log, not read after the start.
    _log: BufReader<PipeReader>,
}

impl Target {
    /// Starts a gateway, and stops reading its log.
    pub(super) async fn start(program: &Path) -> Self {
        let folder = || tempfile::tempdir().expect("a folder");
        let (policies, state) = (folder(), folder());
        deploy(policies.path(), "auth.wasm", EVERY);
        deploy(
            policies.path(),
            "rate-limit.json",
            rules().to_string().as_bytes(),
        );
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("ulimit -n {FILES}; exec \"$0\"")])
            .arg(program)
            .env_clear()
            .envs([
                ("PORT", "0"),
                ("PROXY_API_KEY", KEY),
                ("CODEX_BACKEND", "demo"),
            ])
            .env("POLICY_DIR", policies.path())
            .env("PROXY_STATE_DIR", state.path())
            .stdin(Stdio::null())
            .stdout(writer.try_clone().expect("a pipe"))
            .stderr(writer);
        let child = command.spawn().expect("the gateway starts");
        drop(command);
        let mut log = BufReader::with_capacity(1, reader);
        let address = listening(&mut log);
        let target = Self {
            child,
            address,
            policies,
            _state: state,
            _log: log,
        };
        while target
            .health()
            .await
            .is_none_or(|health| health["ok"] != true)
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        target
    }

    pub(super) fn policies(&self) -> PathBuf {
        self.policies.path().to_owned()
    }

    /// Removes the odd files.
    pub(super) fn tidy(&self) {
        for entry in std::fs::read_dir(self.policies.path())
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name();
            if name != "auth.wasm" && name != "rate-limit.json" {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    async fn health(&self) -> Option<Value> {
        let asked = reqwest::get(format!("http://{}/healthz", self.address));
        asked.await.ok()?.json().await.ok()
    }

    /// The figure in `/healthz`; 0 if the gateway does not have it.
    pub(super) async fn log_lines_dropped(&self) -> u64 {
        let health = self.health().await.unwrap_or_default();
        health["log_lines_dropped"].as_u64().unwrap_or_default()
    }

    /// The resources the gateway uses now.
    pub(super) fn sample(&self) -> Sample {
        let process = PathBuf::from(format!("/proc/{}", self.child.id()));
        let status = std::fs::read_to_string(process.join("status")).unwrap_or_default();
        let figure = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            number.unwrap_or_default()
        };
        Sample {
            kib: figure("VmRSS:"),
            threads: figure("Threads:"),
            files: std::fs::read_dir(process.join("fd")).map_or(0, Iterator::count),
        }
    }

    /// Asks the gateway to end; the time that took, or how else it ended.
    pub(super) async fn end(&mut self, limit: Duration) -> Result<Duration, String> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Err(format!("it had ended already: {status}"));
        }
        let asked = Instant::now();
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        while asked.elapsed() < limit {
            match self.child.try_wait() {
                Ok(None) => tokio::time::sleep(Duration::from_millis(20)).await,
                Ok(Some(status)) if status.success() => return Ok(asked.elapsed()),
                Ok(Some(status)) => return Err(status.to_string()),
                Err(error) => return Err(error.to_string()),
            }
        }
        Err(format!("it did not end within {limit:.0?}"))
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A rule whose buckets fill so slowly that no address is forgotten as unused; no honest client reaches its limit.
fn rules() -> Value {
    let month = 31_u64 * 24 * 60 * 60 * 1000;
    json!({"rules": [{
        "name": "slow", "unit": "requests", "limit": 100_000, "window_ms": month, "per": "address",
        "endpoints": ["/v1/*"],
    }]})
}

fn listening(log: &mut impl BufRead) -> String {
    loop {
        let mut line = String::new();
        let read = log.read_line(&mut line).expect("a log");
        assert!(read > 0, "the gateway ended before it listened");
        if let Some((_, rest)) = line.split_once("listening address=") {
            return rest.trim().to_owned();
        }
    }
}

/// The resources a process uses.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sample {
    kib: usize,
    threads: usize,
    files: usize,
}

impl Sample {
    pub(super) fn max(&self, other: &Self) -> Self {
        Self {
            kib: self.kib.max(other.kib),
            threads: self.threads.max(other.threads),
            files: self.files.max(other.files),
        }
    }

    /// Whether the resources used since `before` were released.
    pub(super) fn is_like(&self, before: &Self) -> bool {
        self.kib <= before.kib * 3 / 2 + SPARE_KIB
            && self.threads <= before.threads + SPARE_THREADS
            && self.files <= before.files + SPARE_FILES
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kib,
            threads,
            files,
        } = self;
        write!(
            f,
            "{:>5} MiB, {threads:>3} threads, {files:>4} descriptors",
            kib >> 10
        )
    }
}
