//! The operator's files for one slot, as they were read.

use std::sync::Arc;

use super::Slot;
pub(super) use super::candidate::NONE;
use super::candidate::Options;
use super::fault::{Problem, Refusal};

/// Where a component comes from that is not the operator's.
pub(super) const BUILT_IN: &str = "built-in";
/// Where settings come from that are not in a file.
pub(super) const ENVIRONMENT: &str = "environment";

/// A file's name and its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) bytes: Arc<[u8]>,
}

/// What there is for a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    /// Absent: the built-in component.
    pub(super) component: Option<Named>,
    /// Absent: what the environment says to the built-in component, nothing to another one.
    pub(super) settings: Option<Named>,
    pub(super) options: Options,
    /// The operator said that nothing need be there for this slot.
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

/// The names of a slot's files; absent where there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Files {
    pub(super) component: Option<String>,
    pub(super) settings: Option<String>,
}

impl Files {
    /// What was there before and is gone. Rules that vanish with a volume that is not mounted must not turn into the
    /// built-in ones: without a word of the operator's it is a refusal like any other.
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

    /// From the names that logs and health use.
    pub(super) fn named(component: &str, settings: &str) -> Self {
        let unless = |name: &str, words: &[&str]| (!words.contains(&name)).then(|| name.to_owned());
        Self {
            component: unless(component, &[BUILT_IN]),
            settings: unless(settings, &[ENVIRONMENT, NONE]),
        }
    }
}
