//! The policy folder and the operators' API together: for each state, the effect of each act, as the table in docs/src/admin.md.

use std::time::Duration;

use codex_gateway::policy::{Gate, OwnRules, Slot, SlotFiles};
use codex_gateway_tests::gateway::{Gateway, QUICK, say};
use codex_gateway_tests::guests::{EVERY, deploy};
use codex_gateway_tests::place::Place;

/// Longer than a change of the folder takes to serve, if it is looked at.
const UNNOTICED: Duration = Duration::from_millis(1_200);

/// The state before an act.
#[derive(Debug, Clone, Copy)]
enum State {
    /// The folder decides: `one` served, `two` serves.
    Folder,
    /// `promoted` was promoted over `one`.
    Promoted,
    /// `one` was rolled back to, while the folder has `two`.
    RolledBack,
    /// As `Folder`, with the candidate `tried`.
    Ready,
    /// As `Ready`, with the candidate in shadow.
    Shadow,
    /// The folder's change over `one` was taken back.
    TakenBack,
    /// The promotion over `one` was taken back.
    PromotedTakenBack,
    /// As `Folder`, and the folder has `tried` by now, which is in shadow before it serves.
    ChangeInShadow,
    /// It has passed, and an operator is to promote it.
    ChangePassed,
    /// It has failed.
    ChangeFailed,
    /// It decides for a caller.
    ChangeInCanary,
    /// An operator dropped it.
    ChangeDropped,
    /// As `Promoted`, and changes of the folder take steps.
    PromotedOverSteps,
}

