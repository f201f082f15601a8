//! Ends processes that Codex left running: they are recognised by an entry of their `PATH`.
//!
//! Codex starts each helper and command in a session of its own. Those of a Codex that is killed get its death as a signal, but
//! their children do not, nor does a sandbox that is just being built: it runs on without a parent. `PATH` is the only variable that
//! Codex leaves to all of them.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// The parent of all marks. Nothing is there: a program that is not found elsewhere is not found there either.
const NOWHERE: &str = "/nonexistent";

/// The folders in which programs are looked for without a `PATH`.
const USUAL: &str = "/usr/local/bin:/bin:/usr/bin";

/// Limit in bytes for the environment of a process that is read.
const LONGEST: u64 = 1 << 20;

/// How many times the processes are looked for: those that were killed may just have started others.
const LOOKS: u32 = 100;

/// The wait before the next look.
const PAUSE: Duration = Duration::from_millis(20);

/// A `PATH` that marks a process, and those it starts, with a folder that only they use.
pub(super) fn marked_path(path: Option<&str>, folder: &Path) -> String {
    format!("{}:{}", path.unwrap_or(USUAL), mark(folder).display())
}

/// Kills all processes that are marked with the folder or with one in it, and waits until they are gone.
pub(super) async fn end(folder: PathBuf) {
    // Other processes may be many, and those that were killed need a moment.
    let ended = tokio::task::spawn_blocking(move || end_now(&folder)).await;
    if let Err(error) = ended {
        tracing::warn!(%error, "processes of Codex may be left");
    }
}

/// The same as [`end`], on this thread.
pub(super) fn end_now(folder: &Path) {
    let mark = mark(folder);
    let mut killed = 0;
    for _ in 0..LOOKS {
        let left = marked(&mark);
        if left.is_empty() {
            break;
        }
        let ended = left.into_iter().map(|pid| kill_process(pid, Signal::KILL));
        killed += ended.filter(Result::is_ok).count();
        std::thread::sleep(PAUSE);
    }
    let left = marked(&mark).len();
    if left > 0 {
        tracing::warn!(left, "processes that Codex left running cannot be killed");
    } else if killed > 0 {
        tracing::info!("processes that Codex left running are killed");
    }
}

fn mark(folder: &Path) -> PathBuf {
    let folder = folder.strip_prefix("/").unwrap_or(folder);
    Path::new(NOWHERE).join(folder)
}

/// The processes with this mark that run; none if there is no `/proc`.
fn marked(mark: &Path) -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let marked = entries.filter_map(|entry| {
        let id = entry.file_name().to_str()?.parse().ok()?;
        let environment = environment(&entry.path()).ok()?;
        has_mark(&environment, mark).then(|| Pid::from_raw(id))?
    });
    marked.collect()
}

/// The environment of a process; empty once it has ended.
fn environment(process: &Path) -> std::io::Result<Vec<u8>> {
    let mut environment = Vec::new();
    let file = File::open(process.join("environ"))?;
    file.take(LONGEST).read_to_end(&mut environment)?;
    Ok(environment)
}

fn has_mark(environment: &[u8], mark: &Path) -> bool {
    let variables = environment.split(|byte| *byte == 0);
    let mut paths = variables.filter_map(|variable| variable.strip_prefix(b"PATH="));
    paths.any(|path| {
        let mut entries = path.split(|byte| *byte == b':');
        entries.any(|entry| Path::new(OsStr::from_bytes(entry)).starts_with(mark))
    })
}

#[cfg(test)]
pub(super) mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A process that starts another one in a session of its own, and reports that it runs.
    pub(in super::super) fn start(folder: &Path) -> Child {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", "setsid sleep 60 & echo begun; exec sleep 60"])
            .env("PATH", marked_path(Some("/usr/bin:/bin"), folder))
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut begun = [0; 6];
        child
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut begun)
            .unwrap();
        child
    }

    fn count(folder: &Path) -> usize {
        marked(&mark(folder)).len()
    }

    #[test]
    fn processes_of_a_folder_end_and_no_others() {
        let outer = tempfile::tempdir().unwrap();
        let (one, other) = (outer.path().join("one"), outer.path().join("other"));
        let mut children = [start(&one), start(&other)];
        assert!(count(&one) > 0);
        end_now(&one);
        assert_eq!(count(&one), 0);
        assert!(count(&other) > 0);
        end_now(outer.path());
        assert_eq!(count(&other), 0);
        for child in &mut children {
            child.wait().unwrap();
        }
    }

    #[test]
    fn only_a_whole_entry_of_the_path_is_a_mark() {
        let has = |environment: &str| has_mark(environment.as_bytes(), &mark(Path::new("/tmp/a")));
        assert!(has("A=1\0PATH=/bin:/nonexistent/tmp/a\0B=2\0"));
        assert!(has("PATH=/x:/nonexistent/tmp/a/b:/bin\0"));
        for other in [
            "PATH=/bin:/nonexistent/tmp/ab\0",
            "PATH=/tmp/a\0",
            "PWD=/nonexistent/tmp/a\0",
            "",
        ] {
            assert!(!has(other), "{other}");
        }
    }
}
