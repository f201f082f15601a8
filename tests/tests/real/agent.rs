//! The real Codex as an agent: its own tools in its sandbox, a folder a turn, and the client's tools beside them. These
//! tests need the sandbox (bubblewrap needs user namespaces): without it no agent is ready, and they fail.

use std::path::{Path, PathBuf};

use codex_gateway_tests::gateway::{Gateway, KEY, Setup};
use codex_gateway_tests::provider::{self, Provider};
use codex_gateway_tests::real::{agent, ask, node_at, python_at, script, set_up_agent, whole};
use codex_gateway_tests::sse::{self, Event, Events};
use serde_json::{Value, json};

/// A script in which the model runs this command, and then answers with `then`.
fn run(command: &str, then: Value) -> Value {
    let arguments = json!({"cmd": command}).to_string();
    json!({"calls": [{"name": "exec_command", "arguments": arguments}], "then": then})
}

fn done() -> Value {
    json!({"text": ["All ", "done."]})
}

/// The first tool's output in the last request to the provider.
fn output(provider: &Provider) -> String {
    provider
        .requests()
        .pop()
        .expect("a request")
        .outputs()
        .remove(0)
}

/// The rest of the line after a marker.
fn after<'a>(output: &'a str, marker: &str) -> &'a str {
    let (_, rest) = output
        .split_once(marker)
        .unwrap_or_else(|| panic!("no {marker} in {output}"));
    rest.lines().next().expect("a line").trim()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn commands_write_in_the_turns_own_folder_and_nowhere_else() {
    let (gateway, provider) = agent("workspace-write", |setup| setup).await;
    let outside = tempfile::tempdir_in("/var/tmp").unwrap();
    let stray = outside.path().join("stray");
    let command = format!(
        "echo mine > file; echo content=$(cat file); echo cwd=$PWD; mktemp > /dev/null && echo temporary; \
         echo stray > {}; true",
        stray.display()
    );
    let (status, body) = whole(&gateway, run(&command, done())).await;
    assert_eq!(status, 200, "{body}");
    let choice = &body["choices"][0];
    assert_eq!(choice["message"]["content"], "All done.");
    assert_eq!(choice["finish_reason"], "stop");
    assert!(choice["message"].get("tool_calls").is_none(), "{body}");
    assert_eq!(
        body["usage"]["prompt_tokens"], 240,
        "both responses are counted"
    );
    let output = output(&provider);
    assert_eq!(after(&output, "content="), "mine");
    assert!(output.contains("temporary\n"), "{output}");
    assert!(!stray.exists());
    let folder = PathBuf::from(after(&output, "cwd="));
    gateway
        .until(|_| !folder.parent().unwrap().exists(), "end of the folder")
        .await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn a_conversation_has_one_key_and_an_empty_folder_for_each_turn() {
    let (gateway, provider) = agent("workspace-write", |setup| setup).await;
    let mut messages = Vec::new();
    let mut folders = Vec::new();
    for turn in 0..3 {
        // A command that runs on in the background would write into the next turn's folder.
        let command =
            "ls -A; echo mine > file; echo cwd=$PWD; while sleep 0.1; do echo x > late; done";
        let arguments = json!({"cmd": command, "yield_time_ms": 300}).to_string();
        let call = json!({"name": "exec_command", "arguments": arguments});
        let asked = script(json!({"calls": [call], "then": done()}), turn == 1);
        messages.push(asked["messages"][0].clone());
        let body = json!({"model": "codex-5", "messages": messages, "stream": asked["stream"]});
        let answer = if turn == 1 {
            let events = Events::of(gateway.chat(&body).send().await.unwrap());
            json!({"role": "assistant", "content": sse::text(&events.rest().await)})
        } else {
            let (status, answer) = ask(&gateway, &body).await;
            assert_eq!(status, 200, "{answer}");
            answer["choices"][0]["message"].clone()
        };
        assert_eq!(answer["content"], "All done.");
        messages.push(answer);
        let output = provider.requests().pop().unwrap().outputs().pop().unwrap();
        assert!(
            !output.contains("file\n") && !output.contains("late\n"),
            "{output}"
        );
        folders.push(after(&output, "cwd=").to_owned());
    }
    folders.dedup();
    assert_eq!(folders.len(), 1, "{folders:?}");
    assert_eq!(gateway.backend.status().continued, 2);
    let requests = provider.requests();
    let mut keys: Vec<_> = requests
        .iter()
        .map(|request| &request.body["prompt_cache_key"])
        .collect();
    keys.dedup();
    assert_eq!((requests.len(), keys.len()), (6, 1), "{keys:?}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn a_reader_changes_nothing_and_reads_neither_keys_nor_the_login() {
    // Before the start: Codex ends a turn during which it finds another login.
    let signed_in = |setup: Setup| {
        setup.sign_in();
        setup
    };
    let (gateway, provider) = agent("read-only", signed_in).await;
    let home = gateway.home().display().to_string();
    let command = format!(
        "echo x > file; ls; echo cwd=$PWD; env; cat {home}/auth.json {home}/config.toml; cat /proc/*/environ | tr '\\0' '\\n'; \
         true"
    );
    let (status, body) = whole(&gateway, run(&command, done())).await;
    assert_eq!(
        (status, &body["choices"][0]["finish_reason"]),
        (200, &json!("stop")),
        "{body}"
    );
    let output = output(&provider);
    assert!(output.contains("file: Read-only file system"), "{output}");
    assert!(output.contains("PATH="), "the environment is in {output}");
    for secret in [
        KEY,
        provider::KEY,
        "sk-signed-in",
        "wire_api",
        provider::KEY_VARIABLE,
    ] {
        assert!(!output.contains(secret), "{secret} is in {output}");
    }
    let patch = "*** Begin Patch\n*** Add File: new.txt\n+x\n*** End Patch\n";
    let call = json!({"name": "apply_patch", "arguments": patch, "custom": true});
    let (status, _) = whole(&gateway, json!({"calls": [call], "then": done()})).await;
    assert_eq!(status, 200);
    let said = provider.requests().pop().unwrap().conversation();
    let (kind, refusal) = said.last().unwrap();
    assert_eq!(kind, "custom_tool_call_output");
    assert!(refusal.contains("rejected"), "{refusal}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn turns_at_the_same_time_do_not_see_each_others_folders() {
    let (gateway, provider) = agent("workspace-write", |setup| setup).await;
    let mut waits = done();
    waits["stall"] = json!(1);
    let first = script(run("echo first > secret; echo cwd=$PWD", waits), true);
    let mut first = Events::of(gateway.chat(&first).send().await.unwrap());
    provider.wait_for(|counts| counts.stalled == 1).await;
    assert!(first.next().await.is_some());
    let folder = PathBuf::from(after(&output(&provider), "cwd="));
    let secret = folder.join("secret");
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "first\n");

    let command = format!(
        "cat {}; ls {}; echo second > {}; echo cwd=$PWD",
        secret.display(),
        folder.parent().unwrap().parent().unwrap().display(),
        secret.display()
    );
    let (status, _) = whole(&gateway, run(&command, done())).await;
    assert_eq!(status, 200);
    let output = output(&provider);
    assert!(!output.contains("first"), "{output}");
    assert_ne!(Path::new(after(&output, "cwd=")), folder);
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "first\n");
    provider.release();
    first.rest().await;
    gateway
        .until(|_| !folder.exists(), "end of the folder")
        .await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn a_client_that_leaves_ends_the_command_in_the_operators_folder() {
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let path = folder.path().to_str().unwrap().to_owned();
    let (gateway, _provider) = agent("workspace-write", |setup| {
        setup.var("PROXY_CODEX_WORKDIR", &path)
    })
    .await;
    let command = "touch begun; while sleep 0.05; do date +%s%N > beat; done";
    let request = gateway.chat(&script(run(command, done()), true)).send();
    let request = tokio::spawn(request);
    gateway
        .until(|_| folder.path().join("beat").exists(), "command")
        .await;
    request.abort();
    gateway.idle().await;
    // The test deletes this file; it comes back only if the command still runs.
    let beat = folder.path().join("beat");
    gateway
        .until(
            |_| {
                let _ = std::fs::remove_file(&beat);
                std::thread::sleep(std::time::Duration::from_millis(200));
                !beat.exists()
            },
            "end of the command",
        )
        .await;
    assert!(
        folder.path().join("begun").exists(),
        "the operator's folder stays"
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn the_clients_tools_work_beside_codexs_own() {
    let (gateway, provider) = agent("read-only", |setup| setup).await;
    let weather = json!({"name": "get_weather", "arguments": "{\"city\":\"Oslo\"}"});
    let tool = |name: &str| {
        json!([{"type": "function", "function": {
            "name": name, "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        }}])
    };
    let mut body = script(run("echo looked", json!({"calls": [weather]})), false);
    body["tools"] = tool("get_weather");
    let (status, answer) = ask(&gateway, &body).await;
    assert_eq!(status, 200, "{answer}");
    let choice = &answer["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    let calls = choice["message"]["tool_calls"].as_array().unwrap();
    assert_eq!(calls.len(), 1, "{answer}");
    assert_eq!(calls[0]["function"]["name"], "get_weather");
    assert!(output(&provider).contains("looked"));
    let offered = provider.requests().pop().unwrap().tools();
    for name in ["get_weather", "exec_command", "apply_patch"] {
        assert!(offered.iter().any(|tool| tool == name), "{offered:?}");
    }

    body["tools"] = tool("exec_command");
    let (status, refused) = ask(&gateway, &body).await;
    assert_eq!(
        (status, &refused["error"]["type"]),
        (400, &json!("invalid_request_error"))
    );
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(message.contains("'exec_command'"), "{message}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn codex_keeps_its_prompt_and_what_it_says_in_passing_is_not_the_answer() {
    let (gateway, provider) = agent("read-only", |setup| setup).await;
    let mut then = done();
    then["phase"] = json!("final_answer");
    let mut answer = run("echo looked", then);
    answer["text"] = json!(["Let me ", "look."]);
    answer["phase"] = json!("commentary");
    let (_, body) = whole(&gateway, answer).await;
    let message = &body["choices"][0]["message"];
    assert_eq!(message["content"], "All done.");
    assert_eq!(message["reasoning_content"], "Let me look.");
    let said = provider.requests().remove(0).conversation();
    assert!(said[0].1.contains("Codex"), "its own prompt: {said:?}");
    let told = |words: &str| said.iter().any(|(_, text)| text.contains(words));
    assert!(told("`sandbox_mode` is `read-only`") && told("Approval policy is currently never"));

    let only = json!({"text": ["Nothing else."], "phase": "commentary"});
    let (_, body) = whole(&gateway, only).await;
    assert_eq!(body["choices"][0]["message"]["content"], "Nothing else.");
    gateway.stop().await;
}

/// The activity in a stream: commands and file changes.
fn actions(events: &[Event]) -> Vec<Value> {
    let chunks = events.iter().filter_map(|event| match event {
        Event::Data(data) => data["choices"][0]["x_codex"]["activity"].as_array(),
        _ => None,
    });
    chunks.flatten().cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn who_asks_is_told_of_commands_and_files_but_never_of_more_than_fits() {
    let (gateway, provider) = agent("workspace-write", |setup| setup).await;
    let patch = "*** Begin Patch\n*** Add File: new.txt\n+hello\n*** End Patch\n";
    let mut answer = run("seq 1 300000; exit 3", done());
    answer["calls"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "apply_patch", "arguments": patch, "custom": true}));
    let body = script(answer, true);
    let asked = gateway.chat(&body).header("x-proxy-activity", "true");
    let events = Events::of(asked.send().await.unwrap()).rest().await;
    let actions = actions(&events);
    let of = |kind: &str| -> Vec<_> {
        let actions = actions.iter().filter(|action| action["type"] == kind);
        actions.cloned().collect()
    };
    let commands = of("command");
    assert_eq!(commands.len(), 2, "begun and ended: {commands:?}");
    assert_eq!(commands[0]["status"], "in_progress");
    assert_eq!(commands[1]["command"], "seq 1 300000; exit 3");
    assert_eq!(
        (&commands[1]["status"], &commands[1]["exit_code"]),
        (&json!("failed"), &json!(3))
    );
    let output = commands[1]["output"].as_str().unwrap();
    assert!(output.starts_with("1\n2\n") && output.ends_with("300000\n"));
    assert!(output.len() < 17_000, "{} bytes", output.len());
    let change = json!({"path": "new.txt", "kind": "add", "diff": "hello\n"});
    assert_eq!(of("file_change")[0]["changes"], json!([change]));
    assert!(events.contains(&Event::Done));

    // Without the header, the answer has no activity.
    let events = Events::of(gateway.chat(&body).send().await.unwrap())
        .rest()
        .await;
    let all = format!("{events:?}");
    assert!(!all.contains("x_codex") && !all.contains("seq 1"), "{all}");
    assert_eq!(provider.requests().len(), 4);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn what_the_sandbox_refused_is_told_too() {
    let (gateway, _provider) = agent("read-only", |setup| setup).await;
    let body = script(run("echo x > /etc/stray", done()), true);
    let asked = gateway.chat(&body).header("x-proxy-activity", "true");
    let events = Events::of(asked.send().await.unwrap()).rest().await;
    let actions = actions(&events);
    let refused = actions.last().expect("an action");
    assert_eq!(
        (&refused["command"], &refused["status"]),
        (&json!("echo x > /etc/stray"), &json!("failed"))
    );
    let output = refused["output"].as_str().unwrap();
    assert!(output.contains("Read-only file system"), "{output}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex"]
async fn a_command_may_be_silent_for_longer_than_the_model() {
    let (gateway, _provider) = agent("read-only", |setup| {
        setup.var("PROXY_IDLE_TIMEOUT_MS", "1500")
    })
    .await;
    let (status, body) = whole(&gateway, run("sleep 4", done())).await;
    assert_eq!(status, 200, "{body}");
    let silent = json!({"text": ["never ", "sent"], "stall": 0});
    let (status, body) = whole(&gateway, silent).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (504, &json!("idle_timeout"))
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex and unshare"]
async fn without_a_sandbox_it_is_not_ready_and_nothing_runs() {
    for sandbox in ["read-only", "workspace-write"] {
        let outside = tempfile::tempdir_in("/var/tmp").unwrap();
        let (setup, provider) = set_up_agent(sandbox).await;
        let gateway = setup.without_namespaces().launch().await;
        let told = |gateway: &Gateway| {
            let reason = gateway.backend.status().reason;
            reason.is_some_and(|reason| reason.contains("bwrap: Creating new namespace failed"))
        };
        gateway.until(told, "reason").await;
        let ready = gateway.get("/readyz").send().await.unwrap();
        assert_eq!(ready.status(), 503);
        let stray = outside.path().join("stray");
        let (status, body) =
            whole(&gateway, run(&format!("touch {}", stray.display()), done())).await;
        assert_eq!(
            (status, &body["error"]["code"]),
            (503, &json!("worker_not_ready")),
            "{body}"
        );
        assert!(
            !body.to_string().contains("bwrap"),
            "the cause is for the log: {body}"
        );
        assert!(provider.requests().is_empty() && !stray.exists());
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex and unshare"]
async fn full_access_needs_no_sandbox() {
    let (gateway, _provider) = agent("danger-full-access", |setup| {
        setup.without_namespaces().without("POLICY_DIR")
    })
    .await;
    let (status, body) = whole(&gateway, run("true", done())).await;
    assert_eq!(status, 200, "{body}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex and the SDKs"]
async fn sdks_that_know_nothing_of_agents_follow_one() {
    python_at(agent("read-only", |setup| setup).await, "agent_activity.py").await;
    node_at(
        agent("read-only", |setup| setup).await,
        "agent-activity.mjs",
    )
    .await;
}
