//! Checks that the commands of agents cannot write the gateway's own files: its policies, its state, its settings.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use super::env;
use super::read::Reader;
use super::{Admin, Codex, Config};
use crate::codex::{Mode, Sandbox};

/// The settings file.
const SETTINGS: &str = ".env";

/// The most entries of a folder that are checked: more than a policy folder has.
const MAX_ENTRIES: usize = 1_000;

/// Paths that a start reads, so that agents must not be able to write them, with the names of their settings.
type Guarded<'a> = [(&'static str, Option<&'a Path>); 5];

/// Notes paths that an agent could write; `settings` is the `.env` file that was read. If agents may write everything that the
/// gateway may write, compiled code is cached only in a folder that the operator named.
pub(super) fn judge(reader: &mut Reader<'_>, config: &mut Config, settings: Option<&Path>) {
    let Codex::Program(codex, _) = &config.codex else {
        return;
    };
    let Mode::Agent(sandbox) = codex.mode else {
        return;
    };
    if sandbox == Sandbox::DangerFullAccess && !reader.is_set(env::PROXY_CACHE_DIR) {
        config.cache_dir = None;
    }
    let guarded = [
        (env::POLICY_DIR.name, config.policy_dir.as_deref()),
        (env::PROXY_STATE_DIR.name, config.state_dir.as_deref()),
        (env::PROXY_CACHE_DIR.name, config.cache_dir.as_deref()),
        (SETTINGS, settings),
        (
            env::ADMIN_FILE.name,
            config
                .admin
                .as_ref()
                .and_then(|admin| admin.file.as_deref()),
        ),
    ];
    let is_tokenless = config.admin.as_ref().is_some_and(Admin::is_tokenless);
    if sandbox == Sandbox::DangerFullAccess && is_tokenless {
        let what = "agents run as the gateway's user, so that they may use it without a token; set ADMIN_TOKEN";
        reader.warn(env::ADMIN_ADDR.name, what);
    }
    match (sandbox, codex.workdir.as_deref()) {
        (Sandbox::DangerFullAccess, _) => judge_full_access(reader, &guarded),
        (Sandbox::WorkspaceWrite, Some(workdir)) => {
            judge_workspace(reader, workdir, &guarded);
            let records = config.telemetry.usage.as_ref();
            let records = records.map(|records| records.path.as_path());
            apart(reader, workdir, env::TOKEN_LOG_PATH.name, records);
            let messages = codex.protocol_log.as_ref();
            let messages = messages.map(|messages| messages.journal.path.as_path());
            apart(reader, workdir, env::PROTO_LOG_PATH.name, messages);
        }
        _ => {}
    }
}

/// The guarded paths that are configured.
fn there<'a>(guarded: &Guarded<'a>) -> impl Iterator<Item = (&'static str, &'a Path)> {
    let guarded = guarded.iter();
    guarded.filter_map(|(name, path)| Some((*name, (*path)?)))
}

/// Checks the paths under `danger-full-access`: without a sandbox only file permissions protect them.
fn judge_full_access(reader: &mut Reader<'_>, guarded: &Guarded<'_>) {
    for (name, path) in there(guarded) {
        let Some(writable) = writable(path) else {
            continue;
        };
        let remedy = match name {
            name if name == env::PROXY_STATE_DIR.name => "unset, as it must be written,",
            name if name == env::PROXY_CACHE_DIR.name => "`none`, as it must be written,",
            SETTINGS => "read-only for the gateway's user, as its folder,",
            _ => "on a read-only mount, or another user's with no right to write,",
        };
        let expected = format!(
            "{name} {remedy} with danger-full-access, in which an agent may write what the gateway may; or another \
             {} for agents",
            env::PROXY_SANDBOX_MODE.name
        );
        let found = format!(
            "`{}`, which the gateway's user may write",
            writable.display()
        );
        reader.note(env::PROXY_SANDBOX_MODE, expected, found);
    }
    warn_of_planted(reader, guarded, may_write);
}

