//! The modules of a folder have no circular dependencies: each can be read with only those below it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use syn::visit::Visit;
use syn::{Attribute, ItemMod, ItemUse, UseTree, Visibility};

use crate::layers::{all, root};

/// The path of a module: `api::chat` is `["api", "chat"]`.
type Module = Vec<String>;

/// A source file of the host.
#[derive(Default)]
struct Source {
    module: Module,
    /// The paths in the file, as they are written, from `crate`, `super`, or a module inside.
    names: BTreeSet<Vec<String>>,
    /// Names that the file re-exports, with their paths.
    passed_on: BTreeMap<String, Vec<String>>,
}

impl<'ast> Visit<'ast> for Source {
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if is_test(&item.attrs) {
            return;
        }
        let mut paths = Vec::new();
        flatten(&item.tree, &mut Vec::new(), &mut paths);
        for path in paths {
            match (&item.vis, path.last()) {
                (Visibility::Inherited, _) | (_, None) => {
                    self.names.insert(path);
                }
                (_, Some(name)) => {
                    self.passed_on.insert(name.clone(), path);
                }
            }
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments = path.segments.iter();
        let names = segments.map(|segment| segment.ident.to_string());
        self.names.insert(names.collect());
        syn::visit::visit_path(self, path);
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if !is_test(&item.attrs) {
            syn::visit::visit_item_mod(self, item);
        }
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    let of_tests = |attribute: &&Attribute| match &attribute.meta {
        syn::Meta::List(list) => {
            list.path.is_ident("cfg") && list.tokens.to_string().starts_with("test")
        }
        _ => false,
    };
    attributes.iter().any(|attribute| of_tests(&attribute))
}

fn flatten(tree: &UseTree, before: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(&path.tree, before, found);
            before.pop();
        }
        UseTree::Group(group) => group
            .items
            .iter()
            .for_each(|item| flatten(item, before, found)),
        UseTree::Name(name) if name.ident == "self" => found.push(before.clone()),
        UseTree::Name(syn::UseName { ident }) | UseTree::Rename(syn::UseRename { ident, .. }) => {
            found.push([&before[..], &[ident.to_string()]].concat());
        }
        UseTree::Glob(_) => found.push(before.clone()),
    }
}

/// All source files except tests.
fn sources() -> BTreeMap<Module, Source> {
    let folder = root().join("host/src");
    let read = |path: &Path| {
        let inside = path.strip_prefix(&folder).unwrap().with_extension("");
        let names = inside
            .iter()
            .map(|name| name.to_string_lossy().into_owned());
        let module: Module = names.filter(|name| name != "lib").collect();
        if module.iter().any(|name| name == "tests" || name == "main") {
            return None;
        }
        let mut source = Source {
            module: module.clone(),
            ..Source::default()
        };
        let text = std::fs::read_to_string(path).unwrap();
        source.visit_file(&syn::parse_file(&text).unwrap());
        Some((module, source))
    };
    all("host/src")
        .iter()
        .filter_map(|path| read(path))
        .collect()
}

/// The module that defines what `path` names, as `from` writes it; none if it is in another crate.
fn defines(sources: &BTreeMap<Module, Source>, from: &Module, path: &[String]) -> Option<Module> {
    let mut rest = path;
    let mut module = match path.first()?.as_str() {
        "crate" => Module::new(),
        "super" | "self" => from.clone(),
        inner if sources.contains_key(&inside(from, inner)) => from.clone(),
        _ => return None,
    };
    while let Some(word @ ("crate" | "super" | "self")) = rest.first().map(String::as_str) {
        if word == "super" {
            module.pop();
        }
        rest = &rest[1..];
    }
    while let Some(name) = rest.first()
        && sources.contains_key(&inside(&module, name))
    {
        module.push(name.clone());
        rest = &rest[1..];
    }
    let elsewhere = rest
        .first()
        .and_then(|name| sources.get(&module)?.passed_on.get(name))
        .and_then(|path| defines(sources, &module, path));
    Some(elsewhere.unwrap_or(module))
}

fn inside(module: &[String], name: &str) -> Module {
    [module, &[name.to_owned()]].concat()
}

/// For each folder, its modules (with their submodules), the sibling modules each one names, and the place of the name.
type Folders = BTreeMap<Module, BTreeMap<String, BTreeMap<String, String>>>;

fn folders(sources: &BTreeMap<Module, Source>) -> Folders {
    let mut folders = Folders::new();
    for source in sources.values() {
        for path in &source.names {
            let Some(target) = defines(sources, &source.module, path) else {
                continue;
            };
            let pairs = source.module.iter().zip(&target);
            let common = pairs.take_while(|(one, other)| one == other).count();
            // A module and its submodules count as one.
            if let (Some(one), Some(other)) = (source.module.get(common), target.get(common)) {
                let folder = folders.entry(target[..common].to_vec()).or_default();
                let named = folder.entry(one.clone()).or_default();
                named.insert(other.clone(), source.module.join("/"));
            }
        }
    }
    folders
}

/// The modules in a circle, and those that depend on them: removes modules that name no other one, until none is left to remove.
fn circle(
    mut modules: BTreeMap<String, BTreeMap<String, String>>,
) -> BTreeMap<String, BTreeMap<String, String>> {
    loop {
        let names: BTreeSet<String> = modules.keys().cloned().collect();
        for named in modules.values_mut() {
            named.retain(|name, _| names.contains(name));
        }
        let before = modules.len();
        modules.retain(|_, named| !named.is_empty());
        if modules.len() == before {
            return modules;
        }
    }
}

#[test]
fn the_modules_of_a_folder_form_no_circle() {
    let sources = sources();
    assert!(sources.len() > 100, "the sources are found");
    let folders = folders(&sources);
    assert!(folders[&Module::new()]["api"].contains_key("openai"));
    for (folder, modules) in folders {
        let circle = circle(modules);
        assert!(circle.is_empty(), "in {folder:?}: {circle:#?}");
    }
}
