//! `codex-gateway policy cases`: writes the cases of the built-in policies, a kit for those who replace one.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use codex_gateway::policy::{BUILT_IN_CASES, Slot};

use super::super::{fail, print};
use super::subject::{one_of, wrong};

/// The arguments.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The slot; by default all.
    #[arg(value_parser = one_of(Slot::ALL, Slot::name), value_name = "SLOT")]
    slot: Option<Slot>,
    /// A folder; the cases of each slot come into one of its own there. A file that is there already is not replaced.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let only = arguments.slot;
    let cases = BUILT_IN_CASES.iter();
    let wanted = cases.filter(|(slot, ..)| only.is_none_or(|only| only.name() == *slot));
    let mut written = 0;
    for (slot, name, text) in wanted {
        let path = arguments.to.join(slot).join(name);
        match write(&path, text) {
            Ok(()) => written += 1,
            Err(error) => return wrong(&format!("{}: {error}", path.display())),
        }
    }
    let to = arguments.to.display();
    match print(&format!("{to}: {written} cases written\n")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// Writes a new file.
fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    match file {
        Ok(mut file) => file.write_all(text.as_bytes()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Err(io::Error::other("it is there already: name another folder"))
        }
        Err(error) => Err(error),
    }
}
