//! The commands in the documents exist in the program.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::*;

fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut documents = vec![root.join("README.md"), root.join("CONTRIBUTING.md")];
    for folder in ["docs/src", "docs/src/policies"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            documents.push(entry.unwrap().path());
        }
    }
    documents.retain(|path| path.extension().is_some_and(|found| found == "md"));
    documents
}

/// The words after the program's name, at the beginning of code or after a pipe.
fn commands(text: &str) -> BTreeSet<Vec<String>> {
    let begins = ["`", "\n", "| "].map(|before| format!("{before}codex-gateway "));
    let calls = begins.iter().flat_map(|begin| text.split(begin).skip(1));
    let is_word = |word: &&str| word.bytes().all(|byte| byte.is_ascii_lowercase());
    calls
        .map(|call| {
            let end = call.find(['`', '\n']).unwrap_or(call.len());
            let words = call[..end].split_whitespace().take_while(is_word);
            words.map(str::to_owned).collect()
        })
        .collect()
}

#[test]
fn every_command_that_a_document_names_exists() {
    let mut named = BTreeSet::new();
    for document in documents() {
        named.extend(commands(&std::fs::read_to_string(document).unwrap()));
    }
    assert!(named.contains(&vec!["config".to_owned()]), "{named:?}");
    for mut words in named {
        // The last word may be an argument, for example the name of a caller: `--help` is then answered for the words before it.
        words.push("--help".to_owned());
        let output = gateway(&[]).args(&words).output().unwrap();
        assert!(output.status.success(), "codex-gateway {words:?}");
    }
}
