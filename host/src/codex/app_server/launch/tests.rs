//! What a worker is given, and what it must never see.

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
        "https_proxy",
        "NO_PROXY",
        "OPENAI_API_KEY",
        "AWS_SECRET_ACCESS_KEY",
        "CODEX_HOME",
        "RUST_LOG",
        "POLICY_DIR",
    ]);
    let expected = [
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

#[test]
fn settings_survive_any_name() {
    let home = home(
        "[model_providers.\"my \\\"own\\\".x\"]\nname = \"N\"\n[mcp_servers.a]\ncommand = \"a\"\n\
         [mcp_servers.b]\nurl = \"http://b\"\n",
    );
    let config = Config {
        model: Some("m\"x".to_owned()),
        force_provider: Some("p".to_owned()),
        ..Config::default()
    };
    let folder = Folder::make().unwrap();
    let settings = own_settings(&config, &home, &folder, Path::new("/d")).join("\n");
    let settings: toml::Table = toml::from_str(&settings).unwrap();
    assert_eq!(settings["model"].as_str(), Some("m\"x"));
    assert_eq!(settings["model_provider"].as_str(), Some("p"));
    let provider = &settings["model_providers"]["my \"own\".x"];
    assert_eq!(provider["name"].as_str(), Some("N"));
    assert_eq!(provider["request_max_retries"].as_integer(), Some(0));
    assert_eq!(provider["stream_max_retries"].as_integer(), Some(0));
    for server in ["a", "b"] {
        assert_eq!(
            settings["mcp_servers"][server]["enabled"].as_bool(),
            Some(false)
        );
    }
}

#[test]
fn without_a_configuration_nothing_is_overridden() {
    let folder = Folder::make().unwrap();
    let settings = own_settings(
        &Config::default(),
        &Home::default(),
        &folder,
        Path::new("/d"),
    );
    assert_eq!(settings.len(), 2, "{settings:?}");
}

#[test]
fn the_folder_is_ours_alone_and_each_worker_finds_it_clean() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::make().unwrap();
    let root = folder.work().parent().unwrap().to_owned();
    assert_eq!(root.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let databases = folder.databases().unwrap();
    std::fs::write(databases.join("state_5.sqlite"), "old").unwrap();
    assert_eq!(folder.databases().unwrap(), databases);
    assert!(!databases.join("state_5.sqlite").exists());
    folder.delete().unwrap();
    assert!(!root.exists());
}
