//! The `.env` file: variables for those who start the gateway by hand. The process environment has the last word.

use std::collections::HashMap;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::env::{Origin, Process, Vars};
use super::read::{Problem, Warning};
use crate::file;

const NAME: &str = ".env";
const MAX_BYTES: u64 = 1 << 20;

/// The process environment over what a `.env` file says.
#[derive(Debug, Clone, Default)]
pub struct DotEnv {
    file: HashMap<String, String>,
    path: Option<PathBuf>,
    warning: Option<Warning>,
}

impl DotEnv {
    /// Reads the `.env` of the working directory or, if there is none, of the folder the program lies in. There may be
    /// neither.
    ///
    /// # Errors
    /// If it is there but cannot be read, or has a line that is none: its number.
    pub fn load() -> Result<Self, Problem> {
        let beside = std::env::current_exe()
            .ok()
            .and_then(|program| Some(program.parent()?.join(NAME)));
        for path in [Some(PathBuf::from(NAME)), beside].into_iter().flatten() {
            match file::read_text(&path, MAX_BYTES) {
                Ok(text) => {
                    return Ok(Self {
                        file: parse(&text)?,
                        warning: exposure(&path),
                        path: Some(path),
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(problem("a readable text file", error.to_string())),
            }
        }
        Ok(Self::default())
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

    fn warning(&self) -> Option<Warning> {
        self.warning.clone()
    }
}

/// Names and values; of several with one name the last, as a shell has it.
fn parse(text: &str) -> Result<HashMap<String, String>, Problem> {
    let text = text.trim_start_matches('\u{feff}');
    let mut lines = Lines { text, number: 0 };
    let mut vars = HashMap::new();
    let mut entries = dotenvy::from_read_iter(&mut lines);
    loop {
        // The error itself quotes the line, which may hold a secret.
        match entries.next() {
            Some(Ok((name, value))) => vars.insert(name, value),
            Some(Err(_)) => break,
            None => return Ok(vars),
        };
    }
    drop(entries);
    let expected = "NAME=value in each line, values with blanks in quotes";
    Err(problem(
        expected,
        format!("something else in line {}", lines.number),
    ))
}

fn problem(expected: &str, found: impl Into<String>) -> Problem {
    Problem {
        variable: NAME,
        expected: expected.to_owned(),
        found: found.into(),
    }
}

/// The file holds secrets.
fn exposure(path: &Path) -> Option<Warning> {
    const OTHERS: u32 = 0o007;
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    (mode & OTHERS != 0).then(|| Warning {
        name: NAME.to_owned(),
        what: format!(
            "every user of this machine may read it, with the secrets in it; chmod 600 {}",
            path.display()
        ),
    })
}

/// Gives one line a read, so that it is known which one was the last.
struct Lines<'a> {
    text: &'a str,
    number: usize,
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
        self.number += usize::from(now.ends_with('\n') || later.is_empty() && !now.is_empty());
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_quotes_comments_and_export_are_as_people_write_them() {
        let text = "\u{feff}# a comment\nA=1\n\nexport B=\"two words\" # why\nC='sk-$x'\r\nA=3\nD=";
        let vars = parse(text).unwrap();
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
            let problem = parse(text).unwrap_err().to_string();
            assert_eq!(
                problem,
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
        let vars = DotEnv {
            path: None,
            file: parse(text).unwrap(),
            warning: None,
        };
        let warnings = crate::config::Config::read(&vars).unwrap().warnings;
        let told: Vec<_> = warnings.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("OTEL_TRACES_SAMPLER: has no effect in .env"));
    }

    #[test]
    fn a_long_line_is_one_line() {
        let text = format!("A={}\nB\n", "é".repeat(20_000));
        assert!(parse(&text).unwrap_err().found.ends_with("line 2"));
    }
}
