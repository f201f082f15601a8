//! Policies as an operator uses them: refusals at load and their reasons, the effect of a fault, and of freezing.

use std::sync::Arc;

use codex_gateway::policy::{
    Defaults, Engine, Facts, FaultKind, Generation, Instances, Live, Refused, Request, Slot, Source,
};
use codex_gateway_tests::guests::{EVERY, FORBIDDEN, deploy, foreign, replace};
use serde_json::json;

fn engine() -> Engine {
    static ENGINE: std::sync::OnceLock<Engine> = std::sync::OnceLock::new();
    ENGINE.get_or_init(|| Engine::new(None).unwrap()).clone()
}

/// Prepares a first generation from these files over the built-in policies.
async fn start(files: &[(&str, &[u8])]) -> Result<Live, String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        deploy(folder.path(), name, bytes);
    }
    let source = Source::new(Some(folder.path().to_owned()), Defaults::default());
    let candidates = source
        .read(&Facts::default())
        .map_err(|refusals| refusals.to_string())?;
    Live::start(engine(), &candidates)
        .await
        .map_err(|refusals| refusals.to_string())
}

async fn generation(files: &[(&str, &[u8])]) -> Arc<Generation> {
    start(files).await.unwrap().current()
}

fn request(hostile: &str) -> Request {
    Request {
        id: "test".to_owned(),
        method: "GET".to_owned(),
        path: "/v1/models".to_owned(),
        query: None,
        host: "localhost".to_owned(),
        client: "127.0.0.1".to_owned(),
        headers: vec![("x-hostile".to_owned(), hostile.to_owned())],
        credential: None,
        now_ms: 1_700_000_000_000,
    }
}

