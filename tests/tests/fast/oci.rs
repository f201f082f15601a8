//! Components in OCI registries: a spoiled artifact is refused before its component is downloaded, as far as that can be known then.

use std::convert::Infallible;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use codex_gateway::policy::{Password, SigningKey, new_keys};
use codex_gateway::secret::fingerprint;
use codex_gateway_tests::guests::EVERY;
use serde_json::{Value, json};

mod docker_registry;

const CONFIG: &str = "application/vnd.wasm.config.v0+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// An artifact as a registry has it.
struct Artifact {
    key: SigningKey,
    trusted: String,
    config: Value,
    config_type: &'static str,
    layers: Vec<Value>,
    annotations: Value,
    /// The bytes that the registry sends for the component.
    component: Vec<u8>,
}

/// A registry with one artifact, and the bytes of its component that it has sent.
struct Shelf {
    manifest: Vec<u8>,
    config: Vec<u8>,
    component: Bytes,
    component_digest: String,
    sent: AtomicUsize,
}

fn key() -> (SigningKey, String) {
    let keys = new_keys(Password::None).unwrap();
    let key = SigningKey::read(&keys.secret, Password::None).unwrap();
    (key, keys.line)
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", fingerprint(bytes))
}

/// The annotations of a component for the slot `tool-stop` that this key signed.
fn signed(key: &SigningKey, wasm: &[u8]) -> Value {
    let sums = format!("{}  tool-stop.wasm\n", fingerprint(wasm));
    json!({
        "dev.codex-gateway.policy.minisig": key.sign("tool-stop.wasm", wasm).unwrap(),
        "dev.codex-gateway.policy.sha256.minisig": key.sign("tool-stop.wasm.sha256", sums.as_bytes()).unwrap(),
    })
}

impl Artifact {
    /// One that nothing is wrong with.
    fn new() -> Self {
        let (key, trusted) = key();
        let layer =
            json!({"mediaType": "application/wasm", "digest": digest(EVERY), "size": EVERY.len()});
        Self {
            annotations: signed(&key, EVERY),
            config: json!({
                "created": "2026-11-30T00:00:00Z",
                "architecture": "wasm",
                "os": "wasip2",
                "layerDigests": [digest(EVERY)],
                "component": {
                    "exports": ["codex:policy/lifecycle@0.2.0", "codex:policy/tool-stop@0.2.0"],
                    "imports": [],
                },
            }),
            key,
            trusted,
            config_type: CONFIG,
            layers: vec![layer],
            component: EVERY.to_vec(),
        }
    }

    fn shelf(&self) -> Shelf {
        let config = self.config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": self.config_type, "digest": digest(&config), "size": config.len()},
            "layers": self.layers,
            "annotations": self.annotations,
        });
        Shelf {
            manifest: manifest.to_string().into_bytes(),
            config,
            component: self.component.clone().into(),
            component_digest: digest(EVERY),
            sent: AtomicUsize::new(0),
        }
    }
}

async fn serve(State(shelf): State<Arc<Shelf>>, request: Request) -> Response {
    let path = request.uri().path();
    if path == "/v2/" {
        return "{}".into_response();
    }
    if path.contains("/manifests/") {
        return shelf.manifest.clone().into_response();
    }
    let wanted = path.rsplit('/').next().unwrap_or_default();
    if wanted == digest(&shelf.config) {
        return shelf.config.clone().into_response();
    }
    if wanted != shelf.component_digest {
        return StatusCode::NOT_FOUND.into_response();
    }
    let chunks: Vec<_> = (0..shelf.component.len()).step_by(1 << 14).collect();
    let counted = Arc::clone(&shelf);
    let chunks = chunks.into_iter().map(move |from| {
        let to = counted.component.len().min(from + (1 << 14));
        counted.sent.fetch_add(to - from, Ordering::Relaxed);
        Ok::<_, Infallible>(counted.component.slice(from..to))
    });
    Body::from_stream(futures_util::stream::iter(chunks)).into_response()
}

/// Runs `codex-gateway policy` with this trust: the exit code, and what it says.
fn policy(line: &[&str], trusted: &str, folder: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
    command
        .env_clear()
        .current_dir(folder)
        .arg("policy")
        .args(line);
    if !trusted.is_empty() {
        command.env("POLICY_TRUSTED_KEYS", trusted);
    }
    let output = tokio::task::block_in_place(|| command.output().unwrap());
    let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code(), told)
}

