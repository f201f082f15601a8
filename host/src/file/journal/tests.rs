//! Tests of the journal: lines that are longer than a file, and entries without a line.

use super::*;

const SUBJECT: Subject = Subject {
    name: "a journal",
    lost: |_, _| {},
};

#[test]
fn a_line_longer_than_a_file_is_dropped_and_an_entry_may_have_no_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lines");
    let config = Config {
        path: path.clone(),
        max_bytes: 100,
        max_files: 2,
    };
    let line = |length: usize| (length > 0).then(|| vec![b'x'; length]);
    let journal = Journal::open(SUBJECT, config, line).unwrap();
    for length in [10, 0, 99, 100, 1_000] {
        journal.push(length);
    }
    journal.close();
    assert_eq!(journal.counts(), (2, 2));
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 100);
    let older = std::fs::metadata(folder.path().join("lines.1"));
    assert_eq!(older.unwrap().len(), 11);
}

#[test]
fn a_file_that_cannot_be_rotated_is_bounded_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lines");
    std::fs::create_dir_all(folder.path().join("lines.1/full")).unwrap();
    let config = Config {
        path: path.clone(),
        max_bytes: 100,
        max_files: 2,
    };
    let journal = Journal::open(SUBJECT, config, |()| Some(vec![b'x'; 49])).unwrap();
    for _ in 0..10 {
        journal.push(());
    }
    journal.close();
    assert_eq!(journal.counts(), (4, 6));
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 200);
}