/// Warns if there is no `.env` yet and agents could create one.
fn warn_of_planted(
    reader: &mut Reader<'_>,
    guarded: &Guarded<'_>,
    may_write: impl Fn(&Path) -> bool,
) {
    let is_there = there(guarded).any(|(name, _)| name == SETTINGS);
    if let (false, Ok(folder)) = (is_there, std::env::current_dir())
        && may_write(&folder)
    {
        let what = format!(
            "agents may make a .env in `{}`, which the next start reads: start the gateway in a folder in which they \
             cannot write",
            folder.display()
        );
        reader.warn(env::PROXY_SANDBOX_MODE.name, what);
    }
}

/// Checks the paths under `workspace-write`: the sandbox lets all agents write in one folder.
fn judge_workspace(reader: &mut Reader<'_>, workdir: &Path, guarded: &Guarded<'_>) {
    for (name, path) in guarded {
        apart(reader, workdir, name, *path);
    }
    let workdir = resolved(workdir);
    warn_of_planted(reader, guarded, |folder| folder.starts_with(&workdir));
}

/// Notes a path that equals the agents' folder, contains it, or lies in it.
fn apart(reader: &mut Reader<'_>, workdir: &Path, name: &str, path: Option<&Path>) {
    let (workdir, path) = (resolved(workdir), path.map(resolved));
    if let Some(path) = path
        && (path.starts_with(&workdir) || workdir.starts_with(&path))
    {
        let found = format!("`{}`, with `{}`", workdir.display(), path.display());
        let expected = format!("a folder apart from {name}: agents write in it");
        reader.note(env::PROXY_CODEX_WORKDIR, expected, found);
    }
}

/// The path with its links resolved, as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = path.ancestors().find_map(|there| {
        let rest = path.strip_prefix(there).ok()?;
        Some(there.canonicalize().ok()?.join(rest))
    });
    there.unwrap_or(path)
}

/// The place where the gateway's user could change a file or folder: itself, a file in it, or a folder above in which it could be
/// replaced.
fn writable(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let real = resolved(&path);
    let mounts = mounts();
    inside(&real)
        .or_else(|| above(&real, &mounts))
        // A symbolic link on the path could be changed to point elsewhere.
        .or_else(|| above(&path, &mounts))
}

fn may_write(path: &Path) -> bool {
    rustix::fs::access(path, Access::WRITE_OK).is_ok()
}

fn inside(path: &Path) -> Option<PathBuf> {
    if may_write(path) {
        return Some(path.to_owned());
    }
    let entries = std::fs::read_dir(path).ok()?.take(MAX_ENTRIES);
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.find(|path| path.is_file() && may_write(path))
}

fn above(path: &Path, mounts: &HashSet<PathBuf>) -> Option<PathBuf> {
    for (entry, folder) in path.ancestors().zip(path.ancestors().skip(1)) {
        // A mount point cannot be replaced.
        if mounts.contains(entry) {
            return None;
        }
        if may_write(folder) && !is_kept(entry, folder) {
            return Some(folder.to_owned());
        }
    }
    None
}

/// In a sticky folder such as `/tmp` only their owners, the folder's owner and root can replace entries.
fn is_kept(entry: &Path, folder: &Path) -> bool {
    const STICKY: u32 = 0o1000;
    let me = rustix::process::geteuid().as_raw();
    let owner = |path: &Path| path.symlink_metadata().map_or(me, |found| found.uid());
    let sticky = folder
        .metadata()
        .is_ok_and(|found| found.mode() & STICKY != 0);
    sticky && me != 0 && owner(entry) != me && owner(folder) != me
}

/// The mount points; none if there is no `/proc`.
fn mounts() -> HashSet<PathBuf> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let places = table.lines().filter_map(|line| line.split(' ').nth(4));
    // Mountinfo writes a blank in a name as `\040`.
    places
        .map(|place| place.replace("\\040", " ").into())
        .collect()
}
