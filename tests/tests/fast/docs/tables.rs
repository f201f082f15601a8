//! Tables of the book: every endpoint, every field of a request's line in the log.

use std::collections::BTreeSet;

use super::read;

/// The first cells of the table on a page that begins so, without the head.
fn first_cells(page: &str, head: &str) -> Vec<String> {
    let text = read(page);
    let (_, rest) = text
        .split_once(head)
        .unwrap_or_else(|| panic!("{page} lacks {head}"));
    let rows = rest.lines().take_while(|line| line.starts_with("| "));
    let cell = |row: &str| row.split(" | ").next().unwrap()[2..].to_owned();
    rows.map(cell).collect()
}

/// The parts of a text between backquotes.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

const ENDPOINTS: &str = "| endpoint | |\n|---|---|\n";

/// Method and path of each endpoint in such a table; without a method it is any. A method alone is of the next path.
fn endpoints_of(page: &str) -> BTreeSet<String> {
    let mut endpoints = BTreeSet::new();
    for cell in first_cells(page, ENDPOINTS) {
        let mut methods = Vec::new();
        for word in code(&cell) {
            let (method, path) = match word.split_once(' ') {
                Some((method, path)) => (method, path),
                None if word.starts_with('/') => ("ANY", word),
                None => {
                    methods.push(word.to_owned());
                    continue;
                }
            };
            methods.push(method.to_owned());
            let named = methods.drain(..).map(|method| format!("{method} {path}"));
            endpoints.extend(named);
        }
        assert!(methods.is_empty(), "{page}: {cell}: of which path?");
    }
    endpoints
}

#[test]
fn every_endpoint_is_in_the_book_with_its_methods_and_nothing_else() {
    let for_clients = served("host/src/api/endpoints/openapi.json");
    assert_eq!(endpoints_of("docs/src/clients.md"), for_clients);
    let of_usage = endpoints_of("docs/src/operating.md");
    assert!(of_usage.is_subset(&for_clients), "{of_usage:?}");
    let for_operators = served("host/src/api/admin/endpoints/openapi.json");
    assert_eq!(endpoints_of("docs/src/admin.md"), for_operators);
}

/// The endpoints of a document, which `openapi.rs` holds against the routes.
fn served(document: &str) -> BTreeSet<String> {
    let document = read(document);
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    let mut served = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        if item["x-any-method"] == true {
            served.insert(format!("ANY {path}"));
            continue;
        }
        for member in item.as_object().unwrap().keys() {
            let method = match member.as_str() {
                // Whatever has GET has it, and endpoints that generate have it for probes.
                "head" | "parameters" => continue,
                method => &method.to_uppercase(),
            };
            served.insert(format!("{method} {path}"));
        }
    }
    served
}

/// The fields of the line that is logged of a request, as `operating.md` has them.
fn fields_of_the_book() -> BTreeSet<String> {
    let cells = first_cells("docs/src/operating.md", "| field | |\n|---|---|\n");
    let fields = cells.iter().flat_map(|cell| code(cell));
    fields.map(str::to_owned).collect()
}

/// A real line is held against the same table in `host/tests/process/documents.rs`.
#[test]
fn every_field_of_the_access_log_is_in_the_book() {
    let source = read("host/src/telemetry/log.rs");
    let (_, call) = source.split_once("        target: ACCESS,\n").unwrap();
    let (fields, _) = call.split_once("\"request\"\n").unwrap();
    let written = fields.trim_end().lines().map(|line| {
        let name = line.trim_start().split([' ', ',']);
        name.take(1).collect::<String>()
    });
    assert_eq!(fields_of_the_book(), written.collect());
}
