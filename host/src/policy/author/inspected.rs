//! The description of a component for its author: whatever can be said of it, also if a gateway would refuse it.

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::super::candidate::{Instances, hex};
use super::super::denied::is_denied;
use super::super::digest::Digest;
use super::super::engine::Engine;
use super::super::fault::{Problem, Refusal};
use super::super::{inspect, prepare};
use super::{Draft, Subject};

/// The description of a component with settings.
#[derive(Debug, Clone, Serialize)]
pub struct Inspected {
    /// The component's file, or "built-in".
    pub file: String,
    /// The slot that it is inspected for.
    pub slot: &'static str,
    /// The slots that its exports fit.
    pub fits: Vec<&'static str>,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The version of the contract that it is written against.
    pub contract: &'static str,
    /// The interfaces that it exports.
    pub exports: Vec<String>,
    /// The interfaces that it imports.
    pub imports: Vec<String>,
    /// Those of them that are refused when they are used: there are no files, sockets and HTTP.
    pub refused_imports: Vec<String>,
    /// The bytes of the file.
    pub bytes: usize,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
    /// The identity of the slot with these settings and options; absent if it would be refused.
    pub digest: Option<String>,
    /// How decisions get their instances; absent if it would be refused.
    pub instances: Option<Instances>,
    /// Why it runs warm although it was to be frozen.
    pub warm_because: Option<String>,
    /// The bytes of the component that serves: of the snapshot, if it is frozen.
    pub image_bytes: Option<usize>,
    /// The parts of the input that it needs with these settings; absent if it gets all of it, or would be refused.
    pub needs: Option<Vec<String>>,
    /// Why a gateway would refuse it with these settings.
    pub refusal: Option<String>,
    /// The JSON Schema of its settings.
    pub settings_schema: Value,
}

/// Describes a component.
///
/// # Errors
/// If it is none that fits the slot, or cannot even say what it is.
pub async fn inspect(engine: &Engine, draft: &Draft) -> Result<Inspected, Refusal> {
    let candidate = draft.candidate()?;
    let refuse = |problem: Problem| candidate.refuse(problem);
    let names = inspect::names(&candidate.wasm).map_err(refuse)?;
    let contract = inspect::exports_and_imports(&candidate.wasm, draft.slot).map_err(refuse)?;
    let manifest = prepare::manifest(engine, &candidate)
        .await
        .map_err(refuse)?;
    let prepared = Subject::of(engine, &candidate).await;
    let subject = prepared.as_ref().ok();
    let about = subject.map(Subject::about);
    let schema = &manifest.settings_schema;
    Ok(Inspected {
        file: candidate.file.clone(),
        slot: draft.slot.name(),
        fits: inspect::slots(&names.exports)
            .into_iter()
            .map(|slot| slot.name())
            .collect(),
        contract: contract.name(),
        exports: names.exports,
        refused_imports: {
            let imports = names.imports.iter();
            imports
                .filter(|import| is_denied(import))
                .cloned()
                .collect()
        },
        imports: names.imports,
        bytes: candidate.wasm.len(),
        sha256: hex(&Sha256::digest(&candidate.wasm)),
        digest: subject.map(|_| Digest::of(&candidate).to_string()),
        instances: about.map(|about| about.instances),
        warm_because: about.and_then(|about| about.warm_because.clone()),
        image_bytes: subject.map(|subject| subject.costs().image),
        needs: about.and_then(|about| about.needs.clone()),
        refusal: prepared.as_ref().err().map(Refusal::problem),
        settings_schema: serde_json::from_str(schema).unwrap_or_else(|_| schema.clone().into()),
        name: manifest.name,
        version: manifest.version,
    })
}
