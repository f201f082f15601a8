//! The ways a policy fails: a refusal while it is loaded, a fault while it decides.

use std::io;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use wasmtime::Trap;

use super::Slot;
use super::bindings::{Denial, PACKAGE, VERSION};
use super::distrust::Distrust;
use super::words::{LINE, NAME, text_within};
use crate::file;

/// A candidate that may not serve, and the reason. Shown to the operator in the log and in `/healthz`.
///
/// It contains text of guests and files, which is cut and escaped wherever it is shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{}: {}", self.file(), .slot.map(|slot| format!(" ({slot} policy)")).unwrap_or_default(), self.problem())]
pub struct Refusal {
    /// The file's name, or the word that stands in for it.
    pub(super) file: String,
    /// The slot the file was meant for, if the problem belongs to one.
    pub slot: Option<Slot>,
    pub(super) problem: Problem,
}

impl Refusal {
    /// The file's name, or the word that stands in for it, cut and escaped.
    #[must_use]
    pub fn file(&self) -> String {
        text_within(NAME, self.file.clone())
    }

    /// The expectation and the finding, as one line.
    #[must_use]
    pub fn problem(&self) -> String {
        text_within(LINE, self.problem.to_string())
    }
}

/// The reason of a [`Refusal`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The file (or folder) could not be read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// The machine lacks a resource that reading or preparing needs.
    #[error("the machine is short of open files or memory now: {0}")]
    Shortage(String),
    /// Something stands in the way that is no fault of the file, and may pass.
    #[error("cannot be used now, another try follows: {0}")]
    Hindered(String),
    /// Neither a module nor a component.
    #[error("expected a WebAssembly component, found {0}")]
    NotWasm(String),
    /// A core module.
    #[error(
        "expected a component, found a core module; build it for wasm32-wasip2, or wrap it with `wasm-tools component new`"
    )]
    CoreModule,
    /// It starts like a component, but is not valid.
    #[error("expected a valid component, found a broken one (copied only in part?): {0}")]
    Invalid(String),
    /// A component whose exports do not fit the slot.
    #[error("expected exports {}, found {found}{}", .expected.join(", "), fitting(.fits))]
    WrongWorld {
        /// Names with versions.
        expected: Vec<String>,
        /// The exported names, or "none".
        found: String,
        /// The slots that its exports fit.
        fits: Vec<Slot>,
    },
    /// Built for a version of the contract that this host does not support.
    #[error(
        "expected {PACKAGE}@0.2.x or 0.1.x, found {PACKAGE}@{0}; rebuild it against this gateway's wit/ folder"
    )]
    Version(String),
    /// It imports an interface that a policy may not have.
    #[error("expected imports of WASI 0.2 and {PACKAGE}/types only, found {0}")]
    Import(String),
    /// The right export names with the wrong types.
    #[error("expected the functions of {PACKAGE}@{VERSION}, found other types: {0}")]
    Types(String),
    /// It exceeds this limit of a component's size or of its compilation.
    #[error(
        "expected a component with at most {0}, found more: build it smaller (for release, without debug code), or split \
         what it does"
    )]
    TooHeavy(String),
    /// The settings schema of the policy's manifest is wrong.
    #[error("expected a JSON Schema in the policy's manifest (settings-schema), found {0}")]
    Schema(String),
    /// The settings violate the policy's schema.
    #[error("expected settings as the policy's schema describes them, found {}", .0.join("; "))]
    SettingsMistakes(Vec<String>),
    /// The policy cannot decide without this grant.
    #[error("the policy needs a grant: write `grants = [\"{0}\"]` under its slot in policies.toml")]
    Grant(&'static str),
    /// The settings are no JSON object, or use the member `host`.
    #[error("expected settings that are a JSON object, found {0}")]
    SettingsShape(String),
    /// `configure` returned an error.
    #[error("the policy refuses these settings: {0}")]
    Settings(String),
    /// `configure` did not complete.
    #[error("a fault while configuring: {0}")]
    Configure(String),
    /// The trial calls failed.
    #[error("a fault in the trial call: {0}")]
    Trial(String),
    /// The trial calls were answered, but the answers break the contract.
    #[error("expected answers as the contract has them, found {0}")]
    Nonsense(String),
    /// `policies.toml` is wrong.
    #[error("{0}")]
    Manifest(String),
    /// The file is not signed by a trusted key.
    #[error(transparent)]
    Untrusted(Distrust),
    /// A file of a serving policy is gone.
    #[error(
        "it served and is gone (a volume that is not mounted?): put it back or, if it shall serve no more, write \
         `built_in = true` under `[{0}]` in policies.toml"
    )]
    Vanished(Slot),
    /// The folder has no file of the auth slot, and it is not known whether it had one before.
    #[error(
        "{0}: the files that served last are not known, and POLICY_DIR has none that says who may call: put auth.json (or \
         auth.wasm) there or, if the key of the variables shall do, remove this file"
    )]
    Forgotten(String),
    /// The folder has a component, and `policies.toml` says `built_in = true`.
    #[error("there is a component, and policies.toml says `built_in = true`: remove one of them")]
    NotBuiltIn,
    /// The same policies served, and were taken back.
    #[error(
        "these policies (digest {digest}) were taken back, as they did not decide as those before them: {why}; mend \
         the files or, to serve them all the same, write `accept = [\"{digest}\"]` under `[rollout]` in policies.toml, or \
         upload and promote them by `codex-gateway admin`"
    )]
    TakenBack {
        /// The first digits.
        digest: String,
        /// The slot and its fault.
        why: String,
    },
    /// A change of the policy folder that did not pass its steps, or that an operator dropped.
    #[error(
        "these policies (digest {digest}) did not pass the steps of `[rollout]` in policies.toml: {why}; mend the files or, to \
         serve them all the same, promote them by `codex-gateway admin`, or write `accept = [\"{digest}\"]` under `[rollout]`"
    )]
    NotPassed {
        /// The first digits.
        digest: String,
        /// The end of a step.
        why: String,
    },
    /// A change of the policy folder that cannot begin its steps now.
    #[error("the steps of `[rollout]` in policies.toml cannot begin yet: {0}")]
    NotBegun(String),
    /// A defect of the gateway.
    #[error("internal error while preparing: {0}")]
    Internal(String),
}

