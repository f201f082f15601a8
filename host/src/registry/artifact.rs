//! The artifact of a component: its manifest and its config, judged before the component itself is downloaded.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use oci_client::manifest::{OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageManifest};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::error::RegistryError;
use crate::hex::hex;
use crate::policy::{Draft, MAX_COMPONENT, SigningKey, Slot, Trust, component_names, slots_of};

/// The media type of the config.
pub(super) const CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// The media type of the component.
pub(super) const LAYER: &str = "application/wasm";

/// The annotation with the signature of the file.
const FILE_SIGNATURE: &str = "dev.codex-gateway.policy.minisig";
/// The annotation with the signature of the file's digest, which can be verified before the file is there.
const DIGEST_SIGNATURE: &str = "dev.codex-gateway.policy.sha256.minisig";

/// A component to push.
#[derive(Debug, Clone)]
pub struct Pushed {
    /// The slot.
    pub slot: Slot,
    /// The name of its file, for errors.
    pub name: String,
    /// Its bytes.
    pub wasm: Arc<[u8]>,
}

/// The parts of an artifact beside the component.
pub(super) struct Parts {
    pub(super) config: Vec<u8>,
    pub(super) annotations: BTreeMap<String, String>,
}

/// The part of the config that is read.
#[derive(Deserialize)]
struct WasmConfig {
    component: Component,
}

#[derive(Deserialize)]
struct Component {
    exports: Vec<String>,
}

/// A manifest of the right form.
pub(super) struct Artifact(OciImageManifest);

impl Pushed {
    /// The config and the annotations that describe it, with signatures if there is a key.
    pub(super) fn describe(&self, key: Option<&SigningKey>) -> Result<Parts, RegistryError> {
        let file = (self.name.clone(), Arc::clone(&self.wasm));
        Draft::fits(&file, self.slot)?;
        let (imports, exports) = component_names(&file)?;
        let sha256 = hex(&Sha256::digest(&self.wasm));
        let config = json!({
            "created": humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            "architecture": "wasm",
            "os": "wasip2",
            "layerDigests": [format!("sha256:{sha256}")],
            "component": {"exports": exports, "imports": imports, "target": null},
        });
        let mut annotations = BTreeMap::new();
        if let Some(key) = key {
            let (name, sums) = (file_name(self.slot), sums(self.slot, &sha256));
            let signature = key.sign(&name, &self.wasm)?;
            annotations.insert(FILE_SIGNATURE.to_owned(), signature);
            let signature = key.sign(&sums_name(self.slot), sums.as_bytes())?;
            annotations.insert(DIGEST_SIGNATURE.to_owned(), signature);
        }
        Ok(Parts {
            config: config.to_string().into_bytes(),
            annotations,
        })
    }
}

impl Artifact {
    /// Reads a manifest.
    ///
    /// # Errors
    /// If it is none of a Wasm artifact with one component of a bearable size.
    pub(super) fn read(manifest: &[u8]) -> Result<Self, RegistryError> {
        let other = |expected, found: &str| RegistryError::OtherFormat {
            expected,
            found: found.chars().take(200).collect(),
        };
        let read = serde_json::from_slice::<OciImageManifest>(manifest);
        let manifest = read.map_err(|error| other("an image manifest", &error.to_string()))?;
        if let Some(kind) = manifest.media_type.as_deref()
            && kind != OCI_IMAGE_MEDIA_TYPE
        {
            return Err(other(OCI_IMAGE_MEDIA_TYPE, kind));
        }
        if manifest.config.media_type != CONFIG {
            return Err(other(CONFIG, &manifest.config.media_type));
        }
        let blobs = manifest.layers.iter().chain([&manifest.config]);
        if let Some(urls) = blobs.filter_map(|blob| blob.urls.as_ref()).next() {
            // The library would fetch them from any host.
            return Err(other("blobs of the registry", &urls.join(" ")));
        }
        match &manifest.layers[..] {
            [layer] if layer.media_type != LAYER => return Err(other(LAYER, &layer.media_type)),
            [layer] if !(0..=MAX_COMPONENT as i64).contains(&layer.size) => {
                return Err(RegistryError::TooLarge("component", MAX_COMPONENT));
            }
            [_] => {}
            layers => return Err(other("one layer", &format!("{} layers", layers.len()))),
        }
        Ok(Self(manifest))
    }

    pub(super) fn config(&self) -> &OciDescriptor {
        &self.0.config
    }

    /// The component's descriptor; there is one.
    pub(super) fn layer(&self) -> &OciDescriptor {
        self.0.layers.first().unwrap_or(&self.0.config)
    }

    /// Judges the component by what is said of it: returns the slot that it is for.
    ///
    /// # Errors
    /// If it does not fit the slot that is wanted, fits none or several, or no trusted key signed its digest.
    pub(super) fn judge(
        &self,
        config: &[u8],
        wanted: Option<Slot>,
        trust: &Trust,
    ) -> Result<Slot, RegistryError> {
        let read = serde_json::from_slice::<WasmConfig>(config);
        let WasmConfig { component } = read.map_err(|error| RegistryError::OtherFormat {
            expected: "a config with the exports of a component",
            found: error.to_string(),
        })?;
        let fits = slots_of(&component.exports);
        let slot = match (wanted, &fits[..]) {
            (Some(slot), _) if fits.contains(&slot) => slot,
            (None, [slot]) => *slot,
            _ => {
                let found = component.exports.join(", ");
                return Err(RegistryError::OtherSlot {
                    slot: wanted.map_or("one", Slot::name).to_owned(),
                    found: found.chars().take(500).collect(),
                });
            }
        };
        let sha256 = self.layer().digest.strip_prefix("sha256:");
        let sums = sums(slot, sha256.unwrap_or_default());
        let signature = self.annotation(DIGEST_SIGNATURE).map(str::as_bytes);
        trust.verify(&sums_name(slot), sums.as_bytes(), signature)?;
        Ok(slot)
    }

    /// Verifies the component itself, and returns the signature of its file.
    ///
    /// # Errors
    /// If it is no component of the slot, or no trusted key signed it.
    pub(super) fn verify(
        &self,
        slot: Slot,
        wasm: &Arc<[u8]>,
        trust: &Trust,
    ) -> Result<Option<String>, RegistryError> {
        let (name, signature) = (file_name(slot), self.annotation(FILE_SIGNATURE));
        trust.verify(&name, wasm, signature.map(str::as_bytes))?;
        Draft::fits(&(name, Arc::clone(wasm)), slot)?;
        Ok(signature.map(str::to_owned))
    }

    fn annotation(&self, name: &str) -> Option<&str> {
        let annotations = self.0.annotations.as_ref()?;
        annotations.get(name).map(String::as_str)
    }
}

/// The name of a component's file, under which it is signed.
pub(super) fn file_name(slot: Slot) -> String {
    format!("{slot}.wasm")
}

/// The name under which a component's digest is signed.
fn sums_name(slot: Slot) -> String {
    format!("{}.sha256", file_name(slot))
}

/// The text that is signed for a component's digest, as `sha256sum auth.wasm` prints it.
fn sums(slot: Slot, sha256: &str) -> String {
    format!("{sha256}  {}\n", file_name(slot))
}
