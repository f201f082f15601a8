//! House rules that a compiler does not check: arrows point down, every file states its responsibility.

use std::path::{Path, PathBuf};

/// The layers from top to bottom, with the modules that each may name.
const LAYERS: &[(&str, &[&str])] = &[
    (
        "main",
        &[
            "app",
            "config",
            "listen",
            "policy",
            "registry",
            "secret",
            "telemetry",
        ],
    ),
    (
        "app",
        &[
            "api",
            "config",
            "codex",
            "file",
            "listen",
            "policy",
            "quota",
            "telemetry",
            "turn",
        ],
    ),
    (
        "config",
        &[
            "api",
            "codex",
            "file",
            "listen",
            "policy",
            "secret",
            "spelling",
            "telemetry",
        ],
    ),
    (
        "api",
        &[
            "openai",
            "turn",
            "codex",
            "listen",
            "memory",
            "policy",
            "quota",
            "secret",
            "telemetry",
        ],
    ),
    ("openai", &["turn", "codex", "policy", "hex"]),
    ("turn", &["codex", "policy"]),
    ("codex", &["file", "hex"]),
    ("listen", &[]),
    ("policy", &["file", "hex", "memory", "quota", "spelling"]),
    ("quota", &["file", "secret"]),
    ("registry", &["hex", "policy", "secret"]),
    ("file", &[]),
    ("memory", &[]),
    ("secret", &["hex"]),
    ("hex", &[]),
    ("spelling", &[]),
    ("telemetry", &["file"]),
    ("lib", &[]),
];

pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

pub(super) fn all(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    sources(&root().join(folder), &mut found);
    assert!(!found.is_empty());
    found
}

#[test]
fn arrows_point_down() {
    let host = root().join("host/src");
    let mut wrong = Vec::new();
    for path in all("host/src") {
        let inside = path.strip_prefix(&host).unwrap();
        let module = inside
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_string_lossy()
            .replace(".rs", "");
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == module) else {
            wrong.push(format!("{module} has no place in LAYERS"));
            continue;
        };
        let text = std::fs::read_to_string(&path).unwrap();
        for named in ["crate::", "codex_gateway::"]
            .iter()
            .flat_map(|prefix| text.split(prefix).skip(1))
        {
            let groups = named.strip_prefix('{').map(|rest| {
                rest.split('}')
                    .next()
                    .unwrap()
                    .split(',')
                    .collect::<Vec<_>>()
            });
            for path_start in groups.unwrap_or_else(|| vec![named]) {
                let end = path_start
                    .trim()
                    .find(|c: char| !c.is_alphanumeric() && c != '_')
                    .unwrap_or(path_start.trim().len());
                let target = &path_start.trim()[..end];
                if LAYERS.iter().any(|(name, _)| *name == target)
                    && target != module
                    && !allowed.contains(&target)
                {
                    wrong.push(format!("{} names {target}", inside.display()));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "arrows that point up or sideways: {wrong:#?}"
    );
}

#[test]
fn only_one_module_speaks_http_and_one_wasmtime() {
    let host = root().join("host/src");
    for path in all("host/src") {
        let inside = path
            .strip_prefix(&host)
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let says = |word: &str| {
            text.contains(&format!("use {word}")) || text.contains(&format!("{word}::"))
        };
        assert!(
            !says("axum") || inside.starts_with("api"),
            "{inside} says axum"
        );
        assert!(
            !says("wasmtime") || inside.starts_with("policy"),
            "{inside} says wasmtime"
        );
    }
}

#[test]
fn every_file_says_what_it_is_for_and_is_short() {
    for path in ["host", "policies", "tests"]
        .iter()
        .flat_map(|folder| all(folder))
    {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("//! "),
            "{} does not begin with its responsibility",
            path.display()
        );
        let lines = text.lines().count();
        assert!(lines <= 430, "{} has {lines} lines", path.display());
    }
}

/// No sentence of a comment begins with them: its subject would have to be guessed.
const HEADLESS: [&str; 6] = ["Nobody", "What", "Who", "Whoever", "Whom", "Whose"];

#[test]
fn sentences_of_comments_begin_with_the_noun_they_are_about() {
    let mut found = Vec::new();
    for path in ["host", "policies", "tests", "fuzz"]
        .iter()
        .flat_map(|folder| all(folder))
    {
        let text = std::fs::read_to_string(&path).unwrap();
        let mut previous = ".";
        for (line, number) in text.lines().zip(1..) {
            let Some(comment) = line.trim_start().strip_prefix("//") else {
                previous = ".";
                continue;
            };
            for word in comment.trim_start_matches(['/', '!']).split_whitespace() {
                let begins = previous.ends_with(['.', ':', ';', '?']);
                if begins && HEADLESS.contains(&word) {
                    found.push(format!("{}:{number}: {word} …", path.display()));
                }
                previous = word;
            }
        }
    }
    assert!(
        found.is_empty(),
        "see the words in CONTRIBUTING.md:\n{}",
        found.join("\n")
    );
}

#[test]
fn files_begin_with_their_responsibility() {
    const HEADLESS: [&str; 6] = ["How", "When", "Where", "Whether", "Which", "Why"];
    for path in ["host/src", "policies"]
        .iter()
        .flat_map(|folder| all(folder))
    {
        let text = std::fs::read_to_string(&path).unwrap();
        let first = text.split_whitespace().nth(1).unwrap();
        let is_test = path
            .iter()
            .any(|part| part.to_string_lossy().starts_with("tests"));
        assert!(
            is_test || !HEADLESS.contains(&first),
            "{} begins with {first}: see the words in CONTRIBUTING.md",
            path.display()
        );
    }
}
