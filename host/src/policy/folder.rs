//! The operator's folder: reads its files slot by slot, and detects changes without reading them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::Slot;
use super::distrust::SIGNATURE_ENDING;
use super::fault::{Problem, Refusal};
use super::given::{Files, Given, Named};
use super::manifest::{Entry, MANIFEST, Manifest, Name};
use super::rules::Rules;
use super::settings::MAX_SETTINGS;
use super::trust::Trust;
use crate::file;

/// The most bytes of a component (JavaScript and Python ones have some ten million).
pub const MAX_COMPONENT: u64 = 64 << 20;

/// The state of the folder from its metadata; equal as long as no file that is read was touched, added or removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Signature {
    /// The real folder: a symbolic link may be changed to point elsewhere.
    folder: PathBuf,
    /// The folder itself and the files that are read, however many other files the folder has.
    files: Vec<Option<File>>,
}

/// The metadata of a file, known without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct File {
    length: u64,
    modified: Option<SystemTime>,
    /// The inode number, and the time its owner or permissions last changed (ctime); zeros where the system has none.
    node: (u64, i64, i64),
}

/// `POLICY_DIR`, and the keys that its files are signed with.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    /// `None` is treated as an empty folder.
    pub(super) path: Option<PathBuf>,
    pub(super) trust: Trust,
}

impl Folder {
    /// Reads the files of every slot, as far as they can be read, and collects a refusal for every file and line that cannot.
    pub(super) fn read(&self) -> ([Option<Given>; Slot::COUNT], Vec<Refusal>, Rules) {
        let mut manifest = match self.manifest() {
            Ok(manifest) => manifest,
            Err(refusal) => return (Default::default(), vec![refusal], Rules::default()),
        };
        let mut refusals = std::mem::take(&mut manifest.mistakes);
        let given = Slot::ALL.map(|slot| self.given(slot, manifest.take(slot), &mut refusals));
        (given, refusals, manifest.rollout)
    }

    fn manifest(&self) -> Result<Manifest, Refusal> {
        Manifest::read(self.path.as_deref(), &self.trust)
    }

    /// Whether a slot has a component here, and whether it has settings; `None` if that cannot be known.
    pub(super) fn has(&self, slot: Slot) -> Option<(bool, bool)> {
        let mut manifest = self.manifest().ok()?;
        let entry = manifest.take(slot);
        let is_there = |named: Option<Name>, extension: &str| {
            let name = name(slot, named, extension);
            let folder = self.path.as_deref();
            folder.is_some_and(|folder| folder.join(name).symlink_metadata().is_ok())
        };
        manifest.mistakes.is_empty().then(|| {
            (
                is_there(entry.component, "wasm"),
                is_there(entry.settings, "json"),
            )
        })
    }

    /// The names under which each slot's files are read, whether the files exist or not; `None` if that cannot be known.
    pub(super) fn expected(&self) -> Option<[Files; Slot::COUNT]> {
        let mut manifest = self.manifest().ok()?;
        let files = Slot::ALL.map(|slot| {
            let entry = manifest.take(slot);
            Files {
                component: Some(name(slot, entry.component, "wasm")),
                settings: Some(name(slot, entry.settings, "json")),
            }
        });
        manifest.mistakes.is_empty().then_some(files)
    }

    /// The paths, relative to the folder, of its files and of the files in its subfolders; at most some hundreds.
    pub(super) fn names(&self) -> Vec<String> {
        const MOST: usize = 512;
        let list = |folder: &Path| {
            let entries = std::fs::read_dir(folder).into_iter().flatten();
            let named = entries.take(MOST).flatten();
            named.filter_map(|entry| Some((entry.path(), entry.file_name().into_string().ok()?)))
        };
        let mut names = Vec::new();
        for (path, name) in self.path.iter().flat_map(|folder| list(folder)) {
            // Skips hidden names, such as the folders of a ConfigMap's versions.
            if name.starts_with('.') || names.len() >= MOST {
                continue;
            }
            if path.is_dir() {
                let within = list(&path).map(|(_, within)| format!("{name}/{within}"));
                names.extend(within);
            } else {
                names.push(name);
            }
        }
        names.sort();
        names
    }

