//! Every policy slot is wherever the book lists the slots, with the settings of its built-in policy.

use std::collections::BTreeSet;

use codex_gateway::policy::Slot;

use super::read;

/// The tables that have a row for each slot: the page, and how the row of the slot `S` begins.
const TABLES: &[(&str, &str)] = &[
    ("docs/src/start.md", "| … | `S` |"),
    ("docs/src/policies/operate.md", "| `S.wasm`, `S.json` |"),
    (
        "docs/src/policies/write.md",
        "| `S-policy` (`wit/S.wit`) | … | `S.wasm` |",
    ),
    (
        "wit/README.md",
        "| [`S-policy`](S.wit) | … | … | `S.wasm` |",
    ),
];

/// Whether a row has these cells, of which `…` may be anything.
fn has_cells(row: &str, cells: &str) -> bool {
    let (row, cells): (Vec<_>, Vec<_>) = (row.split('|').collect(), cells.split('|').collect());
    let fits =
        |(cell, wanted): (&&str, &&str)| wanted.trim() == "…" || cell.trim() == wanted.trim();
    let last = cells.len() - 1;
    row.len() >= cells.len() && row.iter().zip(&cells[..last]).all(fits)
}

#[test]
fn every_slot_has_its_row_in_the_tables_of_slots() {
    for (page, cells) in TABLES {
        let text = read(page);
        for slot in Slot::ALL.map(Slot::name) {
            let cells = cells.replace('S', slot);
            let rows = text.lines().filter(|row| has_cells(row, &cells)).count();
            assert_eq!(rows, 1, "{page}: {cells}");
        }
    }
}

#[test]
fn the_glossary_and_the_guide_name_the_slots_in_their_order() {
    let names = Slot::ALL.map(Slot::name);
    let glossary = read("docs/src/architecture.md");
    let quoted = names.map(|name| format!("`{name}`")).join(", ");
    assert!(
        glossary.contains(&format!("a policy serves in: {quoted} |")),
        "{quoted}"
    );
    let [first, others @ ..] = names;
    let others = others.join(", ");
    let guide = read("wit/README.md");
    assert!(
        guide.contains(&format!("[{first}]                      # or {others}\n")),
        "{others}"
    );
}

#[test]
fn the_number_of_the_questions_is_that_of_the_slots() {
    let number = ["no", "one", "two", "three", "four", "five", "six", "seven"][Slot::ALL.len()];
    for (page, words) in [
        ("docs/src/policies/write.md", "one of N questions"),
        ("wit/README.md", "one of N questions"),
        ("docs/src/architecture.md", "one of the N places"),
        ("docs/src/architecture.md", "the N default policies"),
        ("docs/src/policies/operate.md", "the set of N policies"),
        ("docs/src/errors.md", "the N built-in ones"),
    ] {
        let words = words.replace('N', number);
        assert!(read(page).contains(&words), "{page} lacks \"{words}\"");
    }
}

/// The names of the slots that a source lists by hand would be missed by a new slot: tests go through [`Slot::ALL`].
#[test]
fn no_test_lists_the_slots_by_hand() {
    let names: BTreeSet<_> = Slot::ALL.map(|slot| format!("\"{slot}\"")).into();
    for folder in ["tests/tests", "tests/benches", "host/tests", "host/src"] {
        for file in crate::layers::all(folder) {
            let text = std::fs::read_to_string(&file).unwrap();
            for list in text.split('[').skip(1) {
                let list = list.split(']').next().unwrap();
                let items: BTreeSet<_> =
                    list.split(',').map(|item| item.trim().to_owned()).collect();
                assert!(!items.is_superset(&names), "{}: [{list}]", file.display());
            }
        }
    }
}

#[test]
fn every_member_of_a_settings_file_is_in_the_book() {
    let members = |slot: &str, pointer: &str| {
        let schema = read(&format!("policies/{slot}/settings.schema.json"));
        let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
        let members = schema.pointer(pointer).and_then(|found| found.as_object());
        members.unwrap().keys().cloned().collect::<Vec<_>>()
    };
    let documented = [
        ("auth", "/properties", "docs/src/policies/operate.md"),
        (
            "auth",
            "/properties/keys/items/properties",
            "docs/src/policies/cookbook.md",
        ),
        ("model", "/properties", "docs/src/policies/operate.md"),
        ("tool-stop", "/properties", "docs/src/policies/operate.md"),
        (
            "rate-limit",
            "/properties/rules/items/properties",
            "docs/src/limits.md",
        ),
        (
            "rate-limit",
            "/$defs/scope/properties",
            "docs/src/limits.md",
        ),
    ];
    for slot in Slot::ALL.map(Slot::name) {
        let mut named = documented.iter().map(|(slot, ..)| *slot);
        assert!(
            named.any(|named| named == slot),
            "no page has the settings of {slot}"
        );
    }
    for (slot, pointer, page) in documented {
        let text = read(page);
        // The member `host` is set by the host, not by the operator.
        for member in members(slot, pointer).iter().filter(|name| *name != "host") {
            let named = [format!("`{member}`"), format!("\"{member}\":")];
            let named = named.iter().any(|name| text.contains(name));
            assert!(named, "{page} lacks {member} of {slot}");
        }
    }
}
