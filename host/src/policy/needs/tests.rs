//! Undeclared parts are blank, and declared ones are as they were.

use super::super::bindings::Credential;
use super::*;

fn request() -> Request {
    let header = |name: &str| (name.to_owned(), "v".to_owned());
    Request {
        id: "req_1".to_owned(),
        method: "POST".to_owned(),
        path: "/v1/x".to_owned(),
        query: Some("q".to_owned()),
        host: "h".to_owned(),
        client: "127.0.0.1".to_owned(),
        headers: vec![header("origin"), header("user-agent"), header("origin")],
        credential: Some(Credential {
            scheme: "Bearer".to_owned(),
            fingerprint: "f".to_owned(),
            secret: None,
        }),
        now_ms: 12_345,
    }
}

fn blank() -> Request {
    Request {
        id: String::new(),
        method: String::new(),
        path: String::new(),
        query: None,
        host: String::new(),
        client: String::new(),
        headers: Vec::new(),
        credential: None,
        now_ms: 0,
    }
}

fn read(slot: Slot, declared: &[Need]) -> Needs {
    Needs::read(slot, declared.to_vec()).unwrap()
}

/// Shows one part of the full request in the blank one.
type Part = fn(&mut Request, Request);

#[test]
fn an_undeclared_part_of_a_request_is_blank() {
    assert_eq!(read(Slot::Auth, &[]).request(&(&request()).into()), blank());
    let parts: [(Need, Part); 9] = [
        (Need::Id, |seen, full| seen.id = full.id),
        (Need::Credential, |seen, full| {
            seen.credential = full.credential
        }),
        (Need::Method, |seen, full| seen.method = full.method),
        (Need::Path, |seen, full| seen.path = full.path),
        (Need::Query, |seen, full| seen.query = full.query),
        (Need::Host, |seen, full| seen.host = full.host),
        (Need::Client, |seen, full| seen.client = full.client),
        (Need::Headers, |seen, full| seen.headers = full.headers),
        (Need::Now(1000), |seen, _| seen.now_ms = 12_000),
    ];
    for (need, part) in parts {
        let seen = read(Slot::Auth, std::slice::from_ref(&need)).request(&(&request()).into());
        let mut expected = blank();
        part(&mut expected, request());
        assert_eq!(seen, expected, "{need:?}");
    }
    let origin = read(Slot::Auth, &[Need::Header("origin".to_owned())]);
    let headers = origin.request(&(&request()).into()).headers;
    assert_eq!(headers.len(), 2, "{headers:?}");
    assert_eq!(Needs::everything().request(&(&request()).into()), request());
}

#[test]
fn an_undeclared_part_of_a_question_about_limits_is_blank() {
    let full = || rate_limit::Ask {
        client: "127.0.0.1".to_owned(),
        caller: Some(Caller {
            id: "alice".to_owned(),
            tenant: Some("acme".to_owned()),
            groups: vec!["staff".to_owned()],
        }),
        endpoint: "/v1/x".to_owned(),
        model: Some("m".to_owned()),
        streaming: true,
        estimated_tokens: 7,
        now_ms: 1_999,
    };
    let needs = [Need::Groups, Need::EstimatedTokens, Need::Now(1000)];
    let seen = read(Slot::RateLimit, &needs).limits(&full());
    let caller = seen.caller.unwrap();
    assert_eq!((caller.id.as_str(), caller.tenant), ("", None));
    assert_eq!(caller.groups, ["staff"]);
    assert_eq!((seen.client.as_str(), seen.endpoint.as_str()), ("", ""));
    assert_eq!((seen.model, seen.streaming), (None, false));
    assert_eq!((seen.estimated_tokens, seen.now_ms), (7, 1_000));
    let needs = [
        Need::Caller,
        Need::Client,
        Need::Endpoint,
        Need::Model,
        Need::Streaming,
    ];
    let seen = read(Slot::RateLimit, &needs).limits(&full());
    let expected = rate_limit::Ask {
        caller: seen.caller.clone(),
        estimated_tokens: 0,
        now_ms: 0,
        ..full()
    };
    assert_eq!(seen, expected);
    assert!(seen.caller.unwrap().groups.is_empty());
}

#[test]
fn a_need_of_another_slot_says_nothing_and_the_finest_clock_counts() {
    let needs = [Need::Now(5000), Need::Path, Need::Model, Need::Now(10)];
    assert_eq!(read(Slot::Model, &needs).words(), ["model", "now(10)"]);
    assert_eq!(read(Slot::Auth, &needs).words(), ["path", "now(10)"]);
}

#[test]
fn a_need_out_of_bounds_is_told() {
    let read = |needs| Needs::read(Slot::Auth, needs).unwrap_err();
    assert!(read(vec![Need::Now(0)]).contains("at least 1"));
    for name in ["", "X-Upper", "a b", "a:b", &"x".repeat(129)] {
        let told = read(vec![Need::Header(name.to_owned())]);
        assert!(told.contains("lower case"), "{told}");
    }
    let told = read(vec![Need::Header("cookie".to_owned())]);
    assert!(told.contains("no policy gets"), "{told}");
    assert!(read(vec![Need::Path; 65]).contains("at most 64"));
}

/// The bounds in the SDK's harness, with which authors test, are twins of those here: the SDK is copied into new policies.
#[test]
fn the_harness_of_the_sdk_has_the_same_bounds() {
    let host = include_str!("../needs.rs");
    let sdk = include_str!("../../../../policies/sdk/src/harness.rs");
    for (begin, end) in [
        ("const MOST: ", ";\n"),
        ("const NAME: ", ";\n"),
        ("const SEPARATORS: ", ";\n"),
        ("const WITHHELD: ", "\n];"),
    ] {
        let of = |source: &'static str| {
            let (_, rest) = source.split_once(begin).unwrap();
            rest.split_once(end).unwrap().0
        };
        assert_eq!(of(host), of(sdk), "{begin}");
    }
}
