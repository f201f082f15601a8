//! The ways a policy fails: a refusal when it is loaded, a fault when it is asked.

use std::io;

use rustix::io::Errno;
use wasmtime::Trap;

use super::Slot;
use super::bindings::{Denial, PACKAGE, VERSION};
use super::words::{LINE, NAME, text_within};
use crate::file::is_shortage;

/// Why a candidate may not serve. Shown to the operator in the log and in `/healthz`.
///
/// The words of guests and files are in it: they are cut and escaped wherever it is shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{}: {}", self.file(), .slot.map(|slot| format!(" ({slot} policy)")).unwrap_or_default(), self.problem())]
pub struct Refusal {
    /// The file's name, or what stands in for it.
    pub(super) file: String,
    /// The slot it was meant for, if it is about one.
    pub slot: Option<Slot>,
    pub(super) problem: Problem,
}

impl Refusal {
    /// The file's name, or what stands in for it.
    #[must_use]
    pub fn file(&self) -> String {
        text_within(NAME, self.file.clone())
    }

    /// What was expected, and what was found.
    #[must_use]
    pub fn problem(&self) -> String {
        text_within(LINE, self.problem.to_string())
    }
}

/// See [`Refusal`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The file (or folder) could not be read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// The machine is short of something that reading or preparing takes.
    #[error("the machine is short of open files or memory now: {0}")]
    Shortage(String),
    /// Neither a module nor a component.
    #[error("expected a WebAssembly component, found {0}")]
    NotWasm(String),
    /// A core module.
    #[error(
        "expected a component, found a core module; build it for wasm32-wasip2, or wrap it with `wasm-tools component new`"
    )]
    CoreModule,
    /// Starts like a component, but is not valid.
    #[error("expected a valid component, found a broken one (copied only in part?): {0}")]
    Invalid(String),
    /// A component of another world.
    #[error("expected exports {}, found {found}{}", .expected.join(", "), fitting(.fits))]
    WrongWorld {
        /// Names with versions.
        expected: Vec<String>,
        /// Names, or "none".
        found: String,
        /// The slots whose exports it has.
        fits: Vec<Slot>,
    },
    /// Built for a contract this host does not speak.
    #[error(
        "expected {PACKAGE}@{VERSION} (or another 0.1.x), found {PACKAGE}@{0}; rebuild it against this gateway's wit/ folder"
    )]
    Version(String),
    /// Wants something a policy may not have.
    #[error(
        "expected imports from wasi:cli, wasi:io, wasi:clocks and wasi:random only, found {0}; policies have no files, sockets or network"
    )]
    Import(String),
    /// The right names with the wrong types.
    #[error("expected the functions of {PACKAGE}@{VERSION}, found other types: {0}")]
    Types(String),
    /// Heavier than a policy may be, by this limit.
    #[error(
        "expected a component with at most {0}, found more: build it smaller (for release, without debug code), or split \
         what it does"
    )]
    TooHeavy(String),
    /// The manifest's settings schema is wrong.
    #[error("expected a JSON Schema in the policy's manifest (settings-schema), found {0}")]
    Schema(String),
    /// The settings are not what the schema says.
    #[error("expected settings as the policy's schema describes them, found {}", .0.join("; "))]
    SettingsMistakes(Vec<String>),
    /// It cannot decide without this.
    #[error("the policy needs a grant: write `grants = [\"{0}\"]` under its slot in policies.toml")]
    Grant(&'static str),
    /// The settings are no JSON object, or use the host's member.
    #[error("expected settings that are a JSON object, found {0}")]
    SettingsShape(String),
    /// `configure` said no.
    #[error("the policy refuses these settings: {0}")]
    Settings(String),
    /// `configure` failed.
    #[error("a fault while configuring: {0}")]
    Configure(String),
    /// The first calls failed.
    #[error("a fault in the trial call: {0}")]
    Trial(String),
    /// The first calls were answered, but not as the contract has it.
    #[error("expected answers as the contract has them, found {0}")]
    Nonsense(String),
    /// `policies.toml` is wrong.
    #[error("{0}")]
    Manifest(String),
    /// A file that served is gone.
    #[error(
        "it served and is gone (a volume that is not mounted?): put it back or, if it shall serve no more, write \
         `built_in = true` under `[{0}]` in policies.toml"
    )]
    Vanished(Slot),
    /// Nothing of the auth slot is in the folder, and it is not known whether something was.
    #[error(
        "{0}: the files that served last are not known, and POLICY_DIR has none that says who may call: put auth.json (or \
         auth.wasm) there or, if the key of the variables shall do, remove this file"
    )]
    Forgotten(String),
    /// A component, and `built_in = true`.
    #[error("there is a component, and policies.toml says `built_in = true`: remove one of them")]
    NotBuiltIn,
    /// A defect of ours.
    #[error("internal error while preparing: {0}")]
    Internal(String),
}

