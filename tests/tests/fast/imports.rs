//! Imports that policies may not use: a policy that calls them gets nothing, and the calls are counted.

use codex_gateway::policy::{Defaults, Engine, Facts, Live, Source};
use codex_gateway_tests::guests::{FORBIDDEN, deploy};

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_wants_a_file_a_socket_or_http_gets_none_and_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let source = Source::new(Some(folder.path().to_owned()), Defaults::default());
    let facts = Facts::default();
    let engine = Engine::new(None).unwrap();
    let candidates = source.read(&facts).unwrap();
    let live = Live::start(engine, &candidates).await.unwrap();
    let calls = |slot, import| {
        let counts = live.denied_imports().into_iter();
        let mut counts = counts.filter(|(found, name, _)| (*found, *name) == (slot, import));
        counts.next().unwrap().2
    };
    assert_eq!(
        calls("auth", "wasi:sockets") + calls("auth", "wasi:http"),
        0
    );
    for (wants, expected, import) in [
        ("a file", "No such file", None),
        ("a socket", "ermission denied", Some("wasi:sockets")),
        (
            "http",
            "wasi:http/fetching@0.2.0#handle is not allowed",
            Some("wasi:http"),
        ),
    ] {
        let before = import.map(|import| calls("auth", import));
        deploy(folder.path(), "auth.wasm", FORBIDDEN);
        let settings = format!(r#"{{"wants": "{wants}"}}"#);
        deploy(folder.path(), "auth.json", settings.as_bytes());
        let refused = live.replace(&source.read(&facts).unwrap()).await;
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains(expected), "{wants}: {refused}");
        let after = import.map(|import| calls("auth", import));
        assert!(import.is_none() || after > before, "{wants}");
    }
    assert_eq!(calls("model", "wasi:sockets"), 0);
}
