//! The folders of a gateway that is started more than once.

use std::path::Path;

use tempfile::TempDir;

use crate::gateway::{Gateway, Setup};
use crate::guests::deploy;

/// A policy folder and a state folder that outlive a gateway.
pub struct Place {
    policies: TempDir,
    state: TempDir,
}

impl Default for Place {
    fn default() -> Self {
        let folder = || tempfile::tempdir().expect("a temporary folder");
        Self {
            policies: folder(),
            state: folder(),
        }
    }
}

impl Place {
    /// `POLICY_DIR`.
    #[must_use]
    pub fn policies(&self) -> &Path {
        self.policies.path()
    }

    /// `PROXY_STATE_DIR`.
    #[must_use]
    pub fn state(&self) -> &Path {
        self.state.path()
    }

    /// Deploys a policy file.
    pub fn publish(&self, name: &str, text: &str) {
        deploy(self.policies(), name, text.as_bytes());
    }

    /// Starts a gateway with these folders and the demo.
    pub async fn start(&self) -> Gateway {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        Setup::demo()
            .var("POLICY_DIR", &text(self.policies()))
            .var("PROXY_STATE_DIR", &text(self.state()))
            .start()
            .await
    }
}
