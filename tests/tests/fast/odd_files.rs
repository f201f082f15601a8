//! Files in `POLICY_DIR` that are not regular files: each is refused by name, changes nothing, and blocks nothing.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use codex_gateway::listen::Handed;
use codex_gateway_tests::gateway::{Gateway, QUICK, Setup, say};
use codex_gateway_tests::guests::deploy;
use serde_json::Value;

/// A timeout that only a hang reaches.
const HANGS: Duration = Duration::from_secs(60);

fn pipe(path: &Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status();
    assert!(made.unwrap().success());
}

async fn refused(gateway: &Gateway) -> Vec<String> {
    let refused = |gateway: &Gateway| !gateway.live.refusals().is_empty();
    gateway.until(refused, "refusal").await;
    let refusals = gateway.live.refusals();
    refusals.iter().map(ToString::to_string).collect()
}

async fn mended(gateway: &Gateway) {
    let mended = |gateway: &Gateway| gateway.live.refusals().is_empty();
    gateway.until(mended, "mended folder").await;
}

/// Stops the gateway, also if reading a file hangs.
async fn stop(gateway: Gateway) {
    let stopped = tokio::time::timeout(HANGS, gateway.stop()).await;
    assert!(stopped.is_ok(), "the gateway does not stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_under_any_name_is_refused_and_holds_up_nothing() {
    let names = [
        "auth.wasm",
        "auth.json",
        "model.wasm",
        "rate-limit.json",
        "tool-stop.wasm",
        "policies.toml",
    ];
    for name in names {
        let gateway = Setup::demo().start().await;
        pipe(&gateway.policies().join(name));
        let said = refused(&gateway).await;
        assert!(said[0].starts_with(name), "{said:?}");
        assert!(said[0].contains("a pipe, not a regular file"), "{said:?}");
        let answer = gateway.chat(&say(QUICK)).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        std::fs::remove_file(gateway.policies().join(name)).unwrap();
        mended(&gateway).await;
        stop(gateway).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_sockets_and_folders_are_refused_by_their_kind() {
    let gateway = Setup::demo().start().await;
    let path = |name: &str| gateway.policies().join(name);
    symlink("/dev/zero", path("auth.wasm")).unwrap();
    symlink("/dev/zero", path("model.json")).unwrap();
    let _socket = UnixListener::bind(path("rate-limit.wasm")).unwrap();
    std::fs::create_dir(path("tool-stop.json")).unwrap();
    let complete = |gateway: &Gateway| gateway.live.refusals().len() == 4;
    gateway.until(complete, "four refusals").await;
    let said = refused(&gateway).await;
    for (said, kind) in said
        .iter()
        .zip(["a device", "a device", "a socket", "a folder"])
    {
        assert!(said.contains(&format!("it is {kind}, not a")), "{said}");
    }
    stop(gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_is_read_up_to_its_bound() {
    let gateway = Setup::demo().start().await;
    let endless = "# padding\n".repeat(100_000);
    deploy(gateway.policies(), "policies.toml", endless.as_bytes());
    let said = refused(&gateway).await;
    assert_eq!(
        said,
        ["policies.toml: cannot be read: it is larger than 256 KiB"]
    );
    // A link to a device has no size.
    let link = gateway.policies().join("policies.toml");
    std::fs::remove_file(&link).unwrap();
    symlink("/dev/zero", &link).unwrap();
    let device = |gateway: &Gateway| gateway.live.refusals()[0].to_string().contains("a device");
    gateway.until(device, "refused device").await;
    stop(gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_out_of_the_folder_shows_a_policy_nothing_of_the_machine() {
    let gateway = Setup::demo().start().await;
    let secret = gateway.home().join("auth.json");
    std::fs::write(&secret, r#"{"tokens": "secret"}"#).unwrap();
    symlink(&secret, gateway.policies().join("auth.json")).unwrap();
    let said = refused(&gateway).await;
    assert!(said[0].contains("a link out of the folder"), "{said:?}");
    stop(gateway).await;
}

/// The folder is laid out as Kubernetes mounts a ConfigMap: the files are links through a link that is re-pointed.
#[tokio::test(flavor = "multi_thread")]
async fn a_config_map_is_served_and_swapped() {
    let gateway = Setup::demo().start().await;
    let folder = gateway.policies();
    let publish = |version: &str, owner: &str| {
        let settings = format!(r#"{{"owned_by": "{owner}"}}"#);
        std::fs::create_dir(folder.join(version)).unwrap();
        std::fs::write(folder.join(version).join("model.json"), settings).unwrap();
        symlink(version, folder.join("..data_tmp")).unwrap();
        std::fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    };
    publish("..2026_01", "first");
    symlink("..data/model.json", folder.join("model.json")).unwrap();
    gateway.generation(2).await;
    publish("..2026_02", "second");
    gateway.generation(3).await;
    let models: Value = gateway.read("/v1/models").await;
    assert_eq!(models["data"][0]["owned_by"], "second");
    stop(gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_never_rests_is_loaded_all_the_same() {
    let gateway = Setup::demo().start().await;
    let folder = gateway.policies().to_owned();
    let (over, is_over) = std::sync::mpsc::channel::<()>();
    let restless = std::thread::spawn(move || {
        for number in 0_u64.. {
            let noise = folder.join("noise");
            std::fs::write(&noise, number.to_string()).unwrap();
            std::fs::remove_file(&noise).unwrap();
            // A file that the gateway reads is rewritten, too.
            std::fs::write(
                folder.join("tool-stop.json"),
                format!("{{{}}}", " ".repeat(number as usize % 7)),
            )
            .unwrap();
            if is_over.recv_timeout(Duration::from_millis(10)).is_ok() {
                return;
            }
        }
    });
    deploy(gateway.policies(), "model.json", br#"{"owned_by": "me"}"#);
    let serves =
        |gateway: &Gateway| gateway.live.current().slots()[1].about.settings == "model.json";
    gateway
        .until(serves, "generation of a restless folder")
        .await;
    over.send(()).unwrap();
    restless.join().unwrap();
    stop(gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_beside_odd_files_ends_with_their_names() {
    let folder = tempfile::tempdir().unwrap();
    pipe(&folder.path().join("auth.wasm"));
    symlink("/dev/zero", folder.path().join("auth.json")).unwrap();
    let vars = [
        ("PROXY_API_KEY", "sk-test"),
        ("PORT", "0"),
        ("POLICY_DIR", folder.path().to_str().unwrap()),
    ];
    let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let vars: std::collections::HashMap<_, _> = vars.into();
    let config = codex_gateway::config::Config::read(&vars).unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let started = tokio::time::timeout(
        HANGS,
        codex_gateway::app::App::build(config, Handed::default(), &stop),
    )
    .await;
    let said = started.expect("the start hangs").err().unwrap().to_string();
    assert!(
        said.contains("auth.wasm") && said.contains("auth.json"),
        "{said}"
    );
}
