//! The Codex program on this machine: where it is, and what it can do.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// How long a command that only prints something may take. The program is 300 MB: a cold disk needs a while.
const LIMIT: Duration = Duration::from_secs(20);

/// The program's npm packages end in these, after `codex-`; the second is where it lies within.
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

/// What a Codex program says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// For example `0.169.0`.
    pub version: String,
    /// It has `codex app-server`.
    pub app_server: bool,
    /// It has `codex proto` (up to 0.42).
    pub proto: bool,
}

/// Why a program could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// It cannot be started.
    #[error("{bin} cannot be run: {source}", bin = .bin.display())]
    Run {
        /// The program.
        bin: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It did not end in time.
    #[error("{bin} did not answer within {after_ms} ms", bin = .bin.display())]
    Timeout {
        /// The program.
        bin: PathBuf,
        /// The limit.
        after_ms: u128,
    },
    /// It failed.
    #[error("{bin} failed ({status}): {stderr}", bin = .bin.display())]
    Failed {
        /// The program.
        bin: PathBuf,
        /// How it ended.
        status: std::process::ExitStatus,
        /// Its last words.
        stderr: String,
    },
    /// It answered, but not as Codex does.
    #[error("{bin} does not look like Codex: --version says {said:?}", bin = .bin.display())]
    NotCodex {
        /// The program.
        bin: PathBuf,
        /// What it said.
        said: String,
    },
}

impl ProbeError {
    /// Whether another try would end the same: the program is not one that can run here, is not Codex, or refuses what
    /// it is asked. Not one that is just being replaced, was killed, or was slow.
    pub(super) fn is_configuration(&self) -> bool {
        /// What a file that is no program of this machine is called (ENOEXEC).
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
/// (the value of `PATH`). Behind npm's launcher script it finds the native program, if it is there.
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
    // The worker runs in another folder: a relative path would lead elsewhere from there.
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

/// The native program npm's `codex.js` would start: one process less, and signals reach it.
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

/// Asks a program what it is, by `--version` and `--help`. It sees nothing of our environment but a
/// usual `PATH`, in case it is a script.
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

/// As [`probe`], with commands that have their environment already.
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

/// What a command prints.
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
