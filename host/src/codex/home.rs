//! What Codex's own `config.toml` says, as far as the gateway must know it before it starts a worker.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

/// The few entries of `config.toml` that decide how a worker is started.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
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
}

/// A provider of the operator's.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Provider {
    /// Its name for people.
    pub(super) name: Option<String>,
    /// It is paid by Codex's own login.
    #[serde(default)]
    pub(super) requires_openai_auth: bool,
    /// The variable that holds its key.
    env_key: Option<String>,
    /// Header name to the variable that holds its value.
    #[serde(default)]
    env_http_headers: BTreeMap<String, String>,
}

/// An MCP server of the operator's.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct McpServer {
    /// Where it is, if it is not started as a command.
    pub(super) url: Option<String>,
}

impl Home {
    /// Reads `config.toml` in `folder`. A missing or broken file counts as empty: Codex itself
    /// reports a broken one, with the line and column.
    pub(super) fn read(folder: &Path) -> Self {
        let path = folder.join("config.toml");
        let Ok(text) = std::fs::read_to_string(&path) else {
            return Self::default();
        };
        Self::parse(&text).unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), error = error.message(), "Codex's configuration cannot be read");
            Self::default()
        })
    }

    fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// The variables the providers take their secrets from.
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
