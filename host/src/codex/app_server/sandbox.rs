//! Tests Codex's sandbox on this machine, before an agent gets a turn in which every command would fail.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::protocol;
use super::rpc::Connection;
use crate::codex::{Error, Sandbox};

/// Timeout of the test command; it takes a tenth of a second.
const LIMIT: Duration = Duration::from_secs(10);

/// Limit in bytes for the command's output that is kept.
const MAX_OUTPUT: usize = 1024;

/// The remedy for the operator: how to allow Codex the namespaces that its sandbox (bubblewrap) needs.
const REMEDY: &str = "allow the gateway's user to make user namespaces: in a container by `security_opt` (seccomp, apparmor, \
    systempaths), under systemd by RestrictNamespaces, on the machine by the sysctls user.max_user_namespaces, \
    kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns. Without a sandbox agents work \
    only with PROXY_SANDBOX_MODE=danger-full-access, for a machine that is there for nothing else";

/// The sandbox cannot be used on this machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the sandbox for an agent's commands cannot be had: {cause}; {REMEDY}")]
pub(super) struct Forbidden {
    /// The error message of the program that failed.
    cause: String,
}

/// The result of a command.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Ran {
    exit_code: i64,
    stderr: String,
}

/// Has the worker run a command that does nothing, in the sandbox that it makes for an agent's commands.
///
/// # Errors
/// If the sandbox cannot be used. A version that does not know the request may have one, so it passes.
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
        // The answer of other versions that do not know the request.
        Ok(Err(Error::Rpc {
            code: protocol::INVALID_REQUEST,
            ..
        })) => return Ok(()),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} ms", (LIMIT + LIMIT).as_millis()),
    };
    Err(Forbidden { cause })
}

/// Codex's name for the sandbox: it has none for the profile of a turn, but makes the same namespaces for both.
fn policy(sandbox: Sandbox) -> Option<Value> {
    let name = match sandbox {
        Sandbox::ReadOnly => "readOnly",
        Sandbox::WorkspaceWrite => "workspaceWrite",
        Sandbox::DangerFullAccess => return None,
    };
    Some(json!({"type": name}))
}

impl Ran {
    /// The last line of its stderr, as plain text.
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
