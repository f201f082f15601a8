//! `GET status`: what serves since when, by whom, how it decides, and what is wrong.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::super::Admin;
use crate::api::Shared;
use crate::policy::{self, CandidateStatus, Digest, Generation, OpenRefusal, Restart, SlotStatus};
use crate::telemetry::{self, Recent};

/// The most groups of a candidate's differences in the status; the candidate itself has all.
const DIFFERENCES: usize = 3;

/// The whole answer.
#[derive(Serialize)]
pub(in crate::api::admin) struct Status {
    version: &'static str,
    address: String,
    admin_address: String,
    uptime_s: u64,
    /// Whether requests can be answered, as `/readyz` says.
    ready: bool,
    draining: bool,
    codex: Codex,
    generation: Serving,
    slots: Vec<Slot>,
    candidates: Vec<CandidateStatus>,
    refused: Vec<Refused>,
    /// The effect of a restart while the policy folder is refused; absent while it is not.
    restart: Option<Restart>,
    warnings: Vec<Warning>,
    /// When the counters of the limits were last saved; absent without a state folder.
    counters_saved: Option<String>,
    dropped: Dropped,
}

#[derive(Serialize)]
struct Codex {
    kind: &'static str,
    version: String,
    ready: bool,
    reason: Option<String>,
    signed_in: Option<bool>,
    workers: usize,
    turns: usize,
    waiting: usize,
    streams: usize,
}

/// The generation that serves: since when, and by whom.
#[derive(Serialize)]
pub(in crate::api::admin) struct Serving {
    number: u64,
    digest: Digest,
    since: String,
    by: &'static str,
    files: Vec<String>,
    probation: Option<OnProbation>,
    /// The operator whose choice these policies are: the policy folder is not looked at.
    pinned: Option<Pinned>,
    /// Activations of this process, after its first one.
    swaps: u64,
    /// Those that were taken back.
    taken_back: u64,
}

#[derive(Serialize)]
struct OnProbation {
    until: String,
    faults: u64,
    denials: Option<u64>,
}

#[derive(Serialize)]
struct Pinned {
    by: String,
    since: String,
}

/// One slot.
#[derive(Serialize)]
pub(in crate::api::admin) struct Slot {
    #[serde(flatten)]
    status: SlotStatus,
    /// The lists in its settings that are not empty, with the number of their entries.
    entries: BTreeMap<String, usize>,
    /// Its decisions of the last minute.
    decisions: Recent,
}

#[derive(Serialize)]
struct Refused {
    since: String,
    file: String,
    slot: Option<&'static str>,
    problem: String,
}

#[derive(Serialize)]
struct Warning {
    file: String,
    what: String,
}

/// Lines and spans that were lost since the start; absent if they are not recorded.
#[derive(Serialize)]
struct Dropped {
    log: u64,
    usage: Option<u64>,
    traces: Option<u64>,
    protocol: Option<u64>,
    records: Option<u64>,
}

/// The state of the gateway.
pub(in crate::api::admin) async fn read(State(admin): State<Admin>) -> Json<Status> {
    let shared = &admin.shared;
    let serving = shared.live.current();
    let codex = codex(shared);
    let draining = shared.draining.is_cancelled();
    Json(Status {
        version: env!("CARGO_PKG_VERSION"),
        address: admin.address.to_string(),
        admin_address: admin.listens.to_string(),
        uptime_s: admin.began.elapsed().as_secs(),
        ready: codex.ready && !draining,
        draining,
        codex,
        slots: slots(shared, &serving),
        generation: generation(shared, &serving),
        candidates: candidates(shared),
        refused: refused(shared),
        restart: shared.live.restart(),
        warnings: warnings(shared),
        counters_saved: shared
            .counters
            .counts()
            .saved_ms
            .map(|ms| time(UNIX_EPOCH + Duration::from_millis(ms))),
        dropped: dropped(shared),
    })
}

fn codex(shared: &Shared) -> Codex {
    let status = shared.backend.status();
    Codex {
        kind: status.kind,
        version: status.version,
        ready: status.ready,
        reason: status.reason,
        signed_in: status.signed_in,
        workers: status.workers.len(),
        turns: status.turns,
        waiting: status.waiting,
        streams: shared.telemetry.streaming(),
    }
}

fn time(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// The generation that serves.
pub(super) fn generation(shared: &Shared, serving: &Generation) -> Serving {
    Serving {
        number: serving.number(),
        digest: serving.digest(),
        since: time(serving.since()),
        by: serving.door().name(),
        files: serving.file_names(),
        probation: shared.live.on_probation().map(|on| OnProbation {
            until: time(on.until),
            faults: on.faults,
            denials: on.denials,
        }),
        pinned: shared.live.pinned().map(|pin| Pinned {
            by: pin.by,
            since: time(UNIX_EPOCH + Duration::from_secs(pin.since)),
        }),
        swaps: shared.live.swaps(),
        taken_back: shared.live.taken_back(),
    }
}

/// The slots of the generation that serves.
pub(super) fn slots(shared: &Shared, serving: &Generation) -> Vec<Slot> {
    let recent = |slot: &str| {
        let pace = shared.telemetry.pace.as_deref();
        pace.map(|pace| pace.of(slot)).unwrap_or_default()
    };
    let slots = serving.slots().into_iter().zip(serving.entries());
    slots
        .map(|(status, entries)| Slot {
            decisions: recent(status.slot),
            entries: entries.iter().cloned().collect(),
            status,
        })
        .collect()
}

/// The candidates, oldest first, with the most frequent differences only.
fn candidates(shared: &Shared) -> Vec<CandidateStatus> {
    let mut candidates = shared.live.candidates();
    for candidate in &mut candidates {
        let reports = [Some(&mut candidate.replayed), candidate.shadow.as_mut()];
        for report in reports.into_iter().flatten() {
            report.differences.truncate(DIFFERENCES);
        }
    }
    candidates
}

fn refused(shared: &Shared) -> Vec<Refused> {
    let refused = shared.live.open_refusals().into_iter();
    refused
        .map(|OpenRefusal { refusal, since }| Refused {
            since: time(since),
            file: refusal.file(),
            slot: refusal.slot.map(policy::Slot::name),
            problem: refusal.problem(),
        })
        .collect()
}

fn warnings(shared: &Shared) -> Vec<Warning> {
    let notices = shared.live.notices().into_iter();
    notices
        .map(|notice| Warning {
            file: notice.file(),
            what: notice.what(),
        })
        .collect()
}

fn dropped(shared: &Shared) -> Dropped {
    let usage = shared.telemetry.usage.as_ref();
    let traces = shared.telemetry.traces.as_ref();
    let protocol = shared.backend.messages_recorded();
    Dropped {
        log: telemetry::log_lines_dropped(),
        usage: usage.map(|usage| usage.counts().1),
        traces: traces.map(|traces| traces.lost()),
        protocol: protocol.map(|(_, dropped)| dropped),
        records: shared.live.recorded().map(|(_, dropped)| dropped),
    }
}
