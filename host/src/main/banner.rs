//! The banner of a start at a terminal: what serves, where, with which key, and what to do next.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use codex_gateway::app::App;
use codex_gateway::secret::Secret;

/// Not through the log: this is for a person, and may hold a secret.
pub(crate) struct Banner<'a> {
    /// Where a client on this machine finds it.
    address: SocketAddr,
    is_everywhere: bool,
    backend: &'static str,
    version: String,
    /// The key, if it was made up for this run.
    key: Option<&'a Secret>,
    folder: Option<PathBuf>,
}

impl<'a> Banner<'a> {
    pub(crate) fn of(app: &App, key: Option<&'a Secret>, folder: Option<&Path>) -> Self {
        let status = app.backend().status();
        Self {
            address: near(app.address()),
            is_everywhere: app.address().ip().is_unspecified(),
            backend: status.kind,
            version: status.version,
            key,
            folder: folder.map(Path::to_owned),
        }
    }
}

/// All addresses are none to connect to.
fn near(address: SocketAddr) -> SocketAddr {
    match address.ip().is_unspecified() {
        true => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port()),
        false => address,
    }
}

impl fmt::Display for Banner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = format!("http://{}/v1", self.address);
        writeln!(
            f,
            "\ncodex-gateway {} serves {base}{}\n",
            env!("CARGO_PKG_VERSION"),
            match self.is_everywhere {
                true => ", and on all addresses of this machine",
                false => "",
            }
        )?;
        match self.backend {
            "demo" => {
                writeln!(
                    f,
                    "  answers   a built-in demo, no Codex; for the real one:"
                )?;
                writeln!(
                    f,
                    "            npm install -g @openai/codex && codex login, then start again"
                )?;
            }
            backend => writeln!(f, "  answers   Codex {} ({backend})", self.version)?,
        }
        match &self.folder {
            Some(folder) => writeln!(f, "  policies  {} over the built-in ones", folder.display())?,
            None => writeln!(
                f,
                "  policies  the built-in ones; POLICY_DIR names a folder for yours"
            )?,
        }
        let shown = match self.key {
            Some(key) => {
                writeln!(f, "  key       {}", key.reveal())?;
                writeln!(
                    f,
                    "            made up for this run; PROXY_API_KEY sets one that stays"
                )?;
                key.reveal()
            }
            None => "YOUR_KEY",
        };
        let body = r#"{"messages":[{"role":"user","content":"Hello!"}],"stream":true}"#;
        writeln!(f, "\nTry it in another terminal:\n")?;
        writeln!(f, "  curl -N '{base}/chat/completions' \\")?;
        writeln!(f, "    -H \"Authorization: Bearer {shown}\" \\")?;
        writeln!(f, "    -H 'Content-Type: application/json' -d '{body}'\n")?;
        writeln!(
            f,
            "Then give any OpenAI client this base URL and key. `codex-gateway config` shows all settings.\n"
        )
    }
}
