//! `policies.toml`: the host's options of each slot and the rules for new generations, beside the operator's components.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Slot;
use super::candidate::{Instances, Options};
use super::distrust::Distrust;
use super::engine::MAX_MEMORY;
use super::fault::{Problem, Refusal};
use super::guest::Limits;
use super::rules::Rules;
use super::tables::{self, Member, Reading};
use super::trust::Trust;
use crate::file::read_if_there;

/// The file's name; the file is optional.
pub(super) const MANIFEST: &str = "policies.toml";
/// The most bytes of the file, which has some tens of lines.
const MAX_BYTES: u64 = 256 << 10;

/// The table that is of no slot.
const ROLLOUT: &str = "rollout";
/// The JSON Schema of the file, for editors.
const SCHEMA: &str = include_str!("manifest/policies.schema.json");

/// The members of a slot's table.
const MEMBERS: [&str; 7] = [
    "component",
    "settings",
    "built_in",
    "instances",
    "grants",
    "memory_mib",
    "deadline_ms",
];

/// The contents of the manifest, slot by slot.
#[derive(Debug, Default)]
pub(super) struct Manifest {
    entries: [Entry; Slot::COUNT],
    /// The rules for new generations.
    pub(super) rollout: Rules,
    /// Its mistakes, each with line, table and member.
    pub(super) mistakes: Vec<Refusal>,
}

/// The entry of one slot.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) component: Option<Name>,
    pub(super) settings: Option<Name>,
    /// The operator allows the slot to have no files in the folder.
    pub(super) built_in: bool,
    pub(super) options: Options,
}

/// A file name in the manifest.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) text: String,
    /// Its place in the manifest: line, table and member.
    pub(super) place: String,
}

impl Manifest {
    /// Reads the manifest of a folder, if there is one. The names of files in one that is not trusted are read, so that all files
    /// that are not can be told; its rules are not.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub(super) fn read(folder: Option<&Path>, trust: &Trust) -> Result<Self, Refusal> {
        let refuse = |file: String, problem| Refusal {
            file,
            slot: None,
            problem,
        };
        let Some(folder) = folder else {
            return Ok(Self::default());
        };
        if let Err(error) = std::fs::read_dir(folder) {
            let problem = Problem::of_io(&error, Problem::Unreadable);
            return Err(refuse(folder.display().to_string(), problem));
        }
        let (parsed, problems) = match read_if_there(folder, MANIFEST, MAX_BYTES) {
            Ok(Some(bytes)) => {
                let mut parsed = parse_bytes(&bytes);
                let mistakes = std::mem::take(&mut parsed.mistakes).into_iter();
                let mut problems: Vec<_> = mistakes.map(Problem::Manifest).collect();
                if let Err(problem) = trust.verify_in(folder, MANIFEST, &bytes) {
                    parsed.rollout = Rules::default();
                    problems.insert(0, problem);
                }
                (parsed, problems)
            }
            Ok(None) if trust.is_on() => {
                let problem = Problem::Untrusted(Distrust::NoManifest);
                (Parsed::default(), vec![problem])
            }
            Ok(None) => (Parsed::default(), Vec::new()),
            Err(error) => {
                let problem = Problem::of_io(&error, Problem::Unreadable);
                (Parsed::default(), vec![problem])
            }
        };
        let refused = |problem| refuse(MANIFEST.to_owned(), problem);
        Ok(Self {
            entries: parsed.entries,
            rollout: parsed.rollout,
            mistakes: problems.into_iter().map(refused).collect(),
        })
    }

    /// Takes the entry of a slot.
    pub(super) fn take(&mut self, slot: Slot) -> Entry {
        std::mem::take(&mut self.entries[slot as usize])
    }
}

/// The text of the manifest, read as far as it can be read.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    entries: [Entry; Slot::COUNT],
    rollout: Rules,
    pub(super) mistakes: Vec<String>,
}

pub(super) fn parse_bytes(bytes: &[u8]) -> Parsed {
    match tables::text(bytes) {
        Ok(text) => parse(text),
        Err(mistake) => Parsed {
            mistakes: vec![mistake],
            ..Parsed::default()
        },
    }
}

