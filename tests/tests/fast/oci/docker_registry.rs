//! Push and pull with Debian's docker-registry, and with artifacts as `wkg` makes and reads them.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use codex_gateway_tests::edge::free_address;
use codex_gateway_tests::guests::EVERY;
use codex_gateway_tests::real::variable;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{CONFIG, MANIFEST, digest, key, policy};

/// A registry of one's own.
struct DockerRegistry {
    address: String,
    child: Child,
    _folder: TempDir,
}

impl DockerRegistry {
    async fn start() -> Self {
        let program = variable("TEST_DOCKER_REGISTRY_BIN");
        let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
        let config = folder.path().join("config.yml");
        let root = folder.path().join("root").display().to_string();
        let text = json!({
            "version": 0.1,
            "log": {"level": "error"},
            "storage": {"filesystem": {"rootdirectory": root}},
            "http": {"addr": address},
        });
        // JSON is YAML.
        std::fs::write(&config, text.to_string()).unwrap();
        let mut command = Command::new(program);
        command.arg("serve").arg(&config);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let registry = Self {
            address,
            child: command.spawn().unwrap(),
            _folder: folder,
        };
        let url = registry.url("");
        let answers = async {
            while reqwest::get(&url).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), answers)
            .await
            .unwrap();
        registry
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/v2/{path}", self.address)
    }

    async fn json(&self, path: &str) -> (String, Value) {
        let request = reqwest::Client::new()
            .get(self.url(path))
            .header("accept", MANIFEST);
        let response = request.send().await.unwrap().error_for_status().unwrap();
        let kind = response.headers()["content-type"]
            .to_str()
            .unwrap()
            .to_owned();
        (kind, response.json().await.unwrap())
    }

    /// Uploads a blob in one piece.
    async fn put_blob(&self, repository: &str, bytes: &[u8]) {
        let client = reqwest::Client::new();
        let begun = client
            .post(self.url(&format!("{repository}/blobs/uploads/")))
            .send()
            .await;
        let place = begun.unwrap().headers()["location"]
            .to_str()
            .unwrap()
            .to_owned();
        let url = format!("{place}&digest={}", digest(bytes));
        let put = client
            .put(url)
            .header("content-type", "application/octet-stream");
        put.body(bytes.to_vec())
            .send()
            .await
            .unwrap()
            .error_for_status()
            .unwrap();
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write(folder: &Path, name: &str, bytes: &[u8]) {
    std::fs::write(folder.join(name), bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs docker-registry"]
async fn a_signed_component_goes_through_a_registry() {
    let registry = DockerRegistry::start().await;
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let run = |line: &str, trusted: &str, folder: &Path| {
        policy(&line.split(' ').collect::<Vec<_>>(), trusted, folder)
    };
    write(from.path(), "stop.wasm", EVERY);
    run("keygen -W", "", from.path());
    let public = std::fs::read_to_string(from.path().join("policies.pub")).unwrap();
    let public = public.lines().nth(1).unwrap();
    let reference = format!("oci://{}/policies/stop:1.0", registry.address);
    let line =
        format!("push stop.wasm {reference} --slot tool-stop --key policies.key --plain-http");
    let (code, pinned) = run(&line, "", from.path());
    assert_eq!(code, Some(0), "{pinned}");

    for reference in [reference.as_str(), pinned.trim()] {
        let line = format!("pull {reference} --slot tool-stop --to . --plain-http");
        let (code, told) = run(&line, public, to.path());
        assert_eq!(code, Some(0), "{told}");
        assert!(told.contains(pinned.trim()), "{told}");
    }
    assert_eq!(
        std::fs::read(to.path().join("tool-stop.wasm")).unwrap(),
        EVERY
    );
    let (code, told) = run("verify tool-stop.wasm", public, to.path());
    assert_eq!(code, Some(0), "{told}");

    // Another key trusts nothing of it.
    let line = format!("pull {reference} --slot tool-stop --to . --plain-http");
    let (code, told) = run(&line, &key().1, to.path());
    assert_eq!(code, Some(78), "{told}");
}

/// `wkg` reads the media types of manifest, config and layer, one layer, and a config with these members.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs docker-registry"]
async fn a_pushed_component_has_the_form_that_wkg_reads() {
    let registry = DockerRegistry::start().await;
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "auth.wasm", EVERY);
    let reference = format!("oci://{}/policies/auth:1.0", registry.address);
    let line = ["push", "auth.wasm", &reference, "--plain-http"];
    let (code, told) = policy(&line, "", folder.path());
    assert_eq!(code, Some(0), "{told}");

    let (kind, manifest) = registry.json("policies/auth/manifests/1.0").await;
    assert_eq!(
        (kind.as_str(), &manifest["mediaType"]),
        (MANIFEST, &MANIFEST.into())
    );
    assert_eq!(manifest["config"]["mediaType"], CONFIG);
    let layer =
        json!({"mediaType": "application/wasm", "digest": digest(EVERY), "size": EVERY.len()});
    assert_eq!(manifest["layers"], json!([layer]));
    let blob = manifest["config"]["digest"].as_str().unwrap();
    let (_, config) = registry.json(&format!("policies/auth/blobs/{blob}")).await;
    assert!(humantime::parse_rfc3339(config["created"].as_str().unwrap()).is_ok());
    assert_eq!(
        (&config["architecture"], &config["os"]),
        (&"wasm".into(), &"wasip2".into())
    );
    assert_eq!(config["layerDigests"], json!([digest(EVERY)]));
    let exports = config["component"]["exports"].as_array().unwrap();
    let exported = |name: &Value| {
        name.as_str()
            .is_some_and(|name| name.starts_with("codex:policy/auth@"))
    };
    assert!(
        exports.iter().any(exported) && config["component"]["imports"].is_array(),
        "{config}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs docker-registry"]
async fn a_component_that_wkg_pushed_is_pulled() {
    let registry = DockerRegistry::start().await;
    // As `wkg publish` and `wkg oci push` do: a title at the layer, and facts of the package at the manifest.
    let config = json!({
        "created": "2026-11-30T12:00:00.123456789Z",
        "author": null,
        "architecture": "wasm",
        "os": "wasip2",
        "layerDigests": [digest(EVERY)],
        "component": {
            "exports": ["codex:policy/lifecycle@0.2.0", "codex:policy/model@0.2.0"],
            "imports": ["wasi:cli/environment@0.2.6"],
            "target": null,
        },
    });
    let config = config.to_string().into_bytes();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": digest(&config), "size": config.len()},
        "layers": [{
            "mediaType": "application/wasm",
            "digest": digest(EVERY),
            "size": EVERY.len(),
            "annotations": {"org.opencontainers.image.title": "model.wasm"},
        }],
        "annotations": {"org.opencontainers.image.version": "1.0.0"},
    });
    registry.put_blob("acme/model", &config).await;
    registry.put_blob("acme/model", EVERY).await;
    let put = reqwest::Client::new().put(registry.url("acme/model/manifests/1.0.0"));
    let put = put
        .header("content-type", MANIFEST)
        .body(manifest.to_string());
    put.send().await.unwrap().error_for_status().unwrap();

    let folder = tempfile::tempdir().unwrap();
    let reference = format!("oci://{}/acme/model:1.0.0", registry.address);
    let line = ["pull", &reference, "--to", ".", "--plain-http"];
    let (code, told) = policy(&line, "", folder.path());
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(
        std::fs::read(folder.path().join("model.wasm")).unwrap(),
        EVERY
    );
    let (code, told) = policy(&line, &key().1, folder.path());
    assert_eq!(code, Some(78), "{told}");
    assert!(
        told.contains("expected a signature in `model.wasm.sha256.minisig`"),
        "{told}"
    );
}