/// Where a component that is wrong here would be right.
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
    /// Whether the same files may be all right at another time: they could not be read, or there was no time or place.
    pub(super) fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Unreadable(_)
                | Self::Shortage(_)
                | Self::Configure(_)
                | Self::Trial(_)
                | Self::Internal(_)
        )
    }

    /// For a failed call of the system: a shortage if that is the reason, otherwise what it means at that step.
    pub(super) fn of_io(error: &io::Error, otherwise: impl FnOnce(String) -> Self) -> Self {
        match is_shortage(error) {
            true => Self::Shortage(error.to_string()),
            false => otherwise(error.to_string()),
        }
    }

    /// As [`Problem::of_io`], for a failed step of wasmtime's.
    pub(super) fn of(error: &wasmtime::Error, otherwise: impl FnOnce(String) -> Self) -> Self {
        let short = error.chain().any(|cause| {
            let errno = cause.downcast_ref::<Errno>();
            let io = cause.downcast_ref::<io::Error>();
            io.is_some_and(is_shortage)
                || errno.is_some_and(|errno| is_shortage(&io::Error::from(*errno)))
        });
        match short {
            true => Self::Shortage(error.root_cause().to_string()),
            false => otherwise(format!("{error:#}")),
        }
    }
}

/// All that is wrong with a set of candidates.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct Refusals(pub Vec<Refusal>);

impl Refusals {
    /// Whether trying again as it is cannot help.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        let Self(refusals) = self;
        let passing = |refusal: &Refusal| matches!(refusal.problem, Problem::Shortage(_));
        !refusals.iter().all(passing)
    }
}

/// Why a policy could not answer. The request is refused with 503 `policy_unavailable`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{slot} policy {policy}: {kind}: {cause}")]
pub struct Fault {
    /// Whose fault.
    pub slot: Slot,
    /// The component's own name.
    pub policy: String,
    /// For metrics and logs.
    pub kind: FaultKind,
    /// The runtime's words; never for the client.
    pub cause: String,
}

/// The kinds of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The guest panicked or did something undefined.
    Trap,
    /// It used up its computing time, or its time on the clock.
    Deadline,
    /// It wanted more memory than it may have.
    Memory,
    /// Its answer is larger than the host copies.
    AnswerTooLarge,
    /// It called `exit`.
    Exit,
    /// Its answer breaks the contract.
    Nonsense,
    /// No place was free to run it in.
    Busy,
}

impl FaultKind {
    /// All of them.
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

    /// What kind of fault a failed call was.
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
            // wasmtime has no type for it; the words are checked by a test with a real guest.
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

/// Why a request does not go on: the policy decided so, or could not decide.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refused {
    /// A decision.
    #[error("denied: {} {}", .0.status, .0.code)]
    Denied(Box<Denial>),
    /// An inability.
    #[error(transparent)]
    Fault(#[from] Fault),
}
