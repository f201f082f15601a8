//! `codex-gateway policy verify`: verifies signed files of policies as a gateway does, in the same words.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use clap::Args;
use codex_gateway::app;
use codex_gateway::policy::{Signed, Trust, TrustedKey, verify_folder};

use super::super::{EXIT_CONFIG, complain, fail, print, report};
use super::subject::{config, wrong};

/// The arguments.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Policy folders, or single files.
    #[arg(value_name = "FOLDER|FILE", required = true)]
    paths: Vec<PathBuf>,
    /// A public key, or a file with one; several may be given. By default those of POLICY_TRUSTED_KEYS.
    #[arg(long = "key", value_name = "KEY|FILE")]
    keys: Vec<String>,
    /// The name that a single file will have where it serves; by default its own.
    #[arg(long = "as", value_name = "NAME")]
    name: Option<String>,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let trust = match trust(&arguments.keys) {
        Ok(trust) => trust,
        Err(failed) => return failed,
    };
    let mut all = true;
    for path in &arguments.paths {
        let verified = match path.is_dir() {
            true => folder(path, &trust),
            false => vec![one(path, arguments.name.as_deref(), &trust)],
        };
        for line in verified {
            let said = match line {
                Ok(line) => print(&line),
                Err(refusal) => {
                    all = false;
                    complain(&refusal);
                    Ok(())
                }
            };
            if let Err(error) = said {
                return fail(&error);
            }
        }
    }
    match all {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(EXIT_CONFIG),
    }
}

fn trust(keys: &[String]) -> Result<Trust, ExitCode> {
    if keys.is_empty() {
        let (config, mut problems) = config();
        problems.retain(|problem| problem.variable == "POLICY_TRUSTED_KEYS");
        report(&problems);
        return match (config.policy_trust.is_on(), problems.is_empty()) {
            (true, true) => Ok(config.policy_trust),
            (_, false) => Err(ExitCode::from(EXIT_CONFIG)),
            _ => Err(wrong(
                &"no key is trusted: set POLICY_TRUSTED_KEYS, or give --key",
            )),
        };
    }
    let read = keys.iter().map(|given| {
        TrustedKey::read(given).map_or_else(
            || {
                let text = app::read_small(Path::new(given));
                let text = text.map_err(|error| format!("--key: {given}: {error}"))?;
                TrustedKey::read(&text)
                    .ok_or_else(|| format!("--key: {given}: expected a public key of minisign"))
            },
            Ok,
        )
    });
    let keys = read.collect::<Result<Vec<_>, _>>();
    keys.map(Trust::new).map_err(|mistake| wrong(&mistake))
}

fn folder(path: &Path, trust: &Trust) -> Vec<Result<String, String>> {
    let verified = verify_folder(path, trust).into_iter();
    let told = verified.map(|file| match file {
        Ok((name, signed)) => Ok(told(&path.join(name), signed)),
        Err(refusal) => Err(format!("{}: {refusal}", path.display())),
    });
    told.collect()
}

fn one(path: &Path, name: Option<&str>, trust: &Trust) -> Result<String, String> {
    let shown = path.display();
    let wrong = |error: std::io::Error| format!("{shown}: {error}");
    let bytes = app::replacement(path).map_err(wrong)?;
    let signature = app::signature_of(path).map_err(wrong)?;
    let own = path.file_name().unwrap_or_default().to_string_lossy();
    let verified = trust.verify(name.unwrap_or(&own), &bytes, signature.as_deref());
    match verified {
        Ok(Some(signed)) => Ok(told(path, signed)),
        Ok(None) => Err(format!("{shown}: no key is trusted")),
        Err(why) => Err(format!("{shown}: {why}")),
    }
}

fn told(path: &Path, signed: Signed) -> String {
    let at = signed
        .at
        .and_then(|at| UNIX_EPOCH.checked_add(Duration::from_secs(at)));
    let at = at.map(|at| format!(", at {}", humantime::format_rfc3339_seconds(at)));
    format!(
        "{}: signed by {}{}\n",
        path.display(),
        signed.key,
        at.unwrap_or_default()
    )
}
