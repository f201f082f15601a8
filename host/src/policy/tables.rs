//! Reads the tables of an operator's TOML: every mistake has its line, table and member, what is expected there, and what was found.

use std::borrow::Cow;
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::settings::is_utf16;
use super::words::{NAME, text_within};

/// The most mistakes reported of a text that is not TOML; later ones follow from the first.
const MOST: usize = 8;
/// The most mistakes that are reported at all.
const MISTAKES: usize = 64;

/// The text of a file.
///
/// # Errors
/// If it is not in UTF-8.
pub(super) fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|error| {
        if is_utf16(bytes) {
            return "expected text in UTF-8, found UTF-16; save it as UTF-8".to_owned();
        }
        let before = &bytes[..error.valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("line {line}: expected text in UTF-8, found other bytes")
    })
}

/// Reads the values, and collects their mistakes.
pub(super) struct Reading<'t> {
    text: &'t str,
    mistakes: Vec<String>,
}

/// One member of a table.
pub(super) struct Member<'t> {
    pub(super) name: &'t str,
    /// Line, table and member.
    pub(super) place: String,
    pub(super) value: &'t DeValue<'t>,
}

impl<'t> Reading<'t> {
    /// The tables of a text, and what reads them.
    ///
    /// # Errors
    /// If it is not TOML: the mistakes.
    pub(super) fn begin(text: &'t str) -> Result<(Self, Spanned<DeTable<'t>>), Vec<String>> {
        let reading = Self {
            text,
            mistakes: Vec::new(),
        };
        let (tables, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            return Ok((reading, tables));
        }
        let mistakes = errors.iter().take(MOST).map(|error| {
            let place = reading.guess(reading.line(&error.span().unwrap_or_default()));
            let found = error.message().replace('\n', ", ");
            format!("{place}: expected TOML, as `name = \"text\"` below a `[table]`, found a mistake: {found}")
        });
        Err(mistakes.collect())
    }

    /// The mistakes, in the order in which they were found.
    pub(super) fn mistakes(mut self) -> Vec<String> {
        let more = self.mistakes.len().saturating_sub(MISTAKES);
        if more > 0 {
            self.mistakes.truncate(MISTAKES);
            self.mistakes.push(format!("{more} further mistakes"));
        }
        self.mistakes
    }
}

impl Reading<'_> {
    /// The members of a table in the order of the text. `name` is the table's; the members of the whole text have none.
    pub(super) fn members<'v>(&self, name: &str, table: &'v DeTable<'_>) -> Vec<Member<'v>> {
        let members = in_order(table).into_iter().map(|(member, value)| {
            let line = self.line(&member.span());
            let shown = text_within(NAME, member.get_ref().to_string());
            Member {
                name: member.get_ref(),
                place: match name {
                    "" => format!("line {line}, {shown}"),
                    name => format!("line {line}, [{name}] {shown}"),
                },
                value: value.get_ref(),
            }
        });
        members.collect()
    }

    /// The table of this name.
    pub(super) fn table<'v>(&mut self, name: &str, member: &Member<'v>) -> Option<&'v DeTable<'v>> {
        let table = member.value.as_table();
        if table.is_none() {
            self.wrong(member, &format!("a table, `[{name}]`"));
        }
        table
    }

    pub(super) fn boolean(&mut self, member: &Member<'_>) -> Option<bool> {
        let found = member.value.as_bool();
        if found.is_none() {
            self.wrong(member, "true or false");
        }
        found
    }

    pub(super) fn number(
        &mut self,
        member: &Member<'_>,
        range: RangeInclusive<u64>,
    ) -> Option<u64> {
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

    /// A length of time; `expected` names the range.
    pub(super) fn duration(
        &mut self,
        member: &Member<'_>,
        range: RangeInclusive<Duration>,
        expected: &str,
    ) -> Option<Duration> {
        let text = member.value.as_str();
        let duration = text.and_then(|text| humantime::parse_duration(text).ok());
        let duration = duration.filter(|duration| range.contains(duration));
        if duration.is_none() {
            self.wrong(member, expected);
        }
        duration
    }

    /// A list of at most `most` texts that are `allowed`.
    pub(super) fn texts(
        &mut self,
        member: &Member<'_>,
        most: usize,
        (allowed, expected): (impl Fn(&str) -> bool, &str),
    ) -> Option<Vec<String>> {
        let read = |text: &Spanned<DeValue<'_>>| {
            let text = text.get_ref().as_str().filter(|text| allowed(text))?;
            Some(text.to_owned())
        };
        let list = member.value.as_array().filter(|list| list.len() <= most);
        let texts = list.and_then(|list| list.iter().map(read).collect());
        if texts.is_none() {
            self.wrong(member, &format!("a list of at most {most} {expected}"));
        }
        texts
    }

    pub(super) fn unknown(&mut self, member: &Member<'_>, known: &[&str]) {
        let expected = format!("one of {}", known.join(", "));
        self.note(&member.place, &expected, "another name");
    }

    pub(super) fn wrong(&mut self, member: &Member<'_>, expected: &str) {
        self.note(&member.place, expected, kind(member.value));
    }

    pub(super) fn note(&mut self, place: &str, expected: &str, found: impl Display) {
        self.mistakes
            .push(format!("{place}: expected {expected}, found {found}"));
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
