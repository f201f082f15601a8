//! The sources of policies: the built-in components, and the operator's folder that overrides them slot by slot.

mod trusting;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::Slot;
use super::candidate::{Candidate, Instances, Options};
use super::digest::Digest;
use super::facts::Facts;
use super::fault::{Problem, Refusal, Refusals};
use super::folder::{Folder, Signature};
use super::given::{BUILT_IN, ENVIRONMENT, Files, Given, NONE, Named, Overlay};
use super::history::{Activated, Activation, History};
use super::last_good::{LastGood, Serving, Set};
use super::look::{Look, Offer};
use super::notice::{self, Notice, Notices};
use super::pin::Pin;
use super::rules::Rules;
use super::settings::object;
use super::trust::Trust;
use super::verdict::Verdict;
pub use trusting::{files_to_sign, verify_folder};

/// The settings of slots without a settings file; each is a JSON object, from the environment.
#[derive(Debug, Clone, Default)]
pub struct Defaults {
    /// Of the auth policy.
    pub auth: Map<String, Value>,
    /// Of the model policy.
    pub model: Map<String, Value>,
    /// Of the rate-limit policy.
    pub rate_limit: Map<String, Value>,
    /// Of the tool-stop policy.
    pub tool_stop: Map<String, Value>,
    /// The auth policy's settings are for this run alone: a snapshot of them would be compiled at every start, and be useless to
    /// the next run.
    pub is_auth_passing: bool,
}

/// The built-in components, the environment's settings, and the operator's folder, which overrides both.
#[derive(Debug, Clone)]
pub struct Source {
    folder: Folder,
    defaults: Defaults,
    last_good: Option<LastGood>,
    history: Option<History>,
}