/// Pulls an artifact: the exit code, what is said, the bytes of the component that were sent, and whether it was written.
async fn pull(artifact: &Artifact, trusted: &str) -> (Option<i32>, String, usize, bool) {
    let shelf = Arc::new(artifact.shelf());
    let app = axum::Router::new()
        .fallback(serve)
        .with_state(Arc::clone(&shelf));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let reference = format!("oci://{}/policies/stop:1.0", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });
    let folder = tempfile::tempdir().unwrap();
    let line = [
        "pull",
        &reference,
        "--plain-http",
        "--slot",
        "tool-stop",
        "--to",
        ".",
    ];
    let (code, told) = policy(&line, trusted, folder.path());
    serving.abort();
    let written = std::fs::read_dir(folder.path()).unwrap().next().is_some();
    (code, told, shelf.sent.load(Ordering::Relaxed), written)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_artifact_comes_with_its_signature() {
    let artifact = Artifact::new();
    let (code, told, sent, written) = pull(&artifact, &artifact.trusted).await;
    assert_eq!(code, Some(0), "{told}");
    assert!(written && sent == EVERY.len(), "{told}");
    let pinned = format!("policies/stop@{}", digest(&artifact.shelf().manifest));
    assert!(told.contains(&pinned), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spoiled_artifact_is_refused_before_its_component_is_downloaded() {
    type Change = fn(&mut Artifact);
    let spoils: [(&str, Change, &str); 8] = [
        (
            "a container image",
            |artifact| artifact.config_type = "application/vnd.oci.image.config.v1+json",
            "expected a Wasm artifact",
        ),
        (
            "two layers",
            |artifact| artifact.layers.push(artifact.layers[0].clone()),
            "found 2 layers",
        ),
        (
            "another kind of layer",
            |artifact| {
                artifact.layers[0]["mediaType"] = "application/vnd.oci.image.layer.v1.tar".into()
            },
            "expected a Wasm artifact (application/wasm)",
        ),
        (
            "a size above the limit",
            |artifact| artifact.layers[0]["size"] = (1_u64 << 32).into(),
            "expected a component of at most 67108864 bytes",
        ),
        (
            "a component for another slot",
            |artifact| {
                artifact.config["component"]["exports"] =
                    json!(["codex:policy/lifecycle@0.2.0", "codex:policy/model@0.2.0"])
            },
            "expected a component for the tool-stop slot",
        ),
        (
            "no signature",
            |artifact| artifact.annotations = json!({}),
            "expected a signature in `tool-stop.wasm.sha256.minisig`",
        ),
        (
            "an unknown key",
            |artifact| artifact.annotations = signed(&key().0, EVERY),
            "which is none of POLICY_TRUSTED_KEYS",
        ),
        (
            "the signature of other bytes",
            |artifact| artifact.annotations = signed(&artifact.key, b"other"),
            "it was altered after the key",
        ),
    ];
    for (what, spoil, said) in spoils {
        let mut artifact = Artifact::new();
        spoil(&mut artifact);
        let (code, told, sent, written) = pull(&artifact, &artifact.trusted).await;
        assert_eq!(code, Some(78), "{what}: {told}");
        assert!(told.contains(said), "{what}: {told}");
        assert_eq!((sent, written), (0, false), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_is_not_what_was_described_is_not_kept() {
    let other = |bytes: Vec<u8>| Artifact {
        component: bytes,
        ..Artifact::new()
    };
    let mut flipped = EVERY.to_vec();
    flipped[1_000] ^= 1;
    let endless = [EVERY, &vec![0; 64 << 20]].concat();
    for (artifact, at_most) in [
        (other(flipped), EVERY.len()),
        (other(endless), EVERY.len() + (8 << 20)),
    ] {
        let (code, told, sent, written) = pull(&artifact, &artifact.trusted).await;
        assert_ne!(code, Some(0), "{told}");
        assert!(sent <= at_most && !written, "{sent} bytes: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_without_end_is_read_to_its_limit_only() {
    let mut artifact = Artifact::new();
    artifact.annotations["long"] = "x".repeat(4 << 20).into();
    let (code, told, sent, written) = pull(&artifact, "").await;
    assert_eq!(code, Some(78), "{told}");
    assert!(
        told.contains("expected a manifest of at most 1048576 bytes"),
        "{told}"
    );
    assert_eq!((sent, written), (0, false));
}
