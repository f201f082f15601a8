//! The `.env` file: variables for a gateway that is started by hand. The process environment overrides it.
//!
//! `dotenvy` reads the entries. The rest is by hand: its loader would put the secrets into the process environment, its
//! errors quote the line instead of counting it, and a `$NAME` of no variable vanishes without a word.

use std::cell::Cell;
use std::collections::HashMap;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::env::{Origin, Process, Vars};
use super::problem::{Problem, Warning};
use crate::file;

const NAME: &str = ".env";
const MAX_BYTES: u64 = 1 << 20;

/// The most mistakes reported of one file; more have a common reason.
const MOST: usize = 16;

/// The process environment, and below it the variables of a `.env` file.
#[derive(Debug, Clone, Default)]
pub struct DotEnv {
    file: HashMap<String, String>,
    path: Option<PathBuf>,
    problems: Vec<Problem>,
    warning: Option<Warning>,
}

impl DotEnv {
    /// Reads the `.env` of the working directory or, if there is none, of the program's folder. Neither need exist. Invalid lines
    /// are mistakes of the configuration.
    #[must_use]
    pub fn load() -> Self {
        let beside = std::env::current_exe()
            .ok()
            .and_then(|program| Some(program.parent()?.join(NAME)));
        for path in [Some(PathBuf::from(NAME)), beside].into_iter().flatten() {
            match file::read_text(&path, MAX_BYTES) {
                Ok(text) => {
                    return Self {
                        warning: exposure(&path),
                        path: Some(path),
                        ..parse(&text)
                    };
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let unreadable = problem("a readable text file", error.to_string());
                    return Self {
                        problems: vec![unreadable],
                        ..Self::default()
                    };
                }
            }
        }
        Self::default()
    }
}

impl Vars for DotEnv {
    fn get(&self, name: &str) -> Option<String> {
        Process.get(name).or_else(|| self.file.get(name).cloned())
    }

    fn is_garbled(&self, name: &str) -> bool {
        Process.is_garbled(name)
    }

    fn all(&self) -> Vec<(String, String)> {
        let mut all = self.file.clone();
        all.extend(Process.all());
        all.into_iter().collect()
    }

    fn origin(&self, name: &str) -> Origin {
        match Process.get(name) {
            Some(_) => Origin::Environment,
            None => Origin::File,
        }
    }

    fn file(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    fn problems(&self) -> Vec<Problem> {
        self.problems.clone()
    }

    fn warning(&self) -> Option<Warning> {
        self.warning.clone()
    }
}

/// The names and values; if a name occurs more than once, the last one counts, as in a shell.
fn parse(text: &str) -> DotEnv {
    let text = text.trim_start_matches('\u{feff}');
    let number = Rc::new(Cell::new(0));
    let lines = Lines {
        text,
        number: Rc::clone(&number),
    };
    let mut file: HashMap<String, String> = HashMap::new();
    let mut problems = Vec::new();
    let mut first = 0;
    for entry in dotenvy::from_read_iter(lines) {
        let last = number.get();
        let written = text.split_inclusive('\n').skip(first).take(last - first);
        first = last;
        if problems.len() >= MOST {
            break;
        }
        match entry {
            Ok((name, value)) => {
                let is_known = |name: &str| Process.get(name).is_some() || file.contains_key(name);
                let found = match vanishing(&written.collect::<String>(), is_known) {
                    Some("") => Some(format!("a `$` without a name in line {last}")),
                    Some(_) => Some(format!("no variable of that name in line {last}")),
                    None => None,
                };
                if let Some(found) = found {
                    problems.push(problem(
                        "each `$NAME` to name a variable, and values in which `$` is only a letter in single quotes",
                        format!("{found}, in the value of {name}"),
                    ));
                }
                file.insert(name, value);
            }
            // The error itself quotes the line, which may contain a secret.
            Err(_) => problems.push(problem(
                "NAME=value in each line, values with blanks in quotes",
                format!("something else in line {last}"),
            )),
        }
    }
    DotEnv {
        path: None,
        file,
        problems,
        warning: None,
    }
}

/// The first `$NAME` of an entry that expands to nothing: no variable has that name, or the name after `$` is empty.
fn vanishing(written: &str, is_known: impl Fn(&str) -> bool) -> Option<&str> {
    let value = written.split_once('=').map_or("", |(_, value)| value);
    let mut letters = value.char_indices();
    let (mut quoted, mut before) = (None, ' ');
    while let Some((at, letter)) = letters.next() {
        match (letter, quoted) {
            ('\'', Some('\'')) | ('"', Some('"')) => quoted = None,
            (_, Some('\'')) => {}
            ('\'' | '"', None) => quoted = Some(letter),
            ('\\', _) => {
                letters.next();
            }
            // The rest is a comment.
            ('#', None) if before.is_whitespace() => return None,
            ('$', _) => {
                let rest = &value[at + 1..];
                let rest = rest.strip_prefix('{').unwrap_or(rest);
                let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
                let end = rest.find(|letter| !is_part(letter)).unwrap_or(rest.len());
                if end == 0 || !is_known(&rest[..end]) {
                    return Some(&rest[..end]);
                }
            }
            _ => {}
        }
        before = letter;
    }
    None
}

fn problem(expected: &str, found: impl Into<String>) -> Problem {
    Problem {
        variable: NAME,
        expected: expected.to_owned(),
        found: found.into(),
    }
}

/// Warns if other users may read the file, which holds secrets.
fn exposure(path: &Path) -> Option<Warning> {
    const OTHERS: u32 = 0o007;
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    (mode & OTHERS != 0).then(|| Warning {
        name: NAME.to_owned(),
        what: format!(
            "every user of this machine may read it, with the secrets in it; chmod 600 {}",
            path.display()
        ),
        is_remark: false,
    })
}

/// A reader that returns at most one line per call, and counts the lines read.
struct Lines<'a> {
    text: &'a str,
    number: Rc<Cell<usize>>,
}

