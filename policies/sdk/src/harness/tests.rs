//! Tests that a policy sees in the harness what it would see in the gateway.

use std::sync::Mutex;

use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::Credential;
use crate::tool_stop::Call;

/// Declares what its settings say, and keeps what it saw.
struct Witness {
    needs: Vec<Need>,
    seen: Mutex<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct Settings {
    needs: Vec<String>,
}

impl Policy for Witness {
    const NAME: &'static str = "witness";
    type Settings = Settings;

    fn configure(settings: Settings) -> Result<Self, String> {
        let need = |word: &String| match word.as_str() {
            "credential" => Need::Credential,
            "path" => Need::Path,
            "caller" => Need::Caller,
            "groups" => Need::Groups,
            "model" => Need::Model,
            "by-address" => Need::ByAddress,
            "now" => Need::Now(1000),
            "never" => Need::Now(0),
            "headers" => Need::Headers,
            name => Need::Header(name.to_owned()),
        };
        Ok(Self {
            needs: settings.needs.iter().map(need).collect(),
            seen: Mutex::default(),
        })
    }

    fn needs(&self) -> Vec<Need> {
        self.needs.clone()
    }
}

impl Witness {
    fn sees(&self, input: &impl std::fmt::Debug) {
        self.seen.lock().unwrap().push(format!("{input:?}"));
    }
}

impl Auth for Witness {
    fn authenticate(&self, request: &Request) -> Result<Caller, Denial> {
        self.sees(request);
        Ok(Caller::new("ann"))
    }
}

impl RateLimit for Witness {
    fn quotas(&self, ask: &rate_limit::Ask) -> Vec<Quota> {
        self.sees(ask);
        Vec::new()
    }
}

impl Model for Witness {
    fn catalog(&self, caller: Option<&Caller>) -> Vec<Card> {
        self.sees(&caller);
        Vec::new()
    }

