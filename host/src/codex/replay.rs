//! Decodes recorded turns of workers from pieces of any size: tests cut recordings at every byte, and the fuzzer
//! (`fuzz/`) wherever it chooses. Beside them, other readers that the fuzzer calls.

pub use super::app_server::replay as app_server;
pub use super::app_server::{ends_at, goes_on_from};
pub use super::proto::replay as proto;
pub use super::protocol_log::replay as protocol_line;

/// The words for the client, and the provider's names, in the message of a failed turn.
#[must_use]
pub fn provider_words(message: &str) -> (String, super::Named) {
    super::provider_error::for_the_client(message)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Event;
    use super::*;

    /// The recordings of `proto` if `old`, else all others, chosen by the beginning of their names.
    fn recordings(old: bool) -> Vec<(String, Vec<u8>)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/turns");
        let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
        let named = entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.path()));
        named
            .filter(|(name, _)| name.starts_with("proto-") == old)
            .map(|(name, path)| (name, std::fs::read(path).unwrap()))
            .collect()
    }

    fn assert_the_same_however_cut(
        recordings: Vec<(String, Vec<u8>)>,
        replay: impl Fn([&[u8]; 3]) -> Vec<Event>,
    ) {
        assert!(recordings.len() > 5);
        for (name, lines) in recordings {
            let whole = replay([&lines, b"", b""]);
            assert!(matches!(whole.last(), Some(Event::Ended(_))), "{name}");
            for at in 0..lines.len() {
                // Two cuts, so that one byte comes alone.
                let pieces = [&lines[..at], &lines[at..=at], &lines[at + 1..]];
                assert_eq!(replay(pieces), whole, "{name}, cut around byte {at}");
            }
        }
    }

    #[test]
    fn a_recorded_turn_is_the_same_wherever_its_bytes_are_cut() {
        assert_the_same_however_cut(recordings(false), |pieces| app_server(pieces, false));
    }

    #[test]
    fn a_recorded_turn_of_an_old_codex_is_the_same_wherever_its_bytes_are_cut() {
        assert_the_same_however_cut(recordings(true), proto);
    }
}
