//! Saves the counters every few seconds and at the end, and reads them at the start, so that they outlive the process.

use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::bucket::{Id, Saved};
use super::memory::Memory;
use crate::file;

/// The interval of saves: the most that a crash can lose.
const EVERY: Duration = Duration::from_secs(5);

/// The most bytes of the file; all buckets at their maximum number, with the longest names, fit in it.
const MAX_BYTES: u64 = 64 << 20;

const FILE: &str = "counters.json";

/// The file while it is written; renamed to [`FILE`] when complete.
const PART: &str = "counters.json.part";

/// A file that could not be read, moved aside so that the next save does not overwrite it. At most one is kept.
const ASIDE: &str = "counters.json.unreadable";

/// Locked by the process that saves here, and contains its name. While a restart overlaps, the older process holds it.
const LOCK: &str = "counters.lock";

/// The most bytes of that name.
const MAX_NAME: u64 = 256;

/// The version of the file's layout; there was no other yet.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Snapshot<I> {
    version: u32,
    /// Milliseconds since 1970.
    saved_ms: u64,
    buckets: Vec<(I, Saved)>,
}

/// The folder that keeps the counters between two runs.
#[derive(Debug)]
pub struct State {
    folder: PathBuf,
    lock: Option<File>,
    /// The reason why the last save failed, so that it is logged once.
    trouble: Option<Trouble>,
}

/// The reason why counters are not saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// Another gateway saves them, for example while a restart overlaps.
    Held,
    /// They cannot be saved.
    Failed,
}

/// The error of a save, with its cause; see [`Trouble`].
#[derive(Debug, thiserror::Error)]
enum SaveError {
    #[error("kept by {0}")]
    Held(String),
    #[error(transparent)]
    Failed(#[from] io::Error),
}

impl State {
    /// Uses this folder, which must exist.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            lock: None,
            trouble: None,
        }
    }

    /// The saved counters; empty ones if nothing was saved, or if the file is invalid: then a warning is logged and the file is
    /// moved aside, but the gateway still serves.
    #[must_use]
    pub fn load(&self) -> Memory {
        let path = self.folder.join(FILE);
        match read(&path) {
            Ok(Some(snapshot)) => {
                // If the clock was set back since, the file counts as saved just now.
                let elapsed_ms = wall_ms().saturating_sub(snapshot.saved_ms);
                let memory = Memory::restore(snapshot.buckets, elapsed_ms);
                tracing::info!(path = %path.display(), buckets = memory.buckets(), elapsed_ms, "counters read");
                memory
            }
            Ok(None) => Memory::default(),
            Err(error) => {
                let aside = self.folder.join(ASIDE);
                let kept = match fs::rename(&path, &aside) {
                    Ok(()) => aside.display().to_string(),
                    Err(error) => format!("nowhere: {error}"),
                };
                tracing::warn!(path = %path.display(), %error, %kept, "the saved counters are of no use: counting starts anew");
                Memory::default()
            }
        }
    }

    /// Saves changed counters every few seconds, and all once more when `stop` is cancelled.
    pub async fn keep(mut self, memory: Memory, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let stopped = tokio::select! {
                () = stop.cancelled() => true,
                _ = ticks.tick() => false,
            };
            if stopped || self.trouble.is_some() || memory.has_changed() {
                let memory = memory.clone();
                let saving = tokio::task::spawn_blocking(move || {
                    self.save_or_warn(&memory);
                    self
                });
                match saving.await {
                    Ok(state) => self = state,
                    Err(error) => {
                        tracing::error!(%error, "saving the counters failed");
                        return;
                    }
                }
            }
            if stopped {
                return;
            }
        }
    }

    fn save_or_warn(&mut self, memory: &Memory) {
        let saved = self.save(memory);
        let folder = self.folder.display();
        let trouble = match &saved {
            Ok(()) => None,
            Err(SaveError::Held(_)) => Some(Trouble::Held),
            Err(SaveError::Failed(_)) => Some(Trouble::Failed),
        };
        match &saved {
            _ if trouble == self.trouble => {}
            Ok(()) => tracing::info!(%folder, "the counters are saved again"),
            Err(SaveError::Held(holder)) => tracing::info!(
                %folder,
                %holder,
                "the counters are kept by another gateway: this one counts on its own, and saves nothing until that one ends"
            ),
            Err(SaveError::Failed(error)) => {
                let error = file::explained(error);
                tracing::warn!(%folder, %error, "the counters cannot be saved; trying on");
            }
        }
        self.trouble = trouble;
    }

    /// Replaces the saved file, completely or not at all. A folder that was removed is made again.
    fn save(&mut self, memory: &Memory) -> Result<(), SaveError> {
        file::restore_folder(&self.folder)?;
        self.lock()?;
        let buckets = memory.save();
        let snapshot = Snapshot {
            version: VERSION,
            saved_ms: wall_ms(),
            buckets: buckets.iter().map(|(id, saved)| (&**id, *saved)).collect(),
        };
        let part = self.folder.join(PART);
        let file = file::create(&part)?;
        file.set_len(0)?;
        let mut writer = BufWriter::new(file);
        serde_json::to_writer(&mut writer, &snapshot).map_err(io::Error::from)?;
        writer.flush()?;
        writer.get_ref().sync_all()?;
        fs::rename(&part, self.folder.join(FILE))?;
        File::open(&self.folder)?.sync_all()?;
        memory.saved_at(snapshot.saved_ms);
        Ok(())
    }

    fn lock(&mut self) -> Result<(), SaveError> {
        let path = self.folder.join(LOCK);
        let held = self.lock.as_ref();
        if !held.is_some_and(|lock| file::has_name(lock, &path).unwrap_or(true)) {
            let mut file = file::create(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(SaveError::Held(holder(&path))),
                Err(TryLockError::Error(error)) => return Err(error.into()),
            }
            file.set_len(0)?;
            writeln!(file, "{}", own_name())?;
            self.lock = Some(file);
        }
        Ok(())
    }
}

/// The name of this process for one that may be in another container.
fn own_name() -> String {
    let process = format!("process {}", std::process::id());
    match fs::read_to_string("/proc/sys/kernel/hostname") {
        Ok(host) => format!("{process} on {}", host.trim()),
        Err(_) => process,
    }
}

/// The name of the process that holds the lock, read from the lock file.
fn holder(lock: &Path) -> String {
    let read = file::read_text(lock, MAX_NAME);
    match read.as_deref().map(str::trim) {
        Ok(name) if !name.is_empty() => name.to_owned(),
        _ => "a process that does not say which".to_owned(),
    }
}

fn read(path: &Path) -> io::Result<Option<Snapshot<Id>>> {
    let text = match file::read(path, MAX_BYTES) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let snapshot: Snapshot<Id> = serde_json::from_slice(&text)?;
    if snapshot.version != VERSION {
        let message = format!("expected version {VERSION}, found {}", snapshot.version);
        return Err(io::Error::other(message));
    }
    Ok(Some(snapshot))
}

fn wall_ms() -> u64 {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH);
    passed.map_or(0, |passed| {
        u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)
    })
}

#[cfg(test)]
mod tests;
