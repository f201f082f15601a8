//! `policies.toml`: the host's options of each slot and the rules for new generations, beside the operator's components.

use std::borrow::Cow;
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::path::Path;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Slot;
use super::candidate::{Instances, Options};
use super::engine::MAX_MEMORY;
use super::fault::{Problem, Refusal};
use super::guest::Limits;
use super::rollout::Rules;
use super::settings::is_utf16;
use crate::file::read_if_there;

/// The file's name; the file is optional.
pub(super) const MANIFEST: &str = "policies.toml";
/// The most bytes of the file, which has some tens of lines.
const MAX_BYTES: u64 = 256 << 10;

/// The most mistakes reported of a text that is not TOML; later ones follow from the first.
const MOST: usize = 8;

/// The table that is of no slot.
const ROLLOUT: &str = "rollout";
/// The longest probation.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
/// The most digests that are accepted.
const MOST_ACCEPTED: usize = 16;

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
    /// Reads the manifest of a folder, if there is one.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub(super) fn read(folder: Option<&Path>) -> Result<Self, Refusal> {
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
                (parsed, mistakes.map(Problem::Manifest).collect())
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
struct Parsed {
    entries: [Entry; Slot::COUNT],
    rollout: Rules,
    mistakes: Vec<String>,
}

impl Parsed {
    fn unreadable(mistakes: Vec<String>) -> Self {
        Self {
            mistakes,
            ..Self::default()
        }
    }
}

fn parse_bytes(bytes: &[u8]) -> Parsed {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(text),
        Err(_) if is_utf16(bytes) => {
            let mistake = "expected text in UTF-8, found UTF-16; save it as UTF-8".to_owned();
            Parsed::unreadable(vec![mistake])
        }
        Err(error) => {
            let before = &bytes[..error.valid_up_to()];
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            let mistake = format!("line {line}: expected text in UTF-8, found other bytes");
            Parsed::unreadable(vec![mistake])
        }
    }
}

fn parse(text: &str) -> Parsed {
    let mut reading = Reading {
        text,
        mistakes: Vec::new(),
    };
    let (tables, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let mistakes = errors.iter().take(MOST).map(|error| {
            let place = reading.guess(reading.line(&error.span().unwrap_or_default()));
            let found = error.message().replace('\n', ", ");
            format!("{place}: expected TOML, as `name = \"text\"` below a `[table]`, found a mistake: {found}")
        });
        return Parsed::unreadable(mistakes.collect());
    }
    let mut parsed = Parsed::default();
    for (name, value) in in_order(tables.get_ref()) {
        let word = name.get_ref().as_ref();
        let slot = Slot::ALL.into_iter().find(|slot| slot.name() == word);
        match (slot, value.get_ref()) {
            (Some(slot), DeValue::Table(table)) => {
                parsed.entries[slot as usize] = reading.entry(slot, table);
            }
            (None, DeValue::Table(table)) if word == ROLLOUT => {
                parsed.rollout = reading.rollout(table);
            }
            (slot, other) if slot.is_some() || word == ROLLOUT => {
                let place = format!("line {}, {word}", reading.line(&name.span()));
                reading.note(&place, &format!("a table, `[{word}]`"), kind(other));
            }
            _ => {
                let place = format!("line {}, [{word}]", reading.line(&name.span()));
                let tables = Slot::ALL.map(|slot| format!("[{slot}]")).join(", ");
                let expected = format!("one of {tables}, [{ROLLOUT}]");
                reading.note(&place, &expected, "another name");
            }
        }
    }
    parsed.mistakes = reading.mistakes;
    parsed
}

/// Reads the values, and collects their mistakes.
struct Reading<'t> {
    text: &'t str,
    mistakes: Vec<String>,
}

/// One member of a slot's table.
struct Member<'t> {
    place: String,
    value: &'t DeValue<'t>,
}

