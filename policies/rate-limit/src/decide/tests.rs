//! Tests which requests a rule counts, and in which bucket.

use serde_json::{Value, json};

use codex_policy::{Caller, Policy};

use super::*;

mod answers;

const CHAT: &str = "/v1/chat/completions";

fn rules(rules: &Value) -> Rules {
    Rules::parse(&json!({ "rules": rules }).to_string()).unwrap()
}

/// The question before authentication: no caller, no body.
fn early() -> Ask {
    Ask {
        client: "192.0.2.1".to_owned(),
        endpoint: CHAT.to_owned(),
        ..Ask::default()
    }
}

/// The question after authentication.
fn late() -> Ask {
    Ask {
        caller: Some(of_acme("ann")),
        model: Some("codex-5".to_owned()),
        streaming: true,
        estimated_tokens: 1200,
        ..early()
    }
}

fn of_acme(id: &str) -> Caller {
    Caller {
        tenant: Some("acme".to_owned()),
        ..Caller::new(id)
    }
}

/// The names, buckets and costs of the charges for `ask`.
fn paid<'a>(rules: &'a Rules, ask: &Ask) -> Vec<(&'a str, String, u64)> {
    let quotas = rules.quotas(ask).into_iter();
    let name = |name| &rules.0.iter().find(|rule| rule.name == name).unwrap().name;
    quotas
        .map(|quota| (name(quota.name).as_str(), quota.key, quota.cost))
        .collect()
}

/// The bucket that one rule charges for `ask`, "" if it does not count it.
fn bucket(rule: &Value, ask: &Ask) -> String {
    let rules = rules(&json!([rule]));
    paid(&rules, ask)
        .into_iter()
        .map(|(_, key, _)| key)
        .collect()
}

#[test]
fn without_rules_nothing_is_counted() {
    let rules = Rules::default();
    assert_eq!(paid(&rules, &late()), []);
    assert_eq!(rules.decide(&early(), &[]), Ok(Vec::new()));
}

#[test]
fn every_rule_counts_a_request_exactly_once() {
    let mut every = Vec::new();
    for per in ["caller", "tenant", "address", "model", "all"] {
        for unit in ["requests", "tokens", "concurrent"] {
            for streaming_only in [false, true] {
                let name = format!("{per}-{unit}-{streaming_only}");
                every.push(json!({
                    "name": name, "unit": unit, "limit": 9, "per": per, "streaming_only": streaming_only,
                }));
            }
        }
    }
    let rules = rules(&Value::from(every));
    let mut counted = paid(&rules, &early());
    counted.extend(paid(&rules, &late()));
    let mut counted: Vec<_> = counted.into_iter().map(|(name, ..)| name).collect();
    let mut expected: Vec<_> = rules.0.iter().map(|rule| rule.name.as_str()).collect();
    counted.sort_unstable();
    expected.sort_unstable();
    assert_eq!(counted, expected);
}

#[test]
fn only_what_the_address_tells_is_counted_before_authentication() {
    let rules = rules(&json!([
        {"name": "a", "unit": "requests", "limit": 9, "per": "address"},
        {"name": "b", "unit": "concurrent", "limit": 9, "per": "address"},
        {"name": "c", "unit": "tokens", "limit": 9, "per": "address"},
        {"name": "d", "unit": "requests", "limit": 9, "per": "address", "streaming_only": true},
        {"name": "e", "unit": "requests", "limit": 9, "per": "all"},
        {"name": "f", "unit": "requests", "limit": 9},
    ]));
    let names = |ask: &Ask| {
        paid(&rules, ask)
            .into_iter()
            .map(|(name, ..)| name)
            .collect::<String>()
    };
    assert_eq!(
        (names(&early()), names(&late())),
        ("ab".to_owned(), "cdef".to_owned())
    );
}

