//! The book's table of clients holds what the tests set, and nothing else.

use codex_gateway_tests::clients::{ALL, Client, ORIGIN, Setting};

use super::{assert_made, read, with_made};

const PAGE: &str = "docs/src/clients.md";

/// A setting as the book shows it.
fn shown(setting: &Setting) -> String {
    match setting {
        Setting::Variable(name, value) => format!("`{name}={value}`"),
        Setting::Words(words) | Setting::Login(words) => format!("`{words}`"),
        Setting::Part(text) => format!("`{text}`"),
        Setting::Argument(name, value) => format!("`{name}`: `{value}`"),
    }
}

/// The version that the tests run.
fn version(client: &Client) -> String {
    let (file, before) = client.pin;
    let text = read(file);
    let (_, rest) = text
        .split_once(before)
        .unwrap_or_else(|| panic!("{file} does not pin {}", client.name));
    let ends = |c: char| !c.is_ascii_alphanumeric() && c != '.';
    rest.split(ends).next().unwrap().to_owned()
}

fn row(client: &Client) -> String {
    let cell = |settings: &[Setting]| {
        let shown: Vec<String> = settings.iter().map(shown).collect();
        shown.join(", ")
    };
    let [base_url, key, model, switches] =
        [client.base_url, client.key, client.model, client.switches].map(cell);
    let (name, over, test, version) = (client.name, client.over, client.test, version(client));
    format!(
        "| {name} {version} | {over} | {base_url} | {key} | {model} | {switches} | `{test}` |\n"
    )
}

#[test]
fn the_table_of_clients_is_made_of_what_the_tests_set() {
    let head = "\n| client | over | base URL | key | model | and | tested by |\n|---|---|---|---|---|---|---|\n";
    let rows: String = ALL.iter().map(row).collect();
    let is = read(PAGE);
    let made = with_made(
        &is,
        "tests/src/clients/table.rs",
        &(head.to_owned() + &rows),
    );
    assert_made(PAGE, &is, &made);
}

/// Programs are run by [`Client::command`], which sets what the table says; a library's client is made in a script.
#[test]
fn every_test_in_the_table_sets_what_the_table_says() {
    for client in ALL {
        let text = read(client.test);
        if let Some((file, _)) = client.file {
            let (configuration, page) = (read(file), read(PAGE));
            for setting in client.settings() {
                if let Setting::Part(part) = setting {
                    assert!(configuration.contains(part), "{file} lacks {part}");
                }
            }
            let included = file.strip_prefix("docs/src/").unwrap();
            assert!(
                page.contains(&format!("{{{{#include {included}}}}}")),
                "{file}"
            );
        }
        for setting in client.settings() {
            let Setting::Argument(name, value) = setting else {
                assert!(text.contains("clients::"), "{}", client.test);
                continue;
            };
            if name == "model" {
                assert!(text.contains(&format!("{value:?}")), "{}", client.test);
                continue;
            }
            // `name=`, or a variable of the same name in JavaScript.
            let is_set = ["=", ",", " }"]
                .iter()
                .any(|after| text.contains(&format!("{name}{after}")));
            assert!(is_set, "{} does not set {name}", client.test);
            if value.starts_with(ORIGIN) {
                // The scripts get the address with `/v1`.
                let cuts = ["removesuffix(\"/v1\")", "replace(/\\/v1$/"];
                let is_cut = cuts.iter().any(|cut| text.contains(cut));
                assert_eq!(is_cut, !value.ends_with("/v1"), "{}", client.test);
            }
        }
    }
}