    /// Whether there is no file of any slot, and no manifest. A folder that cannot be read does not count as empty.
    pub(super) fn is_empty(&self) -> bool {
        let is_there = |name: &str| {
            let folder = self.path.as_deref();
            folder.is_some_and(|folder| folder.join(name).symlink_metadata().is_ok())
        };
        let has_any = |slot| self.has(slot) != Some((false, false));
        self.path.is_some() && !is_there(MANIFEST) && !Slot::ALL.into_iter().any(has_any)
    }

    /// Whether the operator allowed the slot to have no files here.
    pub(super) fn may_lack(&self, slot: Slot) -> bool {
        let manifest = self.manifest();
        manifest.is_ok_and(|mut manifest| manifest.take(slot).built_in)
    }

    /// Looks at the folder without reading any file but the manifest. A folder that cannot be looked at has the default
    /// signature: reading it then reports the reason.
    pub(super) fn signature(&self) -> Signature {
        let folder = self.path.as_deref();
        let Some(folder) = folder.and_then(|folder| folder.canonicalize().ok()) else {
            return Signature::default();
        };
        let manifest = Manifest::read(Some(&folder), &self.trust);
        let mut manifest = manifest.unwrap_or_default();
        let mut names = vec![String::new(), MANIFEST.to_owned()];
        for slot in Slot::ALL {
            let entry = manifest.take(slot);
            names.push(name(slot, entry.component, "wasm"));
            names.push(name(slot, entry.settings, "json"));
        }
        if self.trust.is_on() {
            let signatures = names[1..].iter();
            let signatures = signatures.map(|name| format!("{name}{SIGNATURE_ENDING}"));
            names.extend(signatures.collect::<Vec<_>>());
        }
        let files = names.iter().map(|name| File::at(&folder.join(name)));
        Signature {
            files: files.collect(),
            folder,
        }
    }

    fn given(&self, slot: Slot, entry: Entry, refusals: &mut Vec<Refusal>) -> Option<Given> {
        let mut refuse = |file: String, problem| {
            refusals.push(Refusal {
                file,
                slot: Some(slot),
                problem,
            });
        };
        let Entry {
            built_in, options, ..
        } = entry;
        let (component, settings) = (
            self.file(slot, entry.component, "wasm"),
            self.file(slot, entry.settings, "json"),
        );
        match (component, settings) {
            (Ok(Some(component)), Ok(_)) if built_in => {
                refuse(component.name, Problem::NotBuiltIn);
                None
            }
            (Ok(component), Ok(settings)) => Some(Given {
                component,
                settings,
                options,
                built_in,
            }),
            (component, settings) => {
                for (file, problem) in component.err().into_iter().chain(settings.err()) {
                    refuse(file, problem);
                }
                None
            }
        }
    }

    /// Reads a slot's file. A file that the manifest names must exist; one with the default name may be absent.
    fn file(
        &self,
        slot: Slot,
        named: Option<Name>,
        extension: &str,
    ) -> Result<Option<Named>, (String, Problem)> {
        let Some(folder) = &self.path else {
            return Ok(None);
        };
        let (name, place) = match named {
            Some(Name { text, place }) => (text, Some(place)),
            None => (name(slot, None, extension), None),
        };
        let most = match extension {
            "wasm" => MAX_COMPONENT,
            _ => MAX_SETTINGS,
        };
        match (file::read_if_there(folder, &name, most), place) {
            (Ok(Some(bytes)), _) => match self.trust.verify_in(folder, &name, &bytes) {
                Ok(_) => {
                    let bytes = Arc::from(bytes);
                    Ok(Some(Named { name, bytes }))
                }
                Err(problem) => Err((name, problem)),
            },
            (Ok(None), None) => Ok(None),
            (Ok(None), Some(place)) => {
                let mistake = format!(
                    "{place}: expected the name of a file in the same folder, found no `{name}` there"
                );
                Err((MANIFEST.to_owned(), Problem::Manifest(mistake)))
            }
            (Err(error), _) => Err((name, Problem::of_io(&error, Problem::Unreadable))),
        }
    }
}

/// The name of a slot's file: the one in the manifest, or the default one.
fn name(slot: Slot, named: Option<Name>, extension: &str) -> String {
    named.map_or_else(|| format!("{slot}.{extension}"), |name| name.text)
}

impl File {
    /// Follows symbolic links: the relevant file is the one that would be read.
    fn at(path: &Path) -> Option<Self> {
        let found = std::fs::metadata(path).ok()?;
        Some(Self {
            length: found.len(),
            modified: found.modified().ok(),
            node: node(&found),
        })
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
