//! Where policies come from: the built-in components, and the operator's folder that overrides them slot by slot.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;
use serde_json::{Map, Value};

use super::Slot;
use super::component::Candidate;
use super::fault::{Problem, Refusal};
use super::live::Refusals;
use super::manifest::{Entry, MANIFEST, Manifest};

/// No policy is larger (JavaScript and Python ones have some ten million bytes).
const MAX_FILE: u64 = 64 << 20;

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
    folder: Option<PathBuf>,
    defaults: Defaults,
}

/// What the folder looks like from outside; equal as long as nothing in it was touched.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Signature(Vec<(PathBuf, Option<File>)>);

/// What is known of a file without reading it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct File {
    length: u64,
    modified: Option<SystemTime>,
    /// Its number, and when its owner or its permissions changed last, where there are such.
    node: (u64, i64, i64),
}

impl Source {
    /// `folder` is the operator's, if any.
    #[must_use]
    pub fn new(folder: Option<PathBuf>, defaults: Defaults) -> Self {
        Self { folder, defaults }
    }

    /// The operator's folder.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Whether a slot has a component in the folder, and whether it has settings there; neither if that cannot be known.
    #[must_use]
    pub fn overridden(&self, slot: Slot) -> (bool, bool) {
        let mut manifest = Manifest::read(self.folder.as_deref()).unwrap_or_default();
        let Entry {
            component,
            settings,
            ..
        } = manifest.take(slot);
        let is_there = |named: Option<String>, extension: &str| {
            let name = named.unwrap_or_else(|| format!("{slot}.{extension}"));
            let folder = self.folder.as_deref();
            folder.is_some_and(|folder| folder.join(name).exists())
        };
        (is_there(component, "wasm"), is_there(settings, "json"))
    }

    /// Reads everything there is to prepare.
    ///
    /// # Errors
    /// All files that cannot be read or make no sense.
    pub fn read(&self, facts: &Facts) -> Result<[Candidate; 4], Refusals> {
        let mut manifest =
            Manifest::read(self.folder.as_deref()).map_err(|refusal| Refusals(vec![refusal]))?;
        let [auth, model, rate_limit, tool_stop] =
            Slot::ALL.map(|slot| self.candidate(slot, manifest.take(slot), facts));
        match (auth, model, rate_limit, tool_stop) {
            (Ok(auth), Ok(model), Ok(rate_limit), Ok(tool_stop)) => {
                Ok([auth, model, rate_limit, tool_stop])
            }
            (auth, model, rate_limit, tool_stop) => Err(Refusals(
                [auth.err(), model.err(), rate_limit.err(), tool_stop.err()]
                    .into_iter()
                    .flatten()
                    .collect(),
            )),
        }
    }

    /// Looks at the folder without reading its files. A folder that cannot be looked at has no signature of its own:
    /// reading it then says why.
    pub(super) fn signature(&self) -> Signature {
        self.folder
            .as_deref()
            .and_then(|folder| signature(folder).ok())
            .unwrap_or_default()
    }

    fn candidate(&self, slot: Slot, entry: Entry, facts: &Facts) -> Result<Candidate, Refusal> {
        let options = entry.options().map_err(|problem| Refusal {
            file: MANIFEST.to_owned(),
            slot,
            problem,
        })?;
        let (file, wasm) = match self.file(slot, entry.component, "wasm")? {
            Some((file, bytes)) => (file, Arc::from(bytes)),
            None => ("built-in".to_owned(), Arc::from(builtin(slot))),
        };
        let (settings_file, mut settings) = match self.file(slot, entry.settings, "json")? {
            Some((file, bytes)) => {
                let settings = object(&bytes).map_err(|problem| Refusal {
                    file: file.clone(),
                    slot,
                    problem,
                })?;
                (file, settings)
            }
            None => (
                "environment".to_owned(),
                self.default_settings(slot).clone(),
            ),
        };
        let host = serde_json::to_value(facts).unwrap_or_default();
        if settings.insert("host".to_owned(), host).is_some() {
            let problem =
                Problem::SettingsShape("a member `host`, which is the gateway's own".to_owned());
            return Err(Refusal {
                file: settings_file,
                slot,
                problem,
            });
        }
        let settings = Value::Object(settings).to_string();
        Ok(Candidate {
            slot,
            file,
            wasm,
            settings_file,
            settings,
            options,
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

    /// Reads a slot's file. One that is named in the manifest must be there; one with the usual name may be absent.
    fn file(
        &self,
        slot: Slot,
        named: Option<String>,
        extension: &str,
    ) -> Result<Option<(String, Vec<u8>)>, Refusal> {
        let Some(folder) = &self.folder else {
            return Ok(None);
        };
        let must_exist = named.is_some();
        let name = named.unwrap_or_else(|| format!("{slot}.{extension}"));
        let refuse = |problem| Refusal {
            file: name.clone(),
            slot,
            problem,
        };
        if name.contains(['/', '\\']) {
            return Err(refuse(Problem::Manifest(
                "the name of a file in this folder, found a path".to_owned(),
            )));
        }
        let path = folder.join(&name);
        match std::fs::metadata(&path) {
            Ok(found) if found.len() > MAX_FILE => {
                return Err(refuse(Problem::Unreadable(format!(
                    "larger than {} MiB",
                    MAX_FILE >> 20
                ))));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && !must_exist => {
                return Ok(None);
            }
            _ => {}
        }
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some((name, bytes))),
            Err(error) => Err(refuse(Problem::Unreadable(error.to_string()))),
        }
    }
}

fn object(bytes: &[u8]) -> Result<Map<String, Value>, Problem> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(settings)) => Ok(settings),
        Ok(other) => Err(Problem::SettingsShape(
            match other {
                Value::Array(_) => "a list",
                Value::String(_) => "a string",
                Value::Null => "null",
                _ => "a single value",
            }
            .to_owned(),
        )),
        Err(error) => Err(Problem::SettingsShape(format!(
            "text that is not JSON: {error}"
        ))),
    }
}

#[cfg(unix)]
fn node(metadata: &std::fs::Metadata) -> (u64, i64, i64) {
    use std::os::unix::fs::MetadataExt;
    (metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
}

#[cfg(not(unix))]
fn node(_: &std::fs::Metadata) -> (u64, i64, i64) {
    (0, 0, 0)
}

fn signature(folder: &Path) -> io::Result<Signature> {
    // The real folder is part of it: a symbolic link may be pointed elsewhere.
    let folder = folder.canonicalize()?;
    let mut entries = vec![(folder.clone(), None)];
    for entry in std::fs::read_dir(&folder)? {
        let path = entry?.path();
        // Through symbolic links: what counts is the file that would be read.
        let file = std::fs::metadata(&path).ok().map(|found| File {
            length: found.len(),
            modified: found.modified().ok(),
            node: node(&found),
        });
        entries.push((path, file));
    }
    entries.sort();
    Ok(Signature(entries))
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
        let slots: Vec<_> = refusals.0.iter().map(|refusal| refusal.slot).collect();
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