fn parse(text: &str) -> Parsed {
    let mut parsed = Parsed::default();
    let (mut reading, tables) = match Reading::begin(text) {
        Ok(begun) => begun,
        Err(mistakes) => {
            parsed.mistakes = mistakes;
            return parsed;
        }
    };
    for member in reading.members("", tables.get_ref()) {
        let name = member.name;
        let slot = Slot::parse(name);
        match (slot, member.value) {
            (Some(slot), DeValue::Table(table)) => {
                parsed.entries[slot as usize] = reading.entry(slot, table);
            }
            (None, DeValue::Table(table)) if name == ROLLOUT => {
                parsed.rollout = reading.rules(table);
            }
            (slot, _) if slot.is_some() || name == ROLLOUT => {
                reading.wrong(&member, &format!("a table, `[{name}]`"));
            }
            _ => {
                let tables = Slot::ALL.map(|slot| format!("[{slot}]")).join(", ");
                let expected = format!("one of {tables}, [{ROLLOUT}]");
                let place = member.place.replacen(", ", ", [", 1) + "]";
                reading.note(&place, &expected, "another name");
            }
        }
    }
    parsed.mistakes = reading.mistakes();
    parsed
}

impl Reading<'_> {
    fn entry(&mut self, slot: Slot, table: &DeTable<'_>) -> Entry {
        let mut entry = Entry::default();
        let options = &mut entry.options;
        for member in self.members(slot.name(), table) {
            match member.name {
                "component" => entry.component = self.file(&member),
                "settings" => entry.settings = self.file(&member),
                "built_in" => entry.built_in = self.boolean(&member).unwrap_or_default(),
                "instances" => options.instances = self.instances(&member),
                "grants" => options.credential = self.grants(&member),
                "memory_mib" => {
                    let most = MAX_MEMORY as u64 >> 20;
                    if let Some(mebibytes) = self.number(&member, 1..=most) {
                        options.limits.memory = (mebibytes as usize) << 20;
                    }
                }
                "deadline_ms" => {
                    if let Some(milliseconds) = self.number(&member, 2..=10_000) {
                        let deadline = Duration::from_millis(milliseconds);
                        options.limits.deadline = deadline;
                        options.limits.wall = Limits::default().wall.max(deadline * 10);
                    }
                }
                _ => self.unknown(&member, &MEMBERS),
            }
        }
        if let (true, Some(component)) = (entry.built_in, &entry.component) {
            let expected = "no component where `built_in` is true";
            self.note(&component.place, expected, "one");
        }
        entry
    }

    fn file(&mut self, member: &Member<'_>) -> Option<Name> {
        let Some(text) = member.value.as_str() else {
            self.wrong(member, "the name of a file, in quotes");
            return None;
        };
        if text.is_empty() || text.contains(['/', '\\']) || [".", ".."].contains(&text) {
            self.wrong(member, "the name of a file in the same folder");
            return None;
        }
        Some(Name {
            text: text.to_owned(),
            place: member.place.clone(),
        })
    }

    fn instances(&mut self, member: &Member<'_>) -> Instances {
        match member.value.as_str() {
            Some("frozen") => Instances::Frozen,
            Some("warm") => Instances::Warm,
            _ => {
                self.wrong(member, "\"frozen\" or \"warm\"");
                Instances::Frozen
            }
        }
    }

    /// Whether the credential is granted; there is no other grant.
    fn grants(&mut self, member: &Member<'_>) -> bool {
        let grants = member.value.as_array();
        let known = |grant: &Spanned<DeValue<'_>>| grant.get_ref().as_str() == Some("credential");
        match grants {
            Some(grants) if grants.iter().all(known) => !grants.is_empty(),
            _ => {
                self.wrong(member, "a list, of which \"credential\" is the only word");
                false
            }
        }
    }
}

/// The JSON Schema of `policies.toml` or, as its `[rollout]` is, of a candidate's own `rollout.toml`.
#[must_use]
pub fn schema(of_candidates: bool) -> Value {
    let mut schema: Value = serde_json::from_str(SCHEMA).unwrap_or_default();
    if of_candidates && let Some(members) = schema.as_object_mut() {
        members.retain(|name, _| matches!(name.as_str(), "$schema" | "$defs"));
        members.insert("$ref".to_owned(), "#/$defs/candidate".into());
    }
    schema
}

#[cfg(test)]
pub(super) mod tests;
