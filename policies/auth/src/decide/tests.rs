//! Tests which requests are authenticated, and the denials of the others.

use super::*;

const NOW: u64 = 1_800_000_000_000;
const KNOWN: &str = "aa11111111111111111111111111111111111111111111111111111111111111";
const UNKNOWN: &str = "bb11111111111111111111111111111111111111111111111111111111111111";

fn ann() -> Caller {
    Caller {
        id: "ann".to_owned(),
        tenant: Some("acme".to_owned()),
        groups: vec!["ops".to_owned(), "beta".to_owned()],
    }
}

/// Rules with one known key; `/v1/models` needs none.
fn rules() -> Rules {
    let key = Key {
        caller: ann(),
        disabled: false,
        expires_at: None,
    };
    Rules {
        keys: HashMap::from([(Fingerprint::parse(KNOWN).unwrap(), key)]),
        anonymous: vec!["/v1/models".to_owned()],
        realm: "api".to_owned(),
        cors: true,
    }
}

fn rules_with(change: impl Fn(&mut Key)) -> Rules {
    let mut rules = rules();
    rules.keys.values_mut().for_each(change);
    rules
}

fn bearer(fingerprint: &str) -> Option<Credential> {
    presented("Bearer", fingerprint)
}

fn presented(scheme: &str, fingerprint: &str) -> Option<Credential> {
    Some(Credential {
        scheme: scheme.to_owned(),
        fingerprint: fingerprint.to_owned(),
        secret: None,
    })
}

fn post(path: &str, credential: Option<Credential>) -> Request {
    Request {
        method: "POST".to_owned(),
        path: path.to_owned(),
        credential,
        now_ms: NOW,
        ..Request::default()
    }
}

const CHAT: &str = "/v1/chat/completions";

#[test]
fn a_known_key_names_its_caller() {
    assert_eq!(rules().authenticate(&post(CHAT, bearer(KNOWN))), Ok(ann()));
}

#[test]
fn scheme_and_fingerprint_may_have_any_case() {
    let upper = KNOWN.to_uppercase();
    for scheme in ["Bearer", "bearer", "BEARER"] {
        assert_eq!(
            rules().authenticate(&post(CHAT, presented(scheme, &upper))),
            Ok(ann()),
            "{scheme}"
        );
    }
}

#[test]
fn a_wrong_key_is_401_with_a_challenge() {
    let denial = rules()
        .authenticate(&post(CHAT, bearer(UNKNOWN)))
        .unwrap_err();
    assert_eq!(
        denial,
        Denial {
            status: 401,
            kind: "authentication_error".to_owned(),
            code: "invalid_api_key".to_owned(),
            message: "Incorrect API key.".to_owned(),
            param: None,
            headers: vec![(
                "www-authenticate".to_owned(),
                "Bearer realm=\"api\", error=\"invalid_token\"".to_owned()
            )],
        }
    );
}

#[test]
fn a_missing_key_is_401_and_says_how_to_send_one() {
    let denial = rules().authenticate(&post(CHAT, None)).unwrap_err();
    assert_eq!(
        (denial.status, denial.code.as_str()),
        (401, "invalid_api_key")
    );
    assert_eq!(
        denial.message,
        "No API key was presented. Send it as 'Authorization: Bearer KEY'."
    );
    // A request without a credential gets no `error` attribute: RFC 6750, 3.1.
    assert_eq!(
        denial.headers,
        [(
            "www-authenticate".to_owned(),
            "Bearer realm=\"api\"".to_owned()
        )]
    );
}

#[test]
fn another_scheme_is_401_even_with_a_known_secret() {
    let basic = presented("Basic", KNOWN);
    let denial = rules().authenticate(&post(CHAT, basic)).unwrap_err();
    assert!(
        denial.message.contains("scheme is not supported"),
        "{}",
        denial.message
    );
}

#[test]
fn a_malformed_fingerprint_is_a_wrong_key() {
    for fingerprint in [
        "",
        "aa",
        &KNOWN[1..],
        &format!("{KNOWN}0"),
        &KNOWN.replace('a', "g"),
    ] {
        let denial = rules()
            .authenticate(&post(CHAT, bearer(fingerprint)))
            .unwrap_err();
        assert_eq!(denial.message, "Incorrect API key.", "{fingerprint:?}");
    }
}

