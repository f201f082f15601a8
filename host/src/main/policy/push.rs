//! `codex-gateway policy push` and `pull`: a component goes to an OCI registry, and comes from one.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use codex_gateway::app;
use codex_gateway::policy::{Draft, SIGNATURE_ENDING, SigningKey, Slot};
use codex_gateway::registry::{Access, Pushed, Registry, RegistryError, User};
use codex_gateway::secret::Secret;

use super::super::{EXIT_CONFIG, complain, fail, print, report};
use super::subject::{block_on, by_name, config, one_of, read, wrong};
use super::{password, sign};

/// The way to a registry.
#[derive(Args)]
struct Way {
    /// The registry's user; its password or token is in --user-password-file.
    #[arg(long, value_name = "NAME", requires = "user_password_file")]
    user: Option<String>,
    /// A file with the user's password or token.
    #[arg(long, value_name = "FILE", requires = "user")]
    user_password_file: Option<PathBuf>,
    /// Speak HTTP without TLS, as with a registry on this machine.
    #[arg(long)]
    plain_http: bool,
}

/// The arguments of `push`.
#[derive(Args)]
pub(crate) struct Push {
    /// A component.
    #[arg(value_name = "FILE")]
    path: PathBuf,
    /// Where it goes: oci://registry.example/policies/auth:1.0
    #[arg(value_name = "REFERENCE")]
    reference: String,
    /// The slot, if the component fits several.
    #[arg(long, value_parser = one_of(Slot::ALL, Slot::name), value_name = "SLOT")]
    slot: Option<Slot>,
    /// The secret key that signs it; without one it is not signed.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// A file with the password of the key, `-` for standard input; by default it is asked for.
    #[arg(long, value_name = "FILE", requires = "key")]
    password_file: Option<PathBuf>,
    #[command(flatten)]
    way: Way,
}

/// The arguments of `pull`.
#[derive(Args)]
pub(crate) struct Pull {
    /// Where it is: oci://registry.example/policies/auth:1.0, or …/auth@sha256:…
    #[arg(value_name = "REFERENCE")]
    reference: String,
    /// The folder it is put into, as auth.wasm with its signature.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// The slot that it must fit; by default the one that it fits.
    #[arg(long, value_parser = one_of(Slot::ALL, Slot::name), value_name = "SLOT")]
    slot: Option<Slot>,
    #[command(flatten)]
    way: Way,
}

impl Way {
    fn access(&self) -> anyhow::Result<Access> {
        let user = self.user.clone().zip(self.user_password_file.as_deref());
        let user = user.map(|(name, path)| {
            let text = app::read_small(path)
                .map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
            let password = Secret::new(text.trim_end_matches(['\r', '\n']).to_owned());
            anyhow::Ok(User { name, password })
        });
        Ok(Access {
            user: user.transpose()?,
            is_plain: self.plain_http,
        })
    }
}

/// Pushes a component.
pub(super) fn push(arguments: &Push) -> ExitCode {
    let file = match read(&arguments.path) {
        Ok(file) => file,
        Err(mistake) => return wrong(&mistake),
    };
    let fits = arguments
        .slot
        .map_or_else(|| Draft::slots(&file), |slot| Ok(vec![slot]));
    let slot = match fits.as_deref() {
        Ok([slot]) => *slot,
        Ok(several) => match by_name(&arguments.path).filter(|slot| several.contains(slot)) {
            Some(slot) => slot,
            None => return wrong(&format!("{}: it fits several slots: give --slot", file.0)),
        },
        Err(refusal) => return wrong(refusal),
    };
    let pushed = Pushed {
        slot,
        name: file.0,
        wasm: file.1,
    };
    let key = arguments.key.as_deref().map(|path| key(path, arguments));
    let ready = key
        .transpose()
        .and_then(|key| Ok((key, arguments.way.access()?)));
    let (key, access) = match ready {
        Ok(ready) => ready,
        Err(error) => return fail(&error),
    };
    let done = block_on(async {
        let registry = Registry::new(&arguments.reference, access)?;
        registry.push(&pushed, key.as_ref()).await
    });
    match done {
        Ok(Ok(pinned)) => said(&format!("{pinned}\n")),
        Ok(Err(error)) => refused(&arguments.reference, &error),
        Err(failed) => failed,
    }
}

fn key(path: &Path, arguments: &Push) -> anyhow::Result<SigningKey> {
    sign::read_key(path, password::read(arguments.password_file.as_deref())?)
}

/// Pulls a component.
pub(super) fn pull(arguments: &Pull) -> ExitCode {
    let (config, mut problems) = config();
    problems.retain(|problem| problem.variable == "POLICY_TRUSTED_KEYS");
    report(&problems);
    if !problems.is_empty() {
        return ExitCode::from(EXIT_CONFIG);
    }
    if !arguments.to.is_dir() {
        return wrong(&format!("{}: expected a folder", arguments.to.display()));
    }
    let access = match arguments.way.access() {
        Ok(access) => access,
        Err(error) => return fail(&error),
    };
    let done = block_on(async {
        let registry = Registry::new(&arguments.reference, access)?;
        registry.pull(arguments.slot, &config.policy_trust).await
    });
    let pulled = match done {
        Ok(Ok(pulled)) => pulled,
        Ok(Err(error)) => return refused(&arguments.reference, &error),
        Err(failed) => return failed,
    };
    let place = arguments.to.join(format!("{}.wasm", pulled.slot));
    let beside = arguments
        .to
        .join(format!("{}.wasm{SIGNATURE_ENDING}", pulled.slot));
    let mut files = vec![(place.clone(), pulled.wasm)];
    files.extend(
        pulled
            .signature
            .map(|text| (beside, text.into_bytes().into())),
    );
    if let Err(error) = app::write_files(&files) {
        return fail(&error.into());
    }
    said(&format!("{}: {}\n", place.display(), pulled.pinned))
}

fn said(text: &str) -> ExitCode {
    print(text).map_or_else(|error| fail(&error), |()| ExitCode::SUCCESS)
}

fn refused(reference: &str, error: &RegistryError) -> ExitCode {
    complain(&format!("{reference}: {error}"));
    match error {
        RegistryError::Failed(_) | RegistryError::Late => ExitCode::FAILURE,
        _ => ExitCode::from(EXIT_CONFIG),
    }
}
