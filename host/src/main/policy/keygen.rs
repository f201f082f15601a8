//! `codex-gateway policy keygen`: makes the keys that policies are signed with.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use codex_gateway::policy::{Password, new_keys};

use super::super::{complain, fail, print};
use super::password;

/// The exit code if a file cannot be made (EX_CANTCREAT of sysexits.h).
const EXIT_CANNOT_CREATE: u8 = 73;

/// The arguments.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The name of the files, without its ending: NAME.key and NAME.pub.
    #[arg(value_name = "NAME", default_value = "policies")]
    name: PathBuf,
    /// A file with the password of the secret key, `-` for standard input; by default it is asked for.
    #[arg(long, value_name = "FILE", conflicts_with = "without_password")]
    password_file: Option<PathBuf>,
    /// Make a key without a password, for a machine that keeps the file itself secret.
    #[arg(short = 'W', long)]
    without_password: bool,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let file = |ending: &str| {
        let mut path = arguments.name.clone().into_os_string();
        path.push(ending);
        PathBuf::from(path)
    };
    let (secret, public) = (file(".key"), file(".pub"));
    if let Some(there) = [&secret, &public].into_iter().find(|path| path.exists()) {
        let what = "is there already: give another name, or move it away";
        complain(&format!("{} {what}", there.display()));
        return ExitCode::from(EXIT_CANNOT_CREATE);
    }
    let password = match arguments.without_password {
        true => Ok(Password::None),
        false => password::read(arguments.password_file.as_deref()),
    };
    let keys = match password.and_then(|password| Ok(new_keys(password)?)) {
        Ok(keys) => keys,
        Err(error) => return fail(&error),
    };
    let made =
        write(&secret, &keys.secret, 0o600).and_then(|()| write(&public, &keys.public, 0o644));
    if let Err(error) = made {
        complain(&error);
        return ExitCode::from(EXIT_CANNOT_CREATE);
    }
    let said = print(&format!(
        "{}: the secret key, for those who sign; no gateway needs it\n{}: the public key {}, for gateways:\nPOLICY_TRUSTED_KEYS={}\n",
        secret.display(),
        public.display(),
        keys.id,
        keys.line,
    ));
    said.map_or_else(|error| fail(&error), |()| ExitCode::SUCCESS)
}

/// Writes a file that is not there yet.
fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let mut options = File::options();
    let options = options.write(true).create_new(true).mode(mode);
    let written = options
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| {
        let shown = path.display();
        match error.kind() {
            ErrorKind::NotFound => anyhow::anyhow!("{shown}: the folder above it is not there"),
            _ => anyhow::anyhow!("{shown}: {error}"),
        }
    })
}
