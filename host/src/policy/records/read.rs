//! The reader of records: unpacks a file frame by frame, checks the seals and the chain, and reads line by line.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use super::chain::Chain;
use super::line::{self, Header, Line};
use super::seal::{self, FRAME, Seal};
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
    file: BufReader<fs::File>,
    /// The lines of the frame at hand.
    lines: Cursor<Vec<u8>>,
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
        let file = file::open(path).map_err(|error| file::at(path, error))?;
        Ok(Self {
            path: path.to_owned(),
            file: BufReader::with_capacity(128 << 10, file),
            lines: Cursor::default(),
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
        if !self.read()? {
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
        let is_over = self.lines.position() == self.lines.get_ref().len() as u64;
        if is_over && !self.unpack()? {
            return Ok(false);
        }
        let read = self.lines.read_until(b'\n', &mut self.line);
        match (read, self.line.pop()) {
            (Ok(_), Some(b'\n')) => Ok(true),
            _ => Err(self.damage("expected a line, found one that does not end")),
        }
    }

    /// Unpacks the next frame. Returns false at the end of the file.
    fn unpack(&mut self) -> Result<bool, Damage> {
        let bytes = self.take(seal::SIZE)?;
        if bytes.is_empty() {
            return Ok(false);
        }
        let Ok(bytes) = bytes.try_into() else {
            return Err(self.torn());
        };
        let Some(seal) = Seal::read(&bytes) else {
            return Err(self.damage("expected the seal of a frame: it was altered, or is missing"));
        };
        let frame = self.take(seal.length())?;
        if frame.len() < seal.length() {
            return Err(self.torn());
        }
        if !seal.fits(&frame) {
            return Err(self.damage("the frame that begins here was altered"));
        }
        let text = unpacked(&frame).map_err(|error| {
            self.damage(&format!("the frame that begins here is no text: {error}"))
        })?;
        self.lines = Cursor::new(text);
        Ok(true)
    }

    /// The next bytes; fewer only at the end of the file.
    fn take(&mut self, most: usize) -> Result<Vec<u8>, Damage> {
        let mut bytes = Vec::new();
        let read = (&mut self.file).take(most as u64).read_to_end(&mut bytes);
        match read {
            Ok(_) => Ok(bytes),
            Err(error) => Err(self.damage(&format!("it cannot be read: {error}"))),
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

    fn torn(&self) -> Damage {
        Damage {
            is_torn: true,
            ..self.damage(
                "the file ends within a frame: the gateway was killed, or the file was cut here; what is left of it is not read",
            )
        }
    }
}

/// The text of a frame.
fn unpacked(frame: &[u8]) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let decoder = zstd::Decoder::with_buffer(frame)?.single_frame();
    decoder.take(FRAME as u64).read_to_end(&mut text)?;
    Ok(text)
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
