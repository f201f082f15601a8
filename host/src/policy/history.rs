//! The history of activations in the state folder: numbers that outlive restarts, and what was activated when, by which way.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::candidate::hex;
use super::digest::Digest;
use super::last_good::FOLDER;
use super::verdict::Verdict;
use super::words::text_within;
use crate::file::{self, at};

/// The most bytes of the file. A longer one keeps its newer half.
const MOST_BYTES: u64 = 1 << 20;
/// The most bytes of one line; no entry is longer, whatever the names of the operator's files.
const MOST_LINE: usize = 16 << 10;
/// The most bytes of the reason in a line.
const WHY: usize = 1 << 10;
/// The most histories of policy folders. Beyond them the one that was written longest ago is removed.
const MOST: usize = 64;
/// The name of a history: what comes before and after the digest of its policy folder.
const NAME: (&str, &str) = ("history-", ".ndjson");
/// The ending of its lock.
const LOCK: &str = "lock";

/// The way by which policies came to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Door {
    /// The files that the gateway found when it started.
    Start,
    /// The files that served last, at a start whose policy folder was refused.
    LastGood,
    /// The files that an operator had pinned, at a start.
    Pinned,
    /// A change of the policy folder.
    Folder,
    /// An operator let a candidate serve.
    Api,
    /// An operator let policies serve again that served before.
    RolledBack,
    /// The policies before it, after those that were activated had a fault on probation.
    TakenBack,
    /// One that this version of the gateway does not know.
    #[serde(other)]
    Other,
}

impl Door {
    /// Its name in the log, in health and in the history.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::LastGood => "last-good",
            Self::Pinned => "pinned",
            Self::Folder => "folder",
            Self::Api => "api",
            Self::RolledBack => "rolled-back",
            Self::TakenBack => "taken-back",
            Self::Other => "other",
        }
    }
}

/// One activation: a line of the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activated {
    /// The time; written in UTC, as RFC 3339, to the second.
    #[serde(with = "seconds")]
    pub at: SystemTime,
    /// The number of the generation.
    pub number: u64,
    /// The way by which the policies came to serve.
    pub door: Door,
    /// The operator who did it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// All 64 digits of the digest.
    pub digest: String,
    /// The digest of what served before; absent at the first activation of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The digest of policies that were taken back for these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_back: Option<String>,
    /// Why they were taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The operator's files of which the policies were made.
    pub files: Vec<String>,
}

impl Activated {
    /// The time in UTC, as RFC 3339.
    #[must_use]
    pub fn since(&self) -> String {
        humantime::format_rfc3339_seconds(self.at).to_string()
    }
}

/// Policies that may not serve, without an activation of others: a line of the history, too.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Refused {
    #[serde(with = "seconds")]
    at: SystemTime,
    /// All 64 digits of its digest.
    refused: String,
    /// The end of its steps, or why they were taken back.
    why: String,
    /// The operator who dropped it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    /// Whether they were taken back once, which the line of the activation of those before says, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    taken_back: bool,
}

impl Refused {
    fn new(digest: Digest, verdict: &Verdict) -> Self {
        let (why, by) = match verdict {
            Verdict::TakenBack(why) | Verdict::Failed(why) => (why.as_str(), None),
            Verdict::Dropped(by) => ("dropped", Some(by.clone())),
        };
        Self {
            at: SystemTime::now(),
            refused: digest.to_string(),
            why: text_within(WHY, why.to_owned()),
            by,
            taken_back: matches!(verdict, Verdict::TakenBack(_)),
        }
    }

    fn verdict(self) -> Option<(Digest, Verdict)> {
        let verdict = match self.by {
            Some(by) => Verdict::Dropped(by),
            None if self.taken_back => Verdict::TakenBack(self.why),
            None => Verdict::Failed(self.why),
        };
        Some((Digest::parse(&self.refused)?, verdict))
    }
}

/// An activation that is to be written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Activation {
    pub(super) door: Door,
    /// The operator.
    pub(super) by: Option<String>,
    pub(super) digest: Digest,
    /// The policies that were taken back for these, and why.
    pub(super) taken_back: Option<(Digest, String)>,
    pub(super) files: Vec<String>,
    /// The smallest number that it may have: numbers of one process never fall.
    pub(super) at_least: u64,
}

