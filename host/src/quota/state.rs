//! Counters that outlive the process: saved every few seconds and at the end, read at the start.

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

/// What a crash may forget at most.
const EVERY: Duration = Duration::from_secs(5);

/// All buckets there may be, with the longest names, fit in it.
const MAX_BYTES: u64 = 64 << 20;

const FILE: &str = "counters.json";

/// Complete, but not yet in its place.
const PART: &str = "counters.json.part";

/// A file that could not be read, so that nothing is lost by the one that replaces it. There is one at most.
const ASIDE: &str = "counters.json.unreadable";

/// Locked by the process that saves here, whose name is in it. While a restart overlaps, the older one does.
const LOCK: &str = "counters.lock";

/// Bytes of that name.
const MAX_NAME: u64 = 256;

/// The only layout there was.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Snapshot<I> {
    version: u32,
    /// Milliseconds since 1970.
    saved_ms: u64,
    buckets: Vec<(I, Saved)>,
}

/// A folder where counters are kept between two runs.
#[derive(Debug)]
pub struct State {
    folder: PathBuf,
    lock: Option<File>,
    /// Why the last attempt to save failed, so that it is said once.
    trouble: Option<Trouble>,
}

/// Why counters are not saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// Another gateway does it, as while a restart overlaps.
    Held,
    /// They cannot be.
    Failed,
}

/// See [`Trouble`].
#[derive(Debug, thiserror::Error)]
enum SaveError {
    #[error("kept by {0}")]
    Held(String),
    #[error(transparent)]
    Failed(#[from] io::Error),
}

impl State {
    /// In this folder, which exists.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            lock: None,
            trouble: None,
        }
    }

    /// What was saved; empty counters if nothing was, or nothing that makes sense: that is worth a warning and a copy, but
    /// no reason not to serve.
    #[must_use]
    pub fn load(&self) -> Memory {
        let path = self.folder.join(FILE);
        match read(&path) {
            Ok(Some(snapshot)) => {
                // A clock that was set back since makes it as if it had been saved just now.
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

    /// Saves every few seconds what changed, and everything once more when `stop` is cancelled.
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
                tracing::warn!(%folder, %error, "the counters cannot be saved; trying on");
            }
        }
        self.trouble = trouble;
    }

    /// Replaces what was saved, whole or not at all.
    fn save(&mut self, memory: &Memory) -> Result<(), SaveError> {
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
        Ok(File::open(&self.folder)?.sync_all()?)
    }

    fn lock(&mut self) -> Result<(), SaveError> {
        if self.lock.is_none() {
            let path = self.folder.join(LOCK);
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

/// How a process is called by one that may be in another container.
fn own_name() -> String {
    let process = format!("process {}", std::process::id());
    match fs::read_to_string("/proc/sys/kernel/hostname") {
        Ok(host) => format!("{process} on {}", host.trim()),
        Err(_) => process,
    }
}

/// The process that holds the lock, as it says.
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
