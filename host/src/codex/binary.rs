//! The Codex program on this machine: where it is, and what it can do.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// Time limit for a command that only prints something. The program is 300 MB: a cold disk takes some time to read it.
const LIMIT: Duration = Duration::from_secs(20);

/// By operating system and architecture: the end of the npm package's name after `codex-`, and the program's folder in it.
const PLATFORMS: [(&str, &str, &str, &str); 4] = [
    ("linux", "x86_64", "linux-x64", "x86_64-unknown-linux-musl"),
    (
        "linux",
        "aarch64",
        "linux-arm64",
        "aarch64-unknown-linux-musl",
    ),
    ("macos", "x86_64", "darwin-x64", "x86_64-apple-darwin"),
    ("macos", "aarch64", "darwin-arm64", "aarch64-apple-darwin"),
];

/// The properties a Codex program reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// For example `0.169.0`.
    pub version: String,
    /// Whether it has `codex app-server`.
    pub app_server: bool,
    /// Whether it has `codex proto` (up to 0.42).
    pub proto: bool,
}

/// Why the properties of a program could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The program cannot be started.
    #[error("{bin} cannot be run: {source}", bin = .bin.display())]
    Run {
        /// The program.
        bin: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The program did not end in time.
    #[error("{bin} did not answer within {after_ms} ms", bin = .bin.display())]
    Timeout {
        /// The program.
        bin: PathBuf,
        /// The limit.
        after_ms: u128,
    },
    /// The program failed.
    #[error("{bin} failed ({status}): {stderr}", bin = .bin.display())]
    Failed {
        /// The program.
        bin: PathBuf,
        /// The exit status.
        status: std::process::ExitStatus,
        /// The last line of its stderr.
        stderr: String,
    },
    /// The program answered, but not in the way Codex does.
    #[error("{bin} does not look like Codex: --version says {said:?}", bin = .bin.display())]
    NotCodex {
        /// The program.
        bin: PathBuf,
        /// The output of the program.
        said: String,
    },
}

impl ProbeError {
    /// Whether another try would end the same way: the program cannot run on this machine, is not Codex, or refuses the
    /// command. False for a program that is being replaced at the moment, was killed, or was slow.
    pub(super) fn is_configuration(&self) -> bool {
        /// The system's error code for a file that is not a program for this machine (ENOEXEC).
        const NO_PROGRAM: i32 = 8;
        match self {
            Self::Run { source, .. } => {
                matches!(
                    source.kind(),
                    ErrorKind::NotFound | ErrorKind::PermissionDenied
                ) || source.raw_os_error() == Some(NO_PROGRAM)
            }
            Self::Timeout { .. } => false,
            Self::Failed { status, .. } => status.code().is_some(),
            Self::NotCodex { .. } => true,
        }
    }
}

/// Finds the Codex program: an absolute path, a path with a slash, or a name looked up in `path_var`
/// (the value of `PATH`). If the result is npm's launcher script, finds the native program that it starts, if there is one.
#[must_use]
pub fn locate(bin: impl AsRef<Path>, path_var: Option<&str>) -> Option<PathBuf> {
    let bin = bin.as_ref();
    let found = if bin.components().count() > 1 || bin.is_absolute() {
        is_executable(bin).then(|| bin.to_owned())
    } else {
        let folders = path_var
            .unwrap_or_default()
            .split(':')
            .filter(|folder| !folder.is_empty());
        folders
            .map(|folder| Path::new(folder).join(bin))
            .find(|path| is_executable(path))
    }?;
    // The worker runs in another folder, where a relative path would point to another file.
    behind_launcher(&found).or_else(|| std::path::absolute(&found).ok())
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata()
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(path: &Path) -> bool {
    path.is_file()
}

/// The native program that npm's `codex.js` would start: one process less, and signals reach it directly.
fn behind_launcher(found: &Path) -> Option<PathBuf> {
    let script = found.canonicalize().ok()?;
    if script.file_name()? != "codex.js" || !starts_with_shebang(&script) {
        return None;
    }
    let (.., package, triple) = PLATFORMS
        .iter()
        .find(|(os, arch, ..)| *os == std::env::consts::OS && *arch == std::env::consts::ARCH)?;
    // …/node_modules/@openai/codex/bin/codex.js
    let codex = script.parent()?.parent()?;
    let platform = format!("codex-{package}");
    let roots = [
        codex.parent()?.join(&platform),
        codex.join("node_modules/@openai").join(&platform),
        codex.to_owned(),
    ];
    let programs = roots.iter().flat_map(|root| {
        let vendor = root.join("vendor").join(triple);
        [vendor.join("bin/codex"), vendor.join("codex/codex")]
    });
    programs.into_iter().find(|program| is_executable(program))
}

fn starts_with_shebang(path: &Path) -> bool {
    use std::io::Read;
    let mut start = [0; 2];
    crate::file::open(path)
        .and_then(|mut file| file.read_exact(&mut start))
        .is_ok()
        && &start == b"#!"
}

/// Asks a program for its properties, with `--version` and `--help`. The program gets nothing of the gateway's environment
/// but a usual `PATH`, in case it is a script.
///
/// # Errors
/// If it cannot be run, fails, hangs, or is not Codex.
pub async fn probe(bin: &Path) -> Result<Probe, ProbeError> {
    let mut path = OsString::from(bin.parent().unwrap_or(Path::new("/")));
    path.push(":/usr/local/bin:/usr/bin:/bin:/opt/homebrew/bin");
    let command = || {
        let mut command = Command::new(bin);
        command
            .env_clear()
            .env("PATH", &path)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    };
    ask(command).await
}

/// The same as [`probe`], with commands that already have their environment.
pub(super) async fn ask(command: impl Fn() -> Command) -> Result<Probe, ProbeError> {
    let (version, help) = tokio::try_join!(
        print(command(), &["--version"]),
        print(command(), &["--help"])
    )?;
    let said = version.trim();
    let Some(number) = said
        .strip_prefix("codex")
        .and_then(|rest| rest.split_whitespace().last())
    else {
        let bin = program(&command());
        return Err(ProbeError::NotCodex {
            bin,
            said: shorten(said),
        });
    };
    let lists = |name: &str| {
        help.lines()
            .any(|line| line.split_whitespace().next() == Some(name))
    };
    Ok(Probe {
        version: number.to_owned(),
        app_server: lists("app-server"),
        proto: lists("proto"),
    })
}

/// Runs a command and returns its standard output.
pub(super) async fn print(mut command: Command, arguments: &[&str]) -> Result<String, ProbeError> {
    let bin = program(&command);
    let run = command.args(arguments).output();
    let output = match tokio::time::timeout(LIMIT, run).await {
        Ok(Ok(output)) => output,
        Ok(Err(source)) => return Err(ProbeError::Run { bin, source }),
        Err(_) => {
            return Err(ProbeError::Timeout {
                bin,
                after_ms: LIMIT.as_millis(),
            });
        }
    };
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let stderr = shorten(stderr.trim().lines().next_back().unwrap_or_default());
        return Err(ProbeError::Failed {
            bin,
            status: output.status,
            stderr,
        });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn program(command: &Command) -> PathBuf {
    command.as_std().get_program().into()
}

fn shorten(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
pub(super) mod tests;
