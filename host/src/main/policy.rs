//! `codex-gateway policy`: tries policies without serving.
//!
//! A subcommand is a variant of [`Policy`] and a module of this one.

#[path = "policy/bench.rs"]
mod bench;
#[path = "policy/cases.rs"]
mod cases;
#[path = "policy/check.rs"]
mod check;
#[path = "policy/deploy.rs"]
mod deploy;
#[path = "policy/diff.rs"]
mod diff;
#[path = "policy/differences.rs"]
mod differences;
#[path = "policy/found.rs"]
mod found;
#[path = "policy/inspect.rs"]
mod inspect;
#[path = "policy/keygen.rs"]
mod keygen;
#[path = "policy/matrix.rs"]
mod matrix;
#[path = "policy/new.rs"]
mod new;
#[path = "policy/password.rs"]
mod password;
#[path = "policy/push.rs"]
mod push;
#[path = "policy/question.rs"]
mod question;
#[path = "policy/replay.rs"]
mod replay;
#[path = "policy/run.rs"]
mod run;
#[path = "policy/schema.rs"]
mod schema;
#[path = "policy/sign.rs"]
mod sign;
#[path = "policy/subject.rs"]
mod subject;
#[path = "policy/test.rs"]
mod test;
#[path = "policy/verify.rs"]
mod verify;
#[path = "policy/wait.rs"]
mod wait;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;

#[derive(Subcommand)]
pub(super) enum Policy {
    /// Make a folder with a policy that builds, its tests, its settings' schema and two cases; exits with 73 if the folder is there
    /// already, or cannot be written.
    New(new::Arguments),
    /// Do everything that a start does with a policy, its settings, or a whole folder, and report in the same words; exits with 78 if
    /// a start would refuse them.
    Check(check::Arguments),
    /// Describe a component: its world, imports, needs, settings, sizes and digests, and whether it runs frozen or warm, and why.
    Inspect(inspect::Arguments),
    /// Ask a policy one question, and show its answer and what it prints; exits with 1 if the policy cannot answer.
    Run(run::Arguments),
    /// Run cases, each frozen and fresh and twice, and show what differs from its expectation, and the denial codes that were met; exits
    /// with 1 if a case failed, with 78 if a case or a component is wrong, before any runs.
    Test(test::Arguments),
    /// Write the cases of the built-in policies into a folder: a kit for `policy test` with a policy that replaces one.
    Cases(cases::Arguments),
    /// Check a policy over a policy folder, put it there by rename, and wait until the gateway serves it, or say why it does not.
    Deploy(deploy::Arguments),
    /// Measure a policy beside the built-in one of its slot: a decision, freezing, compiling, and sizes.
    Bench(bench::Arguments),
    /// Put the same calls to two policies of one slot, from cases or a recording or by a search, and show what they decide differently;
    /// exits with 0 if nothing, with 1 if something, with 65 if the records are damaged, with 78 if a file is wrong.
    Diff(diff::Arguments),
    /// Show which callers may use which models at which endpoints or, with other policies, what they would change; exits with 0 if nothing,
    /// with 1 if something, with 78 if a start would refuse the policies.
    Matrix(matrix::Arguments),
    /// Decide recorded decisions again, and show what would have been different; exits with 0 if nothing would, with 1 if something
    /// would, with 65 if the records are damaged, with 78 if the policies or the named files are wrong.
    Replay(replay::Arguments),
    /// Make the keys that policies are signed with, in minisign's format; exits with 73 if a file is there already.
    Keygen(keygen::Arguments),
    /// Sign the files of a policy folder, or single ones, each in a file of its own beside it (`auth.json.minisig`).
    Sign(sign::Arguments),
    /// Verify signed files as a gateway does with POLICY_TRUSTED_KEYS; exits with 78 if one would be refused.
    Verify(verify::Arguments),
    /// Push a component to an OCI registry, in the format of the CNCF's Wasm artifacts, and print its reference by digest.
    Push(push::Push),
    /// Pull a component from an OCI registry into a folder; exits with 78 if it is refused, before it is downloaded if that is known then.
    Pull(push::Pull),
    /// Print the JSON Schema of `policies.toml`, of a candidate's `rollout.toml`, or of a case, for editors and checks before an upload.
    Schema {
        /// The file that it is of.
        #[arg(value_enum, default_value = "policies")]
        of: schema::Of,
    },
}

/// Runs the subcommand.
pub(super) fn run(what: &Policy) -> ExitCode {
    match what {
        Policy::New(arguments) => new::run(arguments),
        Policy::Check(arguments) => check::run(arguments),
        Policy::Inspect(arguments) => inspect::run(arguments),
        Policy::Run(arguments) => run::run(arguments),
        Policy::Test(arguments) => test::run(arguments),
        Policy::Cases(arguments) => cases::run(arguments),
        Policy::Deploy(arguments) => deploy::run(arguments),
        Policy::Bench(arguments) => bench::run(arguments),
        Policy::Diff(arguments) => diff::run(arguments),
        Policy::Matrix(arguments) => matrix::run(arguments),
        Policy::Replay(arguments) => replay::run(arguments),
        Policy::Keygen(arguments) => keygen::run(arguments),
        Policy::Sign(arguments) => sign::run(arguments),
        Policy::Verify(arguments) => verify::run(arguments),
        Policy::Push(arguments) => push::push(arguments),
        Policy::Pull(arguments) => push::pull(arguments),
        Policy::Schema { of } => schema::run(*of),
    }
}

/// Writes a file that is not there yet, and the folders above it.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    File::create_new(path)?.write_all(text.as_bytes())
}
