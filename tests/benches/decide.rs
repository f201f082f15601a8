//! Measures a decision, and the first one after a swap: `cargo bench -p codex-gateway-tests --bench decide`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use codex_gateway::policy::{
    Candidate, Credential, Defaults, Engine, Facts, Generation, Live, Refused, Request, Slot,
    Source, model, rate_limit, tool_stop,
};
use codex_gateway::quota::Memory;
use codex_gateway::secret::fingerprint;
use codex_gateway_tests::guests::{EVERY, deploy};
use serde_json::json;
use tokio_util::sync::CancellationToken;

const CALLS: usize = 20_000;
const SWAPS: usize = 40;
const HOSTILE: usize = 16;

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        for keys in [10, 10_000] {
            decisions(keys).await;
        }
        swaps().await;
        for instances in ["frozen", "warm"] {
            beside_spinning_guests(instances).await;
        }
    });
}

fn settings(keys: usize, salt: usize) -> Defaults {
    let keys: Vec<_> = (0..keys)
        .map(|n| json!({"id": format!("caller-{n}"), "sha256": fingerprint(format!("sk-{salt}-{n}").as_bytes())}))
        .collect();
    let auth = json!({"keys": keys})
        .as_object()
        .expect("an object")
        .clone();
    Defaults {
        auth,
        ..Defaults::default()
    }
}

fn request(salt: usize) -> Request {
    let headers = [
        "user-agent",
        "accept",
        "content-type",
        "x-stainless-lang",
        "x-stainless-os",
        "content-length",
    ];
    Request {
        id: "req_bench".to_owned(),
        method: "POST".to_owned(),
        path: "/v1/chat/completions".to_owned(),
        query: None,
        host: "localhost".to_owned(),
        client: "127.0.0.1".to_owned(),
        headers: headers
            .iter()
            .map(|name| ((*name).to_owned(), "some value".to_owned()))
            .collect(),
        credential: Some(Credential {
            scheme: "Bearer".to_owned(),
            fingerprint: fingerprint(format!("sk-{salt}-7").as_bytes()),
            secret: None,
        }),
        now_ms: 1_700_000_000_000,
    }
}

fn candidates(defaults: Defaults) -> [Candidate; Slot::COUNT] {
    let source = Source::new(None, defaults);
    source.read(&facts()).expect("the built-in policies")
}

async fn live(engine: &Engine, defaults: Defaults) -> Live {
    Live::start(engine.clone(), &candidates(defaults))
        .await
        .expect("a generation")
}

fn facts() -> Facts {
    Facts {
        environment: "prod".to_owned(),
        cors: true,
        codex_model: Some("gpt-5.4".to_owned()),
        models: Vec::new(),
        endpoints: Vec::new(),
    }
}

/// Prints the median and the 99th percentile.
fn print(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!("{what}: p50 {:.1?}, p99 {:.1?}", at(0.5), at(0.99));
}

macro_rules! time {
    ($what:expr, $call:expr) => {{
        let mut times = Vec::with_capacity(CALLS);
        for _ in 0..CALLS {
            let started = Instant::now();
            let answer = $call.await;
            times.push(started.elapsed());
            assert!(answer.is_ok());
        }
        print($what, times);
    }};
}

async fn decisions(keys: usize) {
    let engine = Engine::new(None).expect("the engine");
    let generation = live(&engine, settings(keys, 0)).await.current();
    let caller = generation
        .authenticate(&request(0))
        .await
        .expect("a known key");
    println!("one decision, {keys} keys:");
    new_keys(&generation).await;
    let counters = Memory::default();
    time!(
        "  auth.authenticate, kept",
        generation.authenticate(&request(0))
    );
    time!(
        "  the decisions of a chat turn, kept",
        chat_turn(&generation, &counters)
    );
    let ask = model::Ask {
        caller: caller.clone(),
        requested: Some("codex-5-high".to_owned()),
        effort: None,
    };
    time!("  model.resolve", generation.resolve(ask.clone(), 0));
    let ask = rate_limit::Ask {
        client: "127.0.0.1".to_owned(),
        caller: Some(caller.clone()),
        endpoint: "/v1/chat/completions".to_owned(),
        model: None,
        streaming: true,
        estimated_tokens: 100,
        now_ms: 0,
    };
    time!("  rate-limit", generation.admit(ask.clone(), &counters));
    let progress = tool_stop::Progress {
        caller,
        model: "x".to_owned(),
        streaming: true,
        calls: 1,
        elapsed_ms: 5,
    };
    let call = tool_stop::Call {
        name: "f".to_owned(),
        arguments: "{}".to_owned(),
        textual: false,
        index: 0,
    };
    time!(
        "  tool-stop.observe",
        generation.observe(
            0,
            progress.clone(),
            tool_stop::Event::Called(call.clone()),
            Vec::new()
        )
    );
}

