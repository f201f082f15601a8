//! `codex-gateway policy schema`: prints the JSON Schema of a file that operators or authors write.

use std::process::ExitCode;

use clap::ValueEnum;
use codex_gateway::policy::{case_schema, rules_schema};

use super::super::{fail, print};

/// The files that have a schema.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Of {
    /// `policies.toml`.
    Policies,
    /// `rollout.toml`.
    Rollout,
    /// A case for `policy test`.
    Case,
}

/// Prints it.
pub(super) fn run(of: Of) -> ExitCode {
    let schema = match of {
        Of::Policies => rules_schema(false),
        Of::Rollout => rules_schema(true),
        Of::Case => case_schema(),
    };
    match print(&format!("{schema:#}\n")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}