#[test]
fn buckets_belong_to_whom_the_rule_says() {
    let late_bucket = |per: &str, caller: &Caller| {
        let rule = json!({"name": "r", "unit": "requests", "limit": 9, "per": per});
        bucket(
            &rule,
            &Ask {
                caller: Some(caller.clone()),
                ..late()
            },
        )
    };
    let (ann, bob) = (of_acme("ann"), of_acme("bob"));
    let [acme, other] = ["acme", "x"].map(Caller::new);
    assert_eq!(late_bucket("caller", &ann), "ann");
    assert_eq!(late_bucket("tenant", &ann), late_bucket("tenant", &bob));
    assert_ne!(late_bucket("tenant", &ann), late_bucket("tenant", &acme));
    assert_ne!(late_bucket("tenant", &acme), late_bucket("tenant", &other));
    assert_eq!(late_bucket("all", &ann), late_bucket("all", &acme));
}

#[test]
fn addresses_of_one_ipv6_network_share_a_bucket() {
    let rule = json!({"name": "r", "unit": "requests", "limit": 9, "per": "address"});
    for (client, expected) in [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("unix", "unix"),
    ] {
        let ask = Ask {
            client: client.to_owned(),
            ..early()
        };
        assert_eq!(bucket(&rule, &ask), expected);
    }
}

#[test]
fn only_generating_endpoints_count_unless_a_rule_says_otherwise() {
    let counts = |endpoints: Value, endpoint: &str| {
        let mut rule = json!({"name": "r", "unit": "requests", "limit": 9});
        if !endpoints.is_null() {
            rule["endpoints"] = endpoints;
        }
        let ask = Ask {
            endpoint: endpoint.to_owned(),
            ..late()
        };
        !bucket(&rule, &ask).is_empty()
    };
    for endpoint in [
        CHAT,
        "/v1/responses",
        "/v1/responses/compact",
        "/v1/completions",
        "/v1/completions/",
    ] {
        assert!(counts(Value::Null, endpoint), "{endpoint}");
    }
    for endpoint in ["/v1/models", "/v1/responses/x", "/v1/completionsx", "/", ""] {
        assert!(!counts(Value::Null, endpoint), "{endpoint}");
    }
    assert!(counts(json!(["/v1/models/"]), "/v1/models"));
    assert!(!counts(json!(["/v1/models"]), CHAT));
    assert!(counts(json!(["/v1/*"]), CHAT));
    assert!(!counts(json!(["/v1/*"]), "/v1"));
    assert!(!counts(json!(["/v1/*"]), "/v10/x"));
    assert!(counts(json!(["/*"]), "/anything/at/all"));
}

#[test]
fn a_streams_rule_leaves_other_requests_alone() {
    let rule = json!({"name": "r", "unit": "concurrent", "limit": 4, "streaming_only": true});
    assert_eq!(bucket(&rule, &late()), "ann");
    assert_eq!(
        bucket(
            &rule,
            &Ask {
                streaming: false,
                ..late()
            }
        ),
        ""
    );
}

/// The host writes these rules for `PROXY_RATE_LIMIT_…` and `PROXY_SSE_MAX_CONCURRENCY`.
#[test]
fn the_environments_rules_count_requests_and_streams_of_each_caller() {
    let rules = rules(&json!([
        {"name": "requests", "unit": "requests", "limit": 60, "window_ms": 60000, "per": "caller"},
        {"name": "streams", "unit": "concurrent", "limit": 4, "per": "caller", "streaming_only": true},
    ]));
    let ann = || "ann".to_owned();
    let plain = Ask {
        streaming: false,
        ..late()
    };
    assert_eq!(paid(&rules, &early()), []);
    assert_eq!(paid(&rules, &plain), [("requests", ann(), 1)]);
    assert_eq!(
        paid(&rules, &late()),
        [("requests", ann(), 1), ("streams", ann(), 1)]
    );
    let sizes: Vec<_> = rules
        .quotas(&late())
        .iter()
        .map(|quota| (quota.unit, quota.limit, quota.window_ms))
        .collect();
    assert_eq!(
        sizes,
        [(Unit::Requests, 60, 60_000), (Unit::Concurrent, 4, 0)]
    );

    let requests = |granted| status("requests", granted, 0, 1000);
    let streams = |granted| status("streams", granted, 0, 0);
    let code = |statuses: &[BucketStatus]| {
        rules
            .decide(&late(), statuses)
            .map_err(|denial| denial.code)
    };
    assert!(code(&[requests(true), streams(true)]).is_ok());
    for (statuses, expected) in [
        ([requests(false), streams(true)], "rate_limited"),
        ([requests(true), streams(false)], "concurrency_exceeded"),
    ] {
        assert_eq!(code(&statuses), Err(expected.to_owned()));
    }
}

