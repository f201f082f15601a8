//! Metrics for Prometheus: names, counts, few labels, and which clients may read them.

use std::collections::BTreeSet;

use codex_gateway_tests::gateway::{Gateway, KEY, QUICK, Setup, say, stream};
use codex_gateway_tests::real::{python_script, succeed};
use codex_gateway_tests::sse::Events;

fn watched() -> Setup {
    Setup::demo().var("PROXY_ENABLE_METRICS", "true")
}

async fn scrape(gateway: &Gateway) -> String {
    let url = format!("{}/metrics", gateway.origin);
    let response = gateway.client.get(url).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let kind = response.headers()["content-type"].to_str().unwrap();
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"));
    let text = response.text().await.unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    text
}

/// The value of the only sample with this name and these labels.
fn value(text: &str, sample: &str) -> f64 {
    let mut found = text.lines().filter_map(|line| {
        let value = line.strip_prefix(sample)?.strip_prefix(' ')?;
        value.parse().ok()
    });
    let value = found
        .next()
        .unwrap_or_else(|| panic!("no {sample} in\n{text}"));
    assert_eq!(found.next(), None, "two of {sample}");
    value
}

/// Scrapes until a sample has a value: a request is counted a moment after its client has the last byte.
async fn until(gateway: &Gateway, sample: &str, expected: f64) -> String {
    let counted = async {
        loop {
            let text = scrape(gateway).await;
            let line = format!("{sample} {expected}");
            if text.lines().any(|found| found == line) {
                return text;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), counted)
        .await
        .unwrap_or_else(|_| panic!("no {sample} {expected}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_turns_tokens_and_decisions_are_counted() {
    let gateway = watched().start().await;
    for _ in 0..2 {
        let answer = gateway.chat(&say(QUICK)).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.bytes().await.unwrap();
    }
    let answer = gateway.chat(&say(QUICK)).bearer_auth("sk-other");
    assert_eq!(answer.send().await.unwrap().status(), 401);
    let requests = r#"codex_requests_total{route="/v1/chat/completions",method="POST",status="200",finish="stop"}"#;
    let text = until(&gateway, requests, 2.0).await;
    let refused = r#"codex_requests_total{route="/v1/chat/completions",method="POST",status="401",finish=""}"#;
    assert_eq!(value(&text, refused), 1.0);
    let turn = r#"{gen_ai_operation_name="chat",gen_ai_provider_name="openai",gen_ai_request_model="codex-5",error_type=""}"#;
    for name in ["request_duration", "time_to_first_token"] {
        let sample = format!("gen_ai_server_{name}_seconds_count{turn}");
        assert_eq!(value(&text, &sample), 2.0);
    }
    let output = r#"gen_ai_client_token_usage_sum{gen_ai_operation_name="chat",gen_ai_provider_name="openai",gen_ai_request_model="codex-5",gen_ai_token_type="output"}"#;
    let tokens = r#"codex_tokens_total{model="codex-5",kind="output"}"#;
    assert!(value(&text, output) > 0.0);
    assert_eq!(value(&text, tokens), value(&text, output));
    let decided = |slot: &str, outcome: &str| {
        let labels = format!(r#"{{slot="{slot}",outcome="{outcome}"}}"#);
        value(&text, &format!("codex_policy_decisions_total{labels}"))
    };
    assert_eq!(
        (decided("auth", "answered"), decided("auth", "denied")),
        (2.0, 1.0)
    );
    assert_eq!(decided("model", "answered"), 2.0);
    assert_eq!(decided("tool-stop", "fault"), 0.0);
    let timed = r#"codex_policy_decision_duration_seconds_count{slot="auth"}"#;
    let kept = r#"codex_policy_kept_decisions_total{slot="auth"}"#;
    // Other gateways of this process have the same policies, and with them the answers.
    assert_eq!(value(&text, timed) + value(&text, kept), 3.0);
    assert!(value(&text, kept) >= 1.0);
    for (sample, expected) in [
        ("codex_policy_generation", 1.0),
        ("codex_policy_swaps_total", 0.0),
        ("codex_policy_refused", 0.0),
        ("codex_backend_ready", 1.0),
        ("codex_backend_turns", 0.0),
        ("codex_backend_waiting", 0.0),
        ("codex_backend_workers", 0.0),
        ("codex_worker_recycled_total", 0.0),
        ("codex_worker_restarts_total", 0.0),
        (r#"codex_policy_faults_total{slot="auth",kind="trap"}"#, 0.0),
        (
            r#"codex_policy_denied_imports_total{slot="auth",import="wasi:http"}"#,
            0.0,
        ),
    ] {
        assert_eq!(value(&text, sample), expected, "{sample}");
    }
    assert!(value(&text, "process_resident_memory_bytes") > 1e6);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn open_streams_are_seen_and_their_end_is() {
    let gateway = watched().start().await;
    let endless = r#"{"demo":{"deltas":1000000,"text":"x","delay_ms":10}}"#;
    let mut events = Events::of(gateway.chat(&stream(endless)).send().await.unwrap());
    assert!(events.next().await.is_some());
    let text = scrape(&gateway).await;
    assert_eq!(value(&text, "codex_streams_active"), 1.0);
    assert!(value(&text, "http_server_active_requests") >= 1.0);
    drop(events);
    until(&gateway, "codex_streams_active", 0.0).await;
    let left = r#"codex_requests_total{route="/v1/chat/completions",method="POST",status="200",finish=""}"#;
    until(&gateway, left, 1.0).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_make_up_is_no_label() {
    let gateway = watched().start().await;
    for n in 0..3 {
        let request = gateway.get(&format!("/made/up/{n}"));
        assert_eq!(request.send().await.unwrap().status(), 404);
        let request = gateway.get(&format!("/v1/models/made-up-{n}"));
        assert_eq!(request.send().await.unwrap().status(), 404);
        let mut body = say(QUICK);
        body["model"] = format!("made-up-{n}").into();
        assert_eq!(gateway.chat(&body).send().await.unwrap().status(), 404);
    }
    let brew = reqwest::Method::from_bytes(b"BREW").unwrap();
    let request = gateway
        .client
        .request(brew, format!("{}/made/up", gateway.origin));
    assert_eq!(request.send().await.unwrap().status(), 404);
    let unknown = r#"codex_requests_total{route="other",method="GET",status="404",finish=""}"#;
    let text = until(&gateway, unknown, 3.0).await;
    let brew = r#"codex_requests_total{route="other",method="other",status="404",finish=""}"#;
    let text = if text.contains(brew) {
        text
    } else {
        until(&gateway, brew, 1.0).await
    };
    assert!(text.contains(r#"route="/v1/models/{id}""#), "{text}");
    assert!(!text.contains("made"), "{text}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_switch_there_are_none() {
    let gateway = Setup::demo().start().await;
    assert_eq!(gateway.get("/metrics").send().await.unwrap().status(), 404);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn this_machine_may_read_them_but_not_through_a_proxy() {
    let gateway = watched().start().await;
    scrape(&gateway).await;
    for header in ["x-forwarded-for", "x-real-ip", "forwarded", "via"] {
        let request = gateway.get("/metrics").header(header, "127.0.0.1");
        assert_eq!(request.send().await.unwrap().status(), 403, "{header}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_token_only_the_token_counts_where_this_machine_does_not() {
    let gateway = watched()
        .var("PROXY_METRICS_TOKEN", "look-at-me")
        .var("PROXY_METRICS_ALLOW_LOOPBACK", "false")
        .start()
        .await;
    for (token, expected) in [("look-at-me", 200), (KEY, 403), ("", 403)] {
        let url = format!("{}/metrics", gateway.origin);
        let request = gateway.client.get(url).bearer_auth(token);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), expected, "{token}");
        if expected == 403 {
            let body: serde_json::Value = answer.json().await.unwrap();
            assert_eq!(body["error"]["code"], "metrics_access_denied");
        }
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn open_to_all_they_are_open_to_all() {
    let gateway = watched()
        .var("PROXY_METRICS_ALLOW_UNAUTH", "true")
        .start()
        .await;
    let request = gateway
        .get("/metrics")
        .header("x-forwarded-for", "203.0.113.9");
    assert_eq!(request.send().await.unwrap().status(), 200);
    gateway.stop().await;
}

fn read(path: &str) -> String {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    std::fs::read_to_string(root.join(path)).unwrap()
}

/// The names in the first column of the book's table of metrics.
fn documented() -> BTreeSet<String> {
    let page = read("docs/src/operating.md");
    let (_, table) = page.split_once("\n| metric | labels | |\n").unwrap();
    let rows = table
        .lines()
        .take_while(|line| line.starts_with('|'))
        .skip(1);
    let first = rows.map(|row| row.split('|').nth(1).unwrap().to_owned());
    first
        .flat_map(|cell| {
            cell.split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect()
}

/// The metrics of a scrape, each under the name the book uses.
fn families(text: &str) -> BTreeSet<String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types
        .map(|line| match line.split_once(' ').unwrap() {
            (name, "counter") => format!("{name}_total"),
            (name, "info") => format!("{name}_info"),
            (name, _) => name.to_owned(),
        })
        .collect()
}

/// All names that a query may use: samples and labels.
fn names(text: &str) -> BTreeSet<String> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples.flat_map(identifiers).collect()
}

fn identifiers(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| {
            let ours = ["codex_", "gen_ai_", "http_", "process_"];
            ours.iter().any(|prefix| word.starts_with(prefix))
        })
        .map(str::to_owned)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_exposed_is_documented_and_what_is_watched_is_exposed() {
    let gateway = watched().start().await;
    let answer = gateway.chat(&say(QUICK)).send().await.unwrap();
    answer.bytes().await.unwrap();
    let counted = r#"codex_requests_total{route="/v1/chat/completions",method="POST",status="200",finish="stop"}"#;
    let text = until(&gateway, counted, 1.0).await;
    assert_eq!(
        families(&text),
        documented(),
        "exposed (left), docs/src/operating.md (right)"
    );
    let exposed = names(&text);
    let dashboard = read("deploy/observability/grafana.json");
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let dashboard = dashboard.to_string();
    for (file, watching) in [
        ("grafana.json", dashboard),
        ("alerts.yml", read("deploy/observability/alerts.yml")),
    ] {
        let watched = identifiers(&watching);
        assert!(watched.len() > 5, "{file} watches nothing");
        for name in watched {
            assert!(exposed.contains(&name), "{file}: {name} is not exposed");
        }
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scraper_gets_the_text_format_that_it_asks_for() {
    let gateway = watched().start().await;
    let url = format!("{}/metrics", gateway.origin);
    let request = gateway.client.get(&url);
    let request = request.header("accept", "text/plain;version=0.0.4;q=0.5,*/*;q=0.1");
    let response = request.send().await.unwrap();
    let headers = response.headers();
    assert_eq!(
        headers["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    assert!(headers["vary"].to_str().unwrap().contains("accept"));
    let text = response.text().await.unwrap();
    assert!(
        text.contains("\n# TYPE codex_policy_decisions_total counter\n"),
        "{text}"
    );
    assert!(
        !text.contains("# EOF") && !text.contains("# UNIT"),
        "{text}"
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Prometheus' parsers for Python"]
async fn both_text_formats_say_the_same_to_prometheus_own_parsers() {
    let gateway = watched().start().await;
    let answer = gateway.chat(&say(QUICK)).send().await.unwrap();
    answer.bytes().await.unwrap();
    let counted = r#"codex_requests_total{route="/v1/chat/completions",method="POST",status="200",finish="stop"}"#;
    until(&gateway, counted, 1.0).await;
    let mut program = python_script("prometheus_text.py");
    program.arg(format!("{}/metrics", gateway.origin));
    succeed(program).await;
    gateway.stop().await;
}
