//! Reads the bytes of operators as the gateway does, without their files: for the fuzzer (`fuzz/`).

use super::digest::Digest;
use super::{manifest, records};

/// The mistakes in the bytes of a `policies.toml`.
#[must_use]
pub fn manifest(bytes: &[u8]) -> Vec<String> {
    manifest::parse_bytes(bytes).mistakes
}

/// Reads a line of the records.
///
/// # Errors
/// One line that says what is wrong with it.
pub fn record(line: &[u8]) -> Result<(), String> {
    records::read_line(line)
}

/// The digits of a digest, read and written.
#[must_use]
pub fn digest(text: &str) -> Option<String> {
    Digest::parse(text).map(|digest| digest.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    const MANIFEST: &str = "[auth]\ncomponent = \"a.wasm\"\nsettings = \"a.json\"\ninstances = \"warm\"\ngrants = [\"credential\"]\n\
        memory_mib = 16\ndeadline_ms = 20\n[model]\nbuilt_in = true\n[rollout]\nprobation = \"10m\"\n";

    const RECORD: &str = r#"{"at":"2026-01-01T00:00:00.000Z","request":"r","number":1,"policy":"0000000000000000000000000000000000000000000000000000000000000000","slot":"rate-limit","question":"quotas","input":{"client":"127.0.0.1","caller":null,"endpoint":"e","model":null,"streaming":false,"estimated-tokens":1,"now-ms":1},"took_us":1}"#;

    fn changed(text: &str, changes: &[(Index, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = text.as_bytes().to_vec();
        for (at, new) in changes {
            let at = at.index(bytes.len());
            let end = (at + new.len() / 2).min(bytes.len());
            bytes.splice(at..end, new.iter().copied());
        }
        bytes
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_their_mistakes_told_in_lines(
            changes in prop::collection::vec((any::<Index>(), prop::collection::vec(any::<u8>(), 0..6)), 0..6),
        ) {
            for mistake in manifest(&changed(MANIFEST, &changes)) {
                prop_assert!(!mistake.contains('\n'), "{}", mistake);
                prop_assert!(mistake.len() < 2000, "{}", mistake.len());
            }
            if let Err(mistake) = record(&changed(RECORD, &changes)) {
                prop_assert!(!mistake.contains('\n') && mistake.len() < 2000, "{}", mistake);
            }
        }

        #[test]
        fn a_digest_is_read_as_it_is_written(text in "[0-9a-fA-F+ ]{0,70}") {
            prop_assert_eq!(digest(&text), (text.len() == 64 && !text.contains(['+', ' '])).then(|| text.to_lowercase()));
        }
    }
}