impl State {
    /// The steps of `policies.toml`.
    fn steps(self) -> &'static str {
        match self {
            Self::ChangePassed => "[rollout.shadow]\nfor = \"1s\"\nmin_decisions = 1\n",
            // Each list of the models is such a difference.
            Self::ChangeFailed => "[rollout.shadow]\nfor = \"1h\"\nmax_differ = 0\n",
            Self::ChangeInCanary => "[rollout.canary]\ncallers = [\"zoe\"]\n",
            _ => "[rollout.shadow]\nfor = \"1h\"\n",
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Act {
    /// The folder has `changed`.
    Change,
    /// `uploaded` is uploaded.
    Upload,
    RollBack,
    Follow,
    Restart,
}

const ACTS: [Act; 5] = [
    Act::Change,
    Act::Upload,
    Act::RollBack,
    Act::Follow,
    Act::Restart,
];

/// The effect: the marker of what serves, whether an operator has pinned it, and the number of candidates.
type Effect = (&'static str, bool, usize);

fn marked(marker: &str) -> String {
    format!(r#"{{"owned_by": "{marker}"}}"#)
}

/// A candidate with this marker.
fn candidate(marker: &str) -> [SlotFiles; Slot::COUNT] {
    let mut files: [SlotFiles; Slot::COUNT] = Default::default();
    files[Slot::Model as usize].settings = Some(marked(marker).as_bytes().into());
    files
}

const FAILS: &str = r#"{"fails": "quotas"}"#;

/// The marker of what serves.
async fn marker(gateway: &Gateway) -> String {
    let models = gateway.read("/v1/models").await;
    models["data"][0]["owned_by"].as_str().unwrap().to_owned()
}

/// One request, with which what serves fails; then those before serve again.
async fn fail(gateway: &Gateway) {
    let mut body = say(QUICK);
    body["model"] = "codex-5".into();
    assert_eq!(gateway.chat(&body).send().await.unwrap().status(), 503);
    let is_shown = |gateway: &Gateway| !gateway.live.refusals().is_empty();
    gateway.until(is_shown, "refusal").await;
}

async fn offer(gateway: &Gateway, files: [SlotFiles; Slot::COUNT]) -> String {
    let own = Some(OwnRules::default());
    let candidate = gateway.live.offer(files, own, "ops").await.unwrap();
    candidate.digest.to_string()
}

/// The digests and stages of the folder's changes that wait.
fn changes(gateway: &Gateway) -> Vec<(String, &'static str)> {
    let candidates = gateway.live.candidates().into_iter();
    let changes = candidates.filter(|candidate| candidate.by == "folder");
    changes
        .map(|candidate| (candidate.digest.to_string(), candidate.stage))
        .collect()
}

/// Publishes `tried`, and asks for the models until the change is at this stage.
async fn change_to(stage: &str, state: State, place: &Place, gateway: &Gateway) {
    place.publish("policies.toml", state.steps());
    place.publish("model.json", &marked("tried"));
    let reaches = async {
        while !matches!(&changes(gateway)[..], [(_, found)] if *found == stage) {
            assert_eq!(marker(gateway).await, "two");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(30), reaches).await;
    assert!(in_time.is_ok(), "{state:?}: {:?}", changes(gateway));
}

async fn bring_to(state: State, place: &Place) -> Gateway {
    place.publish("model.json", &marked("one"));
    let gateway = place.start().await;
    let live = std::sync::Arc::clone(&gateway.live);
    match state {
        State::Folder
        | State::RolledBack
        | State::Ready
        | State::Shadow
        | State::ChangeInShadow
        | State::ChangePassed
        | State::ChangeFailed
        | State::ChangeInCanary
        | State::ChangeDropped => {
            place.publish("model.json", &marked("two"));
            gateway.generation(2).await;
        }
        State::Promoted | State::PromotedOverSteps => {
            let digest = offer(&gateway, candidate("promoted")).await;
            live.promote(&digest, "ops").await.unwrap();
        }
        State::TakenBack => {
            place.publish("rate-limit.json", FAILS);
            deploy(place.policies(), "rate-limit.wasm", EVERY);
            gateway.generation(2).await;
            fail(&gateway).await;
        }
        State::PromotedTakenBack => {
            let mut files = candidate("promoted");
            files[Slot::RateLimit as usize] = SlotFiles {
                component: Some(EVERY.into()),
                settings: Some(FAILS.as_bytes().into()),
            };
            let digest = offer(&gateway, files).await;
            live.promote(&digest, "ops").await.unwrap();
            fail(&gateway).await;
        }
    }
    go_on_to(state, place, &gateway).await;
    gateway
}

/// The second half of the way, from what serves to what is tried.
async fn go_on_to(state: State, place: &Place, gateway: &Gateway) {
    let live = &gateway.live;
    match state {
        State::RolledBack => {
            live.roll_back(None, "ops").await.unwrap();
        }
        State::Ready | State::Shadow => {
            let digest = offer(gateway, candidate("tried")).await;
            if matches!(state, State::Shadow) {
                live.shadow(&digest, Gate::default(), "ops").unwrap();
            }
        }
        State::ChangeInShadow => change_to("shadow", state, place, gateway).await,
        State::ChangePassed => change_to("passed", state, place, gateway).await,
        State::ChangeInCanary => change_to("canary", state, place, gateway).await,
        State::ChangeDropped => {
            change_to("shadow", state, place, gateway).await;
            let [(digest, _)] = &changes(gateway)[..] else {
                panic!("several changes");
            };
            live.discard(digest, "ops").await.unwrap();
        }
        State::ChangeFailed => {
            change_to("failed", state, place, gateway).await;
            let is_shown = |gateway: &Gateway| !gateway.live.refusals().is_empty();
            gateway.until(is_shown, "refusal").await;
        }
        State::PromotedOverSteps => place.publish("policies.toml", state.steps()),
        _ => {}
    }
}

async fn act(act: Act, gateway: Gateway, place: &Place) -> Gateway {
    match act {
        Act::Change => {
            if place.policies().join("rate-limit.wasm").exists() {
                place.publish("rate-limit.json", "{}");
            }
            let before = changes(&gateway);
            place.publish("model.json", &marked("changed"));
            if let [(before, _)] = &before[..] {
                let is_another = |gateway: &Gateway| matches!(&changes(gateway)[..], [(now, _)] if now != before);
                gateway.until(is_another, "another change").await;
            }
        }
        Act::Upload => {
            offer(&gateway, candidate("uploaded")).await;
        }
        Act::RollBack => {
            // There may be nothing to go back to.
            let _ = gateway.live.roll_back(None, "ops").await;
        }
        Act::Follow => gateway.live.follow("ops").await,
        Act::Restart => {
            gateway.stop().await;
            return place.start().await;
        }
    }
    gateway
}

/// Waits until this marker serves, and checks that it does still after a while: of a change that is not noticed there is no event.
async fn check(cell: &str, gateway: &Gateway, (serves, pinned, candidates): Effect) {
    let comes = async {
        while marker(gateway).await != serves || gateway.live.candidates().len() != candidates {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(30), comes).await;
    assert!(in_time.is_ok(), "{cell}: {serves} never serves");
    tokio::time::sleep(UNNOTICED).await;
    let found = (
        marker(gateway).await,
        gateway.live.pinned().is_some(),
        gateway.live.candidates().len(),
    );
    assert_eq!(found, (serves.to_owned(), pinned, candidates), "{cell}");
}

/// The effects of all acts in one state, one after the other: side by side they would compile policies for longer than others wait.
async fn row(state: State, effects: [Effect; ACTS.len()]) {
    for (what, effect) in ACTS.into_iter().zip(effects) {
        let place = Place::default();
        let gateway = bring_to(state, &place).await;
        let gateway = act(what, gateway, &place).await;
        check(&format!("{state:?} {what:?}"), &gateway, effect).await;
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_folder_decides_its_changes_serve() {
    let effects = [
        ("changed", false, 0),
        ("two", false, 1),
        ("one", true, 0),
        ("two", false, 0),
        ("two", false, 0),
    ];
    row(State::Folder, effects).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_holds_until_the_folder_is_followed() {
    let effects = [
        ("promoted", true, 0),
        ("promoted", true, 1),
        ("one", true, 0),
        ("one", false, 0),
        ("promoted", true, 0),
    ];
    row(State::Promoted, effects).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roll_back_holds_until_the_folder_is_followed() {
    let effects = [
        ("one", true, 0),
        ("one", true, 1),
        ("two", true, 0),
        ("two", false, 0),
        ("one", true, 0),
    ];
    row(State::RolledBack, effects).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_ends_with_any_activation_and_with_the_process() {
    let effects = [
        ("changed", false, 0),
        ("two", false, 2),
        ("one", true, 0),
        ("two", false, 1),
        ("two", false, 0),
    ];
    row(State::Ready, effects).await;
    row(State::Shadow, effects).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_was_taken_back_stays_refused_and_another_serves() {
    let effects = [
        ("changed", false, 0),
        ("one", false, 1),
        ("one", false, 0),
        ("one", false, 0),
        ("one", false, 0),
    ];
    row(State::TakenBack, effects).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_promotion_that_was_taken_back_the_folder_decides_as_before() {
    let effects = [
        ("changed", false, 0),
        ("one", false, 1),
        ("one", false, 0),
        ("one", false, 0),
        ("one", false, 0),
    ];
    row(State::PromotedTakenBack, effects).await;
}

/// Whatever became of a change so far: those that served go on, until another change takes its place.
const TRYING: [Effect; ACTS.len()] = [
    ("two", false, 1),
    ("two", false, 2),
    ("one", true, 0),
    ("two", false, 1),
    ("two", false, 1),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_change_in_shadow_waits_and_another_takes_its_place() {
    row(State::ChangeInShadow, TRYING).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_with_a_canary_waits_and_another_takes_its_place() {
    row(State::ChangeInCanary, TRYING).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_was_dropped_stays_refused_and_another_begins_its_steps() {
    let effects = [
        ("two", false, 1),
        ("two", false, 1),
        ("one", true, 0),
        ("two", false, 0),
        ("two", false, 0),
    ];
    row(State::ChangeDropped, effects).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_passed_waits_for_an_operator_and_passes_again_after_a_restart() {
    row(State::ChangePassed, TRYING).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_failed_stays_refused_and_another_begins_its_steps() {
    row(State::ChangeFailed, TRYING).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_promotion_the_folder_takes_its_steps_once_it_is_followed() {
    let effects = [
        ("promoted", true, 0),
        ("promoted", true, 1),
        ("one", true, 0),
        ("promoted", false, 1),
        ("promoted", true, 0),
    ];
    row(State::PromotedOverSteps, effects).await;
}
