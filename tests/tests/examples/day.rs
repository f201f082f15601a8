//! The day of an author: from a new policy to one that serves, step by step with the commands of the book, by the clock.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use codex_gateway::secret::fingerprint;
use codex_gateway_tests::examples::without_this_build;
use codex_gateway_tests::gateway::{Gateway, KEY, Setup};
use codex_gateway_tests::operator::{TOKEN, operated};
use serde_json::{Value, json};

/// The words of every template for a wrong key, and those that the author writes in their place.
const BEFORE: &str = "Incorrect API key.";
const AFTER: &str = "Nobody knows this key.";

/// A language: its name, the file with the decision, the steps that build and test, and the component.
struct Language {
    name: &'static str,
    source: &'static str,
    build: &'static [&'static str],
    test: &'static [&'static str],
    component: &'static str,
    /// The folder of what its package manager installs, and the variable that names one that is there already.
    tools: Option<(&'static str, &'static str)>,
}

const LANGUAGES: [Language; 3] = [
    Language {
        name: "rust",
        source: "src/lib.rs",
        build: &["cargo", "build", "--release"],
        test: &["cargo", "test", "--release", "--target", "host-tuple"],
        component: "target/wasm32-wasip2/release/my_auth.wasm",
        tools: None,
    },
    Language {
        name: "js",
        source: "src/policy.js",
        build: &["npm", "run", "build"],
        test: &["npm", "test"],
        component: "dist/my-auth.wasm",
        tools: Some(("node_modules", "TEST_COMPONENTIZE_JS")),
    },
    Language {
        name: "python",
        source: "policy.py",
        build: &["make"],
        test: &["make", "test"],
        component: "dist/my-auth.wasm",
        tools: Some((".venv", "TEST_COMPONENTIZE_PY")),
    },
];

/// The author's desk: a folder, and a clock.
struct Desk {
    folder: PathBuf,
    began: Instant,
}

impl Desk {
    fn run(&self, step: &str, words: &[&str], ends: i32) -> Output {
        let began = Instant::now();
        let (program, arguments) = words.split_first().unwrap();
        let program = match *program {
            "codex-gateway" => env!("CARGO_BIN_EXE_gateway"),
            other => other,
        };
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.folder);
        // The author's own folder has the build.
        without_this_build(&mut command).env_remove("CARGO_TARGET_DIR");
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(ends), "{words:?}: {said}");
        self.tell(step, began);
        output
    }

    fn tell(&self, step: &str, began: Instant) {
        let minutes = self.began.elapsed().as_secs_f64() / 60.0;
        println!(
            "  {step}: {:.1} s, minute {minutes:.1}",
            began.elapsed().as_secs_f64()
        );
    }
}

/// The answer to a request with a key that nobody has: the words of its error.
async fn refused(gateway: &Gateway) -> String {
    let url = format!("{}/v1/usage", gateway.origin);
    let asked = gateway.client.get(url).bearer_auth("sk-nobody").send();
    let answer: Value = asked.await.unwrap().json().await.unwrap();
    answer["error"]["message"].as_str().unwrap().to_owned()
}

/// Builds a new policy, and changes it; what was before the change is in `before.wasm`.
fn built(place: &Path, language: &Language) -> Desk {
    let mut desk = Desk {
        folder: place.to_owned(),
        began: Instant::now(),
    };
    let new = ["policy", "new", "auth", "my-auth", "--lang", language.name];
    desk.run("new", &[&["codex-gateway"], &new[..]].concat(), 0);
    desk.folder = place.join("my-auth");
    if let Some((folder, variable)) = language.tools
        && let Ok(installed) = std::env::var(variable)
    {
        symlink(installed, desk.folder.join(folder)).unwrap();
    } else if language.name == "js" {
        desk.run("install", &["npm", "install"], 0);
    }
    desk.run("build", language.build, 0);
    let component = desk.folder.join(language.component);
    std::fs::copy(&component, desk.folder.join("before.wasm")).unwrap();
    let source = desk.folder.join(language.source);
    let text = std::fs::read_to_string(&source).unwrap();
    assert!(text.contains(BEFORE), "{text}");
    std::fs::write(source, text.replace(BEFORE, AFTER)).unwrap();
    desk.run("build the change", language.build, 0);
    desk.run("test in its language", language.test, 0);
    desk
}

/// Tests, measures, compares and signs it.
fn checked(desk: &Desk, language: &Language) {
    let component = language.component;
    let settings = json!({"callers": {fingerprint(KEY.as_bytes()): "ann"}});
    let out = desk.folder.join("out");
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("auth.json"), settings.to_string()).unwrap();
    // The gateway's folder needs one that is signed, before there is any policy in it.
    std::fs::write(out.join("policies.toml"), "").unwrap();
    std::fs::copy(desk.folder.join(component), out.join("auth.wasm")).unwrap();
    let gateway = |step, words: &[&str], ends| {
        desk.run(step, &[&["codex-gateway", "policy"], words].concat(), ends)
    };
    gateway("test", &["test", "cases", "--with", component], 0);
    gateway(
        "bench",
        &["bench", "out/auth.wasm", "--settings", "out/auth.json"],
        0,
    );
    let sides = ["before.wasm", "out/auth.wasm"];
    let settings = ["--settings", "out/auth.json", "--cases", "cases"];
    // Its exit code says that there is a difference.
    gateway("diff", &[&["diff"], &sides[..], &settings].concat(), 1);
    gateway("keygen", &["keygen", "-W"], 0);
    gateway("sign", &["sign", "out"], 0);
}

/// Uploads it with a shadow, and waits until it serves.
async fn promoted(desk: &Desk, gateway: &Gateway, admin: &str) {
    let began = Instant::now();
    let upload = [
        "admin",
        "upload",
        "auth=out/auth.wasm",
        "auth=out/auth.json",
        "--shadow",
        "1s",
        "--min-decisions",
        "1",
        "--max-differ",
        "1000000",
        "--promote",
    ];
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
    command.args(upload).current_dir(&desk.folder);
    command.env("ADMIN_ADDR", admin).env("ADMIN_TOKEN", TOKEN);
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    desk.tell("upload", began);
    let began = Instant::now();
    while refused(gateway).await != AFTER {}
    desk.tell("shadow and promotion", began);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idea_becomes_a_policy_that_serves_in_each_language() {
    for language in &LANGUAGES {
        println!("{}:", language.name);
        let place = tempfile::tempdir().unwrap();
        let desk = built(place.path(), language);
        checked(&desk, language);
        let key = desk.folder.join("policies.pub");
        let signature = std::fs::read(desk.folder.join("out/policies.toml.minisig")).unwrap();
        let setup = operated(Setup::demo())
            .var("POLICY_TRUSTED_KEYS", key.to_str().unwrap())
            .policy("policies.toml", b"")
            .policy("policies.toml.minisig", &signature);
        let gateway = setup.start().await;
        let admin = gateway.admin.clone().unwrap();
        promoted(&desk, &gateway, &admin).await;
        let minutes = desk.began.elapsed().as_secs_f64() / 60.0;
        println!("{}: serves after {minutes:.1} minutes", language.name);
        gateway.stop().await;
    }
}