#[test]
fn a_disabled_key_looks_like_an_unknown_one() {
    let disabled = rules_with(|key| {
        key.disabled = true;
        key.expires_at = Some(0);
    });
    let unknown = rules().authenticate(&post(CHAT, bearer(UNKNOWN)));
    assert_eq!(disabled.authenticate(&post(CHAT, bearer(KNOWN))), unknown);
}

#[test]
fn a_key_expires_at_its_second() {
    let rules_until = |at| rules_with(|key| key.expires_at = Some(at));
    let seconds = NOW / 1000;
    let valid = rules_until(seconds + 1).authenticate(&post(CHAT, bearer(KNOWN)));
    assert_eq!(valid, Ok(ann()));
    let expired = rules_until(seconds)
        .authenticate(&post(CHAT, bearer(KNOWN)))
        .unwrap_err();
    assert_eq!(
        (expired.status, expired.message.as_str()),
        (401, "This API key has expired.")
    );
}

#[test]
fn open_paths_need_no_key_and_neither_does_what_is_under_them() {
    for path in [
        "/v1/models",
        "/v1/models/",
        "/v1/models/x",
        "/v1/models/a/b.c",
    ] {
        let caller = rules().authenticate(&post(path, None)).unwrap();
        assert_eq!(
            (caller.id.as_str(), caller.tenant),
            ("anonymous", None),
            "{path}"
        );
    }
}

#[test]
fn neighbours_and_disguises_of_open_paths_need_a_key() {
    let closed = [
        "/v1/modelsx",
        "/v1/model",
        "/V1/MODELS",
        "/v1/chat/completions",
        "/v1/models/../chat/completions",
        "/v1/models/%2e%2E/chat/completions",
        "/v1/models/.%2e/chat/completions",
        "/v1/models/..;/chat/completions",
        "/v1/models/..%2Fchat/completions",
        "/v1/models/..\\chat",
        "/v1/models/x%5c..%5cchat",
        "",
    ];
    for path in closed {
        assert!(rules().authenticate(&post(path, None)).is_err(), "{path}");
    }
}

#[test]
fn a_key_counts_on_open_paths_too() {
    assert_eq!(
        rules().authenticate(&post("/v1/models", bearer(KNOWN))),
        Ok(ann())
    );
    assert!(
        rules()
            .authenticate(&post("/v1/models", bearer(UNKNOWN)))
            .is_err()
    );
}

#[test]
fn without_keys_all_but_the_open_paths_is_closed() {
    let rules = Rules {
        keys: HashMap::new(),
        ..rules()
    };
    assert!(rules.authenticate(&post(CHAT, bearer(KNOWN))).is_err());
    assert!(rules.authenticate(&post("/v1/models", None)).is_ok());
}

#[test]
fn a_grant_always_carries_the_three_identity_headers() {
    let headers = |request: Request| rules().verify(&request).unwrap().headers;
    let expect = |id: &str, tenant: &str, groups: &str| {
        [
            ("x-auth-caller", id),
            ("x-auth-tenant", tenant),
            ("x-auth-groups", groups),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    assert_eq!(
        headers(post(CHAT, bearer(KNOWN))),
        expect("ann", "acme", "ops,beta")
    );
    assert_eq!(
        headers(post("/v1/models", None)),
        expect("anonymous", "", "")
    );
}

#[test]
fn verifying_refuses_as_authenticating_does() {
    for credential in [None, bearer(UNKNOWN)] {
        let request = post(CHAT, credential);
        assert_eq!(
            rules().verify(&request).unwrap_err(),
            rules().authenticate(&request).unwrap_err()
        );
    }
}

#[test]
fn a_preflight_passes_an_edge_proxy_as_anonymous() {
    let preflight = Request {
        method: "OPTIONS".to_owned(),
        headers: PREFLIGHT
            .map(|name| (name.to_owned(), "x".to_owned()))
            .into(),
        ..post(CHAT, None)
    };
    let real = Request {
        method: "POST".to_owned(),
        ..preflight.clone()
    };
    assert!(rules().verify(&real).is_err(), "no preflight");
    assert_eq!(rules().verify(&preflight).unwrap().caller.id, "anonymous");
    assert!(rules().authenticate(&preflight).is_err());
    let closed = Rules {
        cors: false,
        ..rules()
    };
    assert!(closed.verify(&preflight).is_err(), "no page may call");
}
