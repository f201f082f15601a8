//! TLS of the real Codex behind the gateway: it trusts only the operator's roots, in every form they can be configured.

use codex_gateway_tests::gateway::{Gateway, Setup};
use codex_gateway_tests::provider::{self, Provider};
use codex_gateway_tests::real::{set_up, whole};
use codex_gateway_tests::remains::processes;
use codex_gateway_tests::tls::Tls;
use serde_json::json;

/// Codex with a provider whose certificate only the root of this test verifies.
async fn behind_tls(change: impl FnOnce(Setup, &Tls) -> Setup) -> (Gateway, Provider, Tls) {
    let (setup, provider) = set_up("TEST_CODEX_BIN", "gpt-5.4").await;
    let tls = Tls::before(provider.url()).await;
    provider::codex_home(setup.home(), &tls.url);
    let gateway = change(setup, &tls).start().await;
    (gateway, provider, tls)
}

/// The value of an environment variable of the worker.
fn told(gateway: &Gateway, name: &str) -> Option<String> {
    let processes = processes(&gateway.home());
    let mut environment = processes.iter().flat_map(|process| &process.environment);
    environment.find_map(|variable| {
        let value = variable.strip_prefix(name)?.strip_prefix('=')?;
        Some(value.to_owned())
    })
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex and Caddy"]
async fn the_operators_roots_are_trusted_in_every_form() {
    let forms = [
        ("SSL_CERT_FILE", "auto", true),
        ("SSL_CERT_FILE", "true", true),
        ("SSL_CERT_FILE", "false", false),
        ("CODEX_CA_CERTIFICATE", "auto", false),
    ];
    // The provider's root is the second of two: Codex must get more than the first one.
    let stranger = Tls::before("http://127.0.0.1:1/").await;
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("roots.pem");
    for (variable, quick, laid_out) in forms {
        let (gateway, provider, _tls) = behind_tls(|setup, tls| {
            let both =
                [&stranger.root, &tls.root].map(|root| std::fs::read_to_string(root).unwrap());
            std::fs::write(&roots, both.concat()).unwrap();
            setup
                .var(variable, &roots.to_string_lossy())
                .var("CODEX_QUICK_ROOTS", quick)
        })
        .await;
        let (status, body) = whole(&gateway, json!({"text": ["over TLS"]})).await;
        assert_eq!(status, 200, "{variable}, {quick}: {body}");
        assert_eq!(body["choices"][0]["message"]["content"], "over TLS");
        assert_eq!(provider.requests().len(), 1);
        assert_eq!(told(&gateway, "SSL_CERT_DIR").is_some(), laid_out);
        let file = told(&gateway, variable).unwrap();
        assert_eq!(file == roots.to_string_lossy(), !laid_out, "{file}");
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real Codex and Caddy"]
async fn the_systems_roots_are_all_codex_has_and_a_stranger_is_not_trusted() {
    for quick in ["auto", "false"] {
        let (gateway, provider, _tls) =
            behind_tls(|setup, _| setup.var("CODEX_QUICK_ROOTS", quick)).await;
        let (status, body) = whole(&gateway, json!({"text": ["over TLS"]})).await;
        assert_eq!(
            (status, &body["error"]["code"]),
            (502, &json!("upstream_error")),
            "{quick}: {body}"
        );
        assert_eq!(provider.requests().len(), 0);
        let laid_out = quick == "auto" && cfg!(target_os = "linux");
        assert_eq!(told(&gateway, "SSL_CERT_DIR").is_some(), laid_out);
        gateway.stop().await;
    }
}