/// Credentials that were not seen before, so that no answer is kept.
async fn new_keys(generation: &Generation) {
    let mut times = Vec::with_capacity(CALLS);
    for number in 0..CALLS {
        let mut request = request(0);
        if let Some(credential) = &mut request.credential {
            credential.fingerprint = format!("{number:064x}");
        }
        let started = Instant::now();
        let answer = generation.authenticate(&request).await;
        times.push(started.elapsed());
        assert!(answer.is_err());
    }
    print("  auth.authenticate, a new key", times);
}

/// The decisions of a chat request, as the endpoint asks for them.
async fn chat_turn(generation: &Generation, counters: &Memory) -> Result<(), Refused> {
    let by_address = rate_limit::Ask {
        client: "127.0.0.1".to_owned(),
        caller: None,
        endpoint: "/v1/chat/completions".to_owned(),
        model: None,
        streaming: false,
        estimated_tokens: 0,
        now_ms: 0,
    };
    generation.admit(by_address.clone(), counters).await?;
    let caller = generation.authenticate(&request(0)).await?;
    let ask = model::Ask {
        caller: caller.clone(),
        requested: Some("codex-5-high".to_owned()),
        effort: None,
    };
    let target = generation.resolve(ask, 0).await?;
    let by_caller = rate_limit::Ask {
        caller: Some(caller),
        model: Some(target.id),
        streaming: true,
        estimated_tokens: 100,
        ..by_address
    };
    generation.admit(by_caller, counters).await.map(drop)
}

/// Measures the first decisions of each new generation. The machine's caches are cold after a preparation, so the first
/// decision after a swap is compared with one after a preparation without a swap.
async fn swaps() {
    let engine = Engine::new(None).expect("the engine");
    let served = live(&engine, settings(10, 0)).await;
    let (mut replace, mut swapped, mut kept) = (Vec::new(), [const { Vec::new() }; 3], Vec::new());
    for salt in 1..=SWAPS {
        let candidates = candidates(settings(10, salt));
        let started = Instant::now();
        served.replace(&candidates).await.expect("a generation");
        replace.push(started.elapsed());
        for times in &mut swapped {
            times.push(first(&served, salt).await);
        }
        live(&engine, settings(10, SWAPS + salt)).await;
        kept.push(first(&served, salt).await);
    }
    println!("{SWAPS} swaps of the auth settings:");
    print("  prepare and swap", replace);
    let [first, second, third] = swapped;
    print("  first decision after a swap", first);
    print("  second", second);
    print("  third", third);
    print("  first decision after a preparation without a swap", kept);
}

async fn first(live: &Live, salt: usize) -> Duration {
    let request = request(salt);
    let started = Instant::now();
    let answer = live.current().authenticate(&request).await;
    let took = started.elapsed();
    assert!(answer.is_ok());
    took
}

/// Measures honest decisions alone, and while others spin until their deadline: the cost of a hostile caller for others.
async fn beside_spinning_guests(instances: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let manifest = format!("[auth]\ninstances = \"{instances}\"\n");
    deploy(folder.path(), "policies.toml", manifest.as_bytes());
    deploy(folder.path(), "auth.wasm", EVERY);
    let source = Source::new(Some(folder.path().to_owned()), Defaults::default());
    let candidates = source.read(&facts()).expect("a policy");
    let engine = Engine::new(None).expect("the engine");
    let live = Arc::new(
        Live::start(engine, &candidates)
            .await
            .expect("a generation"),
    );
    let mut alone = Vec::new();
    for _ in 0..CALLS {
        alone.push(first(&live, 0).await);
    }
    let stop = CancellationToken::new();
    let spinners: Vec<_> = (0..HOSTILE)
        .map(|_| tokio::spawn(spin(Arc::clone(&live), stop.clone())))
        .collect();
    let mut beside = Vec::new();
    for _ in 0..CALLS / 20 {
        let live = Arc::clone(&live);
        beside.push(
            tokio::spawn(async move { first(&live, 0).await })
                .await
                .expect("a decision"),
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    stop.cancel();
    println!(
        "honest decisions beside {HOSTILE} callers whose decisions spin until they are stopped, {instances}:"
    );
    print("  alone", alone);
    print("  beside them", beside);
    let mut refused = 0;
    for spinner in spinners {
        refused += spinner.await.expect("a spinner");
    }
    println!("  {refused} spinning decisions were refused");
}

async fn spin(live: Arc<Live>, stop: CancellationToken) -> u64 {
    let mut refused = 0;
    while !stop.is_cancelled() {
        let mut request = request(0);
        request
            .headers
            .push(("x-hostile".to_owned(), "spin".to_owned()));
        refused += u64::from(live.current().authenticate(&request).await.is_err());
    }
    refused
}
