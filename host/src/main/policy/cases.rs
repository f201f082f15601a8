//! `codex-gateway policy cases`: writes the cases of the built-in policies, a kit for those who replace one.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use codex_gateway::policy::{BUILT_IN_CASES, Slot};

use super::super::{fail, print};
use super::subject::{one_of, wrong};
use super::write_new;

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
    let cases = cases.filter_map(|(path, text)| Some((path.split_once("/cases/")?, text)));
    let wanted = cases.filter(|((slot, _), _)| only.is_none_or(|only| only.name() == *slot));
    let mut written = 0;
    for ((slot, name), text) in wanted {
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

/// Writes a case, with words for a person if there is one already.
fn write(path: &Path, text: &str) -> io::Result<()> {
    write_new(path, text).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => io::Error::other("it is there already: name another folder"),
        _ => error,
    })
}
