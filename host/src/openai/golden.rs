//! Answers on the wire against the files in `tests/fixtures/golden`. Compiling with `BLESS=1` in the environment writes
//! them anew.

use std::path::PathBuf;

/// `name`: of a file in `tests/fixtures/golden`, its folder included.
pub(super) fn assert_golden(name: &str, found: &str) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/golden");
    let path = PathBuf::from(folder).join(name);
    if option_env!("BLESS").is_some() {
        std::fs::write(&path, found).expect("the golden is written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(found, expected, "{name}");
}
