//! New policies in JavaScript and Python pass their own tests, build with the tools of npm and PyPI, and decide.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use codex_gateway::policy::Slot;
use codex_gateway::secret::fingerprint;
use codex_gateway_tests::gateway::{KEY, Setup, say};
use codex_gateway_tests::real::variable;
use serde_json::json;

fn run(folder: &Path, program: &str, arguments: &[&str]) {
    let mut command = Command::new(program);
    let output = command.args(arguments).current_dir(folder).output();
    let output = output.unwrap();
    let words = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {words}");
}

/// Makes the slot's policy; `tools` are where its language's package manager would install them.
fn new_policy(folder: &Path, language: &str, slot: Slot, (place, tools): (&str, &str)) -> PathBuf {
    let name = format!("{language}-{slot}");
    let arguments = ["policy", "new", slot.name(), &name, "--lang", language];
    run(folder, env!("CARGO_BIN_EXE_gateway"), &arguments);
    let folder = folder.join(name);
    symlink(tools, folder.join(place)).unwrap();
    folder
}

/// The harness shows a policy without needs what the gateway shows it: nothing where something may be missing.
fn blanks(folder: &Path) {
    let script = "\
import sys; sys.path.insert(0, 'bindings')
from codex_policy import Harness, caller
from wit_world.exports.rate_limit import Ask

class Policy:
    def __init__(self, settings, host): pass
    def quotas(self, ask): return ask

asked = Ask('127.0.0.1', caller('ann', 'acme'), '/v1/responses', 'gpt-5', True, 9, 9)
seen = Harness(Policy).quotas(asked)
assert seen == Ask('', caller(''), '', None, False, 0, 0), seen
";
    run(folder, ".venv/bin/python", &["-c", script]);
}

fn component(folder: &Path) -> Vec<u8> {
    let name = folder.file_name().unwrap();
    let component = folder.join("dist").join(name).with_extension("wasm");
    std::fs::read(component).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs componentize-js (TEST_COMPONENTIZE_JS) and componentize-py (TEST_COMPONENTIZE_PY)"]
async fn new_policies_in_javascript_and_python_build_and_decide() {
    let javascript = variable("TEST_COMPONENTIZE_JS");
    let python = variable("TEST_COMPONENTIZE_PY");
    let place = tempfile::tempdir().unwrap();
    let (mut auth, mut rate_limit) = (PathBuf::new(), PathBuf::new());
    for slot in Slot::ALL {
        let in_javascript = new_policy(place.path(), "js", slot, ("node_modules", &javascript));
        run(&in_javascript, "npm", &["test"]);
        run(&in_javascript, "npm", &["run", "types"]);
        let in_python = new_policy(place.path(), "python", slot, (".venv", &python));
        run(&in_python, "make", &["test"]);
        if slot == Slot::RateLimit {
            blanks(&in_python);
        }
        match slot {
            Slot::Auth => auth = in_javascript,
            Slot::RateLimit => rate_limit = in_python,
            Slot::Model | Slot::ToolStop => {}
        }
    }
    // One of each language: a component of these takes the gateway some twenty seconds.
    run(&auth, "npm", &["run", "build"]);
    run(&rate_limit, "make", &[]);
    let callers = json!({"callers": {fingerprint(KEY.as_bytes()): "ann"}});
    let gateway = Setup::demo()
        .policy("auth.wasm", &component(&auth))
        .policy("auth.json", callers.to_string().as_bytes())
        .policy("rate-limit.wasm", &component(&rate_limit))
        .policy("rate-limit.json", br#"{"per_minute": 1}"#)
        .start()
        .await;
    let health = gateway.health().await;
    let policies = health["policies"].as_array().unwrap().iter();
    let own = policies.filter(|policy| policy["file"] != "built-in");
    let own: Vec<_> = own
        .map(|policy| {
            (
                policy["name"].as_str().unwrap(),
                policy["instances"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        own,
        [("js-auth", "frozen"), ("python-rate-limit", "frozen")]
    );
    let mut statuses = Vec::new();
    for key in ["sk-other", KEY, KEY] {
        let url = format!("{}/v1/chat/completions", gateway.origin);
        let request = gateway
            .client
            .post(url)
            .bearer_auth(key)
            .json(&say("hello"));
        statuses.push(request.send().await.unwrap().status().as_u16());
    }
    assert_eq!(statuses, [401, 200, 429]);
    gateway.stop().await;
}
