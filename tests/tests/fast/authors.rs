//! `codex-gateway policy`: what an author of policies types, with real components and no server.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use codex_gateway::policy::Slot;
use codex_gateway_tests::gateway::KEY;
use codex_gateway_tests::guests::{EVERY, FORBIDDEN, foreign};
use serde_json::{Value, json};

mod cases;
mod diff;
mod matrix;
mod mutants;
mod serving;

/// A folder with the tests' own component, and files that a test writes.
struct Desk(tempfile::TempDir);

/// The exit code, the output and the messages of a command.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        std::fs::write(desk.path("every.wasm"), EVERY).unwrap();
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, value: &Value) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, value.to_string()).unwrap();
        path
    }

    /// Runs `codex-gateway policy` in the folder.
    fn policy(&self, arguments: &[&str]) -> Said {
        Said::of(self.command(arguments).output().unwrap())
    }

    /// As [`Desk::policy`], with the arguments in one line.
    fn line(&self, line: &str) -> Said {
        self.policy(&line.split(' ').collect::<Vec<_>>())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
        command
            .env_clear()
            .env("PROXY_CACHE_DIR", cache())
            .env("PROXY_API_KEY", KEY)
            .current_dir(self.0.path())
            .arg("policy")
            .args(arguments);
        command
    }
}

/// A compile cache that the tests of this program share: the commands use one that is there, and make none.
fn cache() -> PathBuf {
    use std::os::unix::fs::DirBuilderExt;

    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("authors");
    std::fs::create_dir_all(&cache).unwrap();
    let made = std::fs::DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(cache.join("compiled"));
    made.unwrap();
    cache
}

impl Said {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// The one JSON object of the output.
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("{}{}", self.out, self.err))
    }

    fn all(&self) -> String {
        format!("{:?}\n{}{}", self.code, self.out, self.err)
    }
}

#[test]
fn a_file_is_checked_in_the_words_of_a_start() {
    let desk = Desk::new();
    let good = desk.write("auth.json", &json!({"keys": []}));
    let said = desk.policy(&["check", good.to_str().unwrap()]);
    assert_eq!(said.code, Some(0), "{}", said.all());
    assert!(
        said.err.contains("auth.json: it has no `keys`"),
        "{}",
        said.err
    );

    let wrong = desk.write("wrong/auth.json", &json!({"kyes": []}));
    let said = desk.policy(&["check", wrong.to_str().unwrap()]);
    assert_eq!(said.code, Some(78), "{}", said.all());
    assert!(
        said.err
            .contains("(auth policy): expected settings as the policy's schema"),
        "{}",
        said.err
    );

    std::fs::write(desk.path("foreign.wasm"), foreign()).unwrap();
    let said = desk.policy(&["check", "foreign.wasm", "--json"]);
    let report = said.json();
    assert_eq!((said.code, report["ok"].as_bool()), (Some(78), Some(false)));
    let problem = report["refused"][0]["problem"].as_str().unwrap();
    assert!(
        problem.starts_with("expected imports of WASI 0.2"),
        "{problem}"
    );
    assert_eq!(report["refused"][0]["file"], "foreign.wasm");

    // A folder, with everything that is wrong in it; names that point nowhere are warnings.
    let said = desk.policy(&["check", "wrong"]);
    assert_eq!(said.code, Some(78), "{}", said.all());
    desk.write("right/rate-limit.json", &json!({"rules": [{"name": "a", "unit": "requests", "limit": 1, "endpoints": ["/v1/none"]}]}));
    let said = desk.policy(&["check", "right"]);
    assert_eq!(said.code, Some(0), "{}", said.all());
    assert!(
        said.err.contains("rules[0].endpoints `/v1/none`"),
        "{}",
        said.err
    );

    let said = desk.policy(&["check", "nowhere.wasm"]);
    assert_eq!(said.code, Some(78), "{}", said.all());
    let said = desk.policy(&["check", "every.wasm"]);
    assert_eq!(said.code, Some(78), "{}", said.all());
    assert!(
        said.err.contains("it fits several slots") && said.err.contains("--slot"),
        "{}",
        said.err
    );
}

