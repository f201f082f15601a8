//! Both versions of the contract give the same decisions, and an answer that is kept is the one that would be computed.

mod random;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use codex_gateway::policy::{
    Admitted, Defaults, Engine, Facts, Generation, Live, Refused, Request, SlotStatus, Source,
    model, rate_limit, tool_stop,
};
use codex_gateway::quota::{BucketStatus, Counts, Looking, Quota, Store, Taking};
use codex_gateway::secret::fingerprint;
use codex_gateway_tests::guests::{EVERY, deploy};
use codex_gateway_tests::inputs::count;
use random::Random;
use serde_json::{Value, json};

const OLD: [(&str, &[u8]); 4] = [
    (
        "auth.wasm",
        include_bytes!("../../fixtures/policies-0.1/auth.wasm"),
    ),
    (
        "model.wasm",
        include_bytes!("../../fixtures/policies-0.1/model.wasm"),
    ),
    (
        "rate-limit.wasm",
        include_bytes!("../../fixtures/policies-0.1/rate-limit.wasm"),
    ),
    (
        "tool-stop.wasm",
        include_bytes!("../../fixtures/policies-0.1/tool-stop.wasm"),
    ),
];

fn engine() -> Engine {
    static ENGINE: std::sync::OnceLock<Engine> = std::sync::OnceLock::new();
    ENGINE.get_or_init(|| Engine::new(None).unwrap()).clone()
}

/// A generation from these files over the built-in policies.
async fn generation(files: &[(&str, &[u8])]) -> Arc<Generation> {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        deploy(folder.path(), name, bytes);
    }
    let source = Source::new(Some(folder.path().to_owned()), Defaults::default());
    let facts = Facts {
        environment: "dev".to_owned(),
        cors: true,
        codex_model: Some("gpt-5".to_owned()),
        models: vec![json!({"id": "gpt-5", "efforts": ["low", "high"]})],
        endpoints: ["/v1/models", "/v1/chat/completions"]
            .map(str::to_owned)
            .into(),
    };
    let candidates = source.read(&facts).unwrap();
    Live::start(engine(), &candidates).await.unwrap().current()
}

fn rules() -> [Value; 4] {
    let requests = json!({"name": "r", "unit": "requests", "limit": 5});
    let tokens = json!({"name": "t", "unit": "tokens", "limit": 900, "per": "tenant"});
    let address = json!({"name": "a", "unit": "requests", "limit": 9, "per": "address"});
    let streams = json!({"name": "s", "unit": "concurrent", "limit": 2, "streaming_only": true, "per": ["model", "address"]});
    let staff = json!({"name": "g", "unit": "requests", "limit": 7, "only": {"groups": ["staff"]}, "except": {"models": ["gpt-*"]}});
    [
        json!({}),
        json!({"rules": [requests, address]}),
        json!({"rules": [tokens, staff]}),
        json!({"rules": [streams, staff, address]}),
    ]
}

fn auth(expires: bool, open: bool) -> Value {
    let key = |id: &str| json!({"id": id, "sha256": fingerprint(format!("sk-{id}").as_bytes()), "groups": ["staff"]});
    let mut keys = [key("alice"), key("bob"), key("off")];
    keys[2]["disabled"] = json!(true);
    if expires {
        keys[1]["expires_at"] = json!(1_800_000_000);
    }
    let anonymous = if open { json!(["/open"]) } else { json!([]) };
    json!({"keys": keys, "anonymous": anonymous})
}

/// The answer, or the denial, as a text to compare.
fn told<T: std::fmt::Debug>(answer: Result<T, Refused>) -> String {
    match answer {
        Ok(answer) => format!("{answer:?}"),
        Err(Refused::Denied(denial)) => format!("{denial:?}"),
        Err(refused) => panic!("{refused:?}"),
    }
}

/// Each built-in policy of today beside the one that was compiled for 0.1, with the same settings.
async fn pair(settings: &[(&str, Value)]) -> [Arc<Generation>; 2] {
    let settings: Vec<_> = settings
        .iter()
        .map(|(name, json)| (*name, json.to_string().into_bytes()))
        .collect();
    let files: Vec<(&str, &[u8])> = settings
        .iter()
        .map(|(name, bytes)| (*name, bytes.as_slice()))
        .collect();
    let old: Vec<_> = files.iter().copied().chain(OLD).collect();
    [generation(&files).await, generation(&old).await]
}

fn about(generation: &Generation) -> Vec<(String, Option<Vec<String>>)> {
    let slots = generation.slots().into_iter();
    let about = slots.map(|SlotStatus { about, .. }| (about.contract.to_owned(), about.needs));
    about.collect()
}

