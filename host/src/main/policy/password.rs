//! The password of a secret key: from a file, from standard input, or asked for.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use codex_gateway::app;
use codex_gateway::policy::Password;

/// The most bytes of a password: as minisign has it.
const LONGEST: usize = 1024;

/// The password in a file, of which `-` is standard input; without a file it is asked for.
///
/// # Errors
/// If the file cannot be read, or has no password that minisign takes. The error does not contain it.
pub(super) fn read(file: Option<&Path>) -> anyhow::Result<Password> {
    let Some(path) = file else {
        return Ok(Password::Asked);
    };
    let shown = path.display();
    let mut text = String::new();
    match path.as_os_str() == "-" {
        true => {
            let mut input = std::io::stdin().take(LONGEST as u64 + 3);
            input.read_to_string(&mut text).context("standard input")?;
        }
        false => text = app::read_small(path).with_context(|| format!("{shown}"))?,
    }
    // As editors and `echo` end a line.
    let length = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(length);
    ensure!(
        length > 0,
        "{shown}: expected a password, found an empty text"
    );
    ensure!(
        length <= LONGEST,
        "{shown}: expected a password of at most {LONGEST} bytes, found more"
    );
    Ok(Password::Given(text))
}
