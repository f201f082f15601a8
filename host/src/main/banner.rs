//! The banner of a start at a terminal: the backend, the address, the key, and the next steps.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use codex_gateway::app::App;
use codex_gateway::secret::Secret;

/// It bypasses the log: it is for a person, and may contain a secret.
pub(crate) struct Banner<'a> {
    /// The address for a client on this machine.
    address: SocketAddr,
    is_everywhere: bool,
    backend: &'static str,
    version: String,
    /// Codex is not signed in, and refuses turns.
    is_signed_out: bool,
    /// The key, if it was made for this run.
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
            is_signed_out: status.signed_in == Some(false),
            key,
            folder: folder.map(Path::to_owned),
        }
    }

    fn base(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The banner as one JSON line, for programs that read the output line by line.
    pub(crate) fn line(&self) -> String {
        let line = serde_json::json!({
            "message": "codex-gateway serves",
            "version": env!("CARGO_PKG_VERSION"),
            "base_url": self.base(),
            "backend": self.backend,
            "key": self.key.map(Secret::reveal),
        });
        format!("{line}\n")
    }
}

/// Replaces an unspecified address, to which no client can connect, by the loopback one.
fn near(address: SocketAddr) -> SocketAddr {
    match address.ip().is_unspecified() {
        true => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port()),
        false => address,
    }
}

impl fmt::Display for Banner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = self.base();
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
        if self.is_signed_out {
            writeln!(
                f,
                "            it is not signed in, and refuses turns; as this user run: codex login"
            )?;
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
        let when = match self.is_signed_out {
            true => "After that try it",
            false => "Try it",
        };
        writeln!(f, "\n{when} in another terminal:\n")?;
        writeln!(f, "  curl -N '{base}/chat/completions' \\")?;
        writeln!(f, "    -H \"Authorization: Bearer {shown}\" \\")?;
        writeln!(f, "    -H 'Content-Type: application/json' -d '{body}'\n")?;
        writeln!(
            f,
            "Then give any OpenAI client this base URL and key. `codex-gateway config` shows all settings.\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn banner(is_signed_out: bool) -> Banner<'static> {
        Banner {
            address: SocketAddr::from(([127, 0, 0, 1], 8080)),
            is_everywhere: false,
            backend: "app-server",
            version: "0.169.0".to_owned(),
            is_signed_out,
            key: None,
            folder: None,
        }
    }

    #[test]
    fn a_codex_that_is_not_signed_in_is_told_before_anything_is_tried() {
        let signed_in = banner(false).to_string();
        assert!(signed_in.contains("\nTry it in another terminal"));
        assert!(!signed_in.contains("codex login"), "{signed_in}");
        let signed_out = banner(true).to_string();
        let (before, after) = signed_out.split_once("run: codex login\n").unwrap();
        assert!(before.contains("refuses turns") && after.contains("\nAfter that try it"));
    }

    #[test]
    fn for_programs_the_banner_is_one_line_of_json() {
        let line = banner(false).line();
        let said: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(said["base_url"], "http://127.0.0.1:8080/v1");
        assert_eq!(line.matches('\n').count(), 1);
    }
}
