//! The real Codex as a client of the gateway, which is then the model provider of another Codex.

use std::path::Path;
use std::time::{Duration, Instant};

use codex_gateway_tests::clients::{self, CODEX};
use codex_gateway_tests::gateway::{Gateway, Setup};
use codex_gateway_tests::real::{real, variable};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The timeout of the count of a request.
const PATIENCE: Duration = Duration::from_secs(120);

/// The runs of which the median time is printed.
const ROUNDS: usize = 3;

/// A home with Codex's configuration: the gateway is a provider that may be asked over a WebSocket, as OpenAI is, or not.
fn home(gateway: &Gateway, model: &str, over_websockets: bool) -> TempDir {
    let home = tempfile::tempdir().expect("a folder");
    let book = CODEX.configuration(gateway);
    let changed = book
        .replace(r#"model = "gpt-5.5""#, &format!(r#"model = "{model}""#))
        .replace(
            "supports_websockets = true",
            &format!("supports_websockets = {over_websockets}"),
        );
    let config =
        format!("check_for_update_on_startup = false\nanalytics.enabled = false\n{changed}");
    let folder = home.path().join(".codex");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::write(folder.join("config.toml"), config).expect("a configuration");
    home
}

/// Runs `codex exec` with a prompt; all that it wrote.
async fn exec(program: &str, gateway: &Gateway, home: &Path, prompt: &str) -> String {
    let mut program = CODEX.command(program, gateway, home);
    program
        .args(["exec", "--skip-git-repo-check", "--ephemeral"])
        // The sandbox of its commands is the machine's: some give none to a test.
        .args(["--dangerously-bypass-approvals-and-sandbox", prompt]);
    let (_, said, errors) = clients::output(program, "").await;
    format!("{said}\n{errors}")
}

/// Method, status and number of requests.
type Counts = Vec<(String, String, u64)>;

/// The requests for responses, as the gateway counted them; a turn of a WebSocket is a `POST`.
async fn counted(gateway: &Gateway) -> Counts {
    let metrics = gateway.get("/metrics").send().await.expect("an answer");
    let metrics = metrics.text().await.expect("metrics");
    let lines = metrics.lines();
    let counts = lines.filter_map(|line| {
        let labels = line.strip_prefix(r#"codex_requests_total{route="/v1/responses",method=""#)?;
        let (method, labels) = labels.split_once(r#"",status=""#)?;
        let (status, labels) = labels.split_once('"')?;
        let (_, count) = labels.rsplit_once(' ')?;
        Some((method.to_owned(), status.to_owned(), count.parse().ok()?))
    });
    let mut counts: Counts = counts.collect();
    counts.sort();
    counts
}

/// Runs `codex exec` once against the demo. Returns the gateway's counts of its requests, and how long Codex ran.
async fn hello(program: &str, setup: Setup, over_websockets: bool) -> (Counts, Duration) {
    let setup = setup.var("PROXY_ENABLE_METRICS", "true");
    let gateway = setup.start().await;
    let home = home(&gateway, "codex-5", over_websockets);
    let began = Instant::now();
    let said = exec(program, &gateway, home.path(), "Say hello.").await;
    let took = began.elapsed();
    assert!(!said.contains("ERROR: "), "{said}");
    assert!(!said.to_lowercase().contains("reconnect"), "{said}");
    // A request is counted a moment after its client has the answer.
    let counted = async {
        loop {
            let counted = counted(&gateway).await;
            if counted.iter().any(|(method, ..)| method == "POST") {
                return counted;
            }
        }
    };
    let counted = tokio::time::timeout(PATIENCE, counted).await;
    let counted = counted.unwrap_or_else(|_| panic!("no request: {said}"));
    gateway.stop().await;
    (counted, took)
}

fn counts(all: &[(&str, &str, u64)]) -> Counts {
    let all = all.iter();
    all.map(|(method, status, count)| ((*method).to_owned(), (*status).to_owned(), *count))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn codex_asks_for_a_websocket_once_and_then_posts() {
    let setup = Setup::demo().var("PROXY_ENABLE_WEBSOCKET", "false");
    let (counted, _) = hello(&variable("TEST_CODEX_BIN"), setup, true).await;
    assert_eq!(counted, counts(&[("GET", "426", 1), ("POST", "200", 1)]));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex, and other versions of it"]
async fn every_codex_keeps_one_websocket_for_its_turns() {
    let (tested, others) = (variable("TEST_CODEX_BIN"), variable("TEST_CODEX_OTHERS"));
    for program in std::iter::once(tested.as_str()).chain(others.split(':')) {
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            let (counted, took) = hello(program, Setup::demo(), true).await;
            let (gets, posts): (Vec<_>, Vec<_>) = counted
                .into_iter()
                .partition(|(method, ..)| method == "GET");
            assert_eq!(gets, counts(&[("GET", "101", 1)]), "{program}");
            // A version that warms a connection up sends a request without generation first.
            let answered = posts.iter().filter(|(_, status, _)| status == "200");
            let answered: u64 = answered.map(|(.., count)| count).sum();
            assert!(matches!(answered, 1..=2), "{program}: {posts:?}");
            times[0].push(took);
            let (posted, took) = hello(program, Setup::demo(), false).await;
            assert_eq!(posted, counts(&[("POST", "200", 1)]), "{program}");
            times[1].push(took);
        }
        let [over_websocket, over_http] = times.map(|mut times| {
            times.sort();
            times[ROUNDS / 2]
        });
        println!("{program}: {over_websocket:?} over a WebSocket, {over_http:?} over HTTP");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn codex_says_when_a_long_limit_ends_and_does_not_wait_for_it() {
    let rules = json!({"rules": [{"name": "daily", "unit": "requests", "limit": 1, "window_ms": 86_400_000}]});
    for over_websockets in [true, false] {
        let setup = Setup::demo().policy("rate-limit.json", rules.to_string().as_bytes());
        let gateway = setup.start().await;
        let home = home(&gateway, "codex-5", over_websockets);
        let program = variable("TEST_CODEX_BIN");
        exec(&program, &gateway, home.path(), "Say hello.").await;
        let said = exec(&program, &gateway, home.path(), "Say hello.").await;
        assert!(said.contains("usage limit. Try again at"), "{said}");
        gateway.stop().await;
    }
}

/// Codex, which is the client, makes a file with `calls` of the model behind the gateway; all that it wrote.
async fn makes_a_file(model: &str, calls: Value) -> String {
    let (gateway, provider) = real().await;
    let home = home(&gateway, model, true);
    let script = json!({"calls": calls, "then": {"text": ["All ", "done."]}});
    let program = variable("TEST_CODEX_BIN");
    let said = exec(
        &program,
        &gateway,
        home.path(),
        &json!({ "provider": script }).to_string(),
    )
    .await;
    let made = std::fs::read_to_string(home.path().join("made.txt"));
    assert_eq!(made.ok().as_deref(), Some("by Codex\n"), "{said}");
    assert!(said.contains("All done."), "{said}");
    let asked = provider.requests().pop().expect("a request");
    let items = asked.body["input"].as_array().expect("items").iter();
    let outputs = items.filter(|item| item["type"] == "function_call_output");
    assert_eq!(outputs.count(), calls.as_array().expect("calls").len());
    gateway.stop().await;
    said
}

/// The arguments of the function that stands for a custom tool.
fn input(text: &str) -> String {
    json!({ "input": text }).to_string()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn codex_works_with_its_functions_and_its_custom_tool_at_once() {
    let patch = "*** Begin Patch\n*** Add File: made.txt\n+by Codex\n*** End Patch\n";
    let command = json!({"cmd": "echo ran >> ran.txt; cat ran.txt"}).to_string();
    let calls = json!([
        {"name": "client_apply_patch", "arguments": input(patch)},
        {"name": "client_exec_command", "arguments": command},
    ]);
    let said = makes_a_file("gpt-5.5", calls).await;
    assert!(said.contains("ran"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn codex_works_with_tools_that_come_with_its_input() {
    let program =
        r#"const r = await tools.exec_command({cmd: "echo by Codex > made.txt"}); text(r.output);"#;
    let calls = json!([{"name": "exec", "arguments": input(program)}]);
    makes_a_file("gpt-5.6-sol", calls).await;
}
