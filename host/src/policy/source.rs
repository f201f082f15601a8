//! Where policies come from: the built-in components, and the operator's folder that overrides them slot by slot.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use super::Slot;
use super::component::Candidate;
use super::fault::{Problem, Refusal};
use super::folder::{Folder, Signature};
use super::given::{BUILT_IN, ENVIRONMENT, Files, Given, Named};
use super::last_good::LastGood;
use super::live::Refusals;
use super::notice::{self, Notice};
use super::settings::object;

/// What only the host knows; it becomes the settings' `host` member.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Facts {
    /// `dev` or `prod`.
    pub environment: String,
    /// Pages of other origins may call.
    pub cors: bool,
    /// The configured runtime model.
    pub codex_model: Option<String>,
    /// The models the Codex child lists: objects with `id` and `efforts`.
    pub models: Vec<Value>,
}

/// Settings of the slots that have no settings file; each a JSON object, from the environment.
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
}

/// The built-in components, the environment's settings, and the folder over both.
#[derive(Debug, Clone)]
pub struct Source {
    folder: Folder,
    defaults: Defaults,
    last_good: Option<LastGood>,
}

/// What may serve next: the operator's files, and the candidates they make.
#[derive(Debug, Clone)]
pub(super) struct Offer {
    pub(super) given: [Given; 4],
    pub(super) candidates: [Candidate; 4],
    pub(super) notices: Vec<Notice>,
}

impl Source {
    /// `folder` is the operator's, if any.
    #[must_use]
    pub fn new(folder: Option<PathBuf>, defaults: Defaults) -> Self {
        Self {
            folder: Folder(folder),
            defaults,
            last_good: None,
        }
    }

    /// Remembers what served last in the gateway's state folder, if there is one.
    #[must_use]
    pub fn remembering(self, state: Option<&Path>) -> Self {
        let last_good = |folder: &PathBuf| Some(LastGood::new(state?, folder));
        Self {
            last_good: self.folder.0.as_ref().and_then(last_good),
            ..self
        }
    }

    /// The operator's folder.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        self.folder.0.as_deref()
    }

    /// Whether a slot has a component in the folder, and whether it has settings there; neither if that cannot be
    /// known. What served last counts, too: if it vanished, it goes on.
    #[must_use]
    pub fn overridden(&self, slot: Slot) -> (bool, bool) {
        let (component, settings) = self.folder.has(slot);
        let before = self.before().map(|files| files[slot as usize].clone());
        let before = before
            .filter(|_| !self.folder.may_lack(slot))
            .unwrap_or_default();
        (
            component || before.component.is_some(),
            settings || before.settings.is_some(),
        )
    }

    /// Reads everything there is to prepare.
    ///
    /// # Errors
    /// All files that cannot be read or make no sense.
    pub fn read(&self, facts: &Facts) -> Result<[Candidate; 4], Refusals> {
        Ok(self.offer(facts, &Default::default())?.candidates)
    }

    /// As [`Source::read`], after these files served.
    ///
    /// # Errors
    /// As [`Source::read`], and the files that vanished.
    pub(super) fn offer(&self, facts: &Facts, before: &[Files; 4]) -> Result<Offer, Refusals> {
        let given = self.folder.read()?;
        let vanished: Vec<Refusal> = Slot::ALL
            .into_iter()
            .zip(before)
            .zip(&given)
            .flat_map(|((slot, before), given)| before.vanished(slot, given))
            .collect();
        match vanished.is_empty() {
            true => self.candidates(given, facts),
            false => Err(Refusals(vanished)),
        }
    }

    /// The files that served last, as far as is known.
    pub(super) fn before(&self) -> Option<[Files; 4]> {
        self.last_good.as_ref()?.files()
    }

    /// What served last.
    pub(super) fn last_good(&self, facts: &Facts) -> Option<Result<Offer, String>> {
        let given = self.last_good.as_ref()?.read();
        let offer = |given| self.candidates(given, facts);
        match given {
            Ok(given) => given.map(|given| offer(given).map_err(|refusals| refusals.to_string())),
            Err(error) => Some(Err(error.to_string())),
        }
    }

    /// Remembers what serves now, for the next start.
    ///
    /// # Errors
    /// If the state folder cannot be written.
    pub(super) fn keep(&self, given: &[Given; 4]) -> io::Result<()> {
        match &self.last_good {
            Some(last_good) => last_good.keep(given),
            None => Ok(()),
        }
    }

    /// Looks at the folder without reading its files.
    pub(super) fn signature(&self) -> Signature {
        self.folder.signature()
    }

    fn candidates(&self, given: [Given; 4], facts: &Facts) -> Result<Offer, Refusals> {
        let mut refusals = Vec::new();
        let candidates = Slot::ALL.map(|slot| {
            let candidate = self.candidate(slot, &given[slot as usize], facts);
            candidate.map_err(|refusal| refusals.push(refusal)).ok()
        });
        match candidates {
            [Some(auth), Some(model), Some(rate_limit), Some(tool_stop)] => {
                let candidates = [auth, model, rate_limit, tool_stop];
                let files = given.each_ref().map(Given::files);
                let names = self.folder.names();
                let notices = notice::find(&names, &files, &candidates, facts);
                Ok(Offer {
                    given,
                    candidates,
                    notices,
                })
            }
            _ => Err(Refusals(refusals)),
        }
    }

    fn candidate(&self, slot: Slot, given: &Given, facts: &Facts) -> Result<Candidate, Refusal> {
        let (file, wasm) = match &given.component {
            Some(Named { name, bytes }) => (name.clone(), Arc::clone(bytes)),
            None => (BUILT_IN.to_owned(), Arc::from(builtin(slot))),
        };
        let (settings_file, settings) = match &given.settings {
            Some(Named { name, bytes }) => (name.clone(), object(bytes)),
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
            settings_file,
            options: given.options,
        })
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
mod tests {
    use super::super::component::Instances;
    use super::*;