#[test]
fn a_mistake_of_the_configuration_is_one_of_a_check() {
    let desk = Desk::new();
    let folder = desk.path("policies");
    std::fs::create_dir(&folder).unwrap();
    desk.write("auth.json", &json!({"keys": []}));
    for line in [
        "check auth.json",
        "check policies",
        "deploy auth.json --to policies",
    ] {
        let mut command = desk.command(&line.split(' ').collect::<Vec<_>>());
        let said = Said::of(command.env("PORT", "many").output().unwrap());
        assert_eq!(said.code, Some(78), "{line}: {}", said.all());
        assert!(said.err.contains("PORT: expected "), "{}", said.err);
        assert!(!said.out.contains("it can serve"), "{}", said.out);
    }
    assert!(!folder.join("auth.json").exists());
    let mut command = desk.command(&["check", "auth.json", "--json"]);
    let said = Said::of(command.env("PORT", "many").output().unwrap());
    let report = said.json();
    let problem = report["refused"][0]["problem"].as_str().unwrap();
    assert!(
        report["ok"] == false && problem.starts_with("PORT: "),
        "{report}"
    );
}

#[test]
fn imports_that_are_refused_when_used_are_named() {
    let desk = Desk::new();
    std::fs::write(desk.path("forbidden.wasm"), FORBIDDEN).unwrap();
    let told = desk.line("inspect forbidden.wasm --json").json();
    let refused = told["refused_imports"].as_array().unwrap();
    for begin in ["wasi:filesystem/", "wasi:sockets/", "wasi:http/"] {
        let begins = |import: &Value| import.as_str().unwrap().starts_with(begin);
        assert!(refused.iter().any(begins), "{told}");
    }
    let allowed = |import: &Value| import.as_str().unwrap().starts_with("wasi:cli/");
    assert!(!refused.iter().any(allowed), "{told}");
    let said = desk.line("inspect auth");
    assert!(
        said.out.contains("refused    none of these\n"),
        "{}",
        said.out
    );
}

#[test]
fn a_component_is_described() {
    let desk = Desk::new();
    let said = desk.line("inspect auth");
    assert_eq!(said.code, Some(0), "{}", said.all());
    for words in [
        "policy     codex-auth ",
        "needs      credential\n",
        "instances  frozen\n",
        "keys (array)",
    ] {
        assert!(said.out.contains(words), "{}", said.out);
    }
    let told = desk.line("inspect every.wasm --slot model --json").json();
    let slots = json!(Slot::ALL.map(Slot::name));
    let bytes = json!(EVERY.len());
    for (member, expected) in [
        ("fits", &slots),
        ("name", &json!("test")),
        ("contract", &json!("0.2")),
        ("bytes", &bytes),
        ("instances", &json!("frozen")),
    ] {
        assert_eq!(&told[member], expected, "{told}");
    }
    let of = |list: &Value| list.as_array().unwrap().len();
    let image = told["image_bytes"].as_u64();
    assert!(image > Some(EVERY.len() as u64 / 2), "{told}");
    assert!(of(&told["exports"]) == 6 && of(&told["imports"]) > 0);
}

#[test]
fn a_component_is_described_also_if_it_cannot_be_frozen_or_would_be_refused() {
    let desk = Desk::new();
    desk.write("holds.json", &json!({"configure": "hold"}));
    let said = desk.line("inspect every.wasm --slot auth --settings holds.json");
    let because = "instances  warm, because configure left host resources open";
    assert!(said.out.contains(because), "{}", said.all());
    desk.write("refuses.json", &json!({"configure": "refuse"}));
    let said = desk.line("inspect every.wasm --slot auth --json --settings refuses.json");
    assert_eq!(said.code, Some(78), "{}", said.all());
    let refusal = "the policy refuses these settings: told to refuse";
    assert_eq!(said.json()["refusal"], refusal);
    assert_eq!(said.json()["version"], "0.0.1-test");
}

#[test]
fn an_auth_policy_is_asked_about_a_request() {
    let desk = Desk::new();
    let sha256 = codex_gateway::secret::fingerprint(b"sk-ann");
    let key = json!({"id": "ann", "sha256": sha256, "expires_at": 1_796_167_800});
    desk.write("auth.json", &json!({"keys": [key]}));
    let ask = |at: &str| {
        let before = "run auth --settings auth.json --key sk-ann --json --at";
        let mut arguments: Vec<_> = before.split(' ').collect();
        arguments.extend([at, "--request", "GET /v1/models?limit=1"]);
        desk.policy(&arguments)
    };
    let said = ask("2026-12-01T23:29Z");
    assert_eq!(said.json()["ok"]["id"], "ann", "{}", said.all());
    // It saw the parts that it declared, and no more.
    let saw = &said.json()["saw"];
    let (path, secret) = (&saw["path"], &saw["credential"]["secret"]);
    assert_eq!((path, secret), (&json!(""), &Value::Null), "{saw}");
    let line = "run auth --settings auth.json --at 2026-12-01T23:29Z --json --key - --request";
    let arguments = line.split(' ').chain(["GET /v1/models"]);
    let mut command = desk.command(&arguments.collect::<Vec<_>>());
    std::fs::write(desk.path("key"), "sk-ann\n").unwrap();
    command.stdin(std::fs::File::open(desk.path("key")).unwrap());
    let read = Said::of(command.output().unwrap());
    assert_eq!(read.json()["ok"]["id"], "ann", "{}", read.all());
    let said = ask("2026-12-01T23:30Z");
    let code = &said.json()["denied"]["code"];
    assert_eq!((said.code, code), (Some(0), &json!("invalid_api_key")));
}

