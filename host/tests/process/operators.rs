//! The listener for operators and `codex-gateway admin`, as programs: sockets and their modes, audit lines, mistakes, words.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::folders::fingerprint;
use super::*;

const TOKEN: &str = "sk-operator-0123456789";

/// The result of `codex-gateway admin`.
pub(super) struct Told {
    pub(super) code: Option<i32>,
    pub(super) out: String,
    pub(super) err: String,
}

pub(super) fn admin(arguments: &[&str], vars: &[(&str, &str)]) -> Told {
    let output = gateway(vars).arg("admin").args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Told {
        code: output.status.code(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

/// A gateway with a Unix socket in a folder.
pub(super) fn on_socket(folder: &Path, vars: &[(&str, &str)]) -> (Running, String) {
    let address = format!("unix:{}", folder.join("admin.sock").display());
    let vars = [&[("ADMIN_ADDR", address.as_str())], vars].concat();
    (Running::start(&vars), address)
}

/// A gateway with a port for operators, and its address.
fn on_port(vars: &[(&str, &str)]) -> (Running, String) {
    let vars = [
        &[("ADMIN_ADDR", "127.0.0.1:0"), ("ADMIN_TOKEN", TOKEN)],
        vars,
    ]
    .concat();
    let mut running = Running::start(&vars);
    let line = running.line_with("listening for operators");
    let (_, address) = line.split_once("address=").unwrap();
    (
        running,
        address.split_whitespace().next().unwrap().to_owned(),
    )
}

#[test]
fn a_unix_socket_is_its_users_alone_and_goes_with_the_gateway() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let (mut running, address) = on_socket(folder.path(), &[]);
    let mode = path.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // More connections than it has places for, on which nothing is sent.
    let silent: Vec<_> = (0..80)
        .map(|_| UnixStream::connect(&path).unwrap())
        .collect();
    let told = admin(&["status", "--addr", &address], &[]);
    assert_eq!((told.code, told.err.as_str()), (Some(0), ""));
    drop(silent);
    let second = gateway(&[("PORT", "0"), ("ADMIN_ADDR", &address)])
        .output()
        .unwrap();
    let said = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(
        said.contains("another gateway listens there: end that, or set ADMIN_ADDR"),
        "{said}"
    );
    running.signal("-KILL");
    running.child.wait().unwrap();
    assert!(path.exists());
    let (mut running, _) = on_socket(folder.path(), &[]);
    assert_eq!(admin(&["status", "--addr", &address], &[]).code, Some(0));
    running.signal("-TERM");
    assert_eq!(running.child.wait().unwrap().code(), Some(0));
    assert!(!path.exists());
}

#[test]
fn the_status_is_for_people_and_with_json_for_programs() {
    let (folder, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let state = ("PROXY_STATE_DIR", state.path().to_str().unwrap());
    let (running, address) = on_socket(folder.path(), &[state]);
    let vars = [("ADMIN_ADDR", address.as_str())];
    let mut answer = String::new();
    running.post(STREAM).read_to_string(&mut answer).unwrap();
    let status = admin(&["status"], &vars).out;
    let lines: Vec<_> = status.lines().collect();
    let begin = format!("{}  {}  up ", running.address, env!("CARGO_PKG_VERSION"));
    assert!(lines[0].starts_with(&begin), "{status}");
    assert!(
        lines[0].ends_with("  ready   demo   0 workers, 0 turns, 0 waiting"),
        "{status}"
    );
    assert!(lines[1].starts_with("generation 1  "), "{status}");
    assert!(lines[1].ends_with("ago)  by start (built-in)"), "{status}");
    let columns: Vec<_> = lines[2].split_whitespace().collect();
    assert_eq!(columns[..4], ["SLOT", "POLICY", "SETTINGS", "NEEDS"]);
    assert!(
        lines[3].starts_with("auth ") && lines[3].contains("credential"),
        "{status}"
    );
    let last = lines.last().unwrap();
    assert!(
        last.starts_with("WRITTEN   ") && last.ends_with("dropped: log 0"),
        "{status}"
    );
    assert!(
        !status.contains('\u{1b}'),
        "no terminal, no colours: {status}"
    );
    let json: Value = serde_json::from_str(&admin(&["status", "--json"], &vars).out).unwrap();
    let digest = json["generation"]["digest"].as_str().unwrap();
    assert!(lines[1].contains(&digest[..12]), "{status}");
    let history = admin(&["history", "--last", "5"], &vars).out;
    assert!(
        history
            .lines()
            .nth(1)
            .unwrap()
            .trim_start()
            .starts_with("*1  "),
        "{history}"
    );
    let shown = admin(&["show", &digest[..6]], &vars).out;
    assert!(shown.starts_with(&format!("{digest}\nserves\n")), "{shown}");
}

#[test]
fn acts_and_refusals_are_recorded_without_tokens() {
    let (mut running, address) = on_port(&[("PROXY_LOG_FORMAT", "text")]);
    let ask = |method: &str, token: &str, rest: &str| {
        let mut connection = TcpStream::connect(&address).unwrap();
        let request = format!(
            "{method} /admin/v1/status?token={token} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
             connection: close\r\n{rest}\r\n"
        );
        connection.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    let mut log = String::new();
    for (method, token, rest, status, words) in [
        (
            "GET",
            "sk-stranger",
            "",
            "401",
            "operator refused method=\"GET\" path=\"/admin/v1/status\" status=401 remote=\"127.0.0.1\"",
        ),
        (
            "POST",
            TOKEN,
            "",
            "405",
            "operator=\"operator\" role=\"operate\" method=\"POST\"",
        ),
        (
            "GET",
            "sk-stranger",
            "x-forwarded-for: 203.0.113.9\r\n",
            "401",
            "remote=\"203.0.113.9 by 127.0.0.1\"",
        ),
        (
            "POST",
            TOKEN,
            "content-length: 33554433\r\n",
            "413",
            "error=\"request_too_large\"",
        ),
    ] {
        assert_eq!(ask(method, token, rest), status, "{method}");
        let line = running.line_with(" audit: ");
        assert!(line.contains(words), "{line}");
        log += &line;
    }
    assert_eq!(ask("GET", TOKEN, ""), "200");
    running.signal("-TERM");
    let mut rest = String::new();
    running.log.read_to_string(&mut rest).unwrap();
    assert!(!rest.contains(" audit: "), "a look is not recorded: {rest}");
    log += &rest;
    assert!(
        !log.contains(TOKEN) && !log.contains("sk-stranger"),
        "{log}"
    );
}

#[test]
fn operators_stay_while_their_file_has_mistakes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.json");
    let eve = json!([{"id": "eve", "sha256": fingerprint("sk-eve"), "role": "view"}]);
    std::fs::write(&path, eve.to_string()).unwrap();
    let (mut running, address) = on_port(&[("ADMIN_FILE", path.to_str().unwrap())]);
    let looks = |token: &str| {
        let vars = [("ADMIN_ADDR", address.as_str()), ("ADMIN_TOKEN", token)];
        admin(&["status"], &vars).code == Some(0)
    };
    std::fs::write(
        &path,
        r#"[{"id": "eve", "sha256": "sk-secret", "role": "view"}]"#,
    )
    .unwrap();
    let line = running.line_with("ADMIN_FILE refused, the operators before stay: ");
    assert!(
        line.contains("/0/sha256") && !line.contains("secret"),
        "{line}"
    );
    assert!(looks("sk-eve") && looks(TOKEN));
    let bob = json!([{"id": "bob", "sha256": fingerprint("sk-bob"), "role": "view"}]);
    std::fs::write(&path, bob.to_string()).unwrap();
    running.log_until("operators read again");
    assert!(looks("sk-bob") && !looks("sk-eve"));
}

/// The exit code of `config`, and its complaints.
fn config(vars: &[(&str, &str)]) -> (Option<i32>, String) {
    let output = gateway(vars).arg("config").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), said)
}

#[test]
fn every_mistake_about_operators_is_told_in_one_go() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("admin.json");
    std::fs::write(
        &file,
        r#"[{"id": "a", "sha256": "sk-secret", "role": "admin"}, {"id": ""}]"#,
    )
    .unwrap();
    let (code, said) = config(&[
        ("ADMIN_ADDR", "0.0.0.0:11435"),
        ("ADMIN_FILE", file.to_str().unwrap()),
        ("ADMIN_TOKEN", "sk-0123456789abcdef"),
        ("PROXY_API_KEY", "sk-0123456789abcdef"),
    ]);
    assert_eq!(code, Some(78), "{said}");
    for words in [
        "ADMIN_ADDR: expected another port than PORT and AUTH_PORT, found `0.0.0.0:11435`",
        "ADMIN_TOKEN: expected a token of its own, since clients have PROXY_API_KEY",
        "found in admin.json: /0/sha256: expected 64 hexadecimal digits",
        "found in admin.json: /0/role: expected `view` or `operate`",
        "found in admin.json: /1/id: expected a name",
        "found in admin.json: /1/role: expected `view` or `operate`, found none",
    ] {
        assert!(said.contains(words), "`{words}` is missing in:\n{said}");
    }
    assert!(!said.contains("sk-"), "{said}");
}

