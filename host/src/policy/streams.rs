//! Opens the standard streams that a policy had open when it was frozen anew in each instance of its snapshot, so that a policy that
//! prints in `configure` can be frozen.
//!
//! A snapshot has the guest's memory with the handles in it, but not the table of handles. A module at the end of the component opens
//! the same streams in the same order when it is instantiated, so they get the same handles.

use wasm_encoder::{
    Alias, CanonicalFunctionSection, CodeSection, ComponentAliasSection, ComponentExportKind,
    ComponentSection, EntityType, ExportKind, Function, FunctionSection, ImportSection,
    InstanceSection, Module, ModuleArg, ModuleSection, StartSection, TypeSection, ValType,
};
use wasmparser::{
    CanonicalFunction, ComponentAlias, ComponentExternalKind, ExternalKind, Parser, Payload,
};
use wasmtime::{Result, bail};

/// A standard stream of a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Stdin,
    Stdout,
    Stderr,
}

impl Stream {
    /// The beginning of its interface's name, and its function.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Stdin => ("wasi:cli/stdin@", "get-stdin"),
            Self::Stdout => ("wasi:cli/stdout@", "get-stdout"),
            Self::Stderr => ("wasi:cli/stderr@", "get-stderr"),
        }
    }
}

/// The component with these streams open from the beginning.
///
/// # Errors
/// If it does not import them.
pub(super) fn opened(component: Vec<u8>, streams: &[Stream]) -> Result<Vec<u8>> {
    if streams.is_empty() {
        return Ok(component);
    }
    let places = Places::of(&component)?;
    let (mut aliases, mut lowered) = (
        ComponentAliasSection::new(),
        CanonicalFunctionSection::new(),
    );
    let mut functions = Vec::new();
    for (number, stream) in (0..).zip(streams) {
        let (interface, name) = stream.names();
        let imported = |(found, _): &&(String, u32)| found.starts_with(interface);
        let Some((_, instance)) = places.imports.iter().find(imported) else {
            bail!("a component without {interface}");
        };
        aliases.alias(Alias::InstanceExport {
            instance: *instance,
            kind: ComponentExportKind::Func,
            name,
        });
        lowered.lower(places.functions + number, []);
        functions.push((
            number.to_string(),
            ExportKind::Func,
            places.core_functions + number,
        ));
    }
    let mut instances = InstanceSection::new();
    instances.export_items(functions);
    let argument = ("", ModuleArg::Instance(places.core_instances));
    instances.instantiate(places.modules, [argument]);
    let mut opened = component;
    let opener = opener(streams.len());
    let sections: [&dyn ComponentSection; 4] =
        [&aliases, &lowered, &ModuleSection(&opener), &instances];
    for section in sections {
        section.append_to_component(&mut opened);
    }
    Ok(opened)
}

/// A module that calls so many functions, and forgets the handles that they return.
fn opener(count: usize) -> Module {
    let mut types = TypeSection::new();
    types.ty().function([], [ValType::I32]);
    types.ty().function([], []);
    let (mut imports, mut start) = (ImportSection::new(), Function::new([]));
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    for number in 0..count {
        imports.import("", &number.to_string(), EntityType::Function(0));
        start.instructions().call(number).drop();
    }
    start.instructions().end();
    let (mut functions, mut code) = (FunctionSection::new(), CodeSection::new());
    functions.function(1);
    code.function(&start);
    let mut module = Module::new();
    module
        .section(&types)
        .section(&imports)
        .section(&functions)
        .section(&StartSection {
            function_index: count,
        })
        .section(&code);
    module
}

/// The next free places in a component's index spaces.
#[derive(Default)]
struct Places {
    /// The names of imported instances, with their places.
    imports: Vec<(String, u32)>,
    instances: u32,
    functions: u32,
    modules: u32,
    core_instances: u32,
    core_functions: u32,
}

impl Places {
    fn of(component: &[u8]) -> Result<Self> {
        let (mut places, mut depth) = (Self::default(), 0_u32);
        for payload in Parser::new(0).parse_all(component) {
            let payload = payload?;
            match &payload {
                Payload::Version { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                _ if depth == 1 => places.count(payload)?,
                _ => {}
            }
        }
        Ok(places)
    }

    fn count(&mut self, payload: Payload<'_>) -> wasmparser::Result<()> {
        match payload {
            Payload::ModuleSection { .. } => self.modules += 1,
            Payload::InstanceSection(found) => self.core_instances += found.count(),
            Payload::ComponentInstanceSection(found) => self.instances += found.count(),
            Payload::ComponentImportSection(imports) => {
                for import in imports {
                    let import = import?;
                    if import.ty.kind() == ComponentExternalKind::Instance {
                        let name = import.name.name.to_owned();
                        self.imports.push((name, self.instances));
                    }
                    self.add(import.ty.kind());
                }
            }
            Payload::ComponentExportSection(exports) => {
                for export in exports {
                    self.add(export?.kind);
                }
            }
            Payload::ComponentAliasSection(aliases) => {
                for alias in aliases {
                    match alias? {
                        ComponentAlias::InstanceExport { kind, .. } => self.add(kind),
                        ComponentAlias::CoreInstanceExport {
                            kind: ExternalKind::Func,
                            ..
                        } => self.core_functions += 1,
                        _ => {}
                    }
                }
            }
            Payload::ComponentCanonicalSection(functions) => {
                for function in functions {
                    match function? {
                        CanonicalFunction::Lift { .. } => self.functions += 1,
                        _ => self.core_functions += 1,
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn add(&mut self, kind: ComponentExternalKind) {
        match kind {
            ComponentExternalKind::Func => self.functions += 1,
            ComponentExternalKind::Instance => self.instances += 1,
            _ => {}
        }
    }
}
