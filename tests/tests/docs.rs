//! The READMEs say what the code does: every variable, every dependency, the example.

use std::path::Path;

use codex_gateway::config::{env, retired};
use codex_gateway_tests::gateway::Setup;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap()
}

#[test]
fn every_variable_is_in_the_readme_as_the_code_has_it() {
    let readme = read("README.md");
    for variable in env::ALL {
        let row = format!(
            "| `{}` | {} | {} |",
            variable.name, variable.default, variable.what
        );
        assert!(readme.contains(&row), "README lacks this row:\n{row}");
    }
}

#[test]
fn every_retired_variable_is_in_the_readme_as_the_code_has_it() {
    let readme = read("README.md");
    for retired in retired::ALL {
        let names: Vec<_> = retired
            .names
            .iter()
            .map(|name| format!("`{name}`"))
            .collect();
        let names = names.join(", ");
        let row = format!("| {names} | {} | {} |", retired.why, retired.instead);
        assert!(readme.contains(&row), "README lacks this row:\n{row}");
    }
}

#[test]
fn what_is_deployed_is_what_is_tested() {
    let (docker, compose, ci) = (
        read("Dockerfile"),
        read("docker-compose.yml"),
        read(".ci/run"),
    );
    let after = |text: &str, mark: &str| {
        let (_, rest) = text.split_once(mark).unwrap_or_else(|| panic!("{mark}"));
        rest.lines().next().unwrap().trim_matches('"').to_owned()
    };
    assert_eq!(
        after(&docker, "ARG RUST_VERSION="),
        after(&read("rust-toolchain.toml"), "channel = ")
    );
    assert_eq!(
        after(&docker, "ARG CODEX_VERSION="),
        after(&ci, "\nCODEX_VERSION=")
    );
    assert_eq!(
        after(&compose, "image: codex-gateway:"),
        after(&read("Cargo.toml"), "\nversion = ")
    );
    let unit = read("deploy/codex-gateway@.service");
    let agent = read("deploy/codex-gateway@.service.d/agent.conf");
    for text in [
        &docker.replace("CODEX_VERSION", ""),
        &compose,
        &unit,
        &agent,
    ] {
        let names = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for name in names.filter(|name| {
            ["PROXY_", "CODEX_", "POLICY_", "AUTH_"]
                .iter()
                .any(|family| name.starts_with(family))
        }) {
            assert!(
                env::ALL.iter().any(|variable| variable.name == name),
                "{name} is no setting"
            );
        }
    }
}

#[test]
fn every_default_that_differs_from_the_predecessors_is_told_as_the_code_has_it() {
    let readme = read("README.md");
    let (_, rest) = readme
        .split_once("| variable | not set, it was | and is |\n|---|---|---|\n")
        .expect("README has the table");
    let (table, _) = rest.split_once("\n\n").unwrap();
    for row in table.lines() {
        let told = |variable: &&env::Variable| {
            row.starts_with(&format!("| `{}` | ", variable.name))
                && row.ends_with(&format!(" | {} |", variable.default))
        };
        assert!(env::ALL.iter().any(|variable| told(&variable)), "{row}");
    }
}

#[test]
fn every_dependency_has_its_reason_in_the_readme() {
    let readme = read("README.md");
    let (_, reasons) = readme
        .split_once("## Dependencies")
        .expect("README has the section");
    let manifest = read("host/Cargo.toml");
    let (_, rest) = manifest.split_once("[dependencies]").unwrap();
    let (dependencies, _) = rest.split_once("\n[").unwrap();
    for line in dependencies.lines().filter(|line| line.contains('=')) {
        let name = line.split(['=', '.', ' ']).next().unwrap();
        assert!(
            reasons.contains(&format!("`{name}`")),
            "README gives no reason for {name}"
        );
    }
}

#[test]
fn the_example_is_in_the_policy_authors_readme_word_for_word() {
    let readme = read("wit/README.md");
    for (language, file) in [("toml", "Cargo.toml"), ("rust", "src/lib.rs")] {
        let example = read(&format!("policies/examples/open-auth/{file}"));
        let block = format!("\n```{language}\n{example}```\n");
        assert!(
            readme.contains(&block),
            "wit/README.md lacks {file} as it is:\n{block}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_in_the_readme_are_accepted() {
    let readme = read("README.md");
    let settings = |word: &str| {
        let mut blocks = readme.split("\n```json\n").skip(1);
        let block = blocks.find(|block| block.contains(word)).unwrap();
        block.split_once("\n```").unwrap().0
    };
    // It would not start with what it does not understand.
    let setup = Setup::demo()
        .policy("rate-limit.json", settings("\"unit\"").as_bytes())
        .policy("tool-stop.json", settings("\"grace_ms\"").as_bytes());
    setup.start().await.stop().await;
}
