//! Components in OCI registries, in the format of the CNCF's Wasm artifacts: pushed, and pulled after a look at what they say.
//!
//! The only module that uses `oci_client`. `artifact` judges a manifest before the component is downloaded.

mod artifact;
mod error;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use oci_client::client::{ClientConfig, ClientProtocol, Config, ImageLayer};
use oci_client::manifest::{OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageManifest};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};
use reqwest::header::HeaderValue;
use sha2::{Digest as _, Sha256};

use crate::hex::hex;
use crate::policy::{MAX_COMPONENT, SigningKey, Slot, Trust};
use crate::secret::Secret;

pub use artifact::Pushed;
use artifact::{Artifact, Parts};
pub use error::RegistryError;

/// The scheme of a reference: `oci://registry.example/policies/auth:1.0`.
pub const SCHEME: &str = "oci://";

/// The most bytes of a manifest, as registries have it.
const MAX_MANIFEST: usize = 1 << 20;
/// The most bytes of a config, which lists the imports and exports of a component.
const MAX_CONFIG: u64 = 256 << 10;
/// How long a connection may take, and a registry may be silent.
const CONNECT: Duration = Duration::from_secs(10);
const SILENT: Duration = Duration::from_secs(30);
/// How long a whole push or pull may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// A registry's user.
#[derive(Debug, Clone)]
pub struct User {
    /// The name.
    pub name: String,
    /// The password, or a token in its place.
    pub password: Secret,
}

/// The way to a registry.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// The user; anonymous if absent.
    pub user: Option<User>,
    /// Whether the registry is spoken to without TLS.
    pub is_plain: bool,
}

/// A component that was pulled, and that its artifact described rightly.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// The slot.
    pub slot: Slot,
    /// Its bytes.
    pub wasm: Arc<[u8]>,
    /// The signature of its file, if it has one.
    pub signature: Option<String>,
    /// The reference by digest, which means this artifact for ever.
    pub pinned: String,
}

/// A registry, and a place in it.
pub struct Registry {
    client: Client,
    http: reqwest::Client,
    reference: Reference,
    access: Access,
}

