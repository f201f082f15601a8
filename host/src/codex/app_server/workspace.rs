//! Makes the workspace of an agent's turn: its own folder, and the permissions of its commands.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::codex::command::home_folder;
use crate::codex::folder::Folder;
use crate::codex::{Config, Error, Plan, Sandbox};

/// Codex's name for the permission profile of a turn.
pub(super) const PROFILE: &str = "codex-gateway";

/// Codex's own tools. If a client brought one of the same name, Codex would silently keep its own.
const OWN_TOOLS: [&str; 10] = [
    "apply_patch",
    "exec_command",
    "list_mcp_resource_templates",
    "list_mcp_resources",
    "read_mcp_resource",
    "shell_command",
    "tool_search",
    "update_plan",
    "view_image",
    "write_stdin",
];

/// How many times to try to delete a folder: a command that was killed may still be writing in it.
const DELETIONS: u32 = 10;

/// The wait before the next try.
const DELETION_DELAY: Duration = Duration::from_millis(100);

/// The place where workspaces are made.
#[derive(Debug)]
pub(super) struct WorkspaceRoot {
    sandbox: Sandbox,
    /// The folder that holds the turns' folders.
    turns: Folder,
    /// The folder in which the operator wants all turns to work.
    given: Option<PathBuf>,
    /// Paths that no command may read.
    hidden: Vec<PathBuf>,
}

/// The workspace of an agent's turn, and of the later turns of its conversation. Each has a new, empty folder at the same path.
#[derive(Debug)]
pub(super) struct Workspace {
    folder: TempDir,
    /// The folder where the turn works.
    cwd: PathBuf,
    sandbox: Sandbox,
    hidden: Vec<PathBuf>,
}

impl WorkspaceRoot {
    /// Prepares the root. `worker` is the worker's own folder.
    pub(super) fn make(
        config: &Config,
        sandbox: Sandbox,
        worker: &Folder,
    ) -> std::io::Result<Self> {
        let turns = Folder::make()?;
        // Hidden: Codex's login and the operator's own conversations, and the files that the gateway wrote for the worker.
        let home = home_folder(config).filter(|home| home.exists());
        let mut hidden: Vec<_> = home.into_iter().chain([worker.root()]).collect();
        if sandbox == Sandbox::WorkspaceWrite {
            // Hidden as well: the folders of other turns. The folder of a turn that cannot write has nothing to be read.
            hidden.push(turns.root());
        }
        let given = config.workdir.as_deref().map(Path::canonicalize);
        Ok(Self {
            sandbox,
            turns,
            given: given.transpose()?,
            hidden: hidden
                .iter()
                .map(|path| path.canonicalize())
                .collect::<Result<_, _>>()?,
        })
    }

    /// Makes a workspace for a turn.
    ///
    /// # Errors
    /// If the plan has a tool that an agent has already, or the folder cannot be made.
    pub(super) fn prepare(&self, plan: &Plan) -> Result<Workspace, Error> {
        refuse_own_tools(plan)?;
        let make = || {
            let folder = tempfile::Builder::new().tempdir_in(self.turns.root().canonicalize()?)?;
            furnish(&folder)?;
            Ok(Workspace {
                cwd: self.given.clone().unwrap_or_else(|| own(&folder)),
                folder,
                sandbox: self.sandbox,
                hidden: self.hidden.clone(),
            })
        };
        make().map_err(|error: std::io::Error| {
            Error::Unavailable(format!("no folder for the turn: {error}"))
        })
    }

    /// Deletes the remaining folders of the turns.
    pub(super) fn clear(&self) {
        if let Err(error) = delete(&self.turns.root()) {
            tracing::warn!(%error, "the turns' folders could not be deleted");
        }
    }
}

