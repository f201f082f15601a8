//! The settings an app-server gets, and where it writes.

use super::*;

fn home(text: &str) -> Home {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.toml"), text).unwrap();
    Home::read(folder.path())
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

fn arguments(mode: Mode, home: &Home) -> String {
    let config = Config {
        mode,
        ..Config::default()
    };
    let folder = Folder::make().unwrap();
    let command = worker(&config, home, &folder, Path::new("/d"));
    let arguments: Vec<_> = command
        .as_std()
        .get_args()
        .map(|a| a.to_str().unwrap())
        .collect();
    arguments.join("\n")
}

#[test]
fn only_an_agent_keeps_its_tools_and_prompts() {
    let home = home("[mcp_servers.a]\ncommand = \"a\"\n");
    let chat = arguments(Mode::Chat, &home);
    let agent = arguments(Mode::Agent(crate::codex::Sandbox::ReadOnly), &home);
    for own in [
        "shell_tool",
        "view_image",
        "web_search",
        "environment_context",
        "mcp_servers",
    ] {
        assert!(chat.contains(own), "{own}");
        assert!(!agent.contains(own), "{own}");
    }
    for shared in [
        "allow_login_shell=false",
        "apps=false",
        "request_user_input.enabled=false",
    ] {
        assert!(agent.contains(shared) && chat.contains(shared), "{shared}");
    }
}

#[test]
fn the_folder_is_ours_alone_and_each_worker_has_a_clean_part_of_it() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::make().unwrap();
    let root = folder.work().parent().unwrap().to_owned();
    assert_eq!(root.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let (one, other) = (
        databases(&folder, LogDatabase::Blocked).unwrap(),
        databases(&folder, LogDatabase::Allowed).unwrap(),
    );
    assert_ne!(one.path(), other.path());
    for (databases, entries) in [(one, 1), (other, 0)] {
        assert!(databases.path().starts_with(&root));
        let found = std::fs::read_dir(databases.path()).unwrap().count();
        assert_eq!(found, entries, "nothing but what keeps the log away");
    }
    folder.delete().unwrap();
    assert!(!root.exists());
}