#[test]
fn tokens_cost_their_estimate() {
    let rules = rules(&json!([{"name": "t", "unit": "tokens", "limit": 5000}]));
    for (estimate, cost) in [(1200, 1200), (0, 1), (u64::MAX, u64::MAX)] {
        let ask = Ask {
            estimated_tokens: estimate,
            ..late()
        };
        assert_eq!(paid(&rules, &ask), [("t", "ann".to_owned(), cost)]);
    }
}

#[test]
fn a_quota_carries_its_rule() {
    let rules = rules(&json!([{"name": "r", "unit": "requests", "limit": 60, "window_ms": 5000}]));
    let quotas = rules.quotas(&late());
    assert_eq!(quotas.len(), 1);
    assert_eq!(
        (quotas[0].limit, quotas[0].window_ms, quotas[0].cost),
        (60, 5000, 1)
    );
}

#[test]
fn a_rule_counts_whom_it_names_but_whom_it_excepts() {
    let caller = Caller {
        groups: vec!["staff".to_owned()],
        ..of_acme("ann")
    };
    let ask = Ask {
        caller: Some(caller),
        ..late()
    };
    let counts = |member: &str, scope: Value| {
        let rule = json!({"name": "r", "unit": "requests", "limit": 9, member: scope});
        !bucket(&rule, &ask).is_empty()
    };
    for (scope, fits) in [
        (json!({"callers": ["bob", "ann"]}), true),
        (json!({"callers": ["bob"]}), false),
        (json!({"tenants": ["acme"]}), true),
        (json!({"tenants": ["ann"]}), false),
        (json!({"groups": ["staff"]}), true),
        (json!({"groups": ["acme"]}), false),
        (json!({"models": ["codex-5"]}), true),
        (json!({"models": ["codex-*"]}), true),
        (json!({"models": ["codex"]}), false),
        (json!({"models": ["Codev-5"]}), true),
        (json!({"callers": ["a*n"]}), true),
        (json!({"tenants": ["*me"]}), true),
        (json!({"groups": ["st*"]}), true),
        (json!({"groups": ["st"]}), false),
        (json!({"callers": ["ann"], "models": ["codex-5"]}), true),
        (json!({"callers": ["ann"], "models": ["gpt*"]}), false),
    ] {
        assert_eq!(counts("only", scope.clone()), fits, "{scope}");
        assert_eq!(counts("except", scope.clone()), !fits, "{scope}");
    }
    assert!(counts("except", json!({})), "nothing is excepted");
}

#[test]
fn a_model_has_one_bucket_whichever_of_its_names_is_asked_for() {
    let rule = json!({"name": "r", "unit": "requests", "limit": 9, "per": ["caller", "model"]});
    let of = |model: &str| {
        let ask = Ask {
            model: Some(model.to_owned()),
            ..late()
        };
        bucket(&rule, &ask)
    };
    assert_eq!(of("codex-5-high"), of("Codev-5-high"));
    assert_ne!(of("codex-5-high"), of("codex-5"));
}

#[test]
fn a_limit_per_address_of_some_callers_waits_until_they_are_known() {
    for member in ["only", "except"] {
        let rule = json!({
            "name": "r", "unit": "requests", "limit": 9, "per": "address", member: {"callers": ["bob"]},
        });
        assert_eq!(bucket(&rule, &early()), "");
        let expected = if member == "only" { "" } else { "192.0.2.1" };
        assert_eq!(bucket(&rule, &late()), expected);
    }
}

fn status(name: &str, granted: bool, remaining: u64, reset_ms: u64) -> BucketStatus {
    BucketStatus {
        name: name.to_owned(),
        granted,
        remaining,
        reset_ms,
    }
}
