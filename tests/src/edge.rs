//! A real edge proxy before a gateway, configured with what README and `deploy/` tell operators to write, and a service
//! behind it that says what reached it.

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// What stands in the configurations that operators copy.
const GATEWAY: &str = "127.0.0.1:11435";
const LISTEN: &str = "127.0.0.1:8080";

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `TEST_TRAEFIK_BIN`, with `deploy/traefik-dev`.
    Traefik,
    /// `TEST_CADDY_BIN`, with README's site.
    Caddy,
    /// `TEST_NGINX_BIN`, with README's server.
    Nginx,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Traefik, Self::Caddy, Self::Nginx];

    fn program(self) -> String {
        let name = match self {
            Self::Traefik => "TEST_TRAEFIK_BIN",
            Self::Caddy => "TEST_CADDY_BIN",
            Self::Nginx => "TEST_NGINX_BIN",
        };
        #[expect(clippy::disallowed_methods, reason = "the test run's own environment")]
        let path = std::env::var(name);
        path.unwrap_or_else(|_| panic!("{name} is not set: run .ci/run, or see README"))
    }

    /// Writes its configuration, with these addresses in it, and says how it is started.
    fn configure(self, folder: &Path, listen: &str, gateway: &str, service: &str) -> Command {
        let write = |name: &str, text: String| {
            std::fs::write(folder.join(name), text).expect("the folder can be written");
        };
        let mut command = Command::new(self.program());
        match self {
            Self::Traefik => {
                let place = |text: &str| {
                    text.replace(&format!("{GATEWAY}/verify"), &format!("{gateway}/verify"))
                        .replace(GATEWAY, service)
                        .replace(LISTEN, listen)
                };
                for name in ["traefik.yml", "dynamic.yml"] {
                    write(name, place(&read(&format!("deploy/traefik-dev/{name}"))));
                }
                command.arg("--configFile=traefik.yml");
            }
            Self::Caddy => {
                let site = snippet("caddyfile")
                    .replace(
                        &format!("forward_auth {GATEWAY}"),
                        &format!("forward_auth {gateway}"),
                    )
                    .replace(GATEWAY, service)
                    .replace(LISTEN, listen);
                write("Caddyfile", format!("{{\n\tadmin off\n}}\n{site}"));
                command.args(["run", "--config", "Caddyfile"]);
            }
            Self::Nginx => {
                let server = snippet("nginx")
                    .replace(
                        &format!("{GATEWAY}/auth-request"),
                        &format!("{gateway}/auth-request"),
                    )
                    .replace(GATEWAY, service)
                    .replace(LISTEN, listen);
                // One process, so that killing it leaves none; its own user, so that it may write to the folder.
                let main = "daemon off;\nmaster_process off;\nuser root;\nevents {}\n";
                write(
                    "nginx.conf",
                    format!("{main}http {{\naccess_log off;\n{server}}}\n"),
                );
                command.args(["-p", ".", "-c", "nginx.conf"]);
            }
        }
        command
    }
}

/// A file of the repository.
fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    std::fs::read_to_string(root.join(path)).expect("the file is there")
}

/// README's block in this language; there is one.
fn snippet(language: &str) -> String {
    let readme = read("README.md");
    let fence = format!("\n```{language}\n");
    let (_, rest) = readme.split_once(&fence).expect("README has the block");
    let (block, rest) = rest.split_once("```").expect("the block ends");
    assert!(!rest.contains(&fence), "there are two {language} blocks");
    block.to_owned()
}

/// A running proxy, killed when dropped.
pub struct Edge {
    /// For example `http://127.0.0.1:40123`.
    pub origin: String,
    _process: Child,
    _folder: TempDir,
}

impl Edge {
    /// Starts one that asks the gateway and hands on to the service (both `http://address:port`), and waits until it does.
    pub async fn start(kind: Kind, gateway: &str, service: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let listen = free_address();
        let address = |origin: &str| origin.trim_start_matches("http://").to_owned();
        let mut command =
            kind.configure(folder.path(), &listen, &address(gateway), &address(service));
        let log = folder.path().join("log");
        let output = std::fs::File::create(&log).expect("the folder can be written");
        let mut process = command
            .current_dir(folder.path())
            .env("HOME", folder.path())
            .env("XDG_DATA_HOME", folder.path())
            .env("XDG_CONFIG_HOME", folder.path())
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a file can be shared"))
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{kind:?} does not start: {error}"));
        let origin = format!("http://{listen}");
        let ready = async {
            // Open without a key. Traefik listens before it has read its routes.
            let url = format!("{origin}/v1/models");
            while !reqwest::get(&url)
                .await
                .is_ok_and(|answer| answer.status() == 200)
            {
                let ended = process.try_wait().expect("the process can be asked");
                assert!(ended.is_none(), "it ended");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(30), ready)
            .await
            .is_err()
        {
            let log = std::fs::read_to_string(&log).unwrap_or_default();
            panic!("{kind:?} never handed on a request:\n{log}");
        }
        Self {
            origin,
            _process: process,
            _folder: folder,
        }
    }
}

/// Free now; proxies cannot be asked which port they took.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there are free ports");
    listener.local_addr().expect("it is bound").to_string()
}

/// A service without any protection of its own, which answers with the request as it arrived:
/// `{"method", "uri", "headers": {…}}`.
pub struct Service {
    /// For example `http://127.0.0.1:40123`.
    pub origin: String,
    reached: Arc<AtomicUsize>,
}

impl Service {
    /// Runs until the test ends.
    pub async fn spawn() -> Self {
        let reached = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&reached);
        let echo = move |request: axum::extract::Request| async move {
            counter.fetch_add(1, Ordering::SeqCst);
            let headers: Map<String, Value> = request
                .headers()
                .iter()
                .map(|(name, value)| {
                    (
                        name.to_string(),
                        json!(String::from_utf8_lossy(value.as_bytes())),
                    )
                })
                .collect();
            let (method, uri) = (request.method().as_str(), request.uri().to_string());
            axum::Json(json!({"method": method, "uri": uri, "headers": headers}))
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("there are free ports");
        let origin = format!("http://{}", listener.local_addr().expect("it is bound"));
        let router = axum::Router::new().fallback(echo);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { origin, reached }
    }

    /// How many requests came through.
    #[must_use]
    pub fn reached(&self) -> usize {
        self.reached.load(Ordering::SeqCst)
    }
}
