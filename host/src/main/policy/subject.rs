//! The policy that a subcommand is about: a component with its settings, or the built-in one of a slot.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use codex_gateway::app;
use codex_gateway::config::{Config, DotEnv};
use codex_gateway::policy::{
    Call, Case, Draft, Engine, Facts, Instances, NamedFile, Options, Slot,
};

use super::super::{EXIT_CONFIG, complain, print_problems, runtime};

/// The arguments that name it.
#[derive(Args)]
pub(super) struct Subject {
    /// A component, or the name of a slot (`auth`) for its built-in policy.
    #[arg(value_name = "FILE")]
    policy: PathBuf,
    #[command(flatten)]
    with: With,
}

/// The arguments beside the component.
#[derive(Args)]
pub(super) struct With {
    /// The slot, if the component fits several.
    #[arg(long, value_enum, value_name = "SLOT")]
    slot: Option<SlotName>,
    /// The settings.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Grant it the credential's secret, as `grants` in policies.toml does.
    #[arg(long, value_enum, value_name = "WHAT")]
    grant: Option<Grant>,
    /// Run it warm, as `instances = "warm"` in policies.toml does.
    #[arg(long)]
    warm: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Grant {
    /// The secret itself, not only its SHA-256.
    Credential,
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum SlotName {
    /// The caller.
    Auth,
    /// The model that runs.
    Model,
    /// Limits of calls.
    RateLimit,
    /// The end of a turn after tool calls.
    ToolStop,
}

impl From<SlotName> for Slot {
    fn from(name: SlotName) -> Self {
        match name {
            SlotName::Auth => Self::Auth,
            SlotName::Model => Self::Model,
            SlotName::RateLimit => Self::RateLimit,
            SlotName::ToolStop => Self::ToolStop,
        }
    }
}

impl Subject {
    /// Reads the files.
    ///
    /// # Errors
    /// A line for a person.
    pub(super) fn draft(&self, facts: Facts) -> Result<Draft, String> {
        self.with.draft(&self.policy, facts)
    }
}

impl Subject {
    /// The policy with the settings and grants of a case, and the first question of the case.
    ///
    /// # Errors
    /// A line for a person.
    pub(super) fn case(&self, path: &Path, facts: Facts) -> Result<(Draft, Call), String> {
        let name = path.display().to_string();
        let bytes = app::read_case(path).map_err(|error| format!("{name}: {error}"))?;
        let case = Case::read(&bytes).map_err(|mistake| format!("{name}: {mistake}"))?;
        let own = self.draft(facts)?;
        let call = case.first(own.slot);
        let call = call.map_err(|mistake| format!("{name}: {mistake}"))?;
        let mut draft = case.draft(&name, own.slot, own.component, &own.facts);
        draft.options.instances = own.options.instances;
        Ok((draft, call))
    }
}

impl With {
    /// Reads the files; settings alone, in a file that ends with `.json`, are those of a built-in policy.
    ///
    /// # Errors
    /// A line for a person.
    pub(super) fn draft(&self, path: &Path, facts: Facts) -> Result<Draft, String> {
        let name = path.to_str().unwrap_or_default();
        let settings = self.settings.as_deref().map(read).transpose()?;
        let draft = |slot, component, settings| Draft {
            slot,
            component,
            settings,
            options: Options {
                credential: self.grant.is_some(),
                instances: match self.warm {
                    true => Instances::Warm,
                    false => Instances::Frozen,
                },
                ..Options::default()
            },
            facts,
        };
        if let Some(slot) = Slot::parse(name).filter(|_| !path.exists()) {
            return Ok(draft(slot, None, settings));
        }
        let file = read(path)?;
        if path.extension().is_some_and(|ending| ending == "json") {
            let slot = self.slot.map(Slot::from).or_else(|| by_name(path));
            let slot = slot.ok_or_else(|| {
                format!("{name}: of which slot are these settings? Name the file auth.json, or give --slot")
            })?;
            return Ok(draft(slot, None, Some(file)));
        }
        let slot = self.fitting(path, &file)?;
        Ok(draft(slot, Some(file), settings))
    }

    fn fitting(&self, path: &Path, file: &NamedFile) -> Result<Slot, String> {
        if let Some(slot) = self.slot {
            return Ok(slot.into());
        }
        let fits = Draft::slots(file).map_err(|refusal| refusal.to_string())?;
        match (&fits[..], by_name(path)) {
            ([only], _) => Ok(*only),
            (several, Some(named)) if several.contains(&named) => Ok(named),
            (several, _) => {
                let names: Vec<_> = several.iter().map(|slot| slot.name()).collect();
                let names = names.join(", ");
                Err(format!(
                    "{}: it fits several slots ({names}): give --slot",
                    file.0
                ))
            }
        }
    }
}

/// The slot that a file's name says.
fn by_name(path: &Path) -> Option<Slot> {
    Slot::parse(path.file_stem()?.to_str()?)
}

/// Reads a component or settings.
///
/// # Errors
/// A line for a person.
pub(super) fn read(path: &Path) -> Result<NamedFile, String> {
    let shown = path.display().to_string();
    match app::replacement(path) {
        Ok(bytes) => Ok((shown, bytes)),
        Err(error) => Err(format!("{shown}: {error}")),
    }
}

/// The configuration; its mistakes do not matter to what is tried alone.
pub(super) fn config() -> Config {
    let (mut config, _) = Config::read_all(&DotEnv::load());
    config.program = std::env::current_exe().ok();
    config
}

/// An engine, and the facts of a gateway with the built-in demo.
pub(super) fn workbench() -> Result<(Engine, Facts), ExitCode> {
    app::workbench(&config()).map_err(|error| {
        print_problems(&error);
        ExitCode::FAILURE
    })
}

/// Runs a future to its end.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> Result<T, ExitCode> {
    let runtime = runtime()?;
    let done = runtime.block_on(future);
    runtime.shutdown_background();
    Ok(done)
}

/// Complains of files that are wrong.
pub(super) fn wrong(what: &dyn std::fmt::Display) -> ExitCode {
    complain(what);
    ExitCode::from(EXIT_CONFIG)
}
