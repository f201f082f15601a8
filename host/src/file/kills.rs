//! Copies a folder after each step of writing in it, for tests: a process that is killed then leaves exactly these files.

use std::fs;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use tempfile::TempDir;

/// The folders that are copied now, each with the place and the number of its copies.
static WATCHED: Mutex<Vec<(PathBuf, PathBuf, usize)>> = Mutex::new(Vec::new());

/// The copies of one folder.
pub(crate) struct Kills {
    folder: PathBuf,
    copies: TempDir,
}

impl Kills {
    /// Copies the folder now, and after each further step.
    pub(crate) fn within(folder: &Path) -> Self {
        let copies = tempfile::tempdir().unwrap();
        copy(folder, &copies.path().join("0"));
        let watched = (folder.to_owned(), copies.path().to_owned(), 1);
        WATCHED.lock().push(watched);
        Self {
            folder: folder.to_owned(),
            copies,
        }
    }

    /// The copies in their order, and the place that they have until it is dropped.
    pub(crate) fn stop(self) -> (Vec<PathBuf>, TempDir) {
        let mut watched = WATCHED.lock();
        let place = watched
            .iter()
            .position(|(folder, ..)| *folder == self.folder);
        let (_, place, count) = watched.remove(place.unwrap());
        let copies = (0..count).map(|number| place.join(number.to_string()));
        (copies.collect(), self.copies)
    }
}

/// Copies the folder that the path is in, if that is wanted.
pub(super) fn stepped(path: &Path) {
    // Held meanwhile: no other step is copied at the same time.
    let mut watched = WATCHED.lock();
    for (folder, place, count) in watched.iter_mut() {
        if path.starts_with(&*folder) {
            copy(folder, &place.join(count.to_string()));
            *count += 1;
        }
    }
}

/// Copies a folder.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type().unwrap().is_dir() {
            true => copy(&from, &to),
            false => drop(fs::copy(&from, &to).unwrap()),
        }
    }
}
