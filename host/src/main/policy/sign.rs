//! `codex-gateway policy sign`: signs files of policies, each beside itself; `verify` reads what this writes.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use codex_gateway::app;
use codex_gateway::policy::{Password, SIGNATURE_ENDING, SigningKey, files_to_sign};

use super::super::{complain, fail, print};
use super::password;

/// The arguments.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Policy folders, of which all files that a gateway reads are signed, or single files.
    #[arg(value_name = "FOLDER|FILE", required = true)]
    paths: Vec<PathBuf>,
    /// The secret key: one of `policy keygen`, or of minisign.
    #[arg(long, value_name = "FILE", default_value = "policies.key")]
    key: PathBuf,
    /// A file with the password of the key, `-` for standard input; by default it is asked for.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The name that a single file will have where it serves; by default its own.
    #[arg(long = "as", value_name = "NAME")]
    name: Option<String>,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    match sign(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn sign(arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { paths, name, .. } = arguments;
    if name.is_some() {
        let is_one = matches!(&paths[..], [path] if !path.is_dir());
        ensure!(is_one, "--as names a single file: give one, and no folder");
    }
    let mut files = Vec::new();
    for path in paths {
        files.extend(listed(path, name.as_deref())?);
    }
    ensure!(!files.is_empty(), "there is no file of a policy to sign");
    let password = password::read(arguments.password_file.as_deref())?;
    let key = read_key(&arguments.key, password)?;
    for (path, name) in &files {
        sign_one(&key, path, name)?;
    }
    Ok(())
}

/// Reads a secret key.
///
/// # Errors
/// If it cannot be read, or its password is wrong.
pub(super) fn read_key(path: &Path, password: Password) -> anyhow::Result<SigningKey> {
    let shown = path.display();
    let text = app::read_small(path)
        .with_context(|| format!("{shown} (the secret key; --key names another)"))?;
    SigningKey::read(&text, password).with_context(|| format!("{shown}"))
}

/// The files of a path, each with the name that is signed.
fn listed(path: &Path, name: Option<&str>) -> anyhow::Result<Vec<(PathBuf, String)>> {
    if path.is_dir() {
        let names = files_to_sign(path)?;
        if !names.iter().any(|name| name == "policies.toml") {
            let what = "there is no policies.toml, without which a gateway with POLICY_TRUSTED_KEYS refuses the folder";
            complain(&format!("{}: {what}; an empty one will do", path.display()));
        }
        return Ok(names
            .into_iter()
            .map(|name| (path.join(&name), name))
            .collect());
    }
    let own = path.file_name().and_then(|name| name.to_str());
    match name.or(own) {
        Some(name) if !name.is_empty() && !name.contains('/') => {
            Ok(vec![(path.to_owned(), name.to_owned())])
        }
        _ => bail!(
            "{}: expected a file's name, found none; --as gives one",
            path.display()
        ),
    }
}

/// Signs a file, unless the key has signed it already.
fn sign_one(key: &SigningKey, path: &Path, name: &str) -> anyhow::Result<()> {
    let shown = path.display();
    let bytes = app::replacement(path).with_context(|| format!("{shown}"))?;
    let old = app::signature_of(path).with_context(|| format!("{shown}{SIGNATURE_ENDING}"))?;
    if key.has_signed(name, &bytes, old.as_deref()) {
        return print(&format!("{shown}: signed already by {}\n", key.id()));
    }
    let signature = key.sign(name, &bytes).with_context(|| format!("{shown}"))?;
    let mut place = path.as_os_str().to_owned();
    place.push(SIGNATURE_ENDING);
    app::write_signature(Path::new(&place), &signature)?;
    print(&format!("{shown}: signed by {}\n", key.id()))
}
