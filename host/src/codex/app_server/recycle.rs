//! Decides when a worker is recycled: at a limit, if it is silent, or if login or settings have changed since its start.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::IgnoredAny;

use super::pool::Seat;
use super::protocol::{self, Diagnostics};
use super::rpc::Connection;
use super::threads::Threads;
use crate::codex::config_stamp::ConfigStamp;
use crate::codex::{Config, Error, Recycling};

/// The interval between checks of login and settings. Codex reads a new login only when it starts; it reads new settings for
/// each thread, but without those that the gateway adds to them at a worker's start.
const LOOK: Duration = Duration::from_secs(1);

/// Limit of files and folders that are counted: Codex has a dozen, but an agent could make any number there.
const MAX_ENTRIES: usize = 10_000;

/// How long a worker that let a request time out may take to show that it is alive.
const PROOF_OF_LIFE: Duration = Duration::from_secs(5);

/// Returns when login or settings differ from those the worker was started with.
pub(super) async fn when_outdated(config: &Config, started_with: ConfigStamp) {
    while ConfigStamp::now(config) == started_with {
        tokio::time::sleep(LOOK.min(config.probe_interval)).await;
    }
    tracing::info!("Codex's login or settings have changed: a worker is to be recycled");
}

/// Checks a worker at every `probe_interval`, and returns when it should be recycled.
pub(super) async fn when_due(config: &Config, threads: &Threads, seat: &Seat, databases: &Path) {
    loop {
        tokio::time::sleep(config.probe_interval).await;
        threads.tidy();
        // A missing answer is not judged here: a request that times out wakes `when_silent`.
        let answer = threads
            .connection
            .call::<_, Diagnostics>(protocol::DIAGNOSTICS, &protocol::Nothing {})
            .await;
        let found = Found {
            turns: seat.begun(),
            memory: answer
                .ok()
                .and_then(|answer| answer.process.resident_memory_bytes),
            disk: size_of(databases).await,
        };
        if let Some(why) = found.exceeds(&config.recycling) {
            tracing::info!(reason = why, "a Codex worker is to be recycled");
            return;
        }
    }
}

/// The figures of a worker that have limits.
#[derive(Debug, Clone, Copy, Default)]
struct Found {
    turns: u64,
    /// Bytes; absent if the worker does not report them.
    memory: Option<u64>,
    /// Bytes of its files.
    disk: u64,
}

impl Found {
    /// The limit it has reached, in words, if any.
    fn exceeds(self, limits: &Recycling) -> Option<String> {
        let reached = |value: u64, limit: u64| limit > 0 && value >= limit;
        if reached(self.turns, limits.turns) {
            return Some(format!("it ran {} turns", self.turns));
        }
        if let Some(memory) = self
            .memory
            .filter(|memory| reached(*memory, limits.memory_bytes))
        {
            return Some(format!("it uses {memory} bytes of memory"));
        }
        reached(self.disk, limits.disk_bytes).then(|| format!("it wrote {} bytes", self.disk))
    }
}

/// The same as [`size`], on a thread for blocking work.
async fn size_of(folder: &Path) -> u64 {
    let folder = folder.to_owned();
    let looked = tokio::task::spawn_blocking(move || size(folder)).await;
    looked.unwrap_or_default()
}

/// The size of all files in a folder, in bytes. A file that vanishes meanwhile counts nothing, and neither do files
/// beyond [`MAX_ENTRIES`].
fn size(folder: PathBuf) -> u64 {
    let mut folders = vec![folder];
    let mut left = MAX_ENTRIES;
    let mut bytes = 0;
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        for entry in entries.take(left) {
            left -= 1;
            match entry.metadata() {
                Ok(found) if found.is_file() => bytes += found.len(),
                Ok(found) if found.is_dir() => folders.push(entry.path()),
                _ => {}
            }
        }
    }
    bytes
}

/// Returns when a worker that let a request time out does not answer a simple request either.
pub(super) async fn when_silent(connection: &Connection) {
    loop {
        connection.doubted().await;
        let proof =
            async { while let Err(Error::RpcTimeout { .. }) = ask_for_life(connection).await {} };
        if tokio::time::timeout(PROOF_OF_LIFE, proof).await.is_err() {
            return;
        }
    }
}

async fn ask_for_life(connection: &Connection) -> Result<IgnoredAny, Error> {
    connection
        .call(protocol::DIAGNOSTICS, &protocol::Nothing {})
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_counts_by_itself_and_none_is_never() {
        let found = Found {
            turns: 10,
            memory: Some(20),
            disk: 30,
        };
        let none = Recycling {
            turns: 0,
            memory_bytes: 0,
            disk_bytes: 0,
        };
        assert_eq!(found.exceeds(&none), None);
        let high = Recycling {
            turns: 11,
            memory_bytes: 21,
            disk_bytes: 31,
        };
        assert_eq!(found.exceeds(&high), None);
        for reached in [
            Recycling {
                turns: 10,
                ..high.clone()
            },
            Recycling {
                memory_bytes: 20,
                ..high.clone()
            },
            Recycling {
                disk_bytes: 30,
                ..high.clone()
            },
        ] {
            assert!(found.exceeds(&reached).is_some(), "{reached:?}");
        }
        let silent = Found {
            memory: None,
            ..found
        };
        assert_eq!(
            silent.exceeds(&Recycling {
                memory_bytes: 1,
                ..high
            }),
            None
        );
    }

    #[test]
    fn files_below_are_counted_too() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("inner")).unwrap();
        std::fs::write(folder.path().join("a"), [0; 100]).unwrap();
        std::fs::write(folder.path().join("inner/b"), [0; 11]).unwrap();
        assert_eq!(size(folder.path().to_owned()), 111);
        assert_eq!(size(folder.path().join("gone")), 0);
    }
}