impl Read for Lines<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let end = self.text.find('\n').map_or(self.text.len(), |at| at + 1);
        let (line, _) = self.text.split_at(end);
        let length = line.floor_char_boundary(buffer.len());
        let (now, later) = self.text.split_at(length);
        for (to, from) in buffer.iter_mut().zip(now.bytes()) {
            *to = from;
        }
        self.text = later;
        let ended = now.ends_with('\n') || later.is_empty() && !now.is_empty();
        self.number.set(self.number.get() + usize::from(ended));
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_quotes_comments_and_export_are_as_people_write_them() {
        let text = "\u{feff}# a comment\nA=1\n\nexport B=\"two words\" # why\nC='sk-$x'\r\nA=3\nD=";
        let vars = parse(text).file;
        let get = |name: &str| vars.get(name).map(String::as_str);
        assert_eq!(
            [get("A"), get("B"), get("C"), get("D")],
            [Some("3"), Some("two words"), Some("sk-$x"), Some("")]
        );
        assert_eq!(vars.len(), 4);
    }

    #[test]
    fn a_line_that_is_none_is_told_by_its_number_and_not_shown() {
        for (text, line) in [
            ("A=1\nsk-secret\nB=2\n", 2),
            ("# x\n\nA=1\nB=two words\n", 4),
            ("sk-secret", 1),
            ("A=1\nB=\"sk-secret\n", 2),
            ("A=\"1\n2\"\n=3\n", 3),
        ] {
            let problems = parse(text).problems;
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert_eq!(
                problems[0].to_string(),
                format!(
                    ".env: expected NAME=value in each line, values with blanks in quotes, found something else in line {line}"
                ),
                "{text}"
            );
        }
    }

    #[test]
    fn what_opentelemetry_itself_reads_is_of_no_use_in_the_file() {
        let text = "OTEL_TRACES_SAMPLER=always_off\nOTEL_SERVICE_NAME=ours\nPROXY_API_KEY=sk-0123456789abcdef";
        let vars = parse(text);
        let warnings = crate::config::Config::read(&vars).unwrap().warnings;
        let told: Vec<_> = warnings.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("OTEL_TRACES_SAMPLER: has no effect in .env"));
    }

    #[test]
    fn a_long_line_is_one_line() {
        let text = format!("A={}\nB\n", "é".repeat(20_000));
        assert!(parse(&text).problems[0].found.ends_with("line 2"));
    }

    #[test]
    fn all_lines_that_are_none_are_told_and_the_others_hold() {
        let vars = parse("A=1\nsk-secret\nB=2\nC=two words\nD=4");
        let lines: Vec<_> = vars
            .problems
            .iter()
            .map(|problem| problem.found.as_str())
            .collect();
        assert_eq!(
            lines,
            ["something else in line 2", "something else in line 4"]
        );
        assert_eq!(vars.file.len(), 3);
    }

    #[test]
    fn a_value_of_which_a_part_vanishes_is_a_mistake_and_not_shown() {
        for value in [
            "sk-abc$def-1",
            "\"sk-abc${def}-1\"",
            "a\\$b$def",
            "abc$-def",
            "abcdef$",
            "\"abcdef$\"",
            "$(def)",
            "abc$$def",
            "x # 'y'$def",
        ] {
            let vars = parse(&format!("KEY={value}\n"));
            let is_comment = value.contains('#');
            assert_eq!(vars.problems.is_empty(), is_comment, "{value}: {vars:?}");
            for problem in vars.problems {
                let told = problem.to_string();
                assert!(told.contains("line 1") && !told.contains("def"), "{told}");
            }
        }
        for value in [
            "'sk-abc$def'",
            "sk-abc\\$def",
            "$HOME/x",
            "${B}",
            "\"'$B'\"",
        ] {
            let vars = parse(&format!("B=1\nHOME=/h\nKEY={value}\n"));
            assert!(vars.problems.is_empty(), "{value}: {vars:?}");
        }
    }
}
