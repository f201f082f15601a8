//! A conversation with an agent, which goes on in the thread of its last turn.

use std::path::PathBuf;

use super::*;
use crate::codex::folder::Folder;
use crate::codex::{Config, Sandbox};

/// An agent's first turn, up to its answer; its folder, with a file in it.
async fn answered() -> (Rig, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let config = Config {
        home: Some(home.path().to_owned()),
        ..Config::default()
    };
    let worker = Folder::make().unwrap();
    let site = WorkspaceRoot::make(&config, Sandbox::DangerFullAccess, &worker).unwrap();
    let plan = plan();
    let place = Place {
        conversation: Conversation::of(&plan),
        site: Some(Arc::new(site)),
    };
    let mut rig = begin_at(plan, place).await;
    let cwd = PathBuf::from(rig.open().await["cwd"].as_str().unwrap());
    std::fs::write(cwd.join("file"), "x").unwrap();
    rig.inject().await;
    rig.start().await;
    let item =
        json!({"type": "commandExecution", "id": "c", "command": "ls", "status": "inProgress"});
    rig.hear("item/started", json!({"item": item})).await;
    assert!(matches!(rig.next().await, Some(Event::Activity(_))));
    rig.answer("yes").await;
    (rig, cwd)
}

fn next() -> Plan {
    let mut plan = plan();
    let more = [said(Role::Assistant, "yes"), said(Role::User, "go on")];
    plan.history.extend(more);
    plan
}

#[tokio::test]
async fn it_goes_on_in_an_empty_folder_without_the_commands_of_before() {
    let (mut rig, cwd) = answered().await;
    let asked = rig.worker.answer(protocol::END_COMMANDS, json!({})).await;
    assert_eq!(asked, json!({"threadId": "t"}));
    std::mem::replace(&mut rig.task, tokio::spawn(async {}))
        .await
        .unwrap();
    assert!(!cwd.parent().unwrap().exists());
    rig.go_on(next()).await;
    assert_eq!(rig.inject().await["items"].as_array().unwrap().len(), 1);
    assert_eq!(std::fs::read_dir(&cwd).unwrap().count(), 0);
    rig.start().await;
}

#[tokio::test]
async fn a_thread_whose_commands_cannot_be_ended_is_closed() {
    let (mut rig, cwd) = answered().await;
    let asked = rig.worker.next().await;
    assert_eq!(asked["method"], protocol::END_COMMANDS);
    let error = json!({"code": protocol::INVALID_REQUEST, "message": "unknown variant"});
    rig.worker
        .say(json!({"id": asked["id"], "error": error}))
        .await;
    rig.cleaned_up().await;
    assert!(!cwd.exists());
}
