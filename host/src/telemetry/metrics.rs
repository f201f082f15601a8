//! Metrics: counters and histograms, their names, and the text that Prometheus reads.

mod format;
mod labels;
mod present;
mod process;

use std::time::SystemTime;

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::{Decision, Summary, Tokens};
pub use format::Format;
use labels::{DecisionLabels, Fault, GenAi, Models, Request, Route, Slot, Token, TokenKind};
pub use present::Present;

/// Histogram bounds for the duration of requests and turns in seconds, as in OpenTelemetry's conventions for generative AI, and
/// some longer ones.
const SECONDS: [f64; 17] = [
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84,
    327.68, 655.36,
];
/// Histogram bounds for the seconds to the first token, as in those conventions, and two longer ones.
const FIRST_TOKEN: [f64; 18] = [
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    30.0, 60.0,
];
/// Histogram bounds for the seconds of one decision.
const DECISION: [f64; 13] = [
    0.000_01, 0.000_02, 0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05,
    0.1,
];
/// Histogram bounds for tokens, as in those conventions.
const TOKENS: [f64; 12] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
];

/// All counters and histograms. Values that are only looked up when read are in [`Present`].
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    started: SystemTime,
    requests: Family<Request, Counter>,
    durations: Family<Route, Histogram>,
    active: Gauge,
    turn_durations: Family<GenAi, Histogram>,
    first_tokens: Family<GenAi, Histogram>,
    usage: Family<Token, Histogram>,
    tokens: Family<TokenKind, Counter>,
    decisions: Family<DecisionLabels, Counter>,
    kept_decisions: Family<Slot, Counter>,
    decision_durations: Family<Slot, Histogram>,
    faults: Family<Fault, Counter>,
    slots: Vec<SlotCounts>,
    models: Models,
}

/// The outcomes of decisions.
const OUTCOMES: [&str; 3] = ["answered", "denied", "fault"];

/// The metrics of one slot's decisions, found without their labels: each request has several decisions.
#[derive(Debug)]
struct SlotCounts {
    slot: &'static str,
    /// As in [`OUTCOMES`].
    outcomes: [Counter; OUTCOMES.len()],
    kept: Counter,
    durations: Histogram,
}

impl Metrics {
    /// New metrics. `slots` and `kinds` are the names of the slots and of the kinds of fault: their counters exist from the
    /// start, so that the first fault shows as an increase.
    #[must_use]
    pub fn new(slots: &[&'static str], kinds: &[&'static str]) -> Self {
        let seconds = || Histogram::new(SECONDS);
        let mut metrics = Self {
            registry: Registry::default(),
            started: SystemTime::now(),
            requests: Family::default(),
            durations: Family::new_with_constructor(seconds),
            active: Gauge::default(),
            turn_durations: Family::new_with_constructor(seconds),
            first_tokens: Family::new_with_constructor(|| Histogram::new(FIRST_TOKEN)),
            usage: Family::new_with_constructor(|| Histogram::new(TOKENS)),
            tokens: Family::default(),
            decisions: Family::default(),
            kept_decisions: Family::default(),
            decision_durations: Family::new_with_constructor(|| Histogram::new(DECISION)),
            faults: Family::default(),
            slots: Vec::new(),
            models: Models::default(),
        };
        for slot in slots {
            let counts = metrics.counts(slot);
            metrics.slots.push(counts);
            for kind in kinds {
                drop(metrics.faults.get_or_create(&Fault { slot, kind }));
            }
        }
        metrics.register();
        metrics
    }

    /// The metrics of a slot's decisions, which exist from now on.
    fn counts(&self, slot: &'static str) -> SlotCounts {
        let labels = Slot { slot };
        let outcome = |outcome| {
            let labels = DecisionLabels { slot, outcome };
            self.decisions.get_or_create(&labels).clone()
        };
        SlotCounts {
            slot,
            outcomes: OUTCOMES.map(outcome),
            kept: self.kept_decisions.get_or_create(&labels).clone(),
            durations: self.decision_durations.get_or_create(&labels).clone(),
        }
    }

