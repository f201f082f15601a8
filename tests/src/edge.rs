//! A real edge proxy before a gateway, configured as docs/src/edges.md and `deploy/` tell operators, and a service
//! behind it that echoes the requests that reach it.

mod docker;
mod site;

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::real::variable;
use site::Site;

/// The file in a proxy's folder with its output.
const LOG: &str = "log";

/// The proxy program and its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `TEST_TRAEFIK_BIN`, with `deploy/traefik-dev`.
    Traefik,
    /// The same program, with the command and the labels of `docker-compose.yml`.
    Compose,
    /// `TEST_CADDY_BIN`, with the site of docs/src/edges.md.
    Caddy,
    /// `TEST_NGINX_BIN`, with the server of docs/src/edges.md.
    Nginx,
    /// `TEST_ENVOY_BIN`, with `deploy/envoy`.
    Envoy,
    /// `TEST_HAPROXY_BIN`, with `deploy/haproxy`.
    Haproxy,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 6] = [
        Self::Traefik,
        Self::Compose,
        Self::Caddy,
        Self::Nginx,
        Self::Envoy,
        Self::Haproxy,
    ];

    fn program(self) -> String {
        let name = match self {
            Self::Traefik | Self::Compose => "TEST_TRAEFIK_BIN",
            Self::Caddy => "TEST_CADDY_BIN",
            Self::Nginx => "TEST_NGINX_BIN",
            Self::Envoy => "TEST_ENVOY_BIN",
            Self::Haproxy => "TEST_HAPROXY_BIN",
        };
        variable(name)
    }

    /// The configuration, as names of files and their texts.
    fn files(self, site: &Site) -> Vec<(&'static str, String)> {
        match self {
            Self::Traefik => {
                let (fixed, dynamic) = site.traefik();
                vec![("traefik.yml", fixed), ("dynamic.yml", dynamic)]
            }
            Self::Compose => Vec::new(),
            Self::Caddy => vec![("Caddyfile", site.caddy())],
            Self::Nginx => vec![("nginx.conf", site.nginx())],
            Self::Envoy => vec![("envoy.yaml", site.envoy())],
            Self::Haproxy => {
                let (config, script) = site.haproxy();
                vec![("haproxy.cfg", config), ("ask.lua", script)]
            }
        }
    }

    fn arguments(self, site: &Site) -> Vec<String> {
        let fixed: &[&str] = match self {
            Self::Traefik => &["--configFile=traefik.yml"],
            Self::Compose => return site.command(),
            Self::Caddy => &["run", "--config", "Caddyfile"],
            Self::Nginx => &["-p", ".", "-c", "nginx.conf"],
            // Several Envoys run at the same time.
            Self::Envoy => &[
                "--config-path",
                "envoy.yaml",
                "--use-dynamic-base-id",
                "--concurrency",
                "1",
            ],
            Self::Haproxy => &["-db", "-f", "haproxy.cfg"],
        };
        fixed.iter().map(|&argument| argument.to_owned()).collect()
    }
}

/// A running proxy, killed when dropped.
pub struct Edge {
    /// The proxy's origin, for example `http://127.0.0.1:40123`.
    pub origin: String,
    kind: Kind,
    site: Site,
    _process: Child,
    folder: TempDir,
}

impl Edge {
    /// Starts a proxy that asks `gateway` and passes requests to `service` (both `http://address:port`); waits until it does.
    pub async fn start(kind: Kind, gateway: &str, service: &str) -> Self {
        Self::launch(kind, site(gateway, service)).await
    }

    /// Like [`Edge::start`], but with two addresses for the service, of which one is dead.
    pub async fn start_beside_dead(kind: Kind, gateway: &str, service: &str) -> Self {
        let dead = Some(free_address());
        let site = Site {
            dead,
            ..site(gateway, service)
        };
        Self::launch(kind, site).await
    }

    async fn launch(kind: Kind, site: Site) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, text) in kind.files(&site) {
            std::fs::write(folder.path().join(name), text).expect("the folder can be written");
        }
        if kind == Kind::Compose {
            docker::serve(&folder.path().join(site::DOCKER), site.labels());
        }
        let mut process = spawn(kind, &kind.arguments(&site), folder.path());
        let log = folder.path().join(LOG);
        let origin = format!("http://{}", site.listen);
        let ready = async {
            // This path is open without a key. Traefik listens before it has read its routes.
            let url = format!("{origin}/v1/models");
            while !reqwest::get(&url)
                .await
                .is_ok_and(|answer| answer.status() == 200)
            {
                let ended = process.try_wait().expect("the process can be asked");
                if ended.is_some() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let ready = tokio::time::timeout(Duration::from_secs(30), ready).await;
        let ended = process.try_wait().expect("the process can be asked");
        if ready.is_err() || ended.is_some() {
            let log = std::fs::read_to_string(&log).unwrap_or_default();
            panic!("{kind:?} never handed on a request:\n{log}");
        }
        Self {
            origin,
            kind,
            site,
            _process: process,
            folder,
        }
    }

    /// Replaces the configuration by one for another gateway; a proxy that watches its files notices that.
    pub fn switch(&self, gateway: &str, service: &str) {
        let site = Site {
            listen: self.site.listen.clone(),
            inner: self.site.inner.clone(),
            ..site(gateway, service)
        };
        for (name, text) in self.kind.files(&site) {
            crate::guests::deploy(self.folder.path(), name, text.as_bytes());
        }
    }
}

/// Starts the program in a folder with its configuration.
pub(crate) fn spawn(kind: Kind, arguments: &[String], folder: &Path) -> Child {
    let output = std::fs::File::create(folder.join(LOG)).expect("the folder can be written");
    let program = kind.program();
    let mut command = Command::new(&program);
    if kind == Kind::Haproxy {
        // The package has libraries that a system may not have.
        let libraries = Path::new(&program).with_file_name("lib");
        command.env("LD_LIBRARY_PATH", libraries);
    }
    command
        .args(arguments)
        .current_dir(folder)
        .env("HOME", folder)
        .env("XDG_DATA_HOME", folder)
        .env("XDG_CONFIG_HOME", folder)
        .stdin(Stdio::null())
        .stdout(output.try_clone().expect("a file can be shared"))
        .stderr(output)
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{kind:?} does not start: {error}"))
}

fn site(gateway: &str, service: &str) -> Site {
    let address = |origin: &str| origin.trim_start_matches("http://").to_owned();
    Site {
        listen: free_address(),
        inner: free_address(),
        asked: address(gateway),
        service: address(service),
        dead: None,
    }
}

/// An address that is free now; proxies cannot be asked which port they took.
///
/// # Panics
/// If no port is free.
#[must_use]
pub fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there are free ports");
    listener.local_addr().expect("it is bound").to_string()
}

/// A service without any protection of its own, which answers with the request as it arrived:
/// `{"method", "uri", "headers": {…}}`.
pub struct Service {
    /// The service's origin, for example `http://127.0.0.1:40123`.
    pub origin: String,
    reached: Arc<AtomicUsize>,
}

impl Service {
    /// Starts a service that runs until the test ends.
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

    /// The number of requests that reached the service.
    #[must_use]
    pub fn reached(&self) -> usize {
        self.reached.load(Ordering::SeqCst)
    }
}
