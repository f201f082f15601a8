//! Reads values: a mistake is noted and does not stop the reading, so that one start reports all mistakes.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::env::{Variable, Vars};
use super::problem::{Problem, Warning};

pub(super) struct Reader<'a> {
    vars: &'a dyn Vars,
    /// The variables that were read, each once, in the order of their first use.
    read: RefCell<Vec<Variable>>,
    pub(super) warnings: Vec<Warning>,
    pub(super) problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(vars: &'a dyn Vars) -> Self {
        Self {
            vars,
            read: RefCell::default(),
            warnings: Vec::new(),
            problems: Vec::new(),
        }
    }

    pub(super) fn note(
        &mut self,
        variable: Variable,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) {
        self.problems.push(Problem {
            variable: variable.name,
            expected: expected.into(),
            found: found.into(),
        });
    }

    pub(super) fn warn(&mut self, name: impl Into<String>, what: impl Into<String>) {
        self.warnings.push(Warning {
            name: name.into(),
            what: what.into(),
            is_remark: false,
        });
    }

    pub(super) fn remark(&mut self, name: impl Into<String>, what: impl Into<String>) {
        self.warnings.push(Warning {
            name: name.into(),
            what: what.into(),
            is_remark: true,
        });
    }

    pub(super) fn is_set(&self, variable: Variable) -> bool {
        self.get(variable).is_some()
    }

    /// Whether a variable has this value.
    pub(super) fn is(&self, variable: Variable, value: &str) -> bool {
        self.get(variable).is_some_and(|set| set.trim() == value)
    }

    fn get(&self, variable: Variable) -> Option<String> {
        let mut read = self.read.borrow_mut();
        if !read.contains(&variable) {
            read.push(variable);
        }
        self.vars.get(variable.name)
    }

    /// Reads some settings, and returns them with the variables that were read for them, each once.
    pub(super) fn noting<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> (T, Vec<Variable>) {
        let before = std::mem::take(self.read.get_mut());
        let settings = read(self);
        let variables = std::mem::replace(self.read.get_mut(), before);
        (settings, variables)
    }

    /// The value of a variable, with blanks trimmed. An empty value is a mistake: it is rarely intended.
    pub(super) fn text(&mut self, variable: Variable) -> Option<String> {
        let value = self.get(variable)?;
        self.unless_empty(variable, value.trim())
    }

    /// The value of a variable, with all blanks kept.
    pub(super) fn verbatim(&mut self, variable: Variable) -> Option<String> {
        let value = self.get(variable)?;
        self.unless_empty(variable, &value)
    }

    fn unless_empty(&mut self, variable: Variable, value: &str) -> Option<String> {
        if value.is_empty() {
            self.note(
                variable,
                "a value (or the variable not set at all)",
                "an empty one",
            );
            return None;
        }
        Some(value.to_owned())
    }

    /// The value as an absolute path.
    pub(super) fn path(&mut self, variable: Variable) -> Option<PathBuf> {
        let path = PathBuf::from(self.text(variable)?);
        Some(std::path::absolute(&path).unwrap_or(path))
    }

    /// An existing folder, as an absolute path.
    pub(super) fn folder(&mut self, variable: Variable) -> Option<PathBuf> {
        let path = self.path(variable)?;
        if !path.is_dir() {
            let found = format!("`{}`, which is none", path.display());
            self.note(variable, "a folder", found);
        }
        Some(path)
    }

    /// A file that can be written, or created in an existing folder.
    pub(super) fn file(&mut self, variable: Variable) -> Option<PathBuf> {
        let path = PathBuf::from(self.text(variable)?);
        let whole = std::path::absolute(&path).unwrap_or_else(|_| path.clone());
        let folder = whole.parent().filter(|folder| folder.is_dir());
        let found = match folder {
            Some(_) if is_pipe(&whole) => format!("`{}`, which is a pipe", path.display()),
            Some(folder) if !whole.is_dir() => {
                let written = if whole.exists() { &whole } else { folder };
                match is_writable(written) {
                    true => return Some(path),
                    false => format!("`{}`, which this user cannot write", path.display()),
                }
            }
            _ => format!("`{}`", path.display()),
        };
        self.note(variable, "a file in a folder that is there", found);
        Some(path)
    }

    pub(super) fn number(
        &mut self,
        variable: Variable,
        range: RangeInclusive<u64>,
        default: u64,
    ) -> u64 {
        self.set_number(variable, range).unwrap_or(default)
    }

    /// A port, if it is set.
    pub(super) fn port(&mut self, variable: Variable) -> Option<u16> {
        let number = self.set_number(variable, 0..=u64::from(u16::MAX))?;
        u16::try_from(number).ok()
    }

    fn set_number(&mut self, variable: Variable, range: RangeInclusive<u64>) -> Option<u64> {
        let text = self.text(variable)?;
        match text.parse() {
            Ok(number) if range.contains(&number) => Some(number),
            _ => {
                self.note(
                    variable,
                    format!("a whole number from {} to {}", range.start(), range.end()),
                    format!("`{text}`"),
                );
                None
            }
        }
    }

    pub(super) fn millis(&mut self, variable: Variable, least: u64, default: u64) -> Duration {
        const DAY: u64 = 24 * 60 * 60 * 1000;
        Duration::from_millis(self.number(variable, least..=DAY, default))
    }

    /// A switch that is off by default.
    pub(super) fn switch(&mut self, variable: Variable) -> bool {
        self.set_switch(variable).unwrap_or(false)
    }

    /// A switch that is on by default.
    pub(super) fn switch_on(&mut self, variable: Variable) -> bool {
        self.set_switch(variable).unwrap_or(true)
    }

    fn set_switch(&mut self, variable: Variable) -> Option<bool> {
        let text = self.text(variable)?;
        let word = switch_word(&text);
        if word.is_none() {
            self.note(variable, "true or false", format!("`{text}`"));
        }
        word
    }

    /// One of `words`, in upper or lower case.
    pub(super) fn choice<T: Copy>(
        &mut self,
        variable: Variable,
        words: &[(&str, T)],
        default: T,
    ) -> T {
        let Some(text) = self.text(variable) else {
            return default;
        };
        match words
            .iter()
            .find(|(word, _)| text.eq_ignore_ascii_case(word))
        {
            Some((_, value)) => *value,
            None => {
                let expected: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                self.note(variable, expected.join(" or "), format!("`{text}`"));
                default
            }
        }
    }

    /// The items between commas; empty if the variable is not set. A list that is set but has no items is a mistake.
    pub(super) fn list(&mut self, variable: Variable) -> Vec<String> {
        let Some(text) = self.text(variable) else {
            return Vec::new();
        };
        let items: Vec<_> = text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(str::to_owned)
            .collect();
        if items.is_empty() {
            let expected = "something between the commas (or the variable not set at all)";
            self.note(variable, expected, format!("`{text}`"));
        }
        items
    }
}

/// Whether this user can write there, by permissions and mount. Nothing is written.
pub(super) fn is_writable(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok()
}

/// A pipe can block, cannot be rotated, and cannot be read back.
fn is_pipe(path: &Path) -> bool {
    let kind = std::fs::metadata(path).map(|found| found.file_type());
    kind.is_ok_and(|kind| kind.is_fifo() || kind.is_socket())
}

/// The value of a word for yes or no.
pub(super) fn switch_word(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}