fn fault(refused: Refused) -> FaultKind {
    match refused {
        Refused::Fault(fault) => fault.kind,
        other => panic!("no fault: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_built_in_policies_are_frozen() {
    let generation = generation(&[]).await;
    for slot in generation.slots() {
        assert_eq!(
            slot.about.instances,
            Instances::Frozen,
            "{}: {:?}",
            slot.slot,
            slot.about.warm_because
        );
        assert_eq!(slot.about.file, "built-in");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_names_the_file_the_slot_and_what_was_found() {
    let core_module: &[u8] = b"\0asm\x01\0\0\0";
    let half = &EVERY[..EVERY.len() / 2];
    let cases: &[(&str, &[u8], &[&str])] = &[
        (
            "auth.wasm",
            b"#!/bin/sh",
            &["auth.wasm (auth policy)", "WebAssembly component", "0x23"],
        ),
        ("auth.wasm", b"", &["an empty file"]),
        (
            "model.wasm",
            core_module,
            &["model.wasm (model policy)", "core module", "wasm32-wasip2"],
        ),
        ("auth.wasm", half, &["auth.wasm", "copied only in part"]),
        (
            "model.wasm",
            FORBIDDEN,
            &[
                "expected exports codex:policy/lifecycle@0.2.0, codex:policy/model@0.2.0",
                "found",
            ],
        ),
        (
            "auth.wasm",
            &foreign(),
            &["expected imports of WASI 0.2", "wasj:filesystem/"],
        ),
        (
            "auth.json",
            b"{\"keyz\": []}",
            &["auth.json (auth policy)", "keyz"],
        ),
        ("auth.json", b"[1]", &["auth.json", "a list"]),
    ];
    for (name, bytes, expected) in cases {
        let message = start(&[(name, bytes)])
            .await
            .err()
            .unwrap_or_else(|| panic!("{name} was accepted"));
        for words in *expected {
            assert!(
                message.contains(words),
                "`{words}` is missing in: {message}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_for_another_contract_version_is_refused_by_version() {
    // The version is part of the component's names, so a changed digit makes a component of another contract.
    let other: Vec<u8> = replace(EVERY, b"@0.2.0", b"@0.7.0");
    let message = start(&[("auth.wasm", &other)]).await.err().unwrap();
    assert!(
        message.contains("codex:policy@0.7.0") && message.contains("codex:policy@0.2.x or 0.1.x"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_while_configuring_is_a_refusal() {
    for (how, expected) in [
        ("panic", "told to panic"),
        ("spin", "deadline"),
        ("hoard", "memory"),
        ("refuse", "told to refuse"),
    ] {
        let settings = format!(r#"{{"configure": "{how}"}}"#);
        let message = start(&[("auth.wasm", EVERY), ("auth.json", settings.as_bytes())])
            .await
            .err()
            .unwrap();
        assert!(message.contains(expected), "{how}: {message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_hostile_act_is_a_fault_of_its_kind_and_counted() {
    // A deadline long enough to fill the memory, on a busy machine too.
    let patient = b"[auth]\ndeadline_ms = 2000\n";
    let generation = generation(&[("auth.wasm", EVERY), ("policies.toml", patient)]).await;
    let cases = [
        ("panic", FaultKind::Trap),
        ("spin", FaultKind::Deadline),
        ("hoard", FaultKind::Memory),
        ("recurse", FaultKind::Trap),
        ("flood", FaultKind::AnswerTooLarge),
        ("exit", FaultKind::Exit),
        ("nonsense", FaultKind::Nonsense),
    ];
    for (how, expected) in cases {
        let refused = generation.authenticate(&request(how)).await.unwrap_err();
        assert_eq!(fault(refused), expected, "{how}");
        let caller = generation.authenticate(&request("")).await.unwrap();
        assert_eq!(
            caller.id, "anybody",
            "after {how} the next request is decided"
        );
    }
    assert_eq!(generation.slots()[0].faults, cases.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_remembered_from_one_decision_to_the_next() {
    let generation = generation(&[("auth.wasm", EVERY)]).await;
    for _ in 0..3 {
        assert_eq!(
            generation.authenticate(&request("count")).await.unwrap().id,
            "call-1"
        );
    }
    generation.authenticate(&request("print")).await.unwrap();
    generation.authenticate(&request("print")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_cannot_be_frozen_runs_warm_and_says_so() {
    let settings = br#"{"configure": "hold", "stamp": 5}"#;
    let generation = generation(&[("auth.wasm", EVERY), ("auth.json", settings)]).await;
    let about = &generation.slots()[0].about;
    assert_eq!(about.instances, Instances::Warm);
    assert!(about.warm_because.as_deref().unwrap().contains("resources"));
    assert_eq!(
        generation
            .authenticate(&request("count"))
            .await
            .unwrap()
            .groups,
        ["5"]
    );
    // A fault retires the instance in which it happened; the next decision gets a configured one.
    assert_eq!(
        fault(
            generation
                .authenticate(&request("panic"))
                .await
                .unwrap_err()
        ),
        FaultKind::Trap
    );
    let caller = generation.authenticate(&request("count")).await.unwrap();
    assert_eq!(
        (caller.id.as_str(), caller.groups[0].as_str()),
        ("call-1", "5")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_prints_in_configure_prints_in_decisions() {
    for how in ["print", "complain", "complain and print"] {
        let settings = format!(r#"{{"configure": "{how}", "stamp": 5}}"#);
        let files = [("auth.wasm", EVERY), ("auth.json", settings.as_bytes())];
        let generation = generation(&files).await;
        for act in ["print", "complain", "print", "count"] {
            let answer = generation.authenticate(&request(act)).await;
            assert_eq!(answer.unwrap().groups, ["5"], "{how}, {act}");
        }
        let panicked = generation.authenticate(&request("panic")).await;
        assert_eq!(fault(panicked.unwrap_err()), FaultKind::Trap);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_is_shown_only_to_a_policy_that_was_granted_it() {
    let asked = || {
        let credential = codex_gateway::policy::Credential {
            scheme: "Bearer".to_owned(),
            fingerprint: "00".to_owned(),
            secret: Some("sk-secret".to_owned()),
        };
        Request {
            credential: Some(credential),
            ..request("secret")
        }
    };
    let plain = generation(&[("auth.wasm", EVERY)]).await;
    assert_eq!(plain.authenticate(&asked()).await.unwrap().id, "withheld");
    let manifest = b"[auth]\ngrants = [\"credential\"]\n";
    let granted = generation(&[("auth.wasm", EVERY), ("policies.toml", manifest)]).await;
    assert_eq!(
        granted.authenticate(&asked()).await.unwrap().id,
        "sk-secret"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_keeps_what_did_not_change_and_a_refusal_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let source = Source::new(Some(folder.path().to_owned()), Defaults::default());
    let facts = Facts::default();
    let live = Live::start(engine(), &source.read(&facts).unwrap())
        .await
        .unwrap();
    assert_eq!(
        live.replace(&source.read(&facts).unwrap()).await.unwrap(),
        1,
        "nothing changed, nothing swapped"
    );
    deploy(folder.path(), "auth.wasm", EVERY);
    assert_eq!(
        live.replace(&source.read(&facts).unwrap()).await.unwrap(),
        2
    );
    let held = live.current();
    deploy(folder.path(), "auth.wasm", b"broken");
    deploy(folder.path(), "model.json", br#"{"nonsense": true}"#);
    let refusals = live
        .replace(&source.read(&facts).unwrap())
        .await
        .unwrap_err();
    assert_eq!(
        refusals
            .0
            .iter()
            .map(|refusal| refusal.slot)
            .collect::<Vec<_>>(),
        [Some(Slot::Auth), Some(Slot::Model)]
    );
    assert_eq!(live.current().number(), held.number());
}

/// The test policy with `words` replaced by `others`.
fn forged(words: &[u8], others: &[u8]) -> Vec<u8> {
    assert_eq!(words.len(), others.len());
    let mut wasm = EVERY.to_vec();
    let found = wasm.windows(words.len()).position(|part| part == words);
    let at = found.expect("the words are there");
    wasm[at..at + words.len()].copy_from_slice(others);
    wasm
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_first_calls_show_to_be_nonsense_is_refused_at_load() {
    for (slot, settings, found) in [
        (
            "rate-limit",
            json!({"sets": "content-length"}),
            "content-length",
        ),
        (
            "rate-limit",
            json!({"sets": "x-request-id"}),
            "x-request-id",
        ),
    ] {
        let files = [format!("{slot}.wasm"), format!("{slot}.json")];
        let settings = settings.to_string();
        let files: [(&str, &[u8]); 2] = [(&files[0], EVERY), (&files[1], settings.as_bytes())];
        let message = start(&files).await.err().expect("it is refused");
        assert!(message.contains(&format!("{slot}.wasm")), "{message}");
        assert!(
            message.contains(found) && message.len() < 1_000,
            "{message}"
        );
    }
    let two_lines = forged(b"0.0.1-test", b"0.0.1\ntest");
    let message = start(&[("model.wasm", &two_lines)]).await;
    let message = message.err().expect("it is refused");
    assert!(message.contains("control characters"), "{message}");
    let message = start(&[
        ("auth.wasm", EVERY),
        ("auth.json", br#"{"configure": "rant"}"#),
    ])
    .await
    .err()
    .expect("it is refused");
    assert!(
        message.contains(r"told\r\n\u{1b}[31mto\u{0}rant"),
        "{message}"
    );
    assert!(message.len() < 6_000 && !message.contains(char::is_control));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_the_contract_is_nonsense_with_a_name() {
    let generation = generation(&[("auth.wasm", EVERY)]).await;
    let mut faults = 0;
    for (hostile, found) in [
        ("denies content-length", "\"content-length\""),
        ("denies Transfer-Encoding", "\"transfer-encoding\""),
        ("denies set-cookie", "\"set-cookie\""),
        ("denies x-codex-generation", "\"x-codex-generation\""),
        ("code", "a denial's code with control characters"),
        ("id-long", "a caller's id of 257 bytes"),
        ("id-control", "a caller's id with control characters"),
        ("group-control", "a caller's group with control characters"),
        ("nonsense", "a caller's id that is empty"),
    ] {
        faults += 1;
        let Refused::Fault(fault) = generation
            .authenticate(&request(hostile))
            .await
            .unwrap_err()
        else {
            panic!("{hostile} was let through");
        };
        assert_eq!((fault.slot, fault.kind), (Slot::Auth, FaultKind::Nonsense));
        assert!(fault.cause.contains(found), "{hostile}: {fault}");
    }
    for header in ["content-length", "www-authenticate", "x-forwarded-for"] {
        faults += 1;
        let refused = generation
            .verify(&request(&format!("grants {header}")))
            .await;
        assert_eq!(fault(refused.unwrap_err()), FaultKind::Nonsense, "{header}");
    }
    assert_eq!(generation.slots()[0].faults, faults);
    for header in [
        "www-authenticate",
        "retry-after",
        "ratelimit-limit",
        "x-stamp",
    ] {
        let refused = generation
            .authenticate(&request(&format!("denies {header}")))
            .await;
        assert!(matches!(refused, Err(Refused::Denied(_))), "{header}");
    }
    for header in ["x-team", "remote-user", "authorization", "x-auth-caller"] {
        let granted = generation
            .verify(&request(&format!("grants {header}")))
            .await;
        assert_eq!(granted.unwrap().headers[0].0, header);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_words_of_a_denial_are_cut_and_escaped() {
    let generation = generation(&[("auth.wasm", EVERY)]).await;
    let Err(Refused::Denied(denial)) = generation.authenticate(&request("rant")).await else {
        panic!("it is a denial");
    };
    for (words, most) in [(denial.message, 4_100), (denial.param.unwrap(), 260)] {
        assert!(
            words.starts_with(r"told\r\n\u{1b}[31mto\u{0}rant"),
            "{words}"
        );
        assert!(words.len() < most && !words.contains(char::is_control));
    }
}
