//! Signed policies: at every door a file that no trusted key signed is refused with the reason, and what served goes on.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use codex_gateway::policy::{Password, SigningKey, new_keys};
use codex_gateway_tests::gateway::{Gateway, KEY, Setup};
use codex_gateway_tests::guests::{EVERY, deploy};
use codex_gateway_tests::operator::{answer, operated, upload};
use serde_json::Value;
use tempfile::TempDir;

mod commands;

/// A key pair, and the folders of a gateway that trusts it.
struct Site {
    key: SigningKey,
    trusted: String,
    policies: TempDir,
    state: TempDir,
}

/// The spoiling of a signed file.
#[derive(Debug, Clone, Copy)]
enum Spoil {
    /// A bit of the file is another one.
    Flipped,
    /// The signature is that of another file.
    Swapped,
    /// There is no signature.
    Missing,
    /// A key signed that is not trusted.
    Unknown,
}

const SPOILS: [Spoil; 4] = [
    Spoil::Flipped,
    Spoil::Swapped,
    Spoil::Missing,
    Spoil::Unknown,
];

fn key() -> (SigningKey, String) {
    let keys = new_keys(Password::None).unwrap();
    let key = SigningKey::read(&keys.secret, Password::None).unwrap();
    (key, keys.line)
}

impl Spoil {
    /// The bytes and the signature of a file.
    fn of(self, key: &SigningKey, name: &str, bytes: &[u8]) -> (Vec<u8>, Option<String>) {
        let signed = |key: &SigningKey, name: &str| key.sign(name, bytes).unwrap();
        match self {
            Self::Flipped => {
                let mut flipped = bytes.to_vec();
                // A letter before the last quote: the settings stay JSON.
                let at = bytes.len().saturating_sub(3);
                flipped[at] ^= 1;
                (flipped, Some(signed(key, name)))
            }
            Self::Swapped => (bytes.to_vec(), Some(signed(key, "other.json"))),
            Self::Missing => (bytes.to_vec(), None),
            Self::Unknown => (bytes.to_vec(), Some(signed(&self::key().0, name))),
        }
    }

    /// The words of its refusal.
    fn said(self) -> &'static str {
        match self {
            Self::Flipped => "it was altered after the key ",
            Self::Swapped => "its signature is one of `other.json`, not of this file",
            Self::Missing => "expected a signature in `model.json.minisig`",
            Self::Unknown => "which is none of POLICY_TRUSTED_KEYS (",
        }
    }
}

fn marked(marker: &str) -> String {
    format!(r#"{{"owned_by": "{marker}"}}"#)
}

impl Site {
    /// A folder with a signed `policies.toml`, and a signed `model.json` with the marker `one`.
    fn new() -> Self {
        let (key, trusted) = key();
        let folder = || tempfile::tempdir().unwrap();
        let site = Self {
            key,
            trusted,
            policies: folder(),
            state: folder(),
        };
        site.publish("policies.toml", b"");
        site.publish("model.json", marked("one").as_bytes());
        site
    }

    /// Puts a signed file into the folder.
    fn publish(&self, name: &str, bytes: &[u8]) {
        let signature = self.key.sign(name, bytes).unwrap();
        self.put(name, bytes, Some(&signature));
    }

    fn put(&self, name: &str, bytes: &[u8], signature: Option<&str>) {
        let beside = format!("{name}.minisig");
        match signature {
            Some(signature) => deploy(self.policies.path(), &beside, signature.as_bytes()),
            None => {
                let _ = std::fs::remove_file(self.policies.path().join(&beside));
            }
        }
        deploy(self.policies.path(), name, bytes);
    }

    /// Puts `model.json` with the marker `two` into the folder, spoiled.
    fn spoil(&self, spoil: Spoil) {
        let (bytes, signature) = spoil.of(&self.key, "model.json", marked("two").as_bytes());
        self.put("model.json", &bytes, signature.as_deref());
    }

    async fn start(&self) -> Gateway {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        operated(Setup::demo())
            .var("POLICY_DIR", &text(self.policies.path()))
            .var("PROXY_STATE_DIR", &text(self.state.path()))
            .var("POLICY_TRUSTED_KEYS", &self.trusted)
            .start()
            .await
    }

    /// Runs the program with this folder and this key.
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
        command
            .env_clear()
            .env("PROXY_CACHE_DIR", "none")
            .env("PROXY_API_KEY", KEY)
            .env("PORT", "0")
            .env("CODEX_BACKEND", "demo")
            .env("POLICY_DIR", self.policies.path())
            .env("POLICY_TRUSTED_KEYS", &self.trusted)
            .current_dir(self.policies.path())
            .args(arguments);
        command.output().unwrap()
    }
}

