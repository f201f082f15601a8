//! Checks a component's type before it is compiled: its exports, and that it imports only allowed interfaces.

use wasmparser::{ComponentExternalKind, Parser, Payload};

use super::Slot;
use super::bindings::{PACKAGE, VERSION};
use super::fault::Problem;

/// Interfaces that a language's runtime may import. Every other import is refused, and the refusal names it.
const ALLOWED: [&str; 5] = [
    "wasi:cli/",
    "wasi:io/",
    "wasi:clocks/",
    "wasi:random/",
    "codex:policy/types@",
];

/// Checks the first bytes, to tell components from other kinds of files that are put into the folder.
pub(super) fn magic(bytes: &[u8]) -> Result<(), Problem> {
    match bytes {
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Err(Problem::CoreModule),
        [] => Err(Problem::NotWasm("an empty file".to_owned())),
        [0x7f, b'E', b'L', b'F', ..] => Err(Problem::NotWasm(
            "an ELF file (a precompiled .cwasm?)".to_owned(),
        )),
        [b'(', ..] => Err(Problem::NotWasm("text (a .wat file?)".to_owned())),
        [a, rest @ ..] => Err(Problem::NotWasm(format!(
            "{} bytes that begin with 0x{a:02x}",
            rest.len() + 1
        ))),
    }
}

/// Checks names and versions before anything is compiled; wasmtime checks the types when functions are loaded.
pub(super) fn exports_and_imports(wasm: &[u8], slot: Slot) -> Result<(), Problem> {
    let names = Names::read(wasm).map_err(|error| Problem::Invalid(error.to_string()))?;
    if !fits(slot, &names.exports) {
        return Err(wrong_exports(slot, &names.exports));
    }
    let mut imports = names.imports.into_iter();
    match imports.find(|name| !ALLOWED.iter().any(|ok| name.starts_with(ok))) {
        Some(name) => Err(Problem::Import(name)),
        None => Ok(()),
    }
}

/// The component's own imports and exported instances, without those of components nested in it.
#[derive(Default)]
struct Names {
    imports: Vec<String>,
    exports: Vec<String>,
}

impl Names {
    fn read(wasm: &[u8]) -> wasmparser::Result<Self> {
        let mut names = Self::default();
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::Version { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(imports) if depth == 1 => {
                    for import in imports {
                        names.imports.push(import?.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(exports) if depth == 1 => {
                    for export in exports {
                        let export = export?;
                        if export.kind == ComponentExternalKind::Instance {
                            names.exports.push(export.name.name.to_owned());
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(names)
    }
}

/// Whether the exports include every interface that the slot needs.
fn fits(slot: Slot, exports: &[String]) -> bool {
    let mut interfaces = slot.interfaces().iter();
    interfaces.all(|interface| exports.iter().any(|export| speaks(export, interface)))
}

fn wrong_exports(slot: Slot, exports: &[String]) -> Problem {
    let other_version = exports
        .iter()
        .filter_map(|export| {
            export
                .strip_prefix(PACKAGE)?
                .strip_prefix('/')?
                .split_once('@')
        })
        .find(|(interface, version)| slot.interfaces().contains(interface) && !compatible(version));
    if let Some((_, version)) = other_version {
        return Problem::Version(version.to_owned());
    }
    let expected = slot
        .interfaces()
        .iter()
        .map(|interface| format!("{PACKAGE}/{interface}@{VERSION}"))
        .collect();
    let found = if exports.is_empty() {
        "none".to_owned()
    } else {
        exports.join(", ")
    };
    let others = Slot::ALL.into_iter();
    let fits = others.filter(|slot| fits(*slot, exports)).collect();
    Problem::WrongWorld {
        expected,
        found,
        fits,
    }
}

/// Whether an export is this interface of the contract, in a version that the host supports.
fn speaks(export: &str, interface: &str) -> bool {
    let name = export
        .strip_prefix(PACKAGE)
        .and_then(|rest| rest.strip_prefix('/'));
    name.and_then(|name| name.split_once('@'))
        .is_some_and(|(found, version)| found == interface && compatible(version))
}

/// Versions are compatible within a minor version while the major one is 0.
fn compatible(version: &str) -> bool {
    let minor = |version: &str| version.rsplit_once('.').map(|(minor, _)| minor.to_owned());
    minor(version) == minor(VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_of_the_same_minor_is_spoken_others_are_not() {
        assert!(speaks("codex:policy/auth@0.1.7", "auth"));
        assert!(!speaks("codex:policy/auth@0.2.0", "auth"));
        assert!(!speaks("codex:policy/forward-auth@0.1.0", "auth"));
        assert!(!speaks("other:policy/auth@0.1.0", "auth"));
    }

    #[test]
    fn another_version_is_named() {
        let problem = wrong_exports(Slot::Auth, &["codex:policy/auth@0.9.0".to_owned()]);
        assert_eq!(problem, Problem::Version("0.9.0".to_owned()));
    }

    #[test]
    fn a_component_for_another_slot_is_told_where_it_fits() {
        let exports = ["lifecycle", "rate-limit"].map(|name| format!("{PACKAGE}/{name}@{VERSION}"));
        let told = wrong_exports(Slot::Auth, &exports).to_string();
        let remedy = "; it fits the rate-limit slot: name it rate-limit.wasm, or name it as `component` of [rate-limit] \
                      in policies.toml";
        assert!(told.ends_with(remedy), "{told}");
        let told = wrong_exports(Slot::Auth, &exports[1..]).to_string();
        assert!(
            told.ends_with("found codex:policy/rate-limit@0.1.0"),
            "{told}"
        );
    }

    #[test]
    fn files_that_are_not_components_are_told_apart() {
        assert!(matches!(magic(b""), Err(Problem::NotWasm(_))));
        assert!(matches!(
            magic(b"\0asm\x01\0\0\0"),
            Err(Problem::CoreModule)
        ));
        assert!(matches!(magic(b"hello"), Err(Problem::NotWasm(_))));
        assert!(magic(b"\0asm\x0d\0\x01\0").is_ok());
    }
}