    /// Registers the metrics with their names. docs/src/operating.md lists the same names: a test compares.
    fn register(&mut self) {
        let to = &mut self.registry;
        to.register("codex_requests", "Requests answered", self.requests.clone());
        to.register_with_unit(
            "http_server_request_duration",
            "From the first byte of a request to the last of its answer",
            Unit::Seconds,
            self.durations.clone(),
        );
        to.register(
            "http_server_active_requests",
            "Requests being answered",
            self.active.clone(),
        );
        to.register_with_unit(
            "gen_ai_server_request_duration",
            "Requests that began a turn, from the first byte to the last of the answer",
            Unit::Seconds,
            self.turn_durations.clone(),
        );
        to.register_with_unit(
            "gen_ai_server_time_to_first_token",
            "From the first byte of a request to the first of the answer's content",
            Unit::Seconds,
            self.first_tokens.clone(),
        );
        to.register(
            "gen_ai_client_token_usage",
            "Tokens a request cost",
            self.usage.clone(),
        );
        to.register("codex_tokens", "Tokens, by kind", self.tokens.clone());
        to.register(
            "codex_policy_decisions",
            "Decisions of policies",
            self.decisions.clone(),
        );
        to.register(
            "codex_policy_kept_decisions",
            "Decisions that were kept from the same question",
            self.kept_decisions.clone(),
        );
        to.register_with_unit(
            "codex_policy_decision_duration",
            "What a decision takes",
            Unit::Seconds,
            self.decision_durations.clone(),
        );
        to.register(
            "codex_policy_faults",
            "Decisions a policy could not make",
            self.faults.clone(),
        );
    }

    pub(super) fn began(&self) {
        self.active.inc();
    }

    pub(super) fn decided(&self, decision: &Decision) {
        let Decision { slot, outcome, .. } = *decision;
        let Some(counts) = self.slots.iter().find(|counts| counts.slot == slot) else {
            return;
        };
        let mut outcomes = OUTCOMES.iter().zip(&counts.outcomes);
        if let Some((_, count)) = outcomes.find(|(name, _)| **name == outcome) {
            count.inc();
        }
        if decision.from_memo {
            counts.kept.inc();
        } else {
            counts.durations.observe(decision.elapsed.as_secs_f64());
        }
        if let Some(kind) = decision.fault {
            self.faults.get_or_create(&Fault { slot, kind }).inc();
        }
    }

    pub(super) fn ended(&self, request: &Summary<'_>) {
        self.active.dec();
        let route = request.route.to_owned();
        self.requests
            .get_or_create(&Request {
                route: route.clone(),
                method: labels::method(request.method),
                status: request.status,
                finish: request.finish.unwrap_or_default(),
            })
            .inc();
        let seconds = request.duration.as_secs_f64();
        self.durations
            .get_or_create(&Route { http_route: route })
            .observe(seconds);
        if let (Some(_), Some(model)) = (request.stream, request.model) {
            self.turn(request, self.models.label(model));
        }
    }

    fn turn(&self, request: &Summary<'_>, model: String) {
        let labels = GenAi::new(request, model.clone());
        self.turn_durations
            .get_or_create(&labels)
            .observe(request.duration.as_secs_f64());
        if let Some(first) = request.first_token {
            self.first_tokens
                .get_or_create(&labels)
                .observe(first.as_secs_f64());
        }
        let Tokens {
            input,
            cached_input,
            output,
            reasoning,
            ..
        } = request.tokens.unwrap_or_default();
        for (kind, tokens) in [("input", input), ("output", output)] {
            self.usage
                .get_or_create(&Token::new(request, model.clone(), kind))
                .observe(tokens as f64);
        }
        for (kind, tokens) in [
            ("input", input),
            ("cached_input", cached_input),
            ("output", output),
            ("reasoning", reasoning),
        ] {
            let model = model.clone();
            self.tokens
                .get_or_create(&TokenKind { model, kind })
                .inc_by(tokens);
        }
    }

    /// All metrics as text.
    #[must_use]
    pub fn render(&self, present: &Present, format: Format) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode_registry(&mut text, &self.registry)
            .and_then(|()| encode_registry(&mut text, &self.present(present)))
            .and_then(|()| encode_eof(&mut text));
        match format {
            Format::OpenMetrics => text,
            Format::Plain => format::plain(&text),
        }
    }

    fn present(&self, present: &Present) -> Registry {
        let mut registry = Registry::default();
        present.register(&mut registry);
        self.process(&mut registry);
        registry
    }

    fn process(&self, to: &mut Registry) {
        let started = self.started.duration_since(SystemTime::UNIX_EPOCH);
        to.register_with_unit(
            "process_start_time",
            "When the gateway began, since 1970",
            Unit::Seconds,
            ConstGauge::new(started.map_or(0.0, |since| since.as_secs_f64())),
        );
        let Some(process) = process::look() else {
            return;
        };
        to.register_with_unit(
            "process_resident_memory",
            "Memory in use",
            Unit::Bytes,
            ConstGauge::new(process.resident),
        );
        to.register(
            "process_open_fds",
            "Files and sockets that are open",
            ConstGauge::new(process.open_files),
        );
    }
}