impl Activation {
    /// Its entry without any history.
    pub(super) fn alone(&self) -> Activated {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        // As it is written: to the second.
        let seconds = now.unwrap_or_default().as_secs();
        Activated {
            at: UNIX_EPOCH + Duration::from_secs(seconds),
            number: self.at_least,
            door: self.door,
            by: self.by.clone(),
            digest: self.digest.to_string(),
            before: None,
            taken_back: self
                .taken_back
                .as_ref()
                .map(|(digest, _)| digest.to_string()),
            why: self.taken_back.as_ref().map(|(_, why)| why.clone()),
            files: self.files.clone(),
        }
    }
}

/// The history of one policy folder, or of the built-in policies.
#[derive(Debug, Clone)]
pub(super) struct History(PathBuf);

impl History {
    /// Kept in the gateway's state folder: a file for each policy folder, and one for gateways without.
    pub(super) fn new(state: &Path, of: Option<&Path>) -> Self {
        let absolute = |of: &Path| std::path::absolute(of).unwrap_or_else(|_| of.to_owned());
        // Without a slash at its end, as the pointers of the last good files have it.
        let of = of.map(|of| absolute(of).components().collect::<PathBuf>());
        let name = match of {
            Some(of) => {
                let digest = hex(&Sha256::digest(of.as_os_str().as_encoded_bytes()));
                format!("{}{}{}", NAME.0, &digest[..16], NAME.1)
            }
            None => "history.ndjson".to_owned(),
        };
        Self(state.join(FOLDER).join(name))
    }

    /// Writes an activation down, and returns its entry. Policies that served when the history ended are not activated again:
    /// their old entry is returned. So a restart changes no number, and gateways with one state folder agree on them.
    ///
    /// # Errors
    /// If the file cannot be read or written, or another gateway holds it.
    pub(super) fn activate(&self, activation: &Activation) -> io::Result<Activated> {
        let path = &self.0;
        let explained = |error| at(path, error);
        let (_lock, mut file) = self.open()?;
        let (last, is_torn) = last(&mut file).map_err(explained)?;
        let mut entry = activation.alone();
        if let Some(last) = last {
            // That others were taken back for them must be known, whatever was written of them meanwhile.
            let is_told = entry.taken_back.is_none() || entry.taken_back == last.taken_back;
            if is_told && last.digest == entry.digest && last.number >= activation.at_least {
                return Ok(last);
            }
            entry.number = entry.number.max(last.number.saturating_add(1));
            entry.before = Some(last.digest);
        }
        if entry.before.is_none()
            && let Err(error) = sweep(path.parent().unwrap_or(path), path)
        {
            tracing::warn!(%error, "histories of former policy folders cannot be removed");
        }
        let line = line(&entry).map_err(explained)?;
        append(&mut file, path, &line, is_torn).map_err(explained)?;
        Ok(entry)
    }

    /// Writes down that policies may not serve, until they are activated all the same.
    ///
    /// # Errors
    /// As those of [`History::activate`].
    pub(super) fn refuse(&self, digest: Digest, verdict: &Verdict) -> io::Result<()> {
        let path = &self.0;
        let explained = |error| at(path, error);
        let refused = Refused::new(digest, verdict);
        let (_lock, mut file) = self.open()?;
        let (_, is_torn) = last(&mut file).map_err(explained)?;
        let line = serde_json::to_string(&refused)?;
        append(&mut file, path, &line, is_torn).map_err(explained)
    }

    /// Opens the file, also if there is none yet, while no other gateway writes it.
    fn open(&self) -> io::Result<(File, File)> {
        let path = &self.0;
        let folder = path.parent().unwrap_or(path);
        let state = folder.parent().unwrap_or(folder);
        file::restore_folder(state).map_err(|error| at(state, error))?;
        file::make_folder(folder).map_err(|error| at(folder, error))?;
        let lock = file::lock(&path.with_extension(LOCK))?;
        Ok((lock, file::append(path).map_err(|error| at(path, error))?))
    }
}

impl History {
    /// All entries, oldest first.
    ///
    /// # Errors
    /// If there is a history that cannot be read.
    pub(super) fn entries(&self) -> io::Result<Vec<Activated>> {
        let bytes = self.bytes()?;
        let lines = bytes.split(|byte| *byte == b'\n');
        Ok(lines.filter_map(read).collect())
    }

    /// All lines; none if there is no history.
    fn bytes(&self) -> io::Result<Vec<u8>> {
        match file::read(&self.0, 2 * MOST_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            read => read.map_err(|error| at(&self.0, error)),
        }
    }