fn refuse_own_tools(plan: &Plan) -> Result<(), Error> {
    let own = |tool: &&crate::codex::Tool| OWN_TOOLS.contains(&tool.name.as_str());
    match plan.tools.iter().find(own) {
        None => Ok(()),
        Some(tool) => Err(Error::invalid_request(format!(
            "Codex has a tool '{}' of its own here: give yours another name.",
            tool.name
        ))),
    }
}

impl Workspace {
    pub(super) fn cwd(&self) -> &Path {
        &self.cwd
    }

    /// Whether Codex must restrict the commands.
    pub(super) fn is_sandboxed(&self) -> bool {
        self.sandbox != Sandbox::DangerFullAccess
    }

    /// Codex's settings for the turn's thread: the environment of its commands, without keys and without anything else that
    /// not every program needs, and the paths they may read and write.
    pub(super) fn settings(&self) -> Map<String, Value> {
        let environment = json!({
            "inherit": "core",
            "set": {"TMPDIR": temporary(&self.folder)},
        });
        let mut settings = Map::new();
        settings.insert("shell_environment_policy".to_owned(), environment);
        if self.is_sandboxed() {
            let profile = json!({"extends": ":read-only", "filesystem": self.rules()});
            settings.insert("permissions".to_owned(), json!({PROFILE: profile}));
        }
        settings
    }

    /// Paths and their access. Of two rules for a path, the one that names more of it applies.
    fn rules(&self) -> Map<String, Value> {
        let rule = |path: &Path, access: &str| (path.to_string_lossy().into_owned(), json!(access));
        let mut rules: Map<_, _> = self.hidden.iter().map(|path| rule(path, "deny")).collect();
        if self.sandbox == Sandbox::WorkspaceWrite {
            rules.extend([
                rule(&self.cwd, "write"),
                rule(&temporary(&self.folder), "write"),
            ]);
        }
        rules
    }

    /// Makes the folder anew, after [`Workspace::clear`].
    ///
    /// # Errors
    /// If it cannot be made, or something else is at its path.
    pub(super) fn restore(&mut self) -> std::io::Result<()> {
        let path = self.folder.path();
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(std::io::ErrorKind::NotFound.into());
        };
        let mut exact = tempfile::Builder::new();
        self.folder = exact.prefix(name).rand_bytes(0).tempdir_in(parent)?;
        furnish(&self.folder)
    }

    /// Deletes the turn's folder.
    pub(super) async fn clear(&mut self) {
        let path = self.folder.path().to_owned();
        // From now on another folder may be at this path.
        self.folder.disable_cleanup(true);
        for _ in 1..DELETIONS {
            let path = path.clone();
            // The folder may contain thousands of files.
            if let Ok(Ok(())) = tokio::task::spawn_blocking(move || delete(&path)).await {
                return;
            }
            tokio::time::sleep(DELETION_DELAY).await;
        }
        if let Err(error) = delete(&path) {
            tracing::warn!(%error, "a turn's folder could not be deleted");
        }
    }
}

fn furnish(folder: &TempDir) -> std::io::Result<()> {
    std::fs::create_dir(own(folder))?;
    std::fs::create_dir(temporary(folder))
}

/// The folder where a turn works, if the operator has given none.
fn own(folder: &TempDir) -> PathBuf {
    folder.path().join("work")
}

/// The folder for temporary files of a turn's commands.
fn temporary(folder: &TempDir) -> PathBuf {
    folder.path().join("tmp")
}

/// Deletes a folder, even if its owner may not write in it.
fn delete(path: &Path) -> std::io::Result<()> {
    if std::fs::remove_dir_all(path).is_ok() {
        return Ok(());
    }
    unlock(path);
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(unix)]
fn unlock(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let is_folder = path.symlink_metadata().is_ok_and(|found| found.is_dir());
    if is_folder && std::fs::set_permissions(path, PermissionsExt::from_mode(0o700)).is_ok() {
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            unlock(&entry.path());
        }
    }
}

#[cfg(not(unix))]
fn unlock(_path: &Path) {}

#[cfg(test)]
mod tests;
