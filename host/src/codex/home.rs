//! Reads from Codex's own `config.toml` the settings the gateway must know before it starts a worker.

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use crate::file;

/// Limit in bytes for Codex's own `config.toml` and `auth.json`.
pub(super) const MAX_FILE: u64 = 4 << 20;

/// The few entries of `config.toml` that decide how a worker is started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Home {
    /// The model Codex uses by default.
    pub(super) model: Option<String>,
    /// The provider Codex uses by default.
    pub(super) model_provider: Option<String>,
    /// Providers the operator defined, by name.
    #[serde(default)]
    pub(super) model_providers: BTreeMap<String, Provider>,
    /// MCP servers, by name. The gateway turns them off.
    #[serde(default)]
    pub(super) mcp_servers: BTreeMap<String, McpServer>,
    /// Whether a profile is chosen; it may change any of these entries.
    #[serde(default, rename = "profile", deserialize_with = "is_there")]
    pub(super) has_profile: bool,
    /// Whether the built-in provider points to another server, which may need no login.
    #[serde(default, rename = "openai_base_url", deserialize_with = "is_there")]
    pub(super) is_openai_elsewhere: bool,
}

/// A provider that the operator defined.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Provider {
    /// Its display name.
    pub(super) name: Option<String>,
    /// Whether Codex's own login pays for it.
    #[serde(default)]
    pub(super) requires_openai_auth: bool,
    /// The variable that holds its key.
    env_key: Option<String>,
    /// Whether its key is in the file.
    #[serde(
        default,
        rename = "experimental_bearer_token",
        deserialize_with = "is_there"
    )]
    has_token: bool,
    /// Whether headers with values are set; one may hold its key.
    #[serde(default, rename = "http_headers", deserialize_with = "is_there")]
    has_headers: bool,
    /// Whether a command prints its key.
    #[serde(default, rename = "auth", deserialize_with = "is_there")]
    has_command: bool,
    /// Header names, each with the variable that holds its value.
    #[serde(default)]
    env_http_headers: BTreeMap<String, String>,
}

/// An MCP server that the operator defined.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct McpServer {
    /// Its URL, if it is not started as a command.
    pub(super) url: Option<String>,
}

/// True for an entry that is present, with any value.
fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

impl Provider {
    /// Whether Codex's own login is the only way to pay for it.
    pub(super) fn needs_login(&self) -> bool {
        let has_key = self.env_key.is_some() || self.has_token || self.has_command;
        let has_headers = self.has_headers || !self.env_http_headers.is_empty();
        self.requires_openai_auth && !has_key && !has_headers
    }
}

impl Home {
    /// Reads `config.toml` in `folder`. A missing or broken file counts as empty: Codex itself
    /// reports a broken one, with the line and column.
    pub(super) fn read(folder: &Path) -> Self {
        let path = folder.join("config.toml");
        let Ok(text) = file::read_text(&path, MAX_FILE) else {
            return Self::default();
        };
        Self::parse(&text).unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), error = error.message(), "Codex's configuration cannot be read");
            Self::default()
        })
    }

    pub(super) fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// The variables that hold the providers' secrets.
    pub(super) fn variables(&self) -> impl Iterator<Item = &str> {
        self.model_providers.values().flat_map(|provider| {
            let headers = provider.env_http_headers.values();
            provider.env_key.iter().chain(headers).map(String::as_str)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_every_variable_the_providers_read() {
        let home = Home::parse(
            r#"
            model = "local-1"
            [model_providers.a]
            name = "A"
            env_key = "A_KEY"
            env_http_headers = { "x-org" = "A_ORG", "x-team" = "A_TEAM" }
            [model_providers."b c"]
            base_url = "http://localhost"
            "#,
        )
        .unwrap();
        assert_eq!(home.model.as_deref(), Some("local-1"));
        assert_eq!(
            home.variables().collect::<Vec<_>>(),
            ["A_KEY", "A_ORG", "A_TEAM"]
        );
        assert_eq!(
            home.model_providers.keys().collect::<Vec<_>>(),
            ["a", "b c"]
        );
    }

    #[test]
    fn a_provider_with_a_key_of_its_own_needs_no_login() {
        let provider = |text: &str| {
            let text = format!("[model_providers.a]\nrequires_openai_auth = true\n{text}");
            Home::parse(&text).unwrap().model_providers["a"].needs_login()
        };
        assert!(provider(""));
        for key in [
            "env_key = \"A\"",
            "experimental_bearer_token = \"sk\"",
            "http_headers = { authorization = \"sk\" }",
            "env_http_headers = { authorization = \"A\" }",
            "auth = { command = \"key\" }",
        ] {
            assert!(!provider(key), "{key}");
        }
    }

    #[test]
    fn names_the_mcp_servers_and_their_kinds() {
        let home = Home::parse(
            "[mcp_servers.files]\ncommand = \"files\"\n[mcp_servers.\"b c\"]\nurl = \"http://x\"\n",
        );
        let servers = home.unwrap().mcp_servers;
        let servers: Vec<_> = servers
            .iter()
            .map(|(name, server)| (name.as_str(), server.url.as_deref()))
            .collect();
        assert_eq!(servers, [("b c", Some("http://x")), ("files", None)]);
    }

    #[test]
    fn a_missing_or_broken_file_counts_as_empty() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Home::read(folder.path()), Home::default());
        std::fs::write(folder.path().join("config.toml"), "model = = 3").unwrap();
        assert_eq!(Home::read(folder.path()), Home::default());
    }
}