/// The slots that a component would fit, as advice to the operator.
fn fitting(slots: &[Slot]) -> String {
    let places = slots.iter().map(|slot| {
        format!("the {slot} slot: name it {slot}.wasm, or name it as `component` of [{slot}] in policies.toml")
    });
    let places: Vec<_> = places.collect();
    if places.is_empty() {
        return String::new();
    }
    format!("; it fits {}", places.join(", or "))
}

impl Problem {
    /// Whether the same files may be accepted later: they could not be read, or time or resources were short.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Unreadable(_)
            | Self::Shortage(_)
            | Self::Hindered(_)
            | Self::Configure(_)
            | Self::Trial(_)
            | Self::NotBegun(_)
            | Self::Internal(_) => true,
            Self::NotWasm(_)
            | Self::CoreModule
            | Self::Invalid(_)
            | Self::WrongWorld { .. }
            | Self::Version(_)
            | Self::Import(_)
            | Self::Types(_)
            | Self::TooHeavy(_)
            | Self::Schema(_)
            | Self::SettingsMistakes(_)
            | Self::Grant(_)
            | Self::SettingsShape(_)
            | Self::Settings(_)
            | Self::Nonsense(_)
            | Self::Manifest(_)
            | Self::Untrusted(_)
            | Self::Vanished(_)
            | Self::Forgotten(_)
            | Self::TakenBack { .. }
            | Self::NotPassed { .. }
            | Self::NotBuiltIn => false,
        }
    }

    /// Whether the settings are at fault, not the component.
    pub(super) fn is_of_settings(&self) -> bool {
        match self {
            Self::Settings(_) | Self::SettingsShape(_) | Self::SettingsMistakes(_) => true,
            Self::Unreadable(_)
            | Self::Shortage(_)
            | Self::Hindered(_)
            | Self::NotWasm(_)
            | Self::CoreModule
            | Self::Invalid(_)
            | Self::WrongWorld { .. }
            | Self::Version(_)
            | Self::Import(_)
            | Self::Types(_)
            | Self::TooHeavy(_)
            | Self::Schema(_)
            | Self::Grant(_)
            | Self::Configure(_)
            | Self::Trial(_)
            | Self::Nonsense(_)
            | Self::Manifest(_)
            | Self::Untrusted(_)
            | Self::Vanished(_)
            | Self::Forgotten(_)
            | Self::NotBuiltIn
            | Self::TakenBack { .. }
            | Self::NotPassed { .. }
            | Self::NotBegun(_)
            | Self::Internal(_) => false,
        }
    }

    /// Whether the machine is at fault, and not a file.
    pub(super) fn is_of_the_machine(&self) -> bool {
        matches!(self, Self::Shortage(_) | Self::Hindered(_))
    }

    /// The problem of a failed system call: a shortage or a hindrance if the error is one, otherwise the problem of that step.
    pub(super) fn of_io(error: &io::Error, otherwise: impl FnOnce(String) -> Self) -> Self {
        let told = file::explained(error).to_string();
        match error {
            error if file::is_shortage(error) => Self::Shortage(told),
            error if file::may_pass(error) || file::is_over_limit(error) => Self::Hindered(told),
            _ => otherwise(told),
        }
    }

    /// As [`Problem::of_io`], for a failed step of wasmtime.
    pub(super) fn of(error: &wasmtime::Error, otherwise: impl FnOnce(String) -> Self) -> Self {
        let mut found = error.chain().filter_map(|cause| {
            let io = cause.downcast_ref::<io::Error>();
            let errno = cause.downcast_ref::<Errno>();
            let of_io = |error: &io::Error| Self::of_io(error, Self::Internal);
            io.map(of_io)
                .or_else(|| errno.map(|errno| of_io(&io::Error::from(*errno))))
        });
        found
            .find(Self::is_of_the_machine)
            .unwrap_or_else(|| otherwise(format!("{error:#}")))
    }
}

