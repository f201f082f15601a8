//! The permissions of a turn's commands, and the deletion of its folder.

use super::*;
use crate::codex::{Cause, Tool};

fn site(sandbox: Sandbox, workdir: Option<PathBuf>) -> (WorkspaceRoot, Folder, TempDir) {
    let home = tempfile::tempdir().unwrap();
    let worker = Folder::make().unwrap();
    let config = Config {
        home: Some(home.path().to_owned()),
        workdir,
        ..Config::default()
    };
    (
        WorkspaceRoot::make(&config, sandbox, &worker).unwrap(),
        worker,
        home,
    )
}

fn rules(workspace: &Workspace) -> Value {
    workspace.settings()["permissions"][PROFILE]["filesystem"].clone()
}

#[test]
fn each_turn_writes_in_its_own_folder_and_sees_neither_the_others_nor_the_login() {
    let (site, worker, home) = site(Sandbox::WorkspaceWrite, None);
    let places = [(); 2].map(|()| site.prepare(&Plan::default()).unwrap());
    assert_ne!(places[0].cwd(), places[1].cwd());
    for place in &places {
        let temporary = temporary(&place.folder);
        assert!(place.cwd().is_dir() && temporary.is_dir());
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        let expected = json!({
            path(home.path()): "deny", path(&worker.root()): "deny", path(&site.turns.root()): "deny",
            path(place.cwd()): "write", path(&temporary): "write",
        });
        assert_eq!(rules(place), expected);
        assert!(place.cwd().starts_with(site.turns.root()));
    }
}

#[test]
fn a_reader_writes_nowhere() {
    let (site, ..) = site(Sandbox::ReadOnly, None);
    let place = site.prepare(&Plan::default()).unwrap();
    let rules = rules(&place);
    let accesses = rules.as_object().unwrap().values();
    assert!(
        accesses.into_iter().all(|access| access == "deny"),
        "{rules}"
    );
    assert!(place.is_sandboxed());
}

#[test]
fn full_access_has_no_rules_but_still_a_clean_environment() {
    let (site, ..) = site(Sandbox::DangerFullAccess, None);
    let place = site.prepare(&Plan::default()).unwrap();
    assert!(!place.is_sandboxed());
    let settings = place.settings();
    assert_eq!(settings.get("permissions"), None);
    assert_eq!(settings["shell_environment_policy"]["inherit"], "core");
}

#[tokio::test]
async fn a_folder_goes_with_its_turn_whatever_is_in_it_and_a_given_one_stays() {
    use std::os::unix::fs::PermissionsExt;
    let given = tempfile::tempdir().unwrap();
    let (site, ..) = site(Sandbox::WorkspaceWrite, Some(given.path().to_owned()));
    let mut place = site.prepare(&Plan::default()).unwrap();
    assert_eq!(place.cwd(), given.path());
    let folder = place.folder.path().to_owned();
    let locked = folder.join("tmp/locked");
    std::fs::create_dir(&locked).unwrap();
    std::fs::write(locked.join("file"), "x").unwrap();
    std::fs::set_permissions(&locked, PermissionsExt::from_mode(0o500)).unwrap();
    std::os::unix::fs::symlink(given.path(), folder.join("tmp/link")).unwrap();
    std::fs::write(given.path().join("kept"), "x").unwrap();
    place.clear().await;
    assert!(!folder.exists());
    assert!(given.path().join("kept").exists());

    let dropped = site.prepare(&Plan::default()).unwrap();
    let folder = dropped.folder.path().to_owned();
    drop(dropped);
    assert!(!folder.exists());
    site.clear();
    assert!(!site.turns.root().exists());
}

#[tokio::test]
async fn the_next_turn_finds_an_empty_folder_at_the_same_path() {
    let (site, ..) = site(Sandbox::WorkspaceWrite, None);
    let mut place = site.prepare(&Plan::default()).unwrap();
    let (cwd, settings) = (place.cwd().to_owned(), place.settings());
    std::fs::write(cwd.join("file"), "x").unwrap();
    place.clear().await;
    assert!(!place.folder.path().exists());
    place.restore().unwrap();
    assert_eq!((place.cwd(), place.settings()), (cwd.as_path(), settings));
    assert_eq!(std::fs::read_dir(&cwd).unwrap().count(), 0);
    assert!(temporary(&place.folder).is_dir());

    place.clear().await;
    std::fs::create_dir(place.folder.path()).unwrap();
    place.restore().unwrap_err();
    let path = place.folder.path().to_owned();
    drop(place);
    assert!(path.exists(), "it is another's");
}

#[test]
fn a_tool_that_codex_has_itself_is_refused_by_name() {
    let (site, ..) = site(Sandbox::ReadOnly, None);
    let tool = |name: &str| Tool {
        name: name.to_owned(),
        description: None,
        parameters: json!({}),
    };
    let plan = Plan {
        tools: vec![tool("get_weather"), tool("apply_patch")],
        ..Plan::default()
    };
    let refused = site.prepare(&plan).unwrap_err();
    let Error::Upstream { cause, message, .. } = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(cause, Cause::InvalidRequest);
    assert!(message.contains("'apply_patch'"), "{message}");
}
