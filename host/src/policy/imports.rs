//! Counts calls of imports that policies may not use.

use std::sync::atomic::{AtomicU64, Ordering};

/// An import of which calls are counted. Without folders nothing can be asked of files, but for the list of folders, which is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Import {
    Sockets,
    Http,
}

impl Import {
    pub(super) const ALL: [Self; 2] = [Self::Sockets, Self::Http];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sockets => "wasi:sockets",
            Self::Http => "wasi:http",
        }
    }
}

/// Numbers of calls, as in [`Import::ALL`].
#[derive(Debug, Default)]
pub(super) struct Calls([AtomicU64; Import::ALL.len()]);

impl Calls {
    pub(super) fn add(&self, import: Import) {
        self.0[import as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn counts(&self) -> [(&'static str, u64); Import::ALL.len()] {
        Import::ALL.map(|import| {
            let calls = self.0[import as usize].load(Ordering::Relaxed);
            (import.name(), calls)
        })
    }
}
