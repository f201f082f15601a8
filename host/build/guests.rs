//! Compiles guest packages of this workspace to components; shared by the build scripts of the host and of the tests.

#![allow(
    clippy::disallowed_methods,
    reason = "cargo tells a build script its folders by variables"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs, io};

const TARGET: &str = "wasm32-wasip2";

/// Makes sure that the target is installed: the build's own compiler wrapper does that, whether or not Cargo was run with it.
fn ensure_target() -> io::Result<()> {
    let rustc = env::var("RUSTC").map_err(io::Error::other)?;
    let mut wrapper = Command::new("../.cargo/rustc");
    wrapper.arg(rustc).arg("-vV").stdout(Stdio::null());
    match wrapper.status()?.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!("there is no target {TARGET}"))),
    }
}

/// Compiles the packages and copies each to `OUT_DIR/NAME.wasm`. `guests` pairs a package with its folder, whose name is NAME.
/// Cargo runs the script again when one of the packages changes, or a package of this workspace that they use.
pub(crate) fn build(guests: &[(&str, &str)]) -> io::Result<()> {
    ensure_target()?;
    for input in ["../host/build", "../wit", "../Cargo.toml", "../Cargo.lock"] {
        watch(Path::new(input));
    }
    let out = PathBuf::from(env::var("OUT_DIR").map_err(io::Error::other)?);
    let target = out.join("guests");
    let mut command = Command::new(env::var("CARGO").map_err(io::Error::other)?);
    command.args([
        "build",
        "--manifest-path",
        "../Cargo.toml",
        "--profile",
        "guest",
        "--target",
        TARGET,
    ]);
    command.arg("--target-dir").arg(&target);
    for (package, _) in guests {
        command.arg("--package").arg(package);
    }
    // Variables of the host's own build (flags, wrappers, coverage) do not fit a wasm guest.
    for (name, _) in env::vars().filter(|(name, _)| is_foreign(name)) {
        command.env_remove(name);
    }
    if !command.status()?.success() {
        return Err(io::Error::other("the guests did not compile"));
    }
    for (package, folder) in guests {
        let folder = Path::new(folder);
        let name = folder.file_name().unwrap_or_default();
        let built = target.join(TARGET).join("guest");
        let built = built.join(package.replace('-', "_"));
        let to = out.join(name).with_extension("wasm");
        copy(&built.with_extension("wasm"), &to)?;
        watch(folder);
        watch_sources(&built.with_extension("d"))?;
    }
    Ok(())
}

fn watch(path: &Path) {
    println!("cargo::rerun-if-changed={}", path.display());
}

/// Watches the sources that Cargo lists for a package, those of other packages of this workspace included.
fn watch_sources(list: &Path) -> io::Result<()> {
    let text = fs::read_to_string(list)
        .map_err(|error| io::Error::other(format!("{}: {error}", list.display())))?;
    // `…/auth.wasm: /…/a.rs /…/b.rs`, with a backslash before each space in a path.
    let (_, sources) = text.split_once(": ").unwrap_or_default();
    let sources = sources.trim().replace("\\ ", "\0");
    for source in sources.split_whitespace() {
        watch(Path::new(&source.replace('\0', " ")));
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to).map_err(|error| io::Error::other(format!("{}: {error}", from.display())))?;
    Ok(())
}

fn is_foreign(name: &str) -> bool {
    const NAMES: [&str; 6] = [
        "RUSTFLAGS",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_WRAPPER",
        "RUSTC",
        "RUSTDOC",
        "CLIPPY_ARGS",
    ];
    (name.starts_with("CARGO_") && name != "CARGO_HOME") || NAMES.contains(&name)
}
