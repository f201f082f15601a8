//! `codex-gateway policy new`: makes a folder with a policy that builds, for its author to change.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use codex_gateway::policy::{Language, Slot, new_policy};

use super::super::{complain, fail, print};
use super::subject::one_of;
use super::write_new;

/// The exit code if the folder cannot be made (EX_CANTCREAT of sysexits.h).
const EXIT_CANNOT_CREATE: u8 = 73;

/// The arguments.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The slot.
    #[arg(value_parser = one_of(Slot::ALL, Slot::name))]
    slot: Slot,
    /// The policy's name: lower-case letters, digits and hyphens.
    #[arg(value_parser = name)]
    name: String,
    /// The language.
    #[arg(long, value_parser = one_of(Language::ALL, Language::name), default_value = Language::Rust.name())]
    lang: Language,
    /// The folder to make; by default one of the policy's name, here.
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

fn name(text: &str) -> Result<String, String> {
    // Whether a name is right depends on neither the slot nor the language.
    new_policy(Slot::Auth, Language::Rust, text)
        .map(|_| text.to_owned())
        .map_err(|mistake| mistake.to_string())
}

/// Makes the folder, and says what to do in it.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let name = &arguments.name;
    let folder = arguments.to.clone().unwrap_or_else(|| PathBuf::from(name));
    let files = match new_policy(arguments.slot, arguments.lang, name) {
        Ok(files) => files,
        Err(mistake) => return fail(&mistake.into()),
    };
    if let Err(error) = make(&folder, &files) {
        complain(&format!("{error:#}"));
        return ExitCode::from(EXIT_CANNOT_CREATE);
    }
    let folder = folder.display();
    let said = print(&format!(
        "{folder}: {} files; {folder}/README.md has the commands that build, test and deploy it\n",
        files.len()
    ));
    said.map_or_else(|error| fail(&error), |()| ExitCode::SUCCESS)
}

/// A folder that is there already is refused, also an empty one: it may be somebody's.
fn make(folder: &Path, files: &[(String, String)]) -> anyhow::Result<()> {
    let shown = folder.display();
    fs::create_dir(folder).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            anyhow::anyhow!("{shown} is there already: name another folder with --to")
        }
        ErrorKind::NotFound => anyhow::anyhow!("{shown}: the folder above it is not there"),
        _ => anyhow::anyhow!("{shown} cannot be made: {error}"),
    })?;
    for (path, text) in files {
        write_new(&folder.join(path), text).with_context(|| format!("{shown}/{path}"))?;
    }
    Ok(())
}
