//! Tests of the callers that were seen: what is counted, and the bounds.

use std::time::Duration;

use super::*;

/// A request of a caller that was over so many seconds after 1970.
fn request<'a>(caller: &'a str, seconds: u64) -> Summary<'a> {
    Summary {
        caller: Some(caller),
        client: "192.0.2.7",
        path: "/v1/chat/completions",
        began: Duration::from_secs(seconds),
        ..Summary::default()
    }
}

fn limited() -> Refusal {
    Refusal {
        slot: "rate-limit",
        status: 429,
        code: "rate_limited".to_owned(),
        message: "Later.".to_owned(),
        rules: vec!["per-caller".to_owned()],
    }
}

fn ids(callers: &[Seen]) -> Vec<&str> {
    callers.iter().map(|seen| seen.id.as_str()).collect()
}

#[test]
fn requests_are_counted_by_caller_and_model() {
    let callers = Callers::default();
    let tokens = Tokens {
        input: 10,
        output: 5,
        ..Tokens::default()
    };
    for model in ["codex-5", "codex-5", "gpt-5"] {
        callers.ended(&Summary {
            model: Some(model),
            stream: Some(true),
            tokens: Some(tokens),
            ..request("bob", 1)
        });
    }
    callers.ended(&request("bob", 2));
    callers.ended(&request("ann", 3));
    callers.ended(&Summary::default());
    let (all, known) = callers.last(9);
    assert_eq!((ids(&all), known), (vec!["ann", "bob"], 2));
    let bob = &callers.of("bob", 9)[0];
    assert_eq!((bob.requests, bob.denied, bob.tokens.input), (4, 0, 30));
    let models = bob.models.iter();
    let models: Vec<_> = models
        .map(|used| (used.model.as_deref(), used.requests, used.tokens.output))
        .collect();
    assert_eq!(models, [(Some("codex-5"), 2, 10), (Some("gpt-5"), 1, 5)]);
    assert_eq!(bob.path.as_deref(), Some("/v1/chat/completions"));
    assert!(callers.of("carol", 9).is_empty());
}

#[test]
fn the_last_refusal_stays_with_its_rule() {
    let callers = Callers::default();
    let refusal = limited();
    callers.ended(&Summary {
        id: "req-7",
        refusal: Some(&refusal),
        ..request("bob", 1)
    });
    callers.ended(&request("bob", 2));
    let bob = &callers.of("bob", 9)[0];
    assert_eq!((bob.requests, bob.denied), (2, 1));
    let told = serde_json::to_value(bob).unwrap();
    let refusal = &told["refusal"];
    assert_eq!(
        (&refusal["code"], &refusal["rules"][0], &refusal["request"]),
        (
            &"rate_limited".into(),
            &"per-caller".into(),
            &"req-7".into()
        )
    );
    assert_eq!(refusal["at"], "1970-01-01T00:00:01Z");
}

#[test]
fn the_same_id_of_another_tenant_is_another_caller() {
    let callers = Callers::default();
    for (tenant, seconds) in [(Some("acme"), 1), (None, 2), (Some("acme"), 3)] {
        callers.ended(&Summary {
            tenant,
            ..request("bob", seconds)
        });
    }
    let found = callers.of("bob", 9);
    let found: Vec<_> = found
        .iter()
        .map(|seen| (seen.tenant.as_deref(), seen.requests))
        .collect();
    assert_eq!(found, [(Some("acme"), 2), (None, 1)]);
}

#[test]
fn callers_are_bounded_and_those_seen_last_stay() {
    let callers = Callers::default();
    for number in 0..3 * (CALLERS * SHARDS) as u64 {
        callers.ended(&request(&number.to_string(), number));
        callers.ended(&request("always", number));
    }
    let (last, known) = callers.last(3);
    assert!(known <= CALLERS * SHARDS && known > 9_000, "{known}");
    assert_eq!(ids(&last), ["29999", "always", "29998"]);
    for shard in &callers.shards {
        let shard = shard.lock();
        let bytes = shard.known.values().map(|known| known.seen.size());
        assert_eq!(shard.bytes, bytes.sum::<usize>());
    }
}

#[test]
fn bytes_are_bounded_whatever_names_there_are() {
    let callers = Callers::default();
    let groups: Vec<_> = (0..16).map(|_| "g".repeat(256)).collect();
    for number in 0..9_000 {
        let (caller, model) = (format!("{number:0>200}"), format!("{:0>250}", number % 40));
        for path in ["/v1/responses", &"/".repeat(9_000)] {
            callers.ended(&Summary {
                groups: &groups,
                model: Some(&model),
                path,
                ..request(&caller, number)
            });
        }
    }
    let bytes: usize = callers.shards.iter().map(|shard| shard.lock().bytes).sum();
    assert!(bytes <= SHARDS * BYTES, "{bytes}");
    let (last, known) = callers.last(1);
    assert!(known > 1_000, "{known}");
    assert_eq!(last[0].models[0].path, "/v1/responses");
}

#[test]
fn models_beyond_the_first_ones_are_counted_together() {
    let callers = Callers::default();
    for number in 0..MODELS + 5 {
        callers.ended(&Summary {
            model: Some(&number.to_string()),
            ..request("bob", 1)
        });
    }
    let models = &callers.of("bob", 1)[0].models;
    assert_eq!(models.len(), MODELS + 1);
    assert_eq!(
        (models[MODELS].model.as_deref(), models[MODELS].requests),
        (None, 5)
    );
}