#[test]
fn an_address_for_operators_that_cannot_be_used_is_told() {
    let long = format!("unix:/{}", "x".repeat(108));
    for (address, words) in [
        (
            "0.0.0.0:1",
            "ADMIN_TOKEN: expected a token with 0.0.0.0:1, which other machines reach",
        ),
        (
            "11436",
            "ADMIN_ADDR: expected an address with a port, as 127.0.0.1:11436",
        ),
        ("unix:/nowhere/admin.sock", "found no folder `/nowhere`"),
        ("unix:/etc/hostname", "which is there and no socket"),
        (long.as_str(), "at most 107 bytes"),
    ] {
        let (code, said) = config(&[("ADMIN_ADDR", address)]);
        assert!(
            code == Some(78) && said.contains(words),
            "{address}: {said}"
        );
    }
    let (code, said) = config(&[("ADMIN_TOKEN", "sk-0123456789abcdef")]);
    assert_eq!(code, Some(0));
    assert!(
        said.contains("ADMIN_TOKEN: has no effect without ADMIN_ADDR"),
        "{said}"
    );
    let open = tempfile::tempdir().unwrap();
    std::fs::set_permissions(open.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let address = format!("unix:{}/admin.sock", open.path().display());
    let (_, said) = config(&[("ADMIN_ADDR", &address)]);
    assert!(
        said.contains("other users may replace the socket"),
        "{said}"
    );
}

#[test]
fn errors_of_the_command_line_name_their_remedy() {
    let (running, address) = on_port(&[]);
    let folder = tempfile::tempdir().unwrap();
    let nowhere = format!("unix:{}/none.sock", folder.path().display());
    for (address, token, words) in [
        ("", "", "Set ADMIN_ADDR as the gateway has it"),
        (
            nowhere.as_str(),
            "",
            "is the gateway running, with this ADMIN_ADDR?",
        ),
        ("127.0.0.1:1", "", "Connection refused"),
        ("https://127.0.0.1:1", "", "speaks no TLS"),
        ("nonsense", "", "expected an address with a port"),
        (
            running.address.as_str(),
            TOKEN,
            "ADMIN_ADDR is meant, not PORT",
        ),
        (
            address.as_str(),
            "",
            "wants an operator's token: set ADMIN_TOKEN",
        ),
        (
            address.as_str(),
            "sk-wrong",
            "does not know this ADMIN_TOKEN",
        ),
    ] {
        let vars = [("ADMIN_ADDR", address), ("ADMIN_TOKEN", token)];
        let set = vars.into_iter().filter(|(_, value)| !value.is_empty());
        let told = admin(&["status"], &set.collect::<Vec<_>>());
        assert_eq!((told.code, told.out.as_str()), (Some(1), ""), "{address}");
        assert!(told.err.contains(words), "{address}: {}", told.err);
        assert_eq!(told.err.lines().count(), 1, "{}", told.err);
    }
    let vars = [("ADMIN_ADDR", address.as_str()), ("ADMIN_TOKEN", TOKEN)];
    // As of a script whose variable is not set.
    for command in ["show", "candidates", "promote", "explain", "caller"] {
        let told = admin(&[command, ""], &vars);
        assert_eq!((told.code, told.out.as_str()), (Some(2), ""), "{command}");
        assert!(told.err.contains("invalid value ''"), "{}", told.err);
        assert!(told.err.contains("expected "), "{}", told.err);
    }
    let told = admin(&["show", "none/../x"], &vars);
    assert!(
        told.err.contains("No generation in the history"),
        "{}",
        told.err
    );
}
