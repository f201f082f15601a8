//! Interfaces that language runtimes import by default and policies may not use: no call to them has an effect.

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, LinkerInstance, ResourceType};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, IoError};

use super::guest::Guest;

/// Files and sockets are linked to a world without folders and networks, and answer as such. Calls to HTTP fail.
const DENIED: [&str; 3] = ["wasi:filesystem/", "wasi:sockets/", HTTP];
const HTTP: &str = "wasi:http/";

/// Whether an import is one of them.
pub(super) fn is_denied(import: &str) -> bool {
    DENIED.iter().any(|denied| import.starts_with(denied))
}

/// The linker for a component, if it needs one of its own, as it imports HTTP.
///
/// # Errors
/// If it imports something that cannot be linked.
pub(super) fn linker(
    common: &Linker<Guest>,
    component: &Component,
) -> wasmtime::Result<Option<Linker<Guest>>> {
    let engine = common.engine();
    let imports = component.component_type();
    let mut own = None;
    for (name, item) in imports.imports(engine) {
        let ComponentItem::ComponentInstance(instance) = item.ty else {
            continue;
        };
        if name.starts_with(HTTP) {
            let linker = own.get_or_insert_with(|| common.clone());
            let mut place = linker.instance(name)?;
            for (export, item) in instance.exports(engine) {
                define(&mut place, (name, export), &item.ty)?;
            }
        }
    }
    Ok(own)
}

fn define(
    place: &mut LinkerInstance<'_, Guest>,
    (interface, export): (&str, &str),
    item: &ComponentItem,
) -> wasmtime::Result<()> {
    match item {
        ComponentItem::ComponentFunc(_) => {
            let words = format!("{interface}#{export} is not allowed: policies have no network");
            place.func_new(export, move |_, _, _, _| {
                Err(wasmtime::Error::msg(words.clone()))
            })
        }
        ComponentItem::Resource(_) => place.resource(export, resource(export), |_, _| Ok(())),
        _ => Ok(()),
    }
}

/// The type of a resource by its name: those of `wasi:io`, which HTTP uses, are the ones that the other interfaces have.
fn resource(name: &str) -> ResourceType {
    match name {
        "input-stream" => ResourceType::host::<DynInputStream>(),
        "output-stream" => ResourceType::host::<DynOutputStream>(),
        "pollable" => ResourceType::host::<DynPollable>(),
        "error" | "io-error" => ResourceType::host::<IoError>(),
        _ => ResourceType::host::<()>(),
    }
}
