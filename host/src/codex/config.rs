//! How Codex is started and bounded: plain data, read from the environment by somebody else.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// What Codex is to the gateway's clients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// A plain chat model: no tools but the client's, no prompts of its own.
    #[default]
    Chat,
    /// Codex as it is: with its own tools and prompts, at work in a folder. Only the app-server can.
    Agent(Sandbox),
}

/// What the commands of an agent may do. Nobody is asked for more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sandbox {
    /// Read files.
    #[default]
    ReadOnly,
    /// Also write in the turn's own folder.
    WorkspaceWrite,
    /// Whatever the gateway's user may do.
    DangerFullAccess,
}

/// What a backend needs to know. `Default` is a sensible start for everything but `parent_env`.
#[derive(Clone)]
pub struct Config {
    /// What Codex is used as.
    pub mode: Mode,
    /// The native Codex program (see [`locate`](super::locate)).
    pub bin: PathBuf,
    /// Codex's own folder (`CODEX_HOME`); absent means the program's default, and the variable stays unset.
    pub home: Option<PathBuf>,
    /// The model asked for when nothing else names one.
    pub model: Option<String>,
    /// The provider used for every turn whose plan names none, whatever `config.toml` says.
    pub force_provider: Option<String>,
    /// Where the worker runs, and agents work; absent means an empty folder of ours, for agents one a turn. Made if
    /// missing.
    pub workdir: Option<PathBuf>,
    /// Variables the operator lets through to Codex, beside those it always gets.
    pub pass_env: Vec<String>,
    /// The environment the worker's is picked from. Holds secrets: never logged.
    pub parent_env: HashMap<String, String>,
    /// How long one request to the worker may take.
    pub rpc_timeout: Duration,
    /// How long a worker may take from its start to being ready.
    pub startup_timeout: Duration,
    /// The wait before the second restart in a row (the first is immediate); doubles from there.
    pub backoff_initial: Duration,
    /// The longest wait between two restarts.
    pub backoff_max: Duration,
    /// How long a worker may take to leave before it is killed.
    pub shutdown_grace: Duration,
    /// Turns that run at the same time.
    pub max_turns: usize,
    /// Processes kept ready for the next turns, where each turn has its own (`proto`).
    pub spare: usize,
    /// How long a turn waits for a ready worker and a free lease.
    pub lease_wait: Duration,
    /// How much of one turn may wait for a slow reader, in bytes.
    pub buffer_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            bin: PathBuf::from("codex"),
            home: None,
            model: None,
            force_provider: None,
            workdir: None,
            pass_env: Vec::new(),
            parent_env: HashMap::new(),
            rpc_timeout: Duration::from_secs(30),
            startup_timeout: Duration::from_secs(15),
            backoff_initial: Duration::from_millis(100),
            backoff_max: Duration::from_secs(10),
            shutdown_grace: Duration::from_secs(5),
            max_turns: 64,
            spare: 2,
            lease_wait: Duration::from_secs(2),
            buffer_bytes: 4 * 1024 * 1024,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("mode", &self.mode)
            .field("bin", &self.bin)
            .field("home", &self.home)
            .field("model", &self.model)
            .field("force_provider", &self.force_provider)
            .field("workdir", &self.workdir)
            .field("pass_env", &self.pass_env)
            .field("max_turns", &self.max_turns)
            .finish_non_exhaustive()
    }
}