    /// The policies that may not serve: they were taken back, or are changes of the folder that did not pass, and were not activated
    /// since; oldest first.
    ///
    /// # Errors
    /// If there is a history that cannot be read.
    pub(super) fn refused(&self) -> io::Result<Vec<(Digest, Verdict)>> {
        let mut refused: Vec<(Digest, Verdict)> = Vec::new();
        let bytes = self.bytes()?;
        for line in bytes.split(|byte| *byte == b'\n') {
            let Some(entry) = read(line) else {
                let found: Option<Refused> = serde_json::from_slice(line).ok();
                refused.extend(found.and_then(Refused::verdict));
                continue;
            };
            // Last good policies serve for want of better ones: that accepts nothing.
            if entry.door != Door::LastGood {
                let digest = Digest::parse(&entry.digest);
                refused.retain(|(refused, _)| Some(*refused) != digest);
            }
            let digest = entry.taken_back.as_deref().and_then(Digest::parse);
            if let (Some(digest), Some(why)) = (digest, entry.why) {
                refused.push((digest, Verdict::TakenBack(why)));
            }
        }
        Ok(refused)
    }
}

/// Removes the histories of former policy folders that were written longest ago, before a new one begins.
fn sweep(folder: &Path, ours: &Path) -> io::Result<()> {
    let mut others = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_history = name.starts_with(NAME.0) && name.ends_with(NAME.1);
        if is_history && entry.path() != ours {
            others.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    others.sort();
    others.truncate((others.len() + 1).saturating_sub(MOST));
    for (_, path) in others {
        let lock = path.with_extension(LOCK);
        // One that is held is in use.
        if file::try_lock(&lock)?.is_some() {
            file::remove(&path)?;
            file::remove(&lock)?;
        }
    }
    Ok(())
}

/// The last complete entry, and whether an incomplete line follows it: the process or the machine ended while it was written.
fn last(file: &mut File) -> io::Result<(Option<Activated>, bool)> {
    let bytes = tail(file, 4 * MOST_LINE as u64)?;
    let is_torn = bytes.last().is_some_and(|byte| *byte != b'\n');
    if let Some(entry) = last_of(&bytes) {
        return Ok((Some(entry), is_torn));
    }
    // Many changes of the folder may have been refused since.
    Ok((last_of(&tail(file, 2 * MOST_BYTES)?), is_torn))
}

fn last_of(bytes: &[u8]) -> Option<Activated> {
    bytes.rsplit(|byte| *byte == b'\n').find_map(read)
}

/// So many bytes at the end, or all.
fn tail(file: &mut File, most: u64) -> io::Result<Vec<u8>> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length - length.min(most)))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn read(line: &[u8]) -> Option<Activated> {
    serde_json::from_slice(line).ok()
}

fn line(entry: &Activated) -> io::Result<String> {
    let mut entry = entry.clone();
    loop {
        let line = serde_json::to_string(&entry)?;
        if line.len() < MOST_LINE {
            return Ok(line);
        }
        // The names are for people; without them the entry is short.
        entry.files.truncate(entry.files.len() / 2);
    }
}

/// Adds a line, and halves a file that is too long then.
fn append(file: &mut File, path: &Path, line: &str, is_torn: bool) -> io::Result<()> {
    let begin = if is_torn { "\n" } else { "" };
    // One write: whoever reads at the same time sees whole lines.
    file::extend(file, path, format!("{begin}{line}\n").as_bytes())?;
    match file.metadata()?.len() > MOST_BYTES {
        true => shorten(path, file),
        false => Ok(()),
    }
}

/// Replaces the file by its newer half, atomically. The last activation stays, from which the numbers go on.
fn shorten(path: &Path, file: &mut File) -> io::Result<()> {
    let bytes = tail(file, MOST_BYTES / 2)?;
    let begin = bytes.iter().position(|byte| *byte == b'\n');
    let whole = bytes.get(begin.map_or(0, |at| at + 1)..);
    let whole = whole.unwrap_or_default();
    let mut kept = Vec::new();
    if last_of(whole).is_none()
        && let (Some(entry), _) = last(file)?
    {
        kept.extend(format!("{}\n", line(&entry)?).bytes());
    }
    kept.extend(whole);
    file::replace(path, &kept)
}

/// Times as RFC 3339, to the second.
mod seconds {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(at: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_rfc3339_seconds(*at))
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<SystemTime, D::Error> {
        let text = String::deserialize(from)?;
        humantime::parse_rfc3339(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
