//! The configuration of Codex and its limits: plain data, read from the environment elsewhere.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::protocol_log::ProtocolLogConfig;

/// How Codex serves the gateway's clients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// A plain chat model: only the client's tools, and none of Codex's own prompts.
    #[default]
    Chat,
    /// Codex with its own tools and prompts, at work in a folder. Only with the app-server.
    Agent(Sandbox),
}

/// The permissions of an agent's commands. Codex never asks for approval of more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sandbox {
    /// Read files.
    #[default]
    ReadOnly,
    /// Also write in the turn's own folder.
    WorkspaceWrite,
    /// Everything that the gateway's user may do.
    DangerFullAccess,
}

/// The configuration of a backend. `Default` is a sensible start for everything but `parent_env`.
#[derive(Clone)]
pub struct Config {
    /// How Codex is used.
    pub mode: Mode,
    /// The native Codex program (see [`locate`](super::locate)).
    pub bin: PathBuf,
    /// Codex's own folder (`CODEX_HOME`); absent means the program's default, and the variable stays unset.
    pub home: Option<PathBuf>,
    /// The model to use when nothing else names one.
    pub model: Option<String>,
    /// The provider used for every turn whose plan names none, whatever `config.toml` says.
    pub force_provider: Option<String>,
    /// The folder where the worker runs and agents work; absent means an empty folder of the gateway, for agents one per
    /// turn. Made if missing.
    pub workdir: Option<PathBuf>,
    /// Variables that the operator passes on to Codex, in addition to those it always gets.
    pub pass_env: Vec<String>,
    /// The environment from which the worker's is selected. Holds secrets: never logged.
    pub parent_env: HashMap<String, String>,
    /// Whether the worker gets its root certificates in the form it reads fastest (`app-server`); absent means only with
    /// versions for which this was tested.
    pub quick_roots: Option<bool>,
    /// Timeout of one request to the worker.
    pub rpc_timeout: Duration,
    /// Timeout for a worker from its start until it is ready.
    pub startup_timeout: Duration,
    /// The wait before the second restart in a row (the first is immediate); doubles from there.
    pub backoff_initial: Duration,
    /// The longest wait between two restarts.
    pub backoff_max: Duration,
    /// How long a worker may take to exit before it is killed.
    pub shutdown_grace: Duration,
    /// Long-lived processes that share the turns (`app-server`).
    pub workers: usize,
    /// Turns that run at the same time: on each worker (`app-server`), or in all (`proto`).
    pub max_turns: usize,
    /// Turns that may wait for a free worker.
    pub queue_max: usize,
    /// How long a turn may wait for a free worker.
    pub queue_wait: Duration,
    /// The interval between two checks of a worker.
    pub probe_interval: Duration,
    /// When a worker is recycled.
    pub recycling: Recycling,
    /// Processes kept ready for the next turns, where each turn has its own (`proto`).
    pub spare: usize,
    /// How long a turn waits if no worker is ready.
    pub lease_wait: Duration,
    /// How many bytes of one turn may wait for a slow reader.
    pub buffer_bytes: usize,
    /// Where the messages to and from Codex are recorded; absent if they are not.
    pub protocol_log: Option<ProtocolLogConfig>,
}

/// When a worker is recycled: it gets no new turns once a fresh one is ready, and exits after its last. Zero means never.
#[derive(Debug, Clone)]
pub struct Recycling {
    /// After this many turns.
    pub turns: u64,
    /// At this many bytes of memory.
    pub memory_bytes: u64,
    /// At this many bytes of its own files.
    pub disk_bytes: u64,
}

impl Default for Recycling {
    fn default() -> Self {
        Self {
            turns: 5_000,
            memory_bytes: 1 << 30,
            disk_bytes: 1 << 29,
        }
    }
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
            quick_roots: None,
            rpc_timeout: Duration::from_secs(30),
            startup_timeout: Duration::from_secs(15),
            backoff_initial: Duration::from_millis(100),
            backoff_max: Duration::from_secs(10),
            shutdown_grace: Duration::from_secs(5),
            workers: 1,
            max_turns: 64,
            queue_max: 64,
            queue_wait: Duration::from_secs(30),
            probe_interval: Duration::from_secs(10),
            recycling: Recycling::default(),
            spare: 2,
            lease_wait: Duration::from_secs(2),
            buffer_bytes: 4 * 1024 * 1024,
            protocol_log: None,
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
            .field("workers", &self.workers)
            .field("max_turns", &self.max_turns)
            .field("queue_max", &self.queue_max)
            .field("recycling", &self.recycling)
            .field("protocol_log", &self.protocol_log)
            .finish_non_exhaustive()
    }
}
