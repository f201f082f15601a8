//! A real TLS server before the scripted provider, with a root certificate that no system trusts: Caddy, from
//! `TEST_CADDY_BIN`.

use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::Child;

use crate::edge::{Kind, free_address, spawn};

/// A running server, killed when dropped.
pub struct Tls {
    /// The base URL, for example `https://localhost:40123/v1`.
    pub url: String,
    /// The root certificate that the server's certificate is signed with.
    pub root: PathBuf,
    _process: Child,
    _folder: TempDir,
}

impl Tls {
    /// Starts a server that passes requests to `url` (`http://address:port/path`), and waits until it does.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn before(url: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (origin, path) = url
            .trim_start_matches("http://")
            .split_once('/')
            .unwrap_or((url, ""));
        let address = free_address();
        let (_, port) = address.rsplit_once(':').expect("it has a port");
        let text = format!(
            "{{\n\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n}}\n\
             https://localhost:{port} {{\n\tbind 127.0.0.1\n\ttls internal\n\treverse_proxy {origin}\n}}\n"
        );
        std::fs::write(folder.path().join("Caddyfile"), text).expect("the folder can be written");
        let arguments = ["run", "--config", "Caddyfile"].map(str::to_owned);
        let process = spawn(Kind::Caddy, &arguments, folder.path());
        let root = folder.path().join("caddy/pki/authorities/local/root.crt");
        let ready = async {
            while !root.exists() || TcpStream::connect(&address).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), ready)
            .await
            .expect("Caddy makes its certificates and listens");
        Self {
            url: format!("https://localhost:{port}/{path}"),
            root,
            _process: process,
            _folder: folder,
        }
    }
}
