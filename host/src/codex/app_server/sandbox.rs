//! Tries Codex's sandbox on this machine, before an agent gets a turn whose every command would fail.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::protocol;
use super::rpc::Connection;
use crate::codex::{Error, Sandbox};

/// How long the trial may take; it takes a tenth of a second.
const LIMIT: Duration = Duration::from_secs(10);

/// How much of its words is kept, in bytes.
const MAX_OUTPUT: usize = 1024;

/// What allows Codex the namespaces that its sandbox (bubblewrap) is made of.
const REMEDY: &str = "allow the gateway's user to make user namespaces: in a container by `security_opt` (seccomp, apparmor, \
    systempaths), under systemd by RestrictNamespaces, on the machine by the sysctls user.max_user_namespaces, \
    kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns. Without a sandbox agents work \
    only with PROXY_SANDBOX_MODE=danger-full-access, for a machine that is there for nothing else";

/// Why there is no sandbox.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the sandbox for an agent's commands cannot be had: {cause}; {REMEDY}")]
pub(super) struct Forbidden {
    /// The words of whoever refused.
    cause: String,
}

/// What became of a command.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Ran {
    exit_code: i64,
    stderr: String,
}

/// Has the worker run a command that does nothing, in the sandbox that it makes for an agent's.
///
/// # Errors
/// If that cannot be had. A worker that cannot be asked may have one.
pub(super) async fn attempt(connection: &Connection, sandbox: Sandbox) -> Result<(), Forbidden> {
    let Some(policy) = policy(sandbox) else {
        return Ok(());
    };
    let params = json!({
        "command": ["/bin/sh", "-c", ":"],
        "sandboxPolicy": policy,
        "timeoutMs": LIMIT.as_secs() * 1000,
        "outputBytesCap": MAX_OUTPUT,
    });
    let asked = connection.call::<_, Ran>(protocol::COMMAND_EXEC, &params);
    let cause = match tokio::time::timeout(LIMIT + LIMIT, asked).await {
        Ok(Ok(Ran { exit_code: 0, .. })) => return Ok(()),
        Ok(Ok(ran)) => ran.words(),
        // Another version's way of saying that it does not know the request.
        Ok(Err(Error::Rpc {
            code: protocol::INVALID_REQUEST,
            ..
        })) => return Ok(()),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} ms", (LIMIT + LIMIT).as_millis()),
    };
    Err(Forbidden { cause })
}

/// What Codex calls it: it has no name for the profile of a turn, but makes the same namespaces for both.
fn policy(sandbox: Sandbox) -> Option<Value> {
    let name = match sandbox {
        Sandbox::ReadOnly => "readOnly",
        Sandbox::WorkspaceWrite => "workspaceWrite",
        Sandbox::DangerFullAccess => return None,
    };
    Some(json!({"type": name}))
}

impl Ran {
    /// The last line it said, as plain text.
    fn words(&self) -> String {
        let last = self.stderr.lines().rfind(|line| !line.trim().is_empty());
        let last = last.unwrap_or_default().trim();
        let plain: String = last
            .chars()
            .filter(|character| !character.is_control())
            .take(MAX_OUTPUT)
            .collect();
        match plain.as_str() {
            "" => format!("exit code {}, without a word", self.exit_code),
            _ => plain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_the_cause() {
        let words = |stderr: &str| {
            let ran = Ran {
                exit_code: 1,
                stderr: stderr.to_owned(),
            };
            ran.words()
        };
        assert_eq!(words("one\n\u{1b}bwrap: no\n\n"), "bwrap: no");
        assert_eq!(words(" \n"), "exit code 1, without a word");
    }
}