impl Reading<'_> {
    fn entry(&mut self, slot: Slot, table: &DeTable<'_>) -> Entry {
        let mut entry = Entry::default();
        let options = &mut entry.options;
        for (name, value) in in_order(table) {
            let member = Member {
                place: self.place(slot.name(), name),
                value: value.get_ref(),
            };
            match name.get_ref().as_ref() {
                "component" => entry.component = self.file(&member),
                "settings" => entry.settings = self.file(&member),
                "built_in" => match value.get_ref().as_bool() {
                    Some(built_in) => entry.built_in = built_in,
                    None => self.wrong(&member, "true or false"),
                },
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
                _ => self.note(
                    &member.place,
                    &format!("one of {}", MEMBERS.join(", ")),
                    "another name",
                ),
            }
        }
        if let (true, Some(component)) = (entry.built_in, &entry.component) {
            let expected = "no component where `built_in` is true";
            self.note(&component.place, expected, "one");
        }
        entry
    }

    fn rollout(&mut self, table: &DeTable<'_>) -> Rules {
        let mut rules = Rules::default();
        for (name, value) in in_order(table) {
            let member = Member {
                place: self.place(ROLLOUT, name),
                value: value.get_ref(),
            };
            match name.get_ref().as_ref() {
                "probation" => {
                    if let Some(probation) = self.duration(&member) {
                        rules.probation = probation;
                    }
                }
                "max_denials" => {
                    let most = u64::from(u32::MAX);
                    let number = self.number(&member, 0..=most);
                    rules.max_denials = number.and_then(|number| u32::try_from(number).ok());
                }
                "accept" => rules.accept = self.digests(&member),
                _ => self.note(
                    &member.place,
                    "one of probation, max_denials, accept",
                    "another name",
                ),
            }
        }
        rules
    }

    fn duration(&mut self, member: &Member<'_>) -> Option<Duration> {
        let text = member.value.as_str();
        let duration = text.and_then(|text| humantime::parse_duration(text).ok());
        let duration = duration.filter(|duration| *duration <= LONGEST);
        if duration.is_none() {
            self.wrong(
                member,
                "a time as \"10m\", at most \"7d\", or \"0s\" for none",
            );
        }
        duration
    }

    fn digests(&mut self, member: &Member<'_>) -> Vec<String> {
        let read = |digest: &Spanned<DeValue<'_>>| {
            let digest = digest.get_ref().as_str()?;
            let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            let is_digest = (12..=64).contains(&digest.len()) && digest.bytes().all(is_digit);
            is_digest.then(|| digest.to_owned())
        };
        let digests = member
            .value
            .as_array()
            .filter(|list| list.len() <= MOST_ACCEPTED);
        let digests = digests.and_then(|list| list.iter().map(read).collect());
        if digests.is_none() {
            let expected = format!(
                "a list of at most {MOST_ACCEPTED} digests, each with 12 or more of its digits, in quotes"
            );
            self.wrong(member, &expected);
        }
        digests.unwrap_or_default()
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

    fn number(&mut self, member: &Member<'_>, range: RangeInclusive<u64>) -> Option<u64> {
        let number = member.value.as_integer();
        let number =
            number.and_then(|number| u64::from_str_radix(number.as_str(), number.radix()).ok());
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let expected = format!("a whole number from {} to {}", range.start(), range.end());
            self.wrong(member, &expected);
        }
        number
    }

    fn wrong(&mut self, member: &Member<'_>, expected: &str) {
        self.note(&member.place, expected, kind(member.value));
    }

    fn note(&mut self, place: &str, expected: &str, found: impl Display) {
        self.mistakes
            .push(format!("{place}: expected {expected}, found {found}"));
    }

    fn place(&self, table: &str, name: &Spanned<impl Display>) -> String {
        let line = self.line(&name.span());
        format!("line {line}, [{table}] {}", name.get_ref())
    }

    /// The line, table and member of text that is not TOML, as far as they can be recognised.
    fn guess(&self, number: usize) -> String {
        let is_table = |line: &&str| line.trim_start().starts_with('[');
        let table = self.text.lines().take(number).filter(is_table).last();
        let table = table.and_then(|line| Some(line.split_once(']')?.0));
        let table = table.map(|table| format!(", {}]", table.trim()));
        let line = self.text.lines().nth(number - 1).unwrap_or_default();
        let member = line.split_once('=').map(|(member, _)| member.trim());
        let member = member.map(|member| match table {
            Some(_) => format!(" {member}"),
            None => format!(", {member}"),
        });
        let (table, member) = (table.unwrap_or_default(), member.unwrap_or_default());
        format!("line {number}{table}{member}")
    }

    fn line(&self, span: &Range<usize>) -> usize {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        before.matches('\n').count() + 1
    }
}

/// The members of a table in the order of the text.
fn in_order<'t, 'i>(
    table: &'t DeTable<'i>,
) -> Vec<(&'t Spanned<Cow<'i, str>>, &'t Spanned<DeValue<'i>>)> {
    let mut members: Vec<_> = table.iter().collect();
    members.sort_by_key(|(name, _)| name.span().start);
    members
}

/// A value, described for an operator.
fn kind(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.chars().count() <= 80 => format!("{text:?}"),
        DeValue::String(_) => "a long text".to_owned(),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(word) => word.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(items) => match items.iter().find_map(|item| item.get_ref().as_str()) {
            Some(text) if items.len() == 1 => format!("a list of {text:?}"),
            _ => "a list".to_owned(),
        },
        DeValue::Table(_) => "a table".to_owned(),
    }
}

#[cfg(test)]
mod tests;
