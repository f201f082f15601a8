//! Tries a start without serving, whole or of its policies alone.

use std::path::Path;

use super::{StartError, engine, facts, source};
use crate::codex::{self, Backend, Models};
use crate::config::{Codex, Config};
use crate::listen;
use crate::policy::{self, Draft, Engine, Facts, Live, Notice, Refusals, Source};

/// The warnings and the errors of a check.
type Checked = (Vec<Notice>, Vec<StartError>);

/// Tries a start without serving: asks the Codex program for its version and models, and prepares the policies. Nothing is
/// written.
///
/// # Errors
/// Everything that a start would refuse; beside it, the warnings.
pub async fn check(config: &Config) -> Checked {
    let mut errors = Vec::new();
    let models = models(config).await;
    let models = models.map_err(|error| errors.push(error.into())).ok();
    errors.extend(listen::check(&config.listen).err().map(StartError::from));
    let (notices, further) = policies(config, models).await;
    errors.extend(further);
    (notices, errors)
}

/// As [`check`], of the policies in a folder alone, as if it were `POLICY_DIR`. If Codex cannot be asked for its models, that is a
/// warning: the names of models are not checked then.
pub async fn check_folder(config: &Config, folder: &Path) -> Checked {
    let (models, unknown) = known_models(config).await;
    let config = Config {
        policy_dir: Some(folder.to_owned()),
        ..config.clone()
    };
    let (mut notices, errors) = policies(&config, models).await;
    notices.extend(unknown);
    (notices, errors)
}

/// As [`check_folder`], of one policy over the built-in ones. The facts of the draft are those of the configuration.
pub async fn check_file(config: &Config, draft: Draft) -> Checked {
    let (models, unknown) = known_models(config).await;
    let engine = match checking_engine(config) {
        Ok(engine) => engine,
        Err(error) => return (Vec::new(), vec![error]),
    };
    let source = Source::new(None, config.policy_defaults.clone());
    let source = source.trusting(config.policy_trust.clone());
    let draft = Draft {
        facts: facts(config, models),
        ..draft
    };
    let (mut notices, refusals) = policy::check_draft(&engine, &source, &draft).await;
    notices.extend(unknown);
    (notices, errors(refusals))
}

async fn policies(config: &Config, models: Option<Models>) -> Checked {
    let engine = match checking_engine(config) {
        Ok(engine) => engine,
        Err(error) => return (Vec::new(), vec![error]),
    };
    let facts: Facts = facts(config, models);
    let (notices, refusals) = Live::check(engine, &source(config), &facts).await;
    (notices, errors(refusals))
}

fn errors(refusals: Vec<policy::Refusal>) -> Vec<StartError> {
    match refusals.is_empty() {
        true => Vec::new(),
        false => vec![Refusals(refusals).into()],
    }
}

/// An engine that writes nothing: it reads a compile cache that is there.
pub(super) fn checking_engine(config: &Config) -> Result<Engine, StartError> {
    let cache = config.cache_dir.as_deref();
    engine(config, cache.filter(|folder| policy::has_cache(folder)))
}

pub(super) async fn models(config: &Config) -> Result<Models, codex::StartError> {
    match &config.codex {
        Codex::Program(codex, choice) => Backend::probe(codex, *choice).await,
        Codex::Demo => Ok(Backend::demo().models()),
    }
}

/// The models of Codex, or the warning that they are not known.
pub(super) async fn known_models(config: &Config) -> (Option<Models>, Option<Notice>) {
    match models(config).await {
        Ok(models) => (Some(models), None),
        Err(error) => {
            let what = format!("{error}; the names of models are not checked");
            (None, Some(Notice::of("Codex", what)))
        }
    }
}
