//! Conversations with many images: Codex unpacks the images of a request to its end.

use super::*;

/// A plan whose history has so many messages with an image each, and a last one without.
fn pictured(images: usize) -> Plan {
    let image = Item::Message {
        role: Role::User,
        parts: vec![Part::Image {
            url: format!("data:image/png;base64,{}", "A".repeat(300 << 10)),
            detail: None,
        }],
    };
    let mut history = vec![image; images];
    history.push(said(Role::User, "Which one?"));
    Plan {
        history,
        ..Plan::default()
    }
}

fn count(asked: &Value) -> usize {
    asked["items"].as_array().unwrap().len()
}

#[tokio::test]
async fn large_images_are_injected_one_by_one_and_the_rest_together() {
    let mut rig = begin(pictured(2)).await;
    rig.open().await;
    for items in [1, 1, 1] {
        assert_eq!(count(&rig.inject().await), items);
    }
    rig.start().await;
    let mut plan = pictured(1);
    plan.history
        .splice(0..0, [said(Role::User, "a"), said(Role::Assistant, "b")]);
    let mut rig = begin(plan).await;
    rig.open().await;
    for items in [3, 1] {
        assert_eq!(count(&rig.inject().await), items);
    }
    rig.start().await;
}

#[tokio::test]
async fn a_client_that_leaves_sends_codex_no_more_images() {
    let mut rig = begin(pictured(3)).await;
    rig.open().await;
    rig.inject().await;
    let asked = rig.worker.next().await;
    assert_eq!(asked["method"], protocol::INJECT_ITEMS);
    rig.exchange = None;
    rig.worker
        .say(json!({"id": asked["id"], "result": {}}))
        .await;
    rig.cleaned_up().await;
}