/// Why policies that served before cannot serve again.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unrestored {
    /// A copy of a file is gone or damaged.
    #[error(transparent)]
    Unreadable(#[from] io::Error),
    /// The gateway refuses the files.
    #[error(transparent)]
    Refused(#[from] Refusals),
}

/// The names of the files that served last, as far as they are known.
#[derive(Debug, Default)]
pub(super) struct Before {
    pub(super) files: [Files; Slot::COUNT],
    /// The reason if they are not known: the file, and its problem.
    pub(super) unknown: Option<io::Error>,
}

impl Source {
    /// Reads from the operator's `folder`, if there is one.
    #[must_use]
    pub fn new(folder: Option<PathBuf>, defaults: Defaults) -> Self {
        Self {
            folder: Folder {
                path: folder,
                trust: Trust::default(),
            },
            defaults,
            last_good: None,
            history: None,
        }
    }

    /// Saves the serving files and the history of activations in the gateway's state folder, if there is one.
    #[must_use]
    pub fn remembering(self, state: Option<&Path>) -> Self {
        let folder = self.folder.path.as_deref();
        Self {
            last_good: state
                .zip(folder)
                .map(|(state, of)| LastGood::new(state, of)),
            history: state.map(|state| History::new(state, folder)),
            ..self
        }
    }

    /// Writes an activation into the history, if there is one.
    ///
    /// # Errors
    /// If the history cannot be read or written.
    pub(super) fn record(&self, activation: &Activation) -> io::Result<Activated> {
        match &self.history {
            Some(history) => history.activate(activation),
            None => Ok(activation.alone()),
        }
    }

    /// The activations in the state folder, oldest first; `None` without a state folder.
    ///
    /// # Errors
    /// If there is a history that cannot be read.
    pub fn history(&self) -> io::Result<Option<Vec<Activated>>> {
        self.history.as_ref().map(History::entries).transpose()
    }

    /// The policies that may not serve after earlier runs, and why.
    ///
    /// # Errors
    /// If there is a history that cannot be read.
    pub(super) fn refused(&self) -> io::Result<Vec<(Digest, Verdict)>> {
        let read = self.history.as_ref().map(History::refused);
        read.unwrap_or_else(|| Ok(Vec::new()))
    }

    /// Writes into the history, if there is one, that a change of the folder may not serve.
    ///
    /// # Errors
    /// If the history cannot be read or written.
    pub(super) fn refuse(&self, digest: Digest, verdict: &Verdict) -> io::Result<()> {
        match &self.history {
            Some(history) => history.refuse(digest, verdict),
            None => Ok(()),
        }
    }

    /// The operator's folder.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        self.folder.path.as_deref()
    }

    /// Whether a slot has a component in the folder, and whether it has settings there; `None` if that cannot be known. Files
    /// that served last count too: if they vanished, the last good policies go on serving.
    #[must_use]
    pub fn overridden(&self, slot: Slot) -> Option<(bool, bool)> {
        let (component, settings) = self.folder.has(slot)?;
        let Before { files, unknown } = self.before();
        let before = match (unknown, self.folder.may_lack(slot)) {
            (None, false) => files[slot as usize].clone(),
            _ => Files::default(),
        };
        Some((
            component || before.component.is_some(),
            settings || before.settings.is_some(),
        ))
    }

    /// Whether the folder has no file of any slot, and no file served last.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Before { files, unknown } = self.before();
        unknown.is_none() && files == <[Files; Slot::COUNT]>::default() && self.folder.is_empty()
    }

    /// Whether what serves is saved for the next start.
    pub(super) fn keeps(&self) -> bool {
        self.last_good.is_some()
    }

    /// Whether files were saved as last good: they can serve even if the folder is gone.
    #[must_use]
    pub fn has_last_good(&self) -> bool {
        let past = self.last_good.as_ref().map(LastGood::files);
        matches!(past, Some(Ok(Some(_))))
    }

    /// Reads the files of all slots.
    ///
    /// # Errors
    /// All files that cannot be read or are invalid.
    pub fn read(&self, facts: &Facts) -> Result<[Candidate; Slot::COUNT], Refusals> {
        let offer = self.look(facts, &Default::default()).complete()?;
        Ok(offer.candidates)
    }

    /// Reads as much as can be read; `before` names the files that served before.
    pub(super) fn look(&self, facts: &Facts, before: &[Files; Slot::COUNT]) -> Look {
        let (mut given, mut refusals, rules) = self.folder.read();
        for slot in Slot::ALL {
            let given = &mut given[slot as usize];
            let vanished = given
                .as_ref()
                .map(|now| before[slot as usize].vanished(slot, now));
            if let Some(vanished) = vanished.filter(|vanished| !vanished.is_empty()) {
                refusals.extend(vanished);
                *given = None;
            }
        }
        let look = self.judge(given, refusals, facts);
        Look { rules, ..look }
    }

    /// As [`Source::look`], with the files of one slot in place of the folder's own.
    pub(super) fn look_with(&self, facts: &Facts, slot: Slot, files: Overlay) -> Look {
        let (mut given, mut refusals, rules) = self.replacing(&files).read();
        let of_slot = &mut given[slot as usize];
        let is_given = files.component.is_some();
        if let Some(of_slot) = of_slot.as_mut() {
            of_slot.component = files.component.or(of_slot.component.take());
            of_slot.settings = files.settings.or(of_slot.settings.take());
            of_slot.options = files.options.unwrap_or(of_slot.options);
        }
        if let Some(refused) = of_slot.take_if(|of_slot| of_slot.built_in && is_given) {
            refusals.push(Refusal {
                file: refused.component.map_or_else(String::new, |file| file.name),
                slot: Some(slot),
                problem: Problem::NotBuiltIn,
            });
        }
        let look = self.judge(given, refusals, facts);
        Look { rules, ..look }
    }

    /// The names under which the files of a slot are read from the folder; `None` if that cannot be known.
    pub(super) fn names(&self, slot: Slot) -> Option<Files> {
        self.folder.expected()?.into_iter().nth(slot as usize)
    }

    /// A candidate that an operator brings.
    ///
    /// # Errors
    /// All its mistakes that can be found before it is prepared.
    pub(super) fn offer(
        &self,
        given: [Given; Slot::COUNT],
        facts: &Facts,
    ) -> Result<Offer, Refusals> {
        self.judge(given.map(Some), Vec::new(), facts).complete()
    }

    /// Makes candidates of the files, as far as possible, and collects refusals and notices.
    fn judge(
        &self,
        given: [Option<Given>; Slot::COUNT],
        mut refusals: Vec<Refusal>,
        facts: &Facts,
    ) -> Look {
        let candidates = Slot::ALL.map(|slot| {
            let candidate = self.candidate(slot, given[slot as usize].as_ref()?, facts);
            candidate.map_err(|refusal| refusals.push(refusal)).ok()
        });
        let unread = self.folder.expected().map(|files| {
            let names = self.folder.names();
            notice::of_files(&names, &files)
        });
        let settings = notice::of_settings(&candidates, facts);
        let notices = Notices::new(unread.unwrap_or_default(), settings);
        Look {
            given,
            candidates,
            notices,
            refusals,
            rules: Rules::default(),
        }
    }

    /// The look at a start: compares the folder with the files that served last, as far as those are known.
    pub(super) fn first_look(&self, facts: &Facts) -> (Look, Option<Notice>) {
        let Before { files, unknown } = self.before();
        let mut look = self.look(facts, &files);
        let Some(why) = unknown else {
            return (look, None);
        };
        let file = "PROXY_STATE_DIR".to_owned();
        let what =
            format!("{why}: whether a file that served is gone from POLICY_DIR is not known");
        // Keys that vanished must not turn into the single key of the environment.
        if self.folder.has(Slot::Auth) == Some((false, false)) && !self.folder.may_lack(Slot::Auth)
        {
            look.refusals.push(Refusal {
                file: file.clone(),
                slot: None,
                problem: Problem::of_io(&why, Problem::Forgotten),
            });
        }
        (look, Some(Notice { file, what }))
    }

    /// The names of the files that served last, as far as they are known.
    pub(super) fn before(&self) -> Before {
        let files = match &self.last_good {
            Some(last_good) => last_good.files(),
            None => Ok(None),
        };
        match files {
            Ok(files) => Before {
                files: files.unwrap_or_default(),
                unknown: None,
            },
            Err(error) => Before {
                unknown: Some(error),
                ..Before::default()
            },
        }
    }

    /// Saves the serving files for the next start. Returns the path to which a damaged pointer was moved, if there was one.
    ///
    /// # Errors
    /// If the state folder cannot be written.
    pub(super) fn keep(&self, serving: &Serving) -> io::Result<Option<PathBuf>> {
        match &self.last_good {
            Some(last_good) => last_good.keep(serving),
            None => Ok(None),
        }
    }

    /// The time since which the last good files served, as text for people.
    pub(super) fn last_since(&self) -> Option<String> {
        let set = self.kept().ok()?.into_iter().next()?;
        Some(humantime::format_rfc3339_seconds(set.since()).to_string())
    }

    /// The operator who pinned the files that served last, if one did; `None` too if that cannot be read.
    pub(super) fn pinned(&self) -> Option<Pin> {
        let pin = self.last_good.as_ref()?.pin();
        pin.ok().flatten()
    }

    /// The generation that served last, and then those before it, newest first; none if nothing was saved.
    ///
    /// # Errors
    /// If something was saved and cannot be read.
    pub(super) fn kept(&self) -> io::Result<Vec<Set>> {
        let sets = self.last_good.as_ref().map(LastGood::sets);
        sets.unwrap_or_else(|| Ok(Vec::new()))
    }

    /// The files of one of these, to be prepared.
    ///
    /// # Errors
    /// If they cannot be read, or are refused.
    pub(super) fn restore(&self, set: &Set, facts: &Facts) -> Result<Offer, Unrestored> {
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        let last_good = self.last_good.as_ref().ok_or_else(gone)?;
        Ok(self.offer(last_good.given(set)?, facts)?)
    }

    /// The state of the folder, taken without reading any file but the manifest.
    pub(super) fn signature(&self) -> Signature {
        self.folder.signature()
    }

    pub(super) fn candidate(
        &self,
        slot: Slot,
        given: &Given,
        facts: &Facts,
    ) -> Result<Candidate, Refusal> {
        let (file, wasm) = match &given.component {
            Some(Named { name, bytes }) => (name.clone(), Arc::clone(bytes)),
            None => (BUILT_IN.to_owned(), Arc::from(builtin(slot))),
        };
        let (settings_file, settings) = match &given.settings {
            Some(Named { name, bytes }) => (name.clone(), object(bytes)),
            None if given.component.is_some() => (NONE.to_owned(), Ok(Map::new())),
            None => (
                ENVIRONMENT.to_owned(),
                Ok(self.default_settings(slot).clone()),
            ),
        };
        let refuse = |problem| Refusal {
            file: settings_file.clone(),
            slot: Some(slot),
            problem,
        };
        let mut settings = settings.map_err(refuse)?;
        let host = serde_json::to_value(facts).unwrap_or_default();
        if settings.insert("host".to_owned(), host).is_some() {
            let problem =
                Problem::SettingsShape("a member `host`, which is the gateway's own".to_owned());
            return Err(refuse(problem));
        }
        Ok(Candidate {
            slot,
            file,
            wasm,
            settings: Value::Object(settings).to_string(),
            options: self.options(slot, given),
            settings_file,
        })
    }

    fn options(&self, slot: Slot, given: &Given) -> Options {
        let is_ours = given.component.is_none() && given.settings.is_none();
        let instances = match slot {
            Slot::Auth if is_ours && self.defaults.is_auth_passing => Instances::Warm,
            _ => given.options.instances,
        };
        Options {
            instances,
            ..given.options
        }
    }

    fn default_settings(&self, slot: Slot) -> &Map<String, Value> {
        match slot {
            Slot::Auth => &self.defaults.auth,
            Slot::Model => &self.defaults.model,
            Slot::RateLimit => &self.defaults.rate_limit,
            Slot::ToolStop => &self.defaults.tool_stop,
        }
    }
}

fn builtin(slot: Slot) -> &'static [u8] {
    match slot {
        Slot::Auth => include_bytes!(concat!(env!("OUT_DIR"), "/auth.wasm")),
        Slot::Model => include_bytes!(concat!(env!("OUT_DIR"), "/model.wasm")),
        Slot::RateLimit => include_bytes!(concat!(env!("OUT_DIR"), "/rate-limit.wasm")),
        Slot::ToolStop => include_bytes!(concat!(env!("OUT_DIR"), "/tool-stop.wasm")),
    }
}

#[cfg(test)]
mod tests;
