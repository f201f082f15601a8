//! The fuzz targets know what the gateway reads: every name of Codex's protocols is in their dictionary.

use std::collections::BTreeSet;

use syn::visit::Visit;
use syn::{Attribute, Item, ItemEnum, LitStr};

use crate::docs::read;

/// The values of one option in the `serde` attributes of an item.
fn option(attributes: &[Attribute], name: &str) -> Vec<String> {
    let lists = attributes.iter().filter_map(|attribute| {
        let list = attribute.meta.require_list().ok()?;
        list.path.is_ident("serde").then(|| list.tokens.to_string())
    });
    let options = lists.flat_map(|list| {
        let options = list.split(',').map(str::trim).map(str::to_owned);
        options.collect::<Vec<_>>()
    });
    let values = options.filter_map(|option| {
        let (found, value) = option.split_once('=').unwrap_or((&option, ""));
        (found.trim() == name).then(|| value.trim().trim_matches('"').to_owned())
    });
    values.collect()
}

/// `AgentMessage` as serde writes it by this rule.
fn cased(name: &str, rule: &str) -> String {
    let mut cased = String::new();
    for letter in name.chars() {
        if rule == "snake_case" && letter.is_uppercase() && !cased.is_empty() {
            cased.push('_');
        }
        match rule == "snake_case" || cased.is_empty() {
            true => cased.extend(letter.to_lowercase()),
            false => cased.push(letter),
        }
    }
    cased
}

/// The names of the kinds that a tagged type distinguishes.
fn kinds(item: &ItemEnum) -> Vec<String> {
    if option(&item.attrs, "tag").is_empty() {
        return Vec::new();
    }
    let rule = option(&item.attrs, "rename_all").pop().unwrap_or_default();
    let variants = item.variants.iter();
    let known = variants.filter(|variant| option(&variant.attrs, "other").is_empty());
    let names = known.flat_map(|variant| {
        let renamed = option(&variant.attrs, "rename").pop();
        let name = renamed.unwrap_or_else(|| cased(&variant.ident.to_string(), &rule));
        [vec![name], option(&variant.attrs, "alias")].concat()
    });
    names.collect()
}

/// The texts in an item.
#[derive(Default)]
struct Texts(Vec<String>);

impl<'ast> Visit<'ast> for Texts {
    fn visit_lit_str(&mut self, text: &'ast LitStr) {
        self.0.push(text.value());
    }
}

/// The names by which a file of the protocol distinguishes messages and items.
fn names(file: &str) -> Vec<String> {
    let items = syn::parse_file(&read(file)).unwrap().items;
    let names = items.iter().flat_map(|item| match item {
        Item::Enum(item) => kinds(item),
        Item::Const(item) if item.ident == "METHODS" => {
            let mut texts = Texts::default();
            texts.visit_expr(&item.expr);
            texts.0
        }
        _ => Vec::new(),
    });
    names.collect()
}

#[test]
fn every_name_of_codexs_protocols_is_in_the_dictionary_of_the_fuzzer() {
    let dictionary = read("fuzz/dictionaries/lines.dict");
    let known: BTreeSet<&str> = dictionary.lines().collect();
    for (file, one) in [
        ("app_server/protocol/notifications.rs", "turn/plan/updated"),
        (
            "app_server/protocol/notifications.rs",
            "custom_tool_call_output",
        ),
        ("app_server/protocol/work.rs", "mcpToolCall"),
        ("proto/protocol.rs", "agent_message_delta"),
    ] {
        let names = names(&format!("host/src/codex/{file}"));
        assert!(names.iter().any(|name| name == one), "{file}: {names:?}");
        for name in names {
            let line = format!("\"{name}\"");
            assert!(known.contains(line.as_str()), "lines.dict lacks {line}");
        }
    }
}

/// The parts of a file that lie between two marks, each with the next one.
fn between(text: &str, begin: &str, end: &str) -> BTreeSet<String> {
    let parts = text.split(begin).skip(1);
    parts
        .filter_map(|part| Some(part.split_once(end)?.0.to_owned()))
        .collect()
}

#[test]
fn every_fuzz_target_is_listed_described_and_can_be_run() {
    let folder = crate::docs::path("fuzz/fuzz_targets");
    let files = std::fs::read_dir(folder).unwrap();
    let names = files.map(|file| file.unwrap().path());
    let names: BTreeSet<_> = names
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let (manifest, readme) = (read("fuzz/Cargo.toml"), read("fuzz/README.md"));
    assert_eq!(between(&manifest, "[[bin]]\nname = \"", "\""), names);
    assert_eq!(between(&readme, "\n| `", "` | "), names, "rows of README");
    let commands = between(&readme, "cargo fuzz run --sanitizer none ", " ");
    assert_eq!(commands, names, "commands of README");
    let justfile = read("justfile");
    let (_, listed) = justfile
        .split_once("# One fuzz target, for ten minutes: ")
        .unwrap();
    let (listed, _) = listed.split_once(".\n").unwrap();
    let listed = listed.replace(" or ", ", ");
    let listed: BTreeSet<_> = listed.split(", ").map(str::to_owned).collect();
    assert_eq!(listed, names, "the justfile");
}
