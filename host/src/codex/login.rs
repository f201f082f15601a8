//! Codex's own login: whether there is one, and which turns need it.

use std::io::ErrorKind;

use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::sync::watch;

use super::command::home_folder;
use super::home::{Home, MAX_FILE};
use super::{Config, Error, Status};
use crate::file;

/// The built-in provider, which the login pays for.
const OPENAI: &str = "openai";

/// A variable that points that provider to another server.
const OPENAI_ELSEWHERE: &str = "OPENAI_BASE_URL";

/// The login, as far as it is known, and the providers that need it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Login {
    /// Whether Codex is signed in; absent if that is not known.
    signed_in: Option<bool>,
    /// Whether a turn that names no provider needs the login.
    by_default: bool,
    /// The providers that need the login.
    takers: Vec<String>,
}

impl Login {
    /// From Codex's answer: whether it is signed in, if it says so, and whether the default provider needs a login.
    pub(super) fn new(config: &Config, home: &Home, told: (Option<bool>, bool)) -> Self {
        let (signed_in, by_default) = told;
        let providers = home.model_providers.iter();
        let own = providers.filter(|(_, provider)| provider.needs_login());
        let mut takers: Vec<_> = own.map(|(name, _)| name.clone()).collect();
        // Another server in place of the built-in provider may need no login.
        let is_elsewhere =
            home.is_openai_elsewhere || config.pass_env.iter().any(|name| name == OPENAI_ELSEWHERE);
        if !is_elsewhere {
            takers.push(OPENAI.to_owned());
        }
        let provider = config
            .force_provider
            .as_ref()
            .or(home.model_provider.as_ref());
        let provider = provider.map_or(OPENAI, String::as_str);
        Self {
            signed_in,
            by_default: by_default && takers.iter().any(|taker| taker == provider),
            takers,
        }
    }

    /// From Codex's files: for versions that cannot be asked.
    pub(super) fn of_files(config: &Config, home: &Home) -> Self {
        let signed_in = AuthFile::signed_in(config).filter(|_| !home.has_profile);
        Self::new(config, home, (signed_in, true))
    }

    /// Whether a turn on the default provider will fail because the login is missing.
    pub(super) fn is_missing(&self) -> bool {
        self.told() == Some(false)
    }

    /// Whether a turn on the default provider needs the login and has it.
    pub(super) fn is_present(&self) -> bool {
        self.told() == Some(true)
    }

    /// Refuses a turn that needs a login if there is none. Without this check, Codex retries for half a minute.
    pub(super) fn check(&self, provider: Option<&str>) -> Result<(), Error> {
        let needed = match provider {
            Some(name) => self.takers.iter().any(|taker| taker == name),
            None => self.by_default,
        };
        if needed && self.signed_in == Some(false) {
            return Err(Error::NotSignedIn);
        }
        Ok(())
    }

    /// Writes the login to the backend's status, and logs a change.
    pub(super) fn show(&self, config: &Config, status: &watch::Sender<Status>) {
        let told = self.told();
        let mut before = None;
        let changed = status.send_if_modified(|status| {
            before = std::mem::replace(&mut status.signed_in, told);
            before != told
        });
        let home = home_folder(config).unwrap_or_default();
        match told {
            Some(false) if changed => tracing::warn!(
                codex_home = %home.display(),
                "Codex is not signed in, and refuses turns: run `codex login` as the gateway's user, with the same \
                 CODEX_HOME, or give its config.toml a model provider with a key of its own"
            ),
            Some(true) if before == Some(false) => tracing::info!("Codex is signed in"),
            _ => {}
        }
    }

    /// The state of the login if it concerns the operator: `None` if the default provider needs no login.
    fn told(&self) -> Option<bool> {
        self.signed_in.filter(|_| self.by_default)
    }
}

/// `auth.json`, as far as it shows who pays.
#[derive(Debug, Default, Deserialize)]
pub(super) struct AuthFile {
    #[serde(rename = "OPENAI_API_KEY")]
    api_key: Option<String>,
    tokens: Option<IgnoredAny>,
}

impl AuthFile {
    /// Reads the file. A broken file counts as a missing one, as it does for Codex.
    pub(super) fn read(config: &Config) -> std::io::Result<Self> {
        let folder = home_folder(config).unwrap_or_default();
        match file::read(&folder.join("auth.json"), MAX_FILE) {
            Ok(text) => Ok(serde_json::from_slice(&text).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Whether the login is one by ChatGPT.
    pub(super) fn is_chatgpt(&self) -> bool {
        self.tokens.is_some()
    }

    fn signed_in(config: &Config) -> Option<bool> {
        let file = Self::read(config).ok()?;
        let has_key = file.api_key.is_some_and(|key| !key.is_empty());
        Some(has_key || file.tokens.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(signed_in: Option<bool>, by_default: bool) -> Login {
        let home = Home::parse(
            "[model_providers.mine]\nenv_key = \"MINE\"\n[model_providers.shared]\nrequires_openai_auth = true\n",
        );
        let told = (signed_in, by_default);
        Login::new(&Config::default(), &home.unwrap(), told)
    }

    #[test]
    fn only_turns_that_need_a_login_are_refused_for_want_of_one() {
        let missing = login(Some(false), true);
        for provider in [None, Some("openai"), Some("shared")] {
            assert_eq!(missing.check(provider), Err(Error::NotSignedIn));
            for signed_in in [None, Some(true)] {
                assert_eq!(login(signed_in, true).check(provider), Ok(()));
            }
        }
        for provider in ["mine", "ollama"] {
            assert_eq!(missing.check(Some(provider)), Ok(()));
        }
        assert_eq!(login(Some(false), false).check(None), Ok(()));
    }

    #[test]
    fn a_login_that_nobody_needs_is_not_spoken_of() {
        let (status, _) = watch::channel(Status::starting("test", String::new()));
        for (signed_in, by_default, shown) in [
            (Some(false), true, Some(false)),
            (Some(true), true, Some(true)),
            (Some(false), false, None),
            (None, true, None),
        ] {
            login(signed_in, by_default).show(&Config::default(), &status);
            assert_eq!(status.borrow().signed_in, shown);
        }
    }

    #[test]
    fn files_tell_of_a_login_and_whether_it_is_needed() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config {
            home: Some(folder.path().to_owned()),
            ..Config::default()
        };
        let told = |home: &str| Login::of_files(&config, &Home::parse(home).unwrap()).told();
        let write = |text: &str| std::fs::write(folder.path().join("auth.json"), text).unwrap();
        assert_eq!(told(""), Some(false));
        for nothing in ["{", "{}", r#"{"OPENAI_API_KEY":""}"#, r#"{"tokens":null}"#] {
            write(nothing);
            assert_eq!(told(""), Some(false), "{nothing}");
        }
        for own in ["env_key = \"MINE\"", "requires_openai_auth = false"] {
            let home = format!("model_provider = \"mine\"\n[model_providers.mine]\n{own}\n");
            assert_eq!(told(&home), None, "{own}");
        }
        for unknown in ["profile = \"x\"", "openai_base_url = \"http://localhost\""] {
            assert_eq!(told(unknown), None, "{unknown}");
        }
        write(r#"{"OPENAI_API_KEY":"sk-x"}"#);
        assert_eq!(told(""), Some(true));
        write(r#"{"OPENAI_API_KEY":null,"tokens":{"access_token":"x"}}"#);
        assert_eq!(told("model_provider = \"openai\""), Some(true));
    }
}
