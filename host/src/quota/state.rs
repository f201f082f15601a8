//! Counters that outlive the process: saved every few seconds and at the end, read at the start.

use std::fs::{self, File};
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

/// Locked by the process that saves here. While a restart overlaps, the older one does.
const LOCK: &str = "counters.lock";

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
    /// Whether the last attempt to save failed, so that it is said once.
    failing: bool,
}

impl State {
    /// In this folder, which exists.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            lock: None,
            failing: false,
        }
    }

    /// What was saved; empty counters if nothing was, or nothing that makes sense: that is worth a warning, but no
    /// reason not to serve.
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
                tracing::warn!(path = %path.display(), %error, "the saved counters are of no use: counting starts anew");
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
            if stopped || self.failing || memory.has_changed() {
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
        match &saved {
            Err(error) if !self.failing => {
                tracing::warn!(%folder, %error, "the counters cannot be saved; trying on");
            }
            Ok(()) if self.failing => tracing::info!(%folder, "the counters are saved again"),
            _ => {}
        }
        self.failing = saved.is_err();
    }

    /// Replaces what was saved, whole or not at all.
    fn save(&mut self, memory: &Memory) -> io::Result<()> {
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
        serde_json::to_writer(&mut writer, &snapshot)?;
        writer.flush()?;
        writer.get_ref().sync_all()?;
        fs::rename(&part, self.folder.join(FILE))?;
        File::open(&self.folder)?.sync_all()
    }

    fn lock(&mut self) -> io::Result<()> {
        if self.lock.is_none() {
            let file = file::create(&self.folder.join(LOCK))?;
            file.try_lock().map_err(io::Error::from)?;
            self.lock = Some(file);
        }
        Ok(())
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