/// The marker of what serves.
async fn marker(gateway: &Gateway) -> String {
    let models = gateway.read("/v1/models").await;
    models["data"][0]["owned_by"].as_str().unwrap().to_owned()
}

/// Waits until health shows a refusal with these words.
async fn refused(gateway: &Gateway, said: &str) -> Value {
    let shows = async {
        loop {
            let health = gateway.health().await;
            let refused = health["refused"].as_array().cloned().unwrap_or_default();
            let found = refused.into_iter().find(|refusal| {
                let problem = refusal["problem"].as_str().unwrap_or_default();
                problem.contains(said)
            });
            if let Some(refusal) = found {
                return refusal;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let shown = tokio::time::timeout(Duration::from_secs(30), shows).await;
    shown.unwrap_or_else(|_| panic!("no refusal with: {said}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_no_trusted_key_signed_does_not_serve() {
    let site = Site::new();
    let gateway = site.start().await;
    for spoil in SPOILS {
        site.spoil(spoil);
        let refusal = refused(&gateway, spoil.said()).await;
        assert_eq!(refusal["file"], "model.json", "{spoil:?}");
        assert_eq!(refusal["slot"], "model", "{spoil:?}");
        assert_eq!(marker(&gateway).await, "one", "{spoil:?}");
    }
    // The signature alone makes it serve: what was signed is what is there.
    site.publish("model.json", marked("two").as_bytes());
    gateway.generation(2).await;
    assert_eq!(marker(&gateway).await, "two");
    let is_mended = |gateway: &Gateway| gateway.live.refusals().is_empty();
    gateway.until(is_mended, "mended folder").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_with_a_file_that_no_trusted_key_signed_serves_the_last_good_ones() {
    let site = Site::new();
    site.start().await.stop().await;
    for spoil in SPOILS {
        site.spoil(spoil);
        let gateway = site.start().await;
        assert_eq!(marker(&gateway).await, "one", "{spoil:?}");
        refused(&gateway, spoil.said()).await;
        gateway.stop().await;
    }
}

#[test]
fn without_last_good_ones_a_start_ends_with_the_reason() {
    let site = Site::new();
    for spoil in SPOILS {
        site.spoil(spoil);
        for arguments in [&["serve"][..], &["config"], &["policy", "check", "."]] {
            let output = site.run(arguments);
            let told = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(78), "{spoil:?}: {told}");
            let line = format!("model.json (model policy): {}", spoil.said());
            let line = match spoil {
                Spoil::Unknown => spoil.said().to_owned(),
                _ => line,
            };
            assert!(told.contains(&line), "{spoil:?} {arguments:?}: {told}");
        }
    }
}

#[test]
fn a_trusted_key_that_cannot_be_read_is_a_mistake_of_the_configuration() {
    let file = Site::new().policies;
    let place = file.path().join("policies.pub");
    std::fs::write(&place, "no key").unwrap();
    for (given, said) in [
        ("RWnonsense".to_owned(), "which is no key, and no such file"),
        (place.display().to_string(), "a file without one"),
    ] {
        let site = Site {
            trusted: given,
            ..Site::new()
        };
        let output = site.run(&["config"]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{told}");
        let expected = "POLICY_TRUSTED_KEYS: expected public keys of minisign";
        assert!(told.contains(expected) && told.contains(said), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_no_trusted_key_signed_is_refused() {
    let site = Site::new();
    let gateway = site.start().await;
    let send = async |bytes: &[u8], signature: Option<&str>| {
        let mut files = vec![("model.json", bytes)];
        files.extend(signature.map(|signature| ("model.json.minisig", signature.as_bytes())));
        answer(upload(&gateway, &files)).await
    };
    let two = marked("two");
    for spoil in SPOILS {
        let (bytes, signature) = spoil.of(&site.key, "model.json", two.as_bytes());
        let (status, answered) = send(&bytes, signature.as_deref()).await;
        assert_eq!(status, 422, "{spoil:?}: {answered}");
        assert!(answered.to_string().contains(spoil.said()), "{answered}");
    }
    assert!(gateway.live.candidates().is_empty());
    let signature = site.key.sign("model.json", two.as_bytes()).unwrap();
    let (status, answered) = send(two.as_bytes(), Some(&signature)).await;
    assert_eq!(status, 201, "{answered}");

    // Its rules are a file, too; and a signature needs its file.
    let rules = [("rollout.toml", &b"probation = \"1h\""[..])];
    let (status, answered) = answer(upload(&gateway, &rules)).await;
    assert_eq!(status, 422, "{answered}");
    let lonely = [("auth.json.minisig", signature.as_bytes())];
    let (status, answered) = answer(upload(&gateway, &lonely)).await;
    assert_eq!(status, 400, "{answered}");
    let said = "'auth.json.minisig' is the signature of 'auth.json', which is not there";
    assert!(answered.to_string().contains(said), "{answered}");
}

#[test]
fn a_file_that_no_trusted_key_signed_is_not_deployed() {
    let site = Site::new();
    let author = tempfile::tempdir().unwrap();
    let path = author.path().join("model.json");
    let (from, to) = (path.to_str().unwrap(), site.policies.path());
    let two = marked("two");
    let put = |bytes: &[u8], signature: Option<&str>| {
        std::fs::write(&path, bytes).unwrap();
        let beside = author.path().join("model.json.minisig");
        let _ = std::fs::remove_file(&beside);
        if let Some(signature) = signature {
            std::fs::write(beside, signature).unwrap();
        }
    };
    let run = |command: &[&str]| {
        let output = site.run(command);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), told)
    };
    let deploying = [
        "policy",
        "deploy",
        from,
        "--to",
        to.to_str().unwrap(),
        "--wait",
        "0",
    ];
    for spoil in SPOILS {
        let (bytes, signature) = spoil.of(&site.key, "model.json", two.as_bytes());
        put(&bytes, signature.as_deref());
        for command in [&deploying[..], &["policy", "check", from]] {
            let (code, told) = run(command);
            assert_eq!(code, Some(78), "{spoil:?}: {told}");
            assert!(told.contains(spoil.said()), "{spoil:?}: {told}");
        }
    }
    let there = std::fs::read_to_string(to.join("model.json")).unwrap();
    assert_eq!(there, marked("one"));
    // A file of which the signature is worth nothing any more can be replaced.
    std::fs::write(to.join("model.json.minisig"), "of another key").unwrap();
    let signature = site.key.sign("model.json", two.as_bytes()).unwrap();
    put(two.as_bytes(), Some(&signature));
    let (code, told) = run(&deploying);
    assert_eq!(code, Some(0), "{told}");
    let written = std::fs::read_to_string(to.join("model.json.minisig")).unwrap();
    assert_eq!(written, signature);
    assert_eq!(run(&["policy", "check", "."]).0, Some(0));
}

#[test]
fn components_and_the_manifest_are_signed_like_settings() {
    let site = Site::new();
    site.publish("tool-stop.wasm", EVERY);
    let check = || {
        let output = site.run(&["policy", "check", "."]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), told)
    };
    assert_eq!(check().0, Some(0), "{}", check().1);
    for (file, spoil) in [
        ("tool-stop.wasm", Spoil::Flipped),
        ("tool-stop.wasm", Spoil::Unknown),
        ("policies.toml", Spoil::Missing),
        ("policies.toml", Spoil::Swapped),
    ] {
        let bytes = std::fs::read(site.policies.path().join(file)).unwrap();
        let (spoiled, signature) = spoil.of(&site.key, file, &bytes);
        site.put(file, &spoiled, signature.as_deref());
        let (code, told) = check();
        assert_eq!(code, Some(78), "{file} {spoil:?}: {told}");
        assert!(told.contains(file), "{file} {spoil:?}: {told}");
        site.publish(file, &bytes);
    }
    // A manifest that is removed would take its rules with it.
    std::fs::remove_file(site.policies.path().join("policies.toml")).unwrap();
    let (code, told) = check();
    assert_eq!(code, Some(78), "{told}");
    let said = "policies.toml: expected it, as POLICY_TRUSTED_KEYS is set, found none";
    assert!(told.contains(said), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_are_not_trusted_do_not_replace_those_before() {
    let site = Site::new();
    let rules = "[rollout.shadow]\nfor = \"1h\"\n";
    site.publish("policies.toml", rules.as_bytes());
    let gateway = site.start().await;
    let altered = rules.replace("1h", "1s");
    deploy(site.policies.path(), "policies.toml", altered.as_bytes());
    refused(&gateway, "it was altered").await;
    site.publish("policies.toml", rules.as_bytes());
    site.publish("model.json", marked("two").as_bytes());
    let waits = |gateway: &Gateway| {
        let candidates = gateway.live.candidates();
        candidates
            .iter()
            .any(|candidate| candidate.stage == "shadow")
    };
    gateway.until(waits, "shadow").await;
    assert_eq!(marker(&gateway).await, "one");
}
