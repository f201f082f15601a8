//! The policy that a subcommand is about: a component with its settings, or the built-in one of a slot.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use codex_gateway::app;
use codex_gateway::config::{Config, DotEnv, Problem};
use codex_gateway::policy::{
    Call, Case, Draft, Engine, Facts, Instances, NamedFile, Options, Signatures, Slot,
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
    #[command(flatten)]
    beside: Beside,
    /// Grant it the credential's secret, as `grants` in policies.toml does.
    #[arg(long, value_enum, value_name = "WHAT")]
    grant: Option<Grant>,
    /// Run it warm, as `instances = "warm"` in policies.toml does.
    #[arg(long)]
    warm: bool,
}

/// The arguments beside the component of a policy whose options are in policies.toml.
#[derive(Args)]
pub(super) struct Beside {
    /// The slot, if the component fits several.
    #[arg(long, value_parser = one_of(Slot::ALL, Slot::name), value_name = "SLOT")]
    slot: Option<Slot>,
    /// The settings.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Grant {
    /// The secret itself, not only its SHA-256.
    Credential,
}

/// The arguments beside two policies of one slot.
#[derive(Args)]
pub(super) struct BesideBoth {
    /// The slot, if the components fit several.
    #[arg(long, value_parser = one_of(Slot::ALL, Slot::name), value_name = "SLOT")]
    slot: Option<Slot>,
    /// The settings of both or, given twice, of A and of B. By default those beside a component (`auth.json` beside `auth.wasm`), if
    /// there are some.
    #[arg(long, value_name = "FILE")]
    settings: Vec<PathBuf>,
    /// Grant both the credential's secret, as `grants` in policies.toml does.
    #[arg(long, value_enum, value_name = "WHAT")]
    grant: Option<Grant>,
    /// Run both warm, as `instances = "warm"` in policies.toml does.
    #[arg(long)]
    warm: bool,
}

impl BesideBoth {
    /// Reads the files of both.
    ///
    /// # Errors
    /// A line for a person.
    pub(super) fn drafts(&self, paths: [&Path; 2], facts: &Facts) -> Result<[Draft; 2], String> {
        let one = |index: usize, path: &Path| {
            let settings = match &self.settings[..] {
                [] => Some(path.with_extension("json"))
                    .filter(|beside| path.is_file() && beside != path && beside.is_file()),
                [both] => Some(both.clone()),
                [from, to] => Some([from, to][index].clone()),
                _ => return Err("--settings: expected at most two, of A and of B".to_owned()),
            };
            let with = With {
                beside: Beside {
                    slot: self.slot,
                    settings,
                },
                grant: self.grant,
                warm: self.warm,
            };
            with.draft(path, facts.clone())
        };
        let [a, b] = paths;
        let (from, to) = (one(0, a)?, one(1, b)?);
        if from.slot != to.slot {
            return Err(format!(
                "{} is a policy of the {} slot, and {} of the {} slot: expected two of one slot",
                a.display(),
                from.slot,
                b.display(),
                to.slot
            ));
        }
        Ok([from, to])
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
    /// Reads the files, of which there are none if the path is the name of a slot.
    ///
    /// # Errors
    /// A line for a person.
    pub(super) fn draft(&self, path: &Path, facts: Facts) -> Result<Draft, String> {
        let name = path.to_str().unwrap_or_default();
        let built_in = Slot::parse(name).filter(|_| !path.is_file());
        let draft = match built_in {
            Some(slot) => Draft {
                slot,
                component: None,
                settings: self.beside.settings()?,
                options: Options::default(),
                facts,
                signatures: self.beside.signatures(None)?,
            },
            None => self.beside.draft(path, facts)?,
        };
        Ok(Draft {
            options: Options {
                credential: self.grant.is_some(),
                instances: match self.warm {
                    true => Instances::Warm,
                    false => Instances::Frozen,
                },
                ..Options::default()
            },
            ..draft
        })
    }
}

impl Beside {
    /// The signatures beside the component and the settings.
    fn signatures(&self, component: Option<&Path>) -> Result<Signatures, String> {
        let read = |path: Option<&Path>| {
            let read = path.map(|path| {
                let signature = app::signature_of(path);
                signature.map_err(|error| format!("the signature of {}: {error}", path.display()))
            });
            read.transpose().map(Option::flatten)
        };
        Ok(Signatures {
            component: read(component)?,
            settings: read(self.settings.as_deref())?,
        })
    }

    fn settings(&self) -> Result<Option<NamedFile>, String> {
        self.settings.as_deref().map(read).transpose()
    }

    /// Reads the files; settings alone, in a file that ends with `.json`, are those of a built-in policy.
    ///
    /// # Errors
    /// A line for a person.
    pub(super) fn draft(&self, path: &Path, facts: Facts) -> Result<Draft, String> {
        let name = path.display();
        if !path.is_file() && Slot::parse(&name.to_string()).is_some() {
            return Err(format!(
                "{name}: expected a file; the built-in policy serves where there is none"
            ));
        }
        let file = read(path)?;
        let signatures = self.signatures(Some(path))?;
        let draft = |slot, component, settings| Draft {
            slot,
            component,
            settings,
            options: Options::default(),
            facts,
            signatures,
        };
        if path.extension().is_some_and(|ending| ending == "json") {
            if self.settings.is_some() {
                return Err(format!(
                    "--settings: {name} is of settings itself, so that these would not count"
                ));
            }
            let slot = self.slot.or_else(|| by_name(path));
            let slot = slot.ok_or_else(|| {
                format!("{name}: of which slot are these settings? Name the file auth.json, or give --slot")
            })?;
            let draft = draft(slot, None, Some(file));
            let signatures = Signatures {
                settings: draft.signatures.component.clone(),
                component: None,
            };
            return Ok(Draft {
                signatures,
                ..draft
            });
        }
        let slot = self.fitting(path, &file)?;
        Ok(draft(slot, Some(file), self.settings()?))
    }

    fn fitting(&self, path: &Path, file: &NamedFile) -> Result<Slot, String> {
        if let Some(slot) = self.slot {
            return Ok(slot);
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
pub(super) fn by_name(path: &Path) -> Option<Slot> {
    Slot::parse(path.file_stem()?.to_str()?)
}

/// The slot, if the text is `SLOT=FILE`, and the path.
pub(super) fn slot_file(text: &str) -> (Option<Slot>, &Path) {
    let given = text.split_once('=');
    let given = given.and_then(|(slot, path)| Some((Slot::parse(slot)?, path)));
    match given {
        Some((slot, path)) => (Some(slot), Path::new(path)),
        None => (None, Path::new(text)),
    }
}

/// Reads an argument that is the name of one of these.
pub(super) fn one_of<T, const N: usize>(
    all: [T; N],
    name: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T>
where
    T: Copy + Send + Sync + 'static,
{
    let names = PossibleValuesParser::new(all.map(name));
    names.try_map(move |given| {
        let found = all.into_iter().find(|one| name(*one) == given);
        found.ok_or("it is none of them")
    })
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

/// The configuration, and its mistakes, which do not matter to what is tried alone.
pub(super) fn config() -> (Config, Vec<Problem>) {
    let (mut config, problems) = Config::read_all(&DotEnv::load());
    config.program = std::env::current_exe().ok();
    (config, problems)
}

/// An engine, and the facts of a gateway with the built-in demo.
pub(super) fn workbench() -> Result<(Engine, Facts), ExitCode> {
    app::workbench(&config().0).map_err(|error| {
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