    fn read(files: &[(&str, &str)]) -> Result<[Candidate; 4], Refusals> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Source::new(Some(folder.path().to_owned()), Defaults::default()).read(&Facts::default())
    }

    #[test]
    fn without_files_everything_is_built_in() {
        let candidates = read(&[]).unwrap();
        assert!(
            candidates
                .iter()
                .all(|c| c.file == "built-in" && c.settings_file == "environment")
        );
    }

    #[test]
    fn a_settings_file_replaces_the_environment_whole() {
        let defaults = Defaults {
            auth: object(br#"{"keys":[]}"#).unwrap(),
            ..Defaults::default()
        };
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join("auth.json"),
            r#"{"anonymous":["/v1/models"]}"#,
        )
        .unwrap();
        let source = Source::new(Some(folder.path().to_owned()), defaults);
        let [auth, ..] = source.read(&Facts::default()).unwrap();
        let settings: Value = serde_json::from_str(&auth.settings).unwrap();
        assert_eq!(settings.get("keys"), None);
        assert_eq!(settings["anonymous"][0], "/v1/models");
        assert!(settings["host"].is_object());
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let refusals = read(&[
            ("auth.json", "[]"),
            ("model.json", "{"),
            ("tool-stop.json", r#"{"host":{}}"#),
        ])
        .unwrap_err();
        let slots: Vec<_> = refusals
            .0
            .iter()
            .filter_map(|refusal| refusal.slot)
            .collect();
        assert_eq!(slots, [Slot::Auth, Slot::Model, Slot::ToolStop]);
    }

    #[test]
    fn the_manifest_names_files_and_limits() {
        let manifest = "[auth]\nsettings = \"callers.json\"\ninstances = \"warm\"\ngrants = [\"credential\"]\nmemory_mib = 64\n";
        let [auth, ..] = read(&[("policies.toml", manifest), ("callers.json", "{}")]).unwrap();
        assert_eq!(auth.settings_file, "callers.json");
        assert_eq!(auth.options.instances, Instances::Warm);
        assert!(auth.options.credential);
        assert_eq!(auth.options.limits.memory, 64 << 20);
    }

    #[test]
    fn what_overrides_a_slot_is_found_under_its_own_name_or_the_one_it_was_given() {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let source = Source::new(Some(folder.path().to_owned()), Defaults::default());
        assert_eq!(source.overridden(Slot::Auth), (false, false));
        write("auth.wasm", "");
        write("callers.json", "");
        assert_eq!(source.overridden(Slot::Auth), (true, false));
        write("policies.toml", "[auth]\nsettings = \"callers.json\"");
        assert_eq!(source.overridden(Slot::Auth), (true, true));
        assert_eq!(source.overridden(Slot::Model), (false, false));
    }

    #[test]
    fn a_manifest_with_an_unknown_word_a_path_or_a_missing_file_is_refused() {
        for manifest in [
            "[auth]\nfrozen = true",
            "[auth]\nsettings = \"../x.json\"",
            "[auth]\ncomponent = \"gone.wasm\"",
            "[auth]\nmemory_mib = 4096",
        ] {
            assert!(read(&[("policies.toml", manifest)]).is_err(), "{manifest}");
        }
    }
}
