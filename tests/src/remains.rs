//! Finds resources that a gateway must not leave behind: Codex processes, and their temporary folders.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The prefixes of the gateway's own temporary folders, and of those of tests.
const OURS: &str = "codex-gateway-";
const OF_TESTS: &str = "codex-gateway-test-";

/// A running Codex process.
#[derive(Debug, Clone)]
pub struct Process {
    /// The process id.
    pub pid: u32,
    /// The gateway in this process started it; else Codex did.
    pub is_ours: bool,
    /// The environment, each variable as `NAME=value`.
    pub environment: Vec<String>,
    /// The gateway's temporary folders in its arguments or working directory.
    pub folders: BTreeSet<PathBuf>,
}

/// The Codex processes of a gateway and their children: those with its home in their environment, which children
/// inherit.
#[must_use]
pub fn processes(home: &Path) -> Vec<Process> {
    let home = format!("CODEX_HOME={}", home.display());
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = entries.filter_map(|entry| {
        let pid = entry.file_name().to_string_lossy().parse().ok()?;
        // A process may have ended by now, or be a zombie, which has no environment.
        let environment = texts(&entry.path().join("environ"));
        environment.contains(&home).then(|| Process {
            pid,
            is_ours: parent(&entry.path()) == Some(std::process::id()),
            folders: folders(&entry.path()),
            environment,
        })
    });
    processes.collect()
}

/// The Codex processes that the gateway in this process started itself.
#[must_use]
pub fn children(home: &Path) -> Vec<Process> {
    let mut processes = processes(home);
    processes.retain(|process| process.is_ours);
    processes
}

fn parent(process: &Path) -> Option<u32> {
    let status = std::fs::read_to_string(process.join("status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    line.trim().parse().ok()
}

/// Whether a process exists, also as a zombie.
#[must_use]
pub fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Whether a process runs: it exists, and is no zombie.
#[must_use]
pub fn runs(pid: u32) -> bool {
    !texts(&PathBuf::from(format!("/proc/{pid}/environ"))).is_empty()
}

/// Kills a process, if it still exists.
///
/// # Panics
/// If `kill` is not installed.
pub fn kill(pid: u32) {
    let killed = std::process::Command::new("kill")
        .args(["-9", &pid.to_string()])
        .stderr(std::process::Stdio::null())
        .status();
    killed.expect("kill runs");
}

fn folders(process: &Path) -> BTreeSet<PathBuf> {
    let works_in = std::fs::read_link(process.join("cwd")).unwrap_or_default();
    let mut told = texts(&process.join("cmdline"));
    told.push(works_in.display().to_string());
    let start = std::env::temp_dir().join(OURS).display().to_string();
    let named = told.iter().flat_map(|text| {
        let places = text.match_indices(&start).map(|(at, _)| at);
        places.map(|at| {
            let name: String = text[at + start.len()..]
                .chars()
                .take_while(char::is_ascii_alphanumeric)
                .collect();
            PathBuf::from(format!("{start}{name}"))
        })
    });
    let of_tests = std::env::temp_dir().join(OF_TESTS.trim_end_matches('-'));
    named.filter(|folder| *folder != of_tests).collect()
}

/// The texts of a file in which each text ends with a zero byte.
fn texts(path: &Path) -> Vec<String> {
    let bytes = std::fs::read(path).unwrap_or_default();
    let texts = bytes.split(|byte| *byte == 0);
    texts
        .map(|text| String::from_utf8_lossy(text).into_owned())
        .filter(|text| !text.is_empty())
        .collect()
}
