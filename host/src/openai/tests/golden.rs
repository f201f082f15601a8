//! Compares answers with the files in `tests/fixtures/golden`. Compiling with `BLESS=1` in the environment rewrites the files.

use std::path::PathBuf;

use crate::codex::{self, Usage};
use crate::openai::Head;
use crate::turn::{self, Delta, Finish};

/// `name` is the path of a file below `tests/fixtures/golden`.
pub(in crate::openai) fn assert_golden(name: &str, found: &str) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/golden");
    let path = PathBuf::from(folder).join(name);
    if option_env!("BLESS").is_some() {
        std::fs::write(&path, found).expect("the golden is written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(found, expected, "{name}");
}

pub(in crate::openai) fn head(id: &str) -> Head {
    Head {
        id: id.to_owned(),
        created: 1_800_000_000,
        model: "codex-5".to_owned(),
        clock: || 1_800_000_000,
    }
}

pub(in crate::openai) fn says(text: &str) -> Delta {
    Delta::Text(text.to_owned())
}

pub(in crate::openai) fn call(index: u32, arguments: &str) -> Delta {
    Delta::Call {
        index,
        id: format!("call_{index}"),
        name: "get_weather".to_owned(),
        arguments: arguments.to_owned(),
    }
}

pub(in crate::openai) fn end(finish: Finish) -> Delta {
    Delta::End {
        finish,
        stop: None,
        usage: Usage {
            input: 120,
            cached_input: 40,
            output: 30,
            reasoning: 7,
        },
        estimated: false,
    }
}

pub(in crate::openai) fn busy() -> Delta {
    Delta::Failed(turn::Error::Codex(codex::Error::Busy))
}
