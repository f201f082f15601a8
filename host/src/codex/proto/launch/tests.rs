//! The settings a process gets.

use super::*;

fn home(text: &str) -> Home {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.toml"), text).unwrap();
    Home::read(folder.path())
}

/// The settings as they would be in `config.toml`.
fn settings(config: &Config, home: &Home, wish: &Wish) -> toml::Table {
    let folder = Folder::make().unwrap();
    let own = own_settings(config, home, &folder, wish);
    toml::from_str(&own.join("\n")).unwrap()
}

fn plan(provider: Option<&str>, verbosity: Option<&str>) -> Plan {
    Plan {
        provider: provider.map(str::to_owned),
        verbosity: verbosity.map(str::to_owned),
        ..Plan::default()
    }
}

#[test]
fn every_setting_is_one() {
    for setting in SETTINGS {
        let parsed: Result<toml::Table, _> = toml::from_str(setting);
        assert!(parsed.is_ok(), "{setting}");
    }
}

#[test]
fn providers_of_the_operators_do_not_retry() {
    let home =
        home("[model_providers.own]\nname = \"N\"\n[model_providers.\"a.b\"]\nname = \"M\"\n");
    let config = Config {
        model: Some("m\"x".to_owned()),
        force_provider: Some("own".to_owned()),
        ..Config::default()
    };
    let settings = settings(&config, &home, &Wish::default());
    assert_eq!(settings["model"].as_str(), Some("m\"x"));
    assert_eq!(settings["model_provider"].as_str(), Some("own"));
    let own = &settings["model_providers"]["own"];
    assert_eq!(own["request_max_retries"].as_integer(), Some(0));
    assert_eq!(own["stream_max_retries"].as_integer(), Some(0));
    assert_eq!(
        settings["model_providers"].as_table().unwrap().len(),
        1,
        "what cannot be named is left alone"
    );
}

#[test]
fn only_what_a_spare_process_lacks_is_a_wish() {
    let config = Config {
        force_provider: Some("own".to_owned()),
        ..Config::default()
    };
    assert_eq!(Wish::of(&plan(None, None), &config), None);
    assert_eq!(Wish::of(&plan(Some("own"), None), &config), None);
    let wish = Wish::of(&plan(Some("other"), Some("low")), &config).unwrap();
    let settings = settings(&config, &Home::default(), &wish);
    assert_eq!(settings["model_provider"].as_str(), Some("other"));
    assert_eq!(settings["model_verbosity"].as_str(), Some("low"));
}

#[test]
fn a_chatgpt_login_keeps_codexs_own_instructions() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        home: Some(folder.path().to_owned()),
        ..Config::default()
    };
    let ours = |home: &Home| {
        settings(&config, home, &Wish::default()).contains_key("experimental_instructions_file")
    };
    let log_in = |login: &str| std::fs::write(folder.path().join("auth.json"), login).unwrap();
    let custom = home("model_provider = \"a\"\n[model_providers.a]\nname = \"A\"\n");
    let with_login = home(
        "model_provider = \"a\"\n[model_providers.a]\nname = \"A\"\nrequires_openai_auth = true\n",
    );
    assert!(ours(&Home::default()), "nobody is signed in");
    log_in(r#"{"OPENAI_API_KEY":"sk-x","tokens":null}"#);
    assert!(ours(&Home::default()), "an API key");
    log_in(r#"{"OPENAI_API_KEY":null,"tokens":{"access_token":"x"}}"#);
    assert!(!ours(&Home::default()));
    assert!(!ours(&with_login));
    assert!(ours(&custom));
}