/// All problems of a set of candidates.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct Refusals(pub Vec<Refusal>);

impl Refusals {
    /// Whether the configuration must change: a retry with the same files cannot help.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        let Self(refusals) = self;
        let of_the_machine = |refusal: &Refusal| refusal.problem.is_of_the_machine();
        !refusals.iter().all(of_the_machine)
    }
}

/// Why a policy could not answer. The request is refused with 503 `policy_unavailable`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{slot} policy {policy}: {kind}: {cause}")]
pub struct Fault {
    /// The policy's slot.
    pub slot: Slot,
    /// The component's own name.
    pub policy: String,
    /// The kind, for metrics and logs.
    pub kind: FaultKind,
    /// The runtime's error text; never shown to the client.
    pub cause: String,
}

impl Fault {
    /// The fault as one line, without slot and policy.
    pub(super) fn told(&self) -> String {
        format!("{}: {}", self.kind, self.cause)
    }
}

/// The kinds of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FaultKind {
    /// The guest panicked or did something undefined.
    Trap,
    /// The guest used up its computing time, or its wall-clock time.
    Deadline,
    /// The guest wanted more memory than its limit.
    Memory,
    /// The answer is larger than the limit of bytes that the host copies.
    AnswerTooLarge,
    /// The guest called `exit`.
    Exit,
    /// The answer breaks the contract.
    Nonsense,
    /// No permit to run became free in time.
    Busy,
}

impl FaultKind {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::Trap,
        Self::Deadline,
        Self::Memory,
        Self::AnswerTooLarge,
        Self::Exit,
        Self::Nonsense,
        Self::Busy,
    ];

    /// One word for metrics, logs and health.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Deadline => "deadline",
            Self::Memory => "memory",
            Self::AnswerTooLarge => "answer_too_large",
            Self::Exit => "exit",
            Self::Nonsense => "nonsense",
            Self::Busy => "busy",
        }
    }

    /// The kind of fault of a failed call.
    pub(super) fn of(error: &wasmtime::Error, memory_refused: bool) -> Self {
        if memory_refused {
            return Self::Memory;
        }
        if error.downcast_ref::<wasmtime_wasi::I32Exit>().is_some() {
            return Self::Exit;
        }
        if error
            .downcast_ref::<wasmtime::PoolConcurrencyLimitError>()
            .is_some()
        {
            return Self::Busy;
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => Self::Deadline,
            Some(_) => Self::Trap,
            // wasmtime has no type for this error; a test with a real guest checks the text.
            None if error
                .root_cause()
                .to_string()
                .contains("fuel allocated for hostcalls") =>
            {
                Self::AnswerTooLarge
            }
            None => Self::Trap,
        }
    }
}

impl std::fmt::Display for FaultKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}

/// Why a request does not go on: the policy denied it, or could not decide.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refused {
    /// The policy denied the request.
    #[error("denied: {} {}", .0.status, .0.code)]
    Denied(Box<Denial>),
    /// The policy could not decide.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The counters of the rate limits are unavailable.
    #[error("rate limits: {0}")]
    Counters(#[from] crate::quota::Unavailable),
}

/// Turns a denial of the contract's type into [`Refused`].
pub(super) fn decided<T>(answer: Result<Result<T, Denial>, Fault>) -> Result<T, Refused> {
    answer?.map_err(|denial| Refused::Denied(Box::new(denial)))
}
