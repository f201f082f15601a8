//! Interfaces that language runtimes import by default and policies may not use: no call to them has an effect, and those to sockets
//! and HTTP are noted.

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, LinkerInstance, Resource, ResourceType};
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup::ResolveAddressStream;
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddressFamily, Network};
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, DynPollable, IoError, TcpSocket, UdpSocket,
};

use super::guest::Guest;
use super::imports::Import;

/// Files and sockets are linked to a world without folders and networks, and answer as such. Calls to HTTP fail.
const DENIED: [&str; 3] = ["wasi:filesystem/", "wasi:sockets/", HTTP];
const HTTP: &str = "wasi:http/";

/// The version that the linker has of the interfaces of sockets; others of 0.2 find it.
const TCP: &str = "wasi:sockets/tcp-create-socket@0.2.12";
const UDP: &str = "wasi:sockets/udp-create-socket@0.2.12";
const LOOKUP: &str = "wasi:sockets/ip-name-lookup@0.2.12";

/// Whether an import is one of them.
pub(super) fn is_denied(import: &str) -> bool {
    DENIED.iter().any(|denied| import.starts_with(denied))
}

/// Refuses sockets and names of hosts where they begin.
///
/// # Errors
/// If the linker does not have these interfaces.
pub(super) fn refuse_sockets(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut tcp = linker.instance(TCP)?;
    tcp.func_wrap("create-tcp-socket", |mut cx, _: (IpAddressFamily,)| {
        cx.data_mut().denied(Import::Sockets);
        Ok((Err::<Resource<TcpSocket>, _>(ErrorCode::AccessDenied),))
    })?;
    let mut udp = linker.instance(UDP)?;
    udp.func_wrap("create-udp-socket", |mut cx, _: (IpAddressFamily,)| {
        cx.data_mut().denied(Import::Sockets);
        Ok((Err::<Resource<UdpSocket>, _>(ErrorCode::AccessDenied),))
    })?;
    let mut lookup = linker.instance(LOOKUP)?;
    lookup.func_wrap(
        "resolve-addresses",
        |mut cx, _: (Resource<Network>, String)| {
            cx.data_mut().denied(Import::Sockets);
            Ok((Err::<Resource<ResolveAddressStream>, _>(
                ErrorCode::AccessDenied,
            ),))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
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
            place.func_new(export, move |mut cx, _, _, _| {
                cx.data_mut().denied(Import::Http);
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
