//! The environment a worker gets, and the variables it must never get.

use super::*;

fn config(variables: &[&str]) -> Config {
    let parent_env = variables
        .iter()
        .map(|name| ((*name).to_owned(), "value".to_owned()))
        .collect();
    Config {
        parent_env,
        ..Config::default()
    }
}

fn home(text: &str) -> Home {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.toml"), text).unwrap();
    Home::read(folder.path())
}

fn names(config: &Config, home: &Home) -> Vec<String> {
    environment(config, home).into_keys().collect()
}

#[test]
fn the_worker_sees_listed_variables_and_no_others() {
    let config = config(&[
        "PATH",
        "HOME",
        "LC_TIME",
        "TZ",
        "SSL_CERT_FILE",
        "CODEX_CA_CERTIFICATE",
        "https_proxy",
        "NO_PROXY",
        "OPENAI_API_KEY",
        "AWS_SECRET_ACCESS_KEY",
        "CODEX_HOME",
        "RUST_LOG",
        "POLICY_DIR",
    ]);
    let expected = [
        "CODEX_CA_CERTIFICATE",
        "HOME",
        "LC_TIME",
        "NO_PROXY",
        "PATH",
        "SSL_CERT_FILE",
        "TERM",
        "TZ",
        "https_proxy",
    ];
    assert_eq!(names(&config, &Home::default()), expected);
}

#[test]
fn it_sees_what_its_own_configuration_and_the_operator_name() {
    let home = home(
        "[model_providers.a]\nenv_key = \"A_KEY\"\nenv_http_headers = { x = \"A_ORG\" }\n\
         [model_providers.b]\nenv_key = \"PROXY_API_KEY\"\n",
    );
    let mut config = config(&[
        "A_KEY",
        "A_ORG",
        "B_KEY",
        "EXTRA",
        "PROXY_API_KEY",
        "PROXY_METRICS_TOKEN",
    ]);
    config.pass_env = vec![
        "EXTRA".to_owned(),
        "ABSENT".to_owned(),
        "PROXY_METRICS_TOKEN".to_owned(),
    ];
    config.home = Some("/codex".into());
    assert_eq!(
        names(&config, &home),
        ["A_KEY", "A_ORG", "CODEX_HOME", "EXTRA", "TERM"]
    );
    assert_eq!(environment(&config, &home)["CODEX_HOME"], "/codex");
}