#[test]
fn the_input_comes_from_a_file_or_standard_input_and_may_lack_members() {
    let desk = Desk::new();
    desk.write("input.json", &json!({"ask": {"requested": "codex-5"}}));
    let said = desk.line("run model --input input.json");
    assert_eq!(said.code, Some(0), "{}", said.all());
    assert!(said.out.starts_with("ok {"), "{}", said.all());

    let observe = desk.write("observe.json", &json!({"progress": {"calls": 3}}));
    let mut command = desk.command(&["run", "tool-stop", "--input", "-", "--json"]);
    command.stdin(std::fs::File::open(observe).unwrap());
    let said = Said::of(command.output().unwrap());
    assert_eq!(said.json()["ok"]["reaction"], "GoOn", "{}", said.all());

    let rule = json!({"name": "burst", "unit": "requests", "limit": 9});
    desk.write("rules.json", &json!({"rules": [rule]}));
    let said = desk.line("run rate-limit --settings rules.json --json");
    let remaining = &said.json()["statuses"][0]["remaining"];
    assert_eq!(remaining, 8, "{}", said.all());

    for (line, words) in [
        (
            "run auth --request /v1",
            "--request: expected a method and a path",
        ),
        ("run auth --at noon", "--at: expected a time"),
        (
            "run auth --call resolve",
            "call: expected authenticate or verify",
        ),
        (
            "run auth --input observe.json",
            "input: there is no member `progress`",
        ),
    ] {
        let said = desk.line(line);
        assert_eq!(said.code, Some(78), "{}", said.all());
        assert!(said.err.contains(words), "{}", said.err);
    }
}

#[test]
fn the_author_hears_the_guest_first_then_sees_where_it_failed() {
    let desk = Desk::new();
    let run = |header: &str, more: &[&str]| {
        let header = format!("x-hostile: {header}");
        let arguments = [
            "run",
            "every.wasm",
            "--slot",
            "auth",
            "--request",
            "GET /",
            "--header",
            &header,
        ];
        desk.policy(&[&arguments[..], more].concat())
    };
    let said = run("panic", &[]);
    assert_eq!(said.code, Some(1), "{}", said.all());
    let place = |words: &str| {
        said.out
            .find(words)
            .unwrap_or_else(|| panic!("{words}: {}", said.out))
    };
    let message = place("told to panic");
    let frame = place("test_guest_every::");
    let trap = place("fault: trap: wasm trap: wasm `unreachable` instruction executed");
    assert!(message < frame && frame < trap, "{}", said.out);

    let said = run("print", &["--json"]);
    let told = said.json();
    assert_eq!(
        told["printed"],
        "told to print\\u{1b}[2J\nforged=line",
        "{}",
        said.all()
    );
    assert_eq!(told["ok"]["id"], "anybody");
    for (how, kind) in [
        ("spin", "deadline"),
        ("hoard", "memory"),
        ("nonsense", "nonsense"),
        ("exit", "exit"),
    ] {
        let said = run(how, &["--json"]);
        assert_eq!(
            (said.code, &said.json()["fault"]["kind"]),
            (Some(1), &json!(kind)),
            "{}",
            said.all()
        );
    }

    // A fault while it is prepared is a refusal; with what it says.
    let panics = desk.write("panics.json", &json!({"configure": "panic"}));
    let said = run("none", &["--settings", panics.to_str().unwrap()]);
    assert_eq!(said.code, Some(78), "{}", said.all());
    assert!(said.err.contains("told to panic"), "{}", said.err);
    // The secret comes only with the grant.
    let key = ["--key", "sk-x", "--json"];
    assert_eq!(run("secret", &key).json()["ok"]["id"], "withheld");
    let granted = run("secret", &[&key[..], &["--grant", "credential"]].concat());
    assert_eq!(granted.json()["ok"]["id"], "sk-x", "{}", granted.all());
    // It is masked where it is shown what the policy saw.
    let saw = &granted.json()["saw"]["credential"];
    assert_eq!(saw["secret"], "(masked)", "{saw}");
}
