//! The life of an edited policy on the real Codex: replayed, in shadow, a canary's, promoted, taken back, explained, while fifty
//! streams run and none notices.

use std::time::Duration;

use codex_gateway_tests::gateway::Gateway;
use codex_gateway_tests::guests::EVERY;
use codex_gateway_tests::operator::{TOKEN, answer, get, keys, operated, post, upload};
use codex_gateway_tests::real::{script, set_up};
use codex_gateway_tests::sse::{self, Event, Events, finishes};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

const STREAMS: usize = 50;
/// The pieces of each stream's answer, the pause before each, and the piece before which it waits for the story's end.
const PIECES: usize = 60;
const PAUSE_MS: u64 = 100;
const HELD: usize = 50;

/// The callers' keys: the streams' own, and those of two tenants.
const CROWD: &str = "crowd";
const CANARY: &str = "acme.ann";
const OTHER: &str = "globex.bob";

/// The rate-limit policy of this company as its next version: its component is compiled, its rule has another limit.
fn edited(limit: u64) -> [(&'static str, Vec<u8>); 2] {
    let (old, new) = (b"0.0.1-test", b"0.0.2-test");
    let at = EVERY.windows(old.len()).position(|found| found == old);
    let mut component = EVERY.to_vec();
    component[at.unwrap()..][..new.len()].copy_from_slice(new);
    [
        ("rate-limit.wasm", component),
        ("rate-limit.json", rule(limit)),
    ]
}

fn rule(limit: u64) -> Vec<u8> {
    let rule = json!({"name": "burst", "limit": limit});
    let settings = json!({"needs": ["caller"], "rule": rule});
    settings.to_string().into_bytes()
}

/// Uploads an edit, and returns its candidate.
async fn uploaded(gateway: &Gateway, limit: u64) -> Value {
    let files = edited(limit);
    let files = files.each_ref().map(|(name, bytes)| (*name, &bytes[..]));
    let (status, candidate) = answer(upload(gateway, &files)).await;
    assert_eq!(status, 201, "{candidate}");
    candidate
}

/// An answer: its status and id, and the number and the first digits of the generation that decided.
#[derive(Debug, PartialEq, Eq)]
struct Answered {
    status: u16,
    id: String,
    generation: String,
    policy: String,
}

impl Answered {
    fn of(response: &reqwest::Response) -> Self {
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        Self {
            status: response.status().as_u16(),
            id: header("x-request-id"),
            generation: header("x-codex-generation"),
            policy: header("x-codex-policy"),
        }
    }

    fn decided(&self) -> (u16, &str, &str) {
        (self.status, &self.generation, &self.policy)
    }
}

async fn send(request: RequestBuilder, key: &str) -> Answered {
    let response = request.bearer_auth(key).send().await.unwrap();
    let answered = Answered::of(&response);
    response.bytes().await.unwrap();
    answered
}

/// A short turn.
async fn chat(gateway: &Gateway, key: &str) -> Answered {
    let url = format!("{}/v1/chat/completions", gateway.origin);
    let body = script(json!({"text": ["short"]}), false);
    send(gateway.client.post(url).json(&body), key).await
}

/// Begins the streams, each with a text of its own, and goes on reading them.
async fn streams(gateway: &Gateway, policy: &str) -> Vec<JoinHandle<Vec<Event>>> {
    let url = format!("{}/v1/chat/completions", gateway.origin);
    let begun = (0..STREAMS).map(|number| {
        let text = [format!("{number} ")];
        let answer = json!({"text": text, "repeat": PIECES, "delay_ms": PAUSE_MS, "stall": HELD});
        let request = gateway.client.post(&url).bearer_auth(CROWD);
        let request = request.json(&script(answer, true));
        async move {
            let response = request.send().await.unwrap();
            assert_eq!(Answered::of(&response).decided(), (200, "1", policy));
            Events::of(response)
        }
    });
    let begun = futures_util::future::join_all(begun).await.into_iter();
    begun.map(|events| tokio::spawn(events.rest())).collect()
}

/// Reads the operator's events up to one of this kind, and returns their kinds.
async fn until(events: &mut Events, last: &str) -> Vec<String> {
    let mut kinds = Vec::new();
    while kinds.last().is_none_or(|kind| kind != last) {
        let next = tokio::time::timeout(Duration::from_secs(60), events.next());
        match next.await.expect(last) {
            Some(Event::Data(event)) => kinds.push(event["what"].as_str().unwrap().to_owned()),
            Some(_) => {}
            None => panic!("the events ended before {last}"),
        }
    }
    kinds
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
#[expect(clippy::too_many_lines, reason = "one story, step by step")]
async fn an_edited_policy_lives_its_life_and_fifty_streams_do_not_notice() {
    let (setup, provider) = set_up("TEST_CODEX_BIN", "gpt-5.4").await;
    let setup = operated(setup)
        .policy("auth.json", keys(&[CROWD, CANARY, OTHER]).as_bytes())
        .policy("policies.toml", b"[rollout]\nmax_denials = 0\n")
        .policy("rate-limit.wasm", EVERY)
        .policy("rate-limit.json", &rule(10_000));
    let gateway = setup.start().await;
    let serving = gateway.live.current().digest().short();
    let request = gateway.operate(Method::GET, "events", TOKEN);
    let mut events = Events::of(request.send().await.unwrap());
    let running = streams(&gateway, &serving).await;

    // The replay shows the first edit's mistake: the caller with the streams is refused.
    let candidate = uploaded(&gateway, 30).await;
    let group = &candidate["replayed"]["differences"][0];
    assert_eq!(
        (&group["slot"], &group["caller"], &group["to"]),
        (
            &json!("rate-limit"),
            &json!(CROWD),
            &json!("denied 429 told_to_limit by burst")
        ),
        "{candidate}"
    );
    assert_eq!(group["count"], STREAMS - 30);

    // The second edit differs in nothing that was asked, nor in anything that is asked while it is in shadow.
    let candidate = uploaded(&gateway, 60).await;
    assert_eq!(candidate["replayed"]["differ"], 0, "{candidate}");
    let digest = candidate["digest"].as_str().unwrap();
    let short = &digest[..12];
    let gate = json!({"for": "1s", "min_decisions": 6, "max_differ": 0});
    let (status, told) = post(&gateway, &format!("candidates/{short}/shadow"), gate).await;
    assert_eq!(status, 200, "{told}");
    for key in [CANARY, OTHER].repeat(3) {
        let answered = chat(&gateway, key).await;
        assert_eq!(answered.decided(), (200, "1", serving.as_str()));
    }
    let kinds = until(&mut events, "passed").await;
    assert_eq!(kinds, ["ready", "ready", "shadow", "passed"]);

    // One tenant is decided by it, and no other caller.
    let who = json!({"tenants": ["acme"]});
    let (status, told) = post(&gateway, &format!("candidates/{short}/canary"), who).await;
    assert_eq!(status, 200, "{told}");
    let (canary, other) = tokio::join!(chat(&gateway, CANARY), chat(&gateway, OTHER));
    assert_eq!(canary.decided(), (200, "1", short));
    assert_eq!(other.decided(), (200, "1", serving.as_str()));

    let path = format!("candidates/{short}/promote");
    let (status, told) = post(&gateway, &path, Value::Null).await;
    assert_eq!((status, &told["number"]), (200, &json!(2)), "{told}");
    let answered = chat(&gateway, OTHER).await;
    assert_eq!(answered.decided(), (200, "2", short));

    // A caller in a hurry shows what no report could: the edit denies what the policies before do not.
    let models = format!("{}/v1/models", gateway.origin);
    let hurry = async || send(gateway.client.get(&models), OTHER).await;
    let (mut answered, mut refused) = (hurry().await, None);
    while answered.generation == "2" {
        if answered.status == 429 {
            refused = Some(answered);
        }
        answered = hurry().await;
    }
    assert_eq!(answered.decided(), (200, "3", serving.as_str()));
    let refused = refused.expect("a refusal");
    assert_eq!(refused.policy, short);
    let kinds = until(&mut events, "taken-back").await;
    assert_eq!(kinds, ["canary", "promoted", "taken-back"]);
    let (_, status) = get(&gateway, "status").await;
    let problem = status["refused"][0]["problem"].as_str().unwrap();
    assert!(problem.contains(short), "{status}");

    // The refusal is explained: by which policies, in which slot, by which rule.
    let (_, told) = get(&gateway, &format!("decisions/{}", refused.id)).await;
    let told = &told["data"][0];
    assert_eq!(told["policy"], short);
    let last = told["decisions"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["slot"], &last["outcome"]),
        (
            &json!("rate-limit"),
            &json!("denied 429 told_to_limit by burst")
        ),
        "{told}"
    );

    // All of this happened while each stream ran.
    provider.wait_for(|counts| counts.stalled == STREAMS).await;
    assert!(running.iter().all(|stream| !stream.is_finished()));
    provider.release();
    for (number, stream) in running.into_iter().enumerate() {
        let all = stream.await.unwrap();
        assert_eq!(sse::text(&all), format!("{number} ").repeat(PIECES));
        assert_eq!(finishes(&all), ["stop"]);
        assert_eq!(all.last(), Some(&Event::Done));
    }
    drop(events);
    gateway.idle().await;
    gateway.stop().await;
}
