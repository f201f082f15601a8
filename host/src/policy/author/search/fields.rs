//! The fields of the contract's questions: where each is in an input, the values it may have, and the need that shows it.

use super::super::super::Slot;

/// A field of an input.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    /// The question; all of the slot's questions have the same fields, but the first is at another place for some.
    pub(super) question: &'static str,
    /// The JSON pointer to it.
    pub(super) place: &'static str,
    pub(super) kind: Kind,
    /// The names of members of settings, in the singular, whose values it may have.
    pub(super) names: &'static [&'static str],
    /// The need that shows it to a policy; empty: it is always shown.
    pub(super) need: &'static str,
}

/// The values of a field.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// A text, often one of these.
    Text(&'static [&'static str]),
    /// A list of texts.
    Texts,
    /// 64 hexadecimal digits.
    Fingerprint,
    Flag,
    Number,
    /// Headers, of which the needs name some.
    Headers,
    /// Absent.
    Null,
    /// An event of a turn.
    Event,
}

const METHODS: &[&str] = &["GET", "POST", "OPTIONS", "DELETE"];
const PATHS: &[&str] = &[
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/responses/compact",
    "/v1/completions",
    "/v1/messages",
    "/v1/models",
    "/v1/models/x",
    "/healthz",
    "/",
];
const ADDRESSES: &[&str] = &[
    "127.0.0.1",
    "127.0.0.2",
    "10.0.0.1",
    "::ffff:10.0.0.1",
    "2001:db8::1",
    "2001:db8::2",
    "2001:db8:0:1::1",
    "unknown",
];
const SCHEMES: &[&str] = &["Bearer", "bearer", "Basic"];
const EFFORTS: &[&str] = &[
    "none", "minimal", "low", "medium", "high", "xhigh", "max", "",
];
const CALLERS: &[&str] = &["caller", "other"];
const HOSTS: &[&str] = &["localhost", "example.com", ""];
const QUERIES: &[&str] = &["", "limit=1"];
const MODELS: &[&str] = &["codex-5", "codex-5-low", "gpt-5", ""];

const CALLER: &[&str] = &["caller", "id", "key"];
const TENANT: &[&str] = &["tenant"];
const GROUP: &[&str] = &["group"];
const MODEL: &[&str] = &["model", "id", "aliase", "default"];
const PATH: &[&str] = &["path", "endpoint", "anonymou", "prefix"];
const CLIENT: &[&str] = &["client", "addresse", "addres", "network"];
const KEY: &[&str] = &["sha256", "fingerprint", "key"];

const fn field(
    question: &'static str,
    place: &'static str,
    kind: Kind,
    names: &'static [&'static str],
    need: &'static str,
) -> Field {
    Field {
        question,
        place,
        kind,
        names,
        need,
    }
}

/// Those of a request, for each of the two questions about one.
const fn of_request(question: &'static str) -> [Field; 9] {
    [
        field(
            question,
            "/credential/fingerprint",
            Kind::Fingerprint,
            KEY,
            "credential",
        ),
        field(
            question,
            "/credential/scheme",
            Kind::Text(SCHEMES),
            &["scheme"],
            "credential",
        ),
        field(question, "/credential", Kind::Null, &[], "credential"),
        field(question, "/path", Kind::Text(PATHS), PATH, "path"),
        field(
            question,
            "/method",
            Kind::Text(METHODS),
            &["method"],
            "method",
        ),
        field(question, "/query", Kind::Text(QUERIES), &["query"], "query"),
        field(
            question,
            "/host",
            Kind::Text(HOSTS),
            &["host", "origin"],
            "host",
        ),
        field(question, "/client", Kind::Text(ADDRESSES), CLIENT, "client"),
        field(
            question,
            "/headers",
            Kind::Headers,
            &["header", "origin"],
            "header",
        ),
    ]
}

/// Those of a caller at this place.
macro_rules! caller {
    ($question:literal, $place:literal) => {
        [
            field(
                $question,
                concat!($place, "/id"),
                Kind::Text(CALLERS),
                CALLER,
                "caller",
            ),
            field(
                $question,
                concat!($place, "/tenant"),
                Kind::Text(&[]),
                TENANT,
                "caller",
            ),
            field(
                $question,
                concat!($place, "/groups"),
                Kind::Texts,
                GROUP,
                "groups",
            ),
        ]
    };
}

/// The fields of all questions of a slot.
pub(super) fn of(slot: Slot) -> Vec<Field> {
    match slot {
        Slot::Auth => {
            let questions = ["authenticate", "verify"].into_iter();
            questions.flat_map(of_request).collect()
        }
        Slot::Model => [
            &caller!("resolve", "/ask/caller")[..],
            &caller!("catalog", "/caller"),
            &OF_MODEL,
        ]
        .concat(),
        Slot::RateLimit => [&caller!("admit", "/ask/caller")[..], &OF_LIMITS].concat(),
        Slot::ToolStop => [&caller!("observe", "/progress/caller")[..], &OF_TURN].concat(),
    }
}

const OF_MODEL: [Field; 3] = [
    field(
        "resolve",
        "/ask/requested",
        Kind::Text(MODELS),
        MODEL,
        "model",
    ),
    field(
        "resolve",
        "/ask/effort",
        Kind::Text(EFFORTS),
        &["effort"],
        "effort",
    ),
    field("catalog", "/caller", Kind::Null, &[], ""),
];

const OF_LIMITS: [Field; 7] = [
    field("admit", "/ask/caller", Kind::Null, &[], "by-address"),
    field(
        "admit",
        "/ask/client",
        Kind::Text(ADDRESSES),
        CLIENT,
        "client",
    ),
    field(
        "admit",
        "/ask/endpoint",
        Kind::Text(PATHS),
        PATH,
        "endpoint",
    ),
    field("admit", "/ask/model", Kind::Text(MODELS), MODEL, "model"),
    field("admit", "/ask/model", Kind::Null, &[], "model"),
    field("admit", "/ask/streaming", Kind::Flag, &[], "streaming"),
    field(
        "admit",
        "/ask/estimated_tokens",
        Kind::Number,
        &["limit", "token"],
        "estimated-tokens",
    ),
];

const EVENT: Field = field("observe", "/event", Kind::Event, &["tool", "name"], "");

const OF_TURN: [Field; 5] = [
    // Most depends on it.
    EVENT,
    EVENT,
    field("observe", "/progress/calls", Kind::Number, &["call"], ""),
    field(
        "observe",
        "/progress/model",
        Kind::Text(MODELS),
        MODEL,
        "model",
    ),
    field(
        "observe",
        "/progress/streaming",
        Kind::Flag,
        &[],
        "streaming",
    ),
];
