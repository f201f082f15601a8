//! Measures how policies in JavaScript and Python load, decide and take memory:
//! `TEST_COMPONENTIZE_JS=… TEST_COMPONENTIZE_PY=… cargo bench -p codex-gateway-tests --bench scripts`.
//!
//! It builds the templates of `codex-gateway policy new` with componentize-js and componentize-py. Memory is that of the whole
//! process, three seconds after the last load.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use codex_gateway::policy::{
    Credential, Defaults, Engine, Facts, Generation, Live, Refused, Request, Source,
};
use codex_gateway::secret::fingerprint;
use codex_gateway_tests::guests::deploy;
use codex_gateway_tests::real::{is_set, variable};
use serde_json::json;

const GATEWAY: &str = env!("CARGO_BIN_EXE_gateway");
/// Loads of one component, each with other settings.
const LOADS: usize = 6;
const DECISIONS: usize = 500;

fn main() {
    if !is_set("TEST_COMPONENTIZE_JS") || !is_set("TEST_COMPONENTIZE_PY") {
        return println!("TEST_COMPONENTIZE_JS and TEST_COMPONENTIZE_PY are not set: not measured");
    }
    let place = tempfile::tempdir().expect("a folder");
    let js = built(place.path(), "js", ("node_modules", "TEST_COMPONENTIZE_JS"));
    let python = built(place.path(), "python", (".venv", "TEST_COMPONENTIZE_PY"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        memory("at the start").await;
        for (language, component) in [("JavaScript", js), ("Python", python)] {
            for instances in ["frozen", "warm"] {
                println!("\n{language}, {instances}:");
                loads(&component, instances).await;
            }
        }
        println!();
        memory("at the end").await;
    });
}

/// Builds the template of an auth policy.
fn built(place: &Path, language: &str, (tools, variable_of_tools): (&str, &str)) -> PathBuf {
    let name = format!("{language}-auth");
    let run = |folder: &Path, program: &str, arguments: &[&str]| {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(folder)
            .output()
            .expect("a program that starts");
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {words}");
    };
    run(
        place,
        GATEWAY,
        &["policy", "new", "auth", &name, "--lang", language],
    );
    let folder = place.join(&name);
    symlink(variable(variable_of_tools), folder.join(tools)).expect("a link");
    match language {
        "js" => run(&folder, "npm", &["run", "build"]),
        _ => run(&folder, "make", &[]),
    }
    folder.join("dist").join(name).with_extension("wasm")
}

/// A gateway's policy folder, and the cache that its starts share.
struct Place {
    folder: tempfile::TempDir,
    cache: tempfile::TempDir,
}

impl Place {
    fn source(&self) -> Source {
        Source::new(Some(self.folder.path().to_owned()), Defaults::default())
    }

    fn settings(&self, number: usize) {
        let key = fingerprint(b"sk-bench");
        let settings = json!({"callers": {key: format!("caller-{number}")}});
        deploy(
            self.folder.path(),
            "auth.json",
            settings.to_string().as_bytes(),
        );
    }

    /// As a start of the gateway.
    async fn start(&self) -> Live {
        let program = Path::new(GATEWAY);
        let engine = Engine::compiling_with(program, Some(self.cache.path())).expect("an engine");
        let candidates = self.source().read(&Facts::default()).expect("policies");
        let live = Live::start(engine, &candidates).await;
        live.unwrap_or_else(|refusals| panic!("{refusals}"))
    }
}

async fn loads(component: &Path, instances: &str) {
    let place = Place {
        folder: tempfile::tempdir().expect("a folder"),
        cache: tempfile::tempdir().expect("a folder"),
    };
    let manifest = format!("[auth]\ninstances = \"{instances}\"\nmemory_mib = 128\n");
    deploy(place.folder.path(), "policies.toml", manifest.as_bytes());
    let wasm = std::fs::read(component).expect("a component");
    deploy(place.folder.path(), "auth.wasm", &wasm);
    place.settings(0);
    let live = timed("first load", place.start()).await;
    decisions(&live.current(), "caller-0").await;
    drop(live);
    let live = timed("load after a restart", place.start()).await;
    memory("after one load").await;
    for number in 1..=LOADS {
        place.settings(number);
        let candidates = place.source().read(&Facts::default()).expect("policies");
        let replaced = timed("change of settings", live.replace(&candidates)).await;
        replaced.unwrap_or_else(|refusals| panic!("{refusals}"));
    }
    decisions(&live.current(), &format!("caller-{LOADS}")).await;
    memory(&format!("after {LOADS} changes")).await;
    drop(live);
    memory("after the end of all policies").await;
}

async fn timed<T>(what: &str, done: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let result = done.await;
    println!("  {what}: {:.2?}", began.elapsed());
    result
}

async fn decisions(generation: &Generation, expected: &str) {
    let caller = generation.authenticate(&request("sk-bench")).await;
    let caller = caller.unwrap_or_else(|refused| panic!("{refused}"));
    assert_eq!(caller.id, expected);
    let mut times = Vec::new();
    for number in 0..DECISIONS {
        // Answers are kept: each key is another one.
        let request = request(&format!("sk-{number}"));
        let began = Instant::now();
        let caller = generation.authenticate(&request).await;
        times.push(began.elapsed());
        assert!(matches!(caller, Err(Refused::Denied(_))), "{caller:?}");
    }
    times.sort();
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    println!("  decision: p50 {:.1?}, p99 {:.1?}", at(50), at(99));
}

fn request(key: &str) -> Request {
    Request {
        id: "req_bench".to_owned(),
        method: "POST".to_owned(),
        path: "/v1/chat/completions".to_owned(),
        query: None,
        host: "localhost".to_owned(),
        client: "127.0.0.1".to_owned(),
        headers: Vec::new(),
        credential: Some(Credential {
            scheme: "Bearer".to_owned(),
            fingerprint: fingerprint(key.as_bytes()),
            secret: None,
        }),
        now_ms: 1_700_000_000_000,
    }
}

/// Prints the memory of this process, of which that of files is the system's to drop.
async fn memory(when: &str) {
    tokio::time::sleep(Duration::from_secs(3)).await;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or_default() >> 10
    };
    println!(
        "  memory {when}: {} MiB, of which {} MiB of files, {} MiB shared",
        mib("VmRSS:"),
        mib("RssFile:"),
        mib("RssShmem:"),
    );
}
