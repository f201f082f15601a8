//! The operator's files for one slot, as they were read.

use std::sync::Arc;

use super::Slot;
pub(super) use super::candidate::NONE;
use super::candidate::Options;
use super::fault::{Problem, Refusal};

/// The name of a component's source if it is not the operator's.
pub(super) const BUILT_IN: &str = "built-in";
/// The name of the settings' source if they are not in a file.
pub(super) const ENVIRONMENT: &str = "environment";

/// A file's name and its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) bytes: Arc<[u8]>,
}

/// The files and options of one slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    /// If absent, the built-in component serves.
    pub(super) component: Option<Named>,
    /// If absent, the built-in component gets the environment's settings, and another component gets none.
    pub(super) settings: Option<Named>,
    pub(super) options: Options,
    /// The operator allowed the slot to have no files here.
    pub(super) built_in: bool,
}

impl Given {
    pub(super) fn files(&self) -> Files {
        let name = |file: &Option<Named>| Some(file.as_ref()?.name.clone());
        Files {
            component: name(&self.component),
            settings: name(&self.settings),
        }
    }
}

/// Files of one slot that take the places of a folder's own.
#[derive(Debug, Clone, Default)]
pub(super) struct Overlay {
    pub(super) component: Option<Named>,
    pub(super) settings: Option<Named>,
    /// If absent, the folder's options hold.
    pub(super) options: Option<Options>,
}

/// The names of a slot's files; `None` for a file that does not exist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Files {
    pub(super) component: Option<String>,
    pub(super) settings: Option<String>,
}

impl Files {
    /// The files that were there before and are gone. Rules that vanish with a volume that is not mounted must not turn into the
    /// built-in ones: unless the operator allowed it, each missing file is a refusal like any other.
    pub(super) fn vanished(&self, slot: Slot, given: &Given) -> Vec<Refusal> {
        if given.built_in {
            return Vec::new();
        }
        let now = given.files();
        let pairs = [
            (&self.component, &now.component),
            (&self.settings, &now.settings),
        ];
        pairs
            .into_iter()
            .filter(|(_, now)| now.is_none())
            .filter_map(|(before, _)| before.clone())
            .map(|file| Refusal {
                file,
                slot: Some(slot),
                problem: Problem::Vanished(slot),
            })
            .collect()
    }

    /// Reads the names back from the sources that logs and health show.
    pub(super) fn named(component: &str, settings: &str) -> Self {
        let unless = |name: &str, words: &[&str]| (!words.contains(&name)).then(|| name.to_owned());
        Self {
            component: unless(component, &[BUILT_IN]),
            settings: unless(settings, &[ENVIRONMENT, NONE]),
        }
    }
}
