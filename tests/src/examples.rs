//! Examples of policies, copied out of the repository into an empty folder, and built there with the commands of their README.md.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of the examples.
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/examples");
/// The folders that the author of an example may have made in it.
const MADE: [&str; 4] = ["codex-policy", "made", "new", "target"];

/// An example in a folder of its own, which is deleted with it.
#[derive(Debug)]
pub struct Example {
    place: tempfile::TempDir,
    folder: PathBuf,
}

impl Example {
    /// Copies an example.
    #[must_use]
    pub fn copied(name: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join(name);
        copy(&Path::new(EXAMPLES).join(name), &folder);
        for name in ["bin", "policies"] {
            std::fs::create_dir(place.path().join(name)).unwrap();
        }
        Self { place, folder }
    }

    /// The example's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs the commands of the README, each of which has to succeed, and returns the component that they put into `POLICY_DIR`.
    /// `codex-gateway` is this program; `prepare` sets what else the commands need.
    pub fn built(&self, gateway: &str, prepare: impl FnOnce(&mut Command)) -> Vec<u8> {
        let programs = self.place.path().join("bin");
        symlink(gateway, programs.join("codex-gateway")).unwrap();
        let policies = self.place.path().join("policies");
        let script = format!("PATH=\"$0:$PATH\"\n{}", commands(&self.folder));
        let mut command = Command::new("sh");
        command
            .args(["-c", &script])
            .arg(&programs)
            .current_dir(&self.folder)
            .env("POLICY_DIR", &policies);
        prepare(&mut command);
        let output = command.output().unwrap();
        let words =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words}");
        let mut files = std::fs::read_dir(policies).unwrap();
        let (file, more) = (files.next().unwrap().unwrap(), files.next());
        assert!(more.is_none(), "{more:?}");
        std::fs::read(file.path()).unwrap()
    }
}

/// The commands of the first block of the README, in one shell that ends with the first that fails.
fn commands(folder: &Path) -> String {
    let readme = std::fs::read_to_string(folder.join("README.md")).unwrap();
    let (_, rest) = readme.split_once("\n```sh\n").unwrap();
    let (block, _) = rest.split_once("\n```").unwrap();
    // Not `set -e`, which goes on after the first part of `a && b`; and in braces, as a line may end with a comment.
    let lines = block
        .lines()
        .map(|line| format!("{{ {line}\n}} || exit 1\n"));
    lines.collect()
}

/// Removes the variables of the build of these tests from a command that builds something of its own.
pub fn without_this_build(command: &mut Command) -> &mut Command {
    for name in [
        "CARGO_BUILD_TARGET",
        "CARGO_ENCODED_RUSTFLAGS",
        "LLVM_PROFILE_FILE",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_WRAPPER",
        "RUSTFLAGS",
    ] {
        command.env_remove(name);
    }
    command
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (name, kind) = (entry.file_name(), entry.file_type().unwrap());
        if kind.is_dir() && !MADE.iter().any(|made| name == *made) {
            copy(&entry.path(), &to.join(name));
        } else if kind.is_file() {
            std::fs::copy(entry.path(), to.join(name)).unwrap();
        }
    }
}
