//! The commands in the documents exist in the program, and the fields of the log are the documented ones.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::*;
use crate::folders::{KEY, Site, auth};

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

#[test]
fn the_fields_of_the_access_log_are_those_of_the_book() {
    let page = include_str!("../../../docs/src/operating.md");
    let (_, rest) = page.split_once("| field | |\n|---|---|\n").unwrap();
    let rows = rest.lines().take_while(|line| line.starts_with("| "));
    let cells = rows.filter_map(|row| row.split(" | ").next());
    let told: BTreeSet<&str> = cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();

    let site = Site::new();
    let mut settings: Value = serde_json::from_str(&auth()).unwrap();
    settings["keys"][0]["tenant"] = "acme".into();
    site.write("auth.json", &settings.to_string());
    let [(name, folder), _] = site.vars();
    let mut running = Running::start(&[
        (name, &folder),
        ("PROXY_LOG_FORMAT", "json"),
        // No collector listens there, which stops nothing.
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"),
    ]);
    let mut lines = BufReader::new(running.child.stdout.take().unwrap());
    let mut written = BTreeSet::new();
    for body in [
        r#"{"messages":[{"role":"user","content":"{\"demo\":{\"text\":\"x\"}}"}],"user":"u","metadata":{"k":"v"}}"#,
        r#"{"messages":["none"]}"#,
    ] {
        let mut answer = String::new();
        let mut connection = post_with(&running.address, KEY, body);
        connection.read_to_string(&mut answer).unwrap();
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let line: Value = serde_json::from_str(&line).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(line["bytes"], body.len(), "{answer}");
        assert_eq!(line["complete"], true);
        written.extend(line.as_object().unwrap().keys().cloned());
    }
    // Every line of the log has these.
    for field in ["timestamp", "level", "target", "message"] {
        assert!(written.remove(field), "{field} in {written:?}");
    }
    assert_eq!(written, told.into_iter().map(str::to_owned).collect());
}
