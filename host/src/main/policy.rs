//! `codex-gateway policy`: tries policies without serving.
//!
//! A subcommand is a variant of [`Policy`] and a module of this one.

#[path = "policy/replay.rs"]
mod replay;
#[path = "policy/schema.rs"]
mod schema;

use std::process::ExitCode;

use clap::Subcommand;

#[derive(Subcommand)]
pub(super) enum Policy {
    /// Decide recorded decisions again, and show what would have been different; exits with 0 if nothing would, with 1 if something
    /// would, with 65 if the records are damaged, with 78 if the policies or the named files are wrong.
    Replay(replay::Arguments),
    /// Print the JSON Schema of `policies.toml`, or of a candidate's `rollout.toml`, for editors and checks before an upload.
    Schema {
        /// The file that it is of.
        #[arg(value_enum, default_value = "policies")]
        of: schema::Of,
    },
}

/// Runs the subcommand.
pub(super) fn run(what: &Policy) -> ExitCode {
    match what {
        Policy::Replay(arguments) => replay::run(arguments),
        Policy::Schema { of } => schema::run(*of),
    }
}