    fn resolve(&self, ask: &model::Ask) -> Result<Target, Denial> {
        self.sees(ask);
        Err(Denial::model_not_found("none"))
    }
}

impl ToolStop for Witness {
    fn observe(
        &self,
        progress: &Progress,
        event: &Event,
        mut memo: Vec<u8>,
    ) -> (Reaction, Vec<u8>) {
        self.sees(progress);
        memo.push(0);
        let again = matches!(event, Event::Called(call) if call.name == "again");
        let reaction = match again {
            true => Reaction::Drop,
            false if progress.calls == 2 || memo.len() > 4 => Reaction::Stop,
            false => Reaction::GoOn,
        };
        (reaction, memo)
    }
}

fn harness(needs: &[&str]) -> Harness<Witness> {
    Harness::configure(&json!({ "needs": needs })).unwrap()
}

/// The input that the policy saw last.
fn last(harness: &Harness<Witness>) -> String {
    harness.policy().seen.lock().unwrap().pop().unwrap()
}

fn request() -> Request {
    let header = |name: &str| (name.to_owned(), "v".to_owned());
    Request {
        id: "req_1".to_owned(),
        method: "POST".to_owned(),
        path: "/v1/x".to_owned(),
        query: Some("q".to_owned()),
        host: "h".to_owned(),
        client: "192.0.2.1".to_owned(),
        headers: vec![header("origin"), header("user-agent"), header("origin")],
        credential: Some(Credential {
            scheme: "Bearer".to_owned(),
            ..Credential::default()
        }),
        now_ms: 12_345,
    }
}

fn ann() -> Caller {
    Caller {
        tenant: Some("acme".to_owned()),
        groups: vec!["staff".to_owned()],
        ..Caller::new("ann")
    }
}

#[test]
fn an_undeclared_part_of_a_request_is_blank() {
    let full = request();
    for (needs, seen) in [
        (&[][..], Request::default()),
        (
            &["credential", "path"],
            Request {
                credential: full.credential.clone(),
                path: full.path.clone(),
                ..Request::default()
            },
        ),
        (
            &["origin", "now"],
            Request {
                headers: vec![full.headers[0].clone(), full.headers[2].clone()],
                now_ms: 12_000,
                ..Request::default()
            },
        ),
        (
            &["headers"],
            Request {
                headers: full.headers.clone(),
                ..Request::default()
            },
        ),
    ] {
        let harness = harness(needs);
        harness.verify(&full).unwrap();
        assert_eq!(last(&harness), format!("{seen:?}"));
    }
}

#[test]
fn the_question_before_authentication_needs_a_need() {
    let early = rate_limit::Ask::default();
    let late = rate_limit::Ask {
        caller: Some(ann()),
        ..rate_limit::Ask::default()
    };
    let count = |needs: &[&str]| {
        let harness = harness(needs);
        let _ = (harness.quotas(&early), harness.quotas(&late));
        harness.policy().seen.lock().unwrap().len()
    };
    assert_eq!((count(&[]), count(&["by-address"])), (1, 2));
    let harness = harness(&[]);
    let _ = harness.quotas(&late);
    let blank = rate_limit::Ask {
        caller: Some(Caller::default()),
        ..rate_limit::Ask::default()
    };
    assert_eq!(last(&harness), format!("{blank:?}"), "there is a caller");
}

#[test]
fn a_model_policy_sees_the_declared_parts() {
    let ask = model::Ask {
        caller: ann(),
        requested: Some("m".to_owned()),
        effort: Some("low".to_owned()),
    };
    let harness = harness(&["model", "groups"]);
    assert_eq!(harness.resolve(&ask).unwrap_err().code, "model_not_found");
    let caller = Caller {
        groups: ann().groups,
        ..Caller::default()
    };
    let seen = model::Ask {
        caller: caller.clone(),
        requested: ask.requested.clone(),
        effort: None,
    };
    assert_eq!(last(&harness), format!("{seen:?}"));
    let _ = harness.catalog(Some(&ann()));
    assert_eq!(last(&harness), format!("{:?}", Some(&caller)));
}

#[test]
fn a_turn_counts_calls_but_those_left_out() {
    let call = |name: &str| {
        Event::Called(Call {
            name: name.to_owned(),
            ..Call::default()
        })
    };
    let turn = Progress {
        caller: ann(),
        model: "m".to_owned(),
        ..Progress::default()
    };
    let events = [call("a"), call("again"), call("b"), call("c")];
    let reactions = harness(&["caller"]).play(&turn, &events);
    assert_eq!(reactions, [Reaction::GoOn, Reaction::Drop, Reaction::Stop]);
}

#[test]
fn wrong_settings_and_wrong_needs_are_told() {
    let told = |settings| {
        let configured = Harness::<Witness>::configure(&settings);
        configured.map(|_| ()).unwrap_err()
    };
    assert!(told(json!({"needs": 1})).starts_with("needs: invalid type"));
    for need in ["never", "X-Upper", "cookie", "", "a:b", &"x".repeat(129)] {
        let told = told(json!({ "needs": [need] }));
        assert!(told.contains("there is no need"), "{told}");
    }
    assert!(told(json!({ "needs": vec!["path"; 65] })).contains("at most 64"));
}

#[test]
fn a_refused_bucket_is_a_denial_without_own_code() {
    let status = |granted, reset_ms| BucketStatus {
        name: "r".to_owned(),
        granted,
        remaining: 0,
        reset_ms,
    };
    let decide = |statuses: &[_]| harness(&[]).decide(&rate_limit::Ask::default(), statuses);
    assert_eq!(decide(&[status(true, 9000)]), Ok(Vec::new()));
    let denial = decide(&[status(true, 9000), status(false, 2500), status(false, 700)]);
    let denial = denial.unwrap_err();
    assert_eq!((denial.status, denial.code.as_str()), (429, "rate_limited"));
    assert_eq!(denial.headers[0].1, "3");
}
