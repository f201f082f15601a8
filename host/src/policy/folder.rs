//! The operator's folder: its files read, slot by slot, and how it looks from outside.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::Slot;
use super::fault::{Problem, Refusal};
use super::given::{Given, Named};
use super::live::Refusals;
use super::manifest::{Entry, MANIFEST, Manifest};
use crate::file;

/// No component is larger (JavaScript and Python ones have some ten million bytes).
const MAX_COMPONENT: u64 = 64 << 20;
/// No settings are larger: 100,000 keys have 14 million bytes.
const MAX_SETTINGS: u64 = 16 << 20;

/// What the folder looks like from outside; equal as long as no file was touched that is read, and none came or went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Signature {
    /// The real folder: a symbolic link may be pointed elsewhere.
    folder: PathBuf,
    /// Itself, and the files that are read, however many others lie there.
    files: Vec<Option<File>>,
}

/// What is known of a file without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct File {
    length: u64,
    modified: Option<SystemTime>,
    /// Its number, and when its owner or its permissions changed last, where there are such.
    node: (u64, i64, i64),
}

/// `POLICY_DIR`; or none, in which there is nothing.
#[derive(Debug, Clone)]
pub(super) struct Folder(pub(super) Option<PathBuf>);

impl Folder {
    /// Reads what there is for every slot.
    ///
    /// # Errors
    /// All files that cannot be read, and all mistakes of the manifest.
    pub(super) fn read(&self) -> Result<[Given; 4], Refusals> {
        let mut manifest = Manifest::read(self.0.as_deref())?;
        let mut refusals = Vec::new();
        let given = Slot::ALL.map(|slot| self.given(slot, manifest.take(slot), &mut refusals));
        match given {
            [Some(auth), Some(model), Some(rate_limit), Some(tool_stop)] => {
                Ok([auth, model, rate_limit, tool_stop])
            }
            _ => Err(Refusals(refusals)),
        }
    }

    /// Whether a slot has a component here, and whether it has settings; neither if that cannot be known.
    pub(super) fn has(&self, slot: Slot) -> (bool, bool) {
        let mut manifest = Manifest::read(self.0.as_deref()).unwrap_or_default();
        let entry = manifest.take(slot);
        let is_there = |named: Option<String>, extension: &str| {
            let name = name(slot, named, extension);
            let folder = self.0.as_deref();
            folder.is_some_and(|folder| folder.join(name).exists())
        };
        (
            is_there(entry.component, "wasm"),
            is_there(entry.settings, "json"),
        )
    }

    /// The names of all files here, as far as they can be read; at most some hundreds.
    pub(super) fn names(&self) -> Vec<String> {
        const MOST: usize = 512;
        let entries = self
            .0
            .as_deref()
            .and_then(|folder| std::fs::read_dir(folder).ok());
        let names = entries.into_iter().flatten().take(MOST).flatten();
        let mut names: Vec<_> = names
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    /// Whether the operator said that nothing need be here for a slot.
    pub(super) fn may_lack(&self, slot: Slot) -> bool {
        let mut manifest = Manifest::read(self.0.as_deref()).unwrap_or_default();
        manifest.take(slot).built_in
    }

    /// Looks at the folder without reading any file but the manifest. A folder that cannot be looked at has no signature
    /// of its own: reading it then says why.
    pub(super) fn signature(&self) -> Signature {
        let folder = self.0.as_deref();
        let Some(folder) = folder.and_then(|folder| folder.canonicalize().ok()) else {
            return Signature::default();
        };
        let mut manifest = Manifest::read(Some(&folder)).unwrap_or_default();
        let mut names = vec![String::new(), MANIFEST.to_owned()];
        for slot in Slot::ALL {
            let entry = manifest.take(slot);
            names.push(name(slot, entry.component, "wasm"));
            names.push(name(slot, entry.settings, "json"));
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

    /// Reads a slot's file. One that is named in the manifest must be there; one with the usual name may be absent.
    fn file(
        &self,
        slot: Slot,
        named: Option<String>,
        extension: &str,
    ) -> Result<Option<Named>, (String, Problem)> {
        let Some(folder) = &self.0 else {
            return Ok(None);
        };
        let must_exist = named.is_some();
        let name = name(slot, named, extension);
        let most = match extension {
            "wasm" => MAX_COMPONENT,
            _ => MAX_SETTINGS,
        };
        match file::read_within(folder, &name, most) {
            Ok(bytes) => {
                let bytes = Arc::from(bytes);
                Ok(Some(Named { name, bytes }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && !must_exist => Ok(None),
            Err(error) => Err((name, Problem::Unreadable(error.to_string()))),
        }
    }
}

/// A slot's file: the one that is named in the manifest, or the one with the usual name.
fn name(slot: Slot, named: Option<String>, extension: &str) -> String {
    named.unwrap_or_else(|| format!("{slot}.{extension}"))
}

impl File {
    /// Through symbolic links: what counts is the file that would be read.
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
