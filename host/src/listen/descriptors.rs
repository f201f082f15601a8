//! Raises the limit of file descriptors as far as the process may.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The usual limit of a process (POSIX, `_POSIX_OPEN_MAX` and Linux's default).
const USUAL: u64 = 1_024;

/// Raises the soft limit to the hard one, and returns the limit in force. Soft limits are low for programs that use `select`,
/// which breaks beyond 1,024; the gateway does not use it, and neither do Codex and Node.
#[must_use]
pub fn descriptors() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    if current == maximum {
        return current.unwrap_or(u64::MAX);
    }
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum.unwrap_or(u64::MAX),
        Err(error) => {
            tracing::debug!(%error, "the limit of descriptors stays as it is");
            current.unwrap_or(USUAL)
        }
    }
}