impl Registry {
    /// The place that a reference names; `oci://` before it may be left out.
    ///
    /// # Errors
    /// If it is none, or TLS cannot be set up.
    pub fn new(reference: &str, access: Access) -> Result<Self, RegistryError> {
        // Another part of the program may have chosen one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let name = reference.strip_prefix(SCHEME).unwrap_or(reference);
        let reference = name.parse().map_err(|error: oci_client::ParseError| {
            RegistryError::Reference(reference.to_owned(), error.to_string())
        })?;
        let client = Client::new(ClientConfig {
            protocol: match access.is_plain {
                true => ClientProtocol::Http,
                false => ClientProtocol::Https,
            },
            connect_timeout: Some(CONNECT),
            read_timeout: Some(SILENT),
            user_agent: concat!("codex-gateway/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        });
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .read_timeout(SILENT)
            .https_only(!access.is_plain)
            .build();
        Ok(Self {
            client,
            http: http.map_err(|error| RegistryError::failed(&error))?,
            reference,
            access,
        })
    }

    /// Pushes a component, signed if there is a key. Returns the reference by digest.
    ///
    /// # Errors
    /// If it is no component of the slot, or the registry does not take it.
    pub async fn push(
        &self,
        pushed: &Pushed,
        key: Option<&SigningKey>,
    ) -> Result<String, RegistryError> {
        let Parts {
            config,
            annotations,
        } = pushed.describe(key)?;
        let layer = ImageLayer::new(pushed.wasm.to_vec(), artifact::LAYER.to_owned(), None);
        let config = Config::new(config, artifact::CONFIG.to_owned(), None);
        let layers = [layer];
        let mut manifest = OciImageManifest::build(&layers, &config, Some(annotations));
        manifest.media_type = Some(OCI_IMAGE_MEDIA_TYPE.to_owned());
        let pushing = self.push_all(layers, config, &manifest);
        let done = tokio::time::timeout(PATIENCE, pushing).await;
        done.map_err(|_| RegistryError::Late)?
    }

    async fn push_all(
        &self,
        layers: [ImageLayer; 1],
        config: Config,
        manifest: &OciImageManifest,
    ) -> Result<String, RegistryError> {
        // The library's own way writes canonical JSON, in which the line breaks of a signature are no JSON any more.
        let body = serde_json::to_vec(manifest).map_err(|error| RegistryError::failed(&error))?;
        let digest = sha256(&body);
        let [layer] = layers;
        let descriptors = manifest.layers.iter().chain([&manifest.config]);
        let blobs = descriptors.zip([layer.data, config.data]);
        let auth = self.auth();
        let pushing = async {
            let (place, operation) = (&self.reference, RegistryOperation::Push);
            self.client.auth(place, &auth, operation).await?;
            for (blob, bytes) in blobs {
                self.client.push_blob(place, bytes, &blob.digest).await?;
            }
            let kind = HeaderValue::from_static(OCI_IMAGE_MEDIA_TYPE);
            self.client.push_manifest_raw(place, body, kind).await
        };
        let pushed = pushing.await;
        pushed.map_err(|error| RegistryError::failed(&error))?;
        Ok(self.pinned(&digest))
    }

    /// Pulls a component: first what describes it; the component itself only if that may serve in the slot, and a trusted key
    /// signed it.
    ///
    /// # Errors
    /// The reason why it is refused.
    pub async fn pull(&self, slot: Option<Slot>, trust: &Trust) -> Result<Pulled, RegistryError> {
        let pulling = tokio::time::timeout(PATIENCE, self.pull_all(slot, trust)).await;
        pulling.map_err(|_| RegistryError::Late)?
    }

    async fn pull_all(&self, slot: Option<Slot>, trust: &Trust) -> Result<Pulled, RegistryError> {
        let (manifest, digest) = self.manifest().await?;
        let artifact = Artifact::read(&manifest)?;
        let config = self.blob(artifact.config(), MAX_CONFIG).await?;
        let slot = artifact.judge(&config, slot, trust)?;
        let wasm = Arc::from(self.blob(artifact.layer(), MAX_COMPONENT).await?);
        let signature = artifact.verify(slot, &wasm, trust)?;
        Ok(Pulled {
            slot,
            wasm,
            signature,
            pinned: self.pinned(&digest),
        })
    }

    /// The manifest and its digest. The library reads one of any size.
    async fn manifest(&self) -> Result<(Vec<u8>, String), RegistryError> {
        let operation = RegistryOperation::Pull;
        let token = self
            .client
            .auth(&self.reference, &self.auth(), operation)
            .await;
        let token = token.map_err(|error| RegistryError::failed(&error))?;
        let scheme = if self.access.is_plain {
            "http"
        } else {
            "https"
        };
        let which = self.reference.digest().or(self.reference.tag());
        let url = format!(
            "{scheme}://{}/v2/{}/manifests/{}",
            self.reference.resolve_registry(),
            self.reference.repository(),
            which.unwrap_or("latest"),
        );
        let request = self.http.get(url).header("accept", OCI_IMAGE_MEDIA_TYPE);
        let request = match (token, &self.access.user) {
            (Some(token), _) => request.bearer_auth(token),
            (None, Some(user)) => request.basic_auth(&user.name, Some(user.password.reveal())),
            (None, None) => request,
        };
        let sent = request
            .send()
            .await
            .and_then(reqwest::Response::error_for_status);
        let mut response = sent.map_err(|error| RegistryError::failed(&error))?;
        let mut manifest = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| RegistryError::failed(&error))?
        {
            manifest.extend_from_slice(&chunk);
            if manifest.len() > MAX_MANIFEST {
                return Err(RegistryError::TooLarge("manifest", MAX_MANIFEST as u64));
            }
        }
        let digest = sha256(&manifest);
        match self.reference.digest() {
            Some(wanted) if wanted != digest => Err(RegistryError::OtherManifest(digest)),
            _ => Ok((manifest, digest)),
        }
    }

    /// Downloads a blob of which a descriptor says the size and the digest; the library compares the digest.
    async fn blob(&self, blob: &OciDescriptor, most: u64) -> Result<Vec<u8>, RegistryError> {
        let size = u64::try_from(blob.size).unwrap_or(u64::MAX);
        if size > most {
            return Err(RegistryError::TooLarge("config", most));
        }
        let pulling = self.client.pull_blob_stream(&self.reference, blob).await;
        let mut stream = pulling.map_err(|error| RegistryError::failed(&error))?;
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.next().await {
            bytes.extend_from_slice(&chunk.map_err(|error| RegistryError::failed(&error))?);
            if bytes.len() as u64 > size {
                return Err(RegistryError::OtherSize(size));
            }
        }
        match bytes.len() as u64 == size {
            true => Ok(bytes),
            false => Err(RegistryError::OtherSize(size)),
        }
    }

    fn auth(&self) -> RegistryAuth {
        match &self.access.user {
            Some(User { name, password }) => {
                RegistryAuth::Basic(name.clone(), password.reveal().to_owned())
            }
            None => RegistryAuth::Anonymous,
        }
    }

    fn pinned(&self, digest: &str) -> String {
        let (registry, repository) = (self.reference.registry(), self.reference.repository());
        format!("{SCHEME}{registry}/{repository}@{digest}")
    }
}

/// The digest of bytes, as manifests have it.
fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}
