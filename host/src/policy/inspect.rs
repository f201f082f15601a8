//! Checks a component's type before it is compiled: its exports, and that it imports only allowed interfaces.

use wasmparser::{ComponentExternalKind, Parser, Payload};

use super::Slot;
use super::bindings::{PACKAGE, VERSION};
use super::contract::Contract;
use super::denied::is_denied;
use super::fault::Problem;

/// Interfaces that a language's runtime may import and use. Every other import that is not linked to a refusal is a mistake, which
/// names it.
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

/// Checks names and versions before anything is compiled; wasmtime checks the types when functions are loaded. Returns the
/// version of the contract.
pub(super) fn exports_and_imports(wasm: &[u8], slot: Slot) -> Result<Contract, Problem> {
    let names = names(wasm)?;
    let Some(contract) = fits(slot, &names.exports) else {
        return Err(wrong_exports(slot, &names.exports));
    };
    let mut imports = names.imports.into_iter();
    let is_linked =
        |name: &String| is_denied(name) || ALLOWED.iter().any(|ok| name.starts_with(ok));
    match imports.find(|name| !is_linked(name)) {
        Some(name) => Err(Problem::Import(name)),
        None => Ok(contract),
    }
}

/// The component's own imports and exported instances, without those of components nested in it.
#[derive(Default)]
pub(super) struct Names {
    pub(super) imports: Vec<String>,
    pub(super) exports: Vec<String>,
}

/// Reads them of a file.
///
/// # Errors
/// If it is no component, or a broken one.
pub(super) fn names(wasm: &[u8]) -> Result<Names, Problem> {
    magic(wasm)?;
    Names::read(wasm).map_err(|error| Problem::Invalid(error.to_string()))
}

/// The slots that these exports fit.
pub(super) fn slots(exports: &[String]) -> Vec<Slot> {
    let slots = Slot::ALL.into_iter();
    slots
        .filter(|slot| fits(*slot, exports).is_some())
        .collect()
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

/// The version of the contract in which the exports include every interface that the slot needs.
fn fits(slot: Slot, exports: &[String]) -> Option<Contract> {
    let version = |interface: &&str| exports.iter().find_map(|export| speaks(export, interface));
    let mut versions = slot.interfaces().iter().map(version);
    let first = versions.next()??;
    versions.all(|other| other == Some(first)).then_some(first)
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
        .find(|(interface, version)| {
            slot.interfaces().contains(interface) && Contract::compatible_with(version).is_none()
        });
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
    Problem::WrongWorld {
        expected,
        found,
        fits: slots(exports),
    }
}

/// The version of the contract, if an export is this interface in a version that the host supports.
fn speaks(export: &str, interface: &str) -> Option<Contract> {
    let name = export.strip_prefix(PACKAGE)?.strip_prefix('/')?;
    let (found, version) = name.split_once('@')?;
    (found == interface)
        .then(|| Contract::compatible_with(version))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_a_supported_minor_are_compatible() {
        let version = |export: &str| speaks(export, "auth");
        assert_eq!(version("codex:policy/auth@0.1.7"), Some(Contract::V0_1));
        assert_eq!(version("codex:policy/auth@0.2.3"), Some(Contract::V0_2));
        assert_eq!(version("codex:policy/auth@0.3.0"), None);
        assert_eq!(version("codex:policy/forward-auth@0.1.0"), None);
        assert_eq!(version("other:policy/auth@0.1.0"), None);
    }

    #[test]
    fn the_interfaces_of_a_policy_have_one_version() {
        let exports = |versions: [&str; 2]| {
            let names = ["lifecycle", "model"].into_iter().zip(versions);
            let names = names.map(|(name, version)| format!("{PACKAGE}/{name}@{version}"));
            names.collect::<Vec<_>>()
        };
        let fits = |versions| fits(Slot::Model, &exports(versions));
        assert_eq!(fits(["0.1.0", "0.1.2"]), Some(Contract::V0_1));
        assert_eq!(fits(["0.2.0", "0.2.0"]), Some(Contract::V0_2));
        assert_eq!(fits(["0.1.0", "0.2.0"]), None);
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
            told.ends_with("found codex:policy/rate-limit@0.2.0"),
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
