//! The reader of records: unpacks a file line by line, and checks the chain.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::chain::Chain;
use super::line::{self, Header, LINE, Line};
use crate::file;

/// A place where records are wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}, line {line}: {what}", .file.display())]
pub struct Damage {
    /// The file.
    pub file: PathBuf,
    /// The line, counted from 1.
    pub line: u64,
    /// The mistake, in one line.
    pub what: String,
    /// The file ends within a frame, as one does whose gateway was killed: the lines before are whole.
    pub is_torn: bool,
}

/// The last hashes of files that were read, by their names.
#[derive(Default)]
pub(in crate::policy) struct Ends(HashMap<String, Chain>);

impl Ends {
    /// Whether files were read, and the one of this name was not.
    pub(in crate::policy) fn lacks(&self, name: &str) -> bool {
        !self.0.is_empty() && !self.0.contains_key(name)
    }
}

/// A file that is read.
pub(in crate::policy) struct File {
    path: PathBuf,
    is_empty: bool,
    lines: BufReader<zstd::Decoder<'static, BufReader<fs::File>>>,
    number: u64,
    chain: Chain,
    line: Vec<u8>,
}

impl File {
    /// Opens it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(in crate::policy) fn open(path: &Path) -> io::Result<Self> {
        let opened = || -> io::Result<_> {
            let file = file::open(path)?;
            Ok((file.metadata()?.len() == 0, zstd::Decoder::new(file)?))
        };
        let (is_empty, decoder) = opened().map_err(|error| file::at(path, error))?;
        Ok(Self {
            path: path.to_owned(),
            is_empty,
            lines: BufReader::with_capacity(128 << 10, decoder),
            number: 0,
            chain: Chain::default(),
            line: Vec::new(),
        })
    }

    /// Its name.
    pub(in crate::policy) fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// The header; `None` if the file is empty, since its gateway was killed before it wrote a frame.
    ///
    /// # Errors
    /// If it is damaged, or does not continue the file that it names, as far as that was read.
    pub(in crate::policy) fn header(&mut self, ends: &Ends) -> Result<Option<Header>, Damage> {
        if self.is_empty || !self.read()? {
            return Ok(None);
        }
        let header = match line::read(&self.line) {
            Ok(Line::Header(header)) => header,
            Ok(_) => return Err(self.damage("expected the header of a file of records")),
            Err(what) => return Err(self.damage(&what)),
        };
        let Some(continues) = Chain::parse(&header.continues) else {
            return Err(self.damage("expected 64 digits in `continues`"));
        };
        self.chain = continues;
        self.check()?;
        let before = header.after.as_ref();
        let end = before.and_then(|name| ends.0.get(name));
        match (end, before) {
            (Some(end), Some(name)) if *end != continues => {
                let what = format!(
                    "{name} does not end with the hash that this file continues: lines are missing at its end, or altered"
                );
                Err(self.damage(&what))
            }
            _ => Ok(Some(header)),
        }
    }

    /// The next line; `None` at the end.
    ///
    /// # Errors
    /// If it is damaged; that it is torn comes after all lines before that.
    pub(in crate::policy) fn next(&mut self) -> Result<Option<Line>, Damage> {
        if !self.advance()? {
            return Ok(None);
        }
        let line = line::read(&self.line);
        line.map(Some).map_err(|what| self.damage(&what))
    }

    /// As [`File::next`], without a look at what the line says.
    fn advance(&mut self) -> Result<bool, Damage> {
        let is_there = self.read()?;
        if is_there {
            self.check()?;
        }
        Ok(is_there)
    }

    /// Remembers where the file ends, for those that continue it.
    pub(in crate::policy) fn end(&self, ends: &mut Ends) {
        let name = self.path.file_name();
        if let Some(name) = name.and_then(|name| name.to_str()) {
            ends.0.insert(name.to_owned(), self.chain);
        }
    }

    fn read(&mut self) -> Result<bool, Damage> {
        self.line.clear();
        self.number += 1;
        let most = LINE as u64 + 1024;
        let read = self
            .lines
            .by_ref()
            .take(most)
            .read_until(b'\n', &mut self.line);
        match read {
            Ok(0) => Ok(false),
            Ok(_) if self.line.pop() == Some(b'\n') => Ok(true),
            Ok(_) => Err(self.damage("expected a line, found one that does not end")),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Damage {
                is_torn: true,
                ..self.damage(
                    "the file ends within a frame: the gateway was killed, or the file was cut or altered here",
                )
            }),
            Err(error) => Err(self.damage(&format!("it was altered, and cannot be unpacked: {error}"))),
        }
    }

    fn check(&mut self) -> Result<(), Damage> {
        match self.chain.check(&self.line) {
            true => Ok(()),
            false => Err(self.damage(
                "its hash is not that of the line and those before: it was altered, or lines before it are missing",
            )),
        }
    }

    fn damage(&self, what: &str) -> Damage {
        Damage {
            file: self.path.clone(),
            line: self.number,
            what: what.to_owned(),
            is_torn: false,
        }
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("path", &self.path).finish()
    }
}

/// The last hash of a file, a torn end aside; `None` if nothing is in it.
pub(super) fn end_of(path: &Path) -> Result<Option<Chain>, io::Error> {
    let mut file = File::open(path)?;
    match file.header(&Ends::default()) {
        Ok(Some(_)) => {}
        Ok(None) => return Ok(None),
        Err(damage) => return Err(io::Error::other(damage)),
    }
    loop {
        match file.advance() {
            Ok(true) => {}
            Ok(false) => return Ok(Some(file.chain)),
            Err(damage) if damage.is_torn => return Ok(Some(file.chain)),
            Err(damage) => return Err(io::Error::other(damage)),
        }
    }
}