/// Buckets that grant as a test wishes, and the quotas that were asked of them.
struct Buckets {
    granted: bool,
    asked: Mutex<Vec<Quota>>,
}

impl Store for Buckets {
    fn take<'a>(&'a self, quotas: &'a [Quota]) -> Taking<'a> {
        self.asked.lock().unwrap().extend_from_slice(quotas);
        let status = |at| BucketStatus {
            granted: self.granted || at % 2 == 0,
            remaining: 1,
            reset_ms: 1_500,
        };
        let statuses = (0..quotas.len()).map(status).collect();
        Box::pin(async { Ok((statuses, None)) })
    }

    fn look<'a>(&'a self, _: &'a [Quota]) -> Looking<'a> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn counts(&self) -> Counts {
        Counts::default()
    }
}

async fn admit(generation: &Generation, ask: rate_limit::Ask, granted: bool) -> String {
    let buckets = Buckets {
        granted,
        asked: Mutex::default(),
    };
    let admitted = generation.admit(ask, &buckets).await;
    let asked = buckets.asked.into_inner().unwrap();
    match admitted {
        Ok(Admitted { headers, .. }) => format!("{asked:?} Ok({headers:?})"),
        Err(refused) => format!("{asked:?} {}", told::<()>(Err(refused))),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_auth_policy_decides_as_under_contract_0_1() {
    let mut random = Random(1);
    for (expires, open) in [(false, false), (true, false), (false, true), (true, true)] {
        let [new, old] = pair(&[("auth.json", auth(expires, open))]).await;
        for _ in 0..count(300) {
            let request = random.request();
            let answers = [new.authenticate(&request), old.authenticate(&request)];
            let [new_answer, old_answer] = answers;
            assert_eq!(
                told(new_answer.await),
                told(old_answer.await),
                "{request:?}"
            );
            let new_answer = told(new.verify(&request).await);
            assert_eq!(new_answer, told(old.verify(&request).await), "{request:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_model_policy_decides_as_under_contract_0_1() {
    let mut random = Random(2);
    let access = json!([
        {"callers": ["alice"], "models": ["gpt-5"]},
        {"groups": ["staff"], "models": ["*"]},
    ]);
    for settings in [json!({}), json!({"access": access})] {
        let [new, old] = pair(&[("model.json", settings)]).await;
        for _ in 0..count(300) {
            let caller = (random.below(4) > 0).then(|| random.caller());
            let catalogs = [&new, &old].map(|one| one.catalog(caller.clone(), 7));
            let [new_answer, old_answer] = catalogs;
            assert_eq!(told(new_answer.await), told(old_answer.await), "{caller:?}");
            let ask = model::Ask {
                caller: random.caller(),
                requested: random
                    .maybe(&["gpt-5", "gpt-5-high", "nothing"])
                    .map(str::to_owned),
                effort: random.maybe(&["low", "odd"]).map(str::to_owned),
            };
            let [new_answer, old_answer] = [&new, &old].map(|one| one.resolve(ask.clone(), 7));
            assert_eq!(told(new_answer.await), told(old_answer.await), "{ask:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rate_limit_policy_decides_as_under_contract_0_1() {
    let mut random = Random(3);
    for settings in rules() {
        let [new, old] = pair(&[("rate-limit.json", settings)]).await;
        for _ in 0..count(300) {
            let (ask, granted) = (random.limits(), random.below(2) == 0);
            let answer = admit(&new, ask.clone(), granted).await;
            assert_eq!(answer, admit(&old, ask.clone(), granted).await, "{ask:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tool_stop_policy_decides_as_under_contract_0_1() {
    let mut random = Random(4);
    let rules = json!([
        {"callers": ["bob"], "mode": "first"},
        {"groups": ["guests"], "models": ["gpt-*"], "mode": "burst", "grace_ms": 70},
    ]);
    for settings in [json!({}), json!({"dedup": true, "rules": rules})] {
        let [new, old] = pair(&[("tool-stop.json", settings)]).await;
        let mut memos = [Vec::new(), Vec::new()];
        for calls in 0..count(200) {
            let progress = tool_stop::Progress {
                caller: random.caller(),
                model: random.one_of(&["gpt-5", "other"]).to_owned(),
                streaming: random.below(2) == 0,
                calls,
                elapsed_ms: random.below(10_000) as u64,
            };
            let event = match random.below(3) {
                0 => tool_stop::Event::Quiet(70),
                1 => tool_stop::Event::TextAfterCalls(9),
                _ => tool_stop::Event::Called(tool_stop::Call {
                    name: random.one_of(&["f", "g"]).to_owned(),
                    arguments: random.one_of(&["{}", "{\"a\":1}"]).to_owned(),
                    textual: false,
                    index: calls,
                }),
            };
            let [new_memo, old_memo] = memos;
            let new_answer = new
                .observe(0, progress.clone(), event.clone(), new_memo)
                .await;
            let old_answer = old.observe(0, progress, event, old_memo).await;
            let (new_answer, old_answer) = (new_answer.unwrap(), old_answer.unwrap());
            assert_eq!(new_answer, old_answer);
            memos = [new_answer.1, old_answer.1];
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_say_what_they_need_as_far_as_their_settings_read_it() {
    let needs = |words: &[&str]| {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        ("0.2".to_owned(), Some(words))
    };
    let [new, old] = pair(&[
        ("auth.json", auth(true, true)),
        ("rate-limit.json", rules()[2].clone()),
    ])
    .await;
    let auth = [
        "credential",
        "method",
        "path",
        "header(origin)",
        "header(access-control-request-method)",
        "now(1000)",
    ];
    let limits = ["caller", "groups", "model", "endpoint", "estimated-tokens"];
    let expected = [
        needs(&auth),
        needs(&["model", "effort"]),
        needs(&limits),
        needs(&[]),
    ];
    assert_eq!(about(&new), expected);
    assert!(
        about(&old)
            .iter()
            .all(|found| *found == ("0.1".to_owned(), None))
    );
    assert_eq!(
        about(&*generation(&[]).await)[2],
        needs(&[]),
        "without rules it needs nothing"
    );
}

/// The parts of a request that a policy with these needs may see, blanked by this test's own hand.
fn visible(needs: &[&str], request: &Request) -> String {
    let of = |need: &str, text: &str| needs.contains(&need).then(|| text.to_owned());
    let step = needs.iter().find_map(|need| need.strip_prefix("now "));
    let step: Option<u64> = step.map(|step| step.parse().unwrap());
    let headers = request.headers.iter().filter(|(name, _)| {
        needs.contains(&"headers")
            || needs
                .iter()
                .any(|need| need.strip_prefix("header ") == Some(name))
    });
    format!(
        "{:?}",
        (
            [
                of("id", &request.id),
                of("method", &request.method),
                of("path", &request.path)
            ],
            [of("host", &request.host), of("client", &request.client)],
            request.query.as_ref().filter(|_| needs.contains(&"query")),
            request
                .credential
                .as_ref()
                .filter(|_| needs.contains(&"credential")),
            headers.collect::<Vec<_>>(),
            step.map(|step| request.now_ms / step),
        )
    )
}

/// The guest answers with a hash of the whole input that it sees.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_depends_on_the_declared_parts_and_on_all_of_them() {
    let parts = [
        "id",
        "credential",
        "method",
        "path",
        "query",
        "host",
        "client",
        "headers",
        "header origin",
        "now 1",
        "now 1000",
    ];
    let mut random = Random(5);
    for round in 0..8 {
        let mut needs: Vec<_> = parts.into_iter().filter(|_| random.below(2) == 0).collect();
        needs.retain(|need| round % 2 == 0 || !need.starts_with("now"));
        let mut declared = needs.clone();
        declared.push("header x-hostile");
        let settings = json!({"stamp": round, "needs": declared}).to_string();
        let files = [("auth.wasm", EVERY), ("auth.json", settings.as_bytes())];
        let generation = generation(&files).await;
        let (mut answers, mut inputs) = (HashMap::new(), HashMap::new());
        for _ in 0..count(500) {
            let mut request = random.request();
            request
                .headers
                .push(("x-hostile".to_owned(), "input".to_owned()));
            let seen = visible(&declared, &request);
            let answer = generation.authenticate(&request).await.unwrap().id;
            let before = answers
                .entry(seen.clone())
                .or_insert_with(|| answer.clone());
            assert_eq!(
                *before, answer,
                "the same parts, another answer: {needs:?} {seen}"
            );
            let before = inputs.entry(answer).or_insert_with(|| seen.clone());
            assert_eq!(*before, seen, "other parts, the same answer: {needs:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn needs_out_of_bounds_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    deploy(folder.path(), "auth.wasm", EVERY);
    deploy(
        folder.path(),
        "auth.json",
        br#"{"stamp": 1, "needs": ["header Origin"]}"#,
    );
    let source = Source::new(Some(folder.path().to_owned()), Defaults::default());
    let candidates = source.read(&Facts::default()).unwrap();
    let refused = Live::start(engine(), &candidates)
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(
        refused.contains("header(Origin)") && refused.contains("lower case"),
        "{refused}"
    );
}
