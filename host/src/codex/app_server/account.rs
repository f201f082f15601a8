//! Asks a worker whether Codex is signed in, and waits for a login.

use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::protocol;
use super::rpc::Connection;
use crate::codex::Config;
use crate::codex::home::Home;
use crate::codex::login::Login;

/// Timeout for the answer. It comes within 20 ms, unless Codex tries to renew an expired login first.
const LIMIT: Duration = Duration::from_secs(1);

/// The members of the answer that the gateway uses.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AuthStatus {
    auth_method: Option<IgnoredAny>,
    /// Whether the default provider needs a login. If not, Codex does not say whether there is one.
    requires_openai_auth: Option<bool>,
}

/// The worker's login. It is unknown if the worker cannot be asked, or does not answer in time.
///
/// `account/read` would give the same answer, but with a ChatGPT login it first asks OpenAI about the account: up to 15 s
/// without a network.
pub(super) async fn login(config: &Config, connection: &Connection, home: &Home) -> Login {
    let asked = connection.call::<_, AuthStatus>(
        protocol::AUTH_STATUS,
        &protocol::AuthStatus {
            include_token: false,
            refresh_token: false,
        },
    );
    let answer = match tokio::time::timeout(LIMIT, asked).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) | Err(_) => AuthStatus::default(),
    };
    let needed = answer.requires_openai_auth == Some(true);
    let signed_in = needed.then(|| answer.auth_method.is_some());
    Login::new(config, home, (signed_in, needed))
}

/// Returns when a worker without a login has got one: a login that Codex keeps outside of files has no write time to check.
pub(super) async fn signs_in(
    config: &Config,
    connection: &Connection,
    (home, login): (&Home, &Login),
) {
    if !login.is_missing() {
        return std::future::pending().await;
    }
    loop {
        tokio::time::sleep(config.probe_interval).await;
        let now = self::login(config, connection, home).await;
        if now.is_present() {
            return;
        }
    }
}
