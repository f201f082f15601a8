//! `kill -9` after any step of writing in the state folder: the next start serves a complete generation, the one before or the one
//! after, and knows of it what it should.

use std::collections::BTreeSet;
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::verdict::Verdict;
use super::world::Resolve;
use super::*;
use crate::file::kills::{Kills, copy};

/// A policy folder, and a state folder.
struct Site {
    policies: TempDir,
    state: TempDir,
}

/// A gateway's policies, and where they are from.
struct Started {
    live: Arc<Live>,
    source: Source,
}

fn engine() -> Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::new(None).unwrap()).clone()
}

/// Settings of the model policy by which generations are told apart.
fn owned(by: &str) -> String {
    format!(r#"{{"owned_by": "{by}"}}"#)
}

impl Site {
    /// With the policies `one` in the folder.
    fn new() -> Self {
        let site = Self {
            policies: tempfile::tempdir().unwrap(),
            state: tempfile::tempdir().unwrap(),
        };
        site.publish(&owned("one"));
        site
    }

    fn publish(&self, settings: &str) {
        std::fs::write(self.policies.path().join("model.json"), settings).unwrap();
    }

    async fn start(&self) -> Started {
        self.start_with(self.state.path()).await.unwrap()
    }

    async fn start_with(&self, state: &Path) -> Result<Started, Refusals> {
        let folder = Some(self.policies.path().to_owned());
        let source = Source::new(folder, Defaults::default()).remembering(Some(state));
        let live = Live::resume(engine(), &source, &Facts::default()).await?;
        let live = Arc::new(live);
        Ok(Started { live, source })
    }

    /// The steps of an act. A gateway that is killed after any of them starts with one of the policies `before` and `after` it, also
    /// if its policy folder is broken by then; each of them is met.
    async fn killed_within(&self, [before, after]: [&str; 2], act: impl Future) -> usize {
        let kills = Kills::within(self.state.path());
        act.await;
        let (copies, _place) = kills.stop();
        let mut met = BTreeSet::new();
        for (step, state) in copies.iter().enumerate() {
            let told = format!("killed after step {step} of {}", copies.len() - 1);
            met.insert(self.check(state, &told).await);
            let in_folder = std::fs::read(self.policies.path().join("model.json")).unwrap();
            self.publish("{");
            met.insert(self.check(state, &told).await);
            std::fs::write(self.policies.path().join("model.json"), in_folder).unwrap();
        }
        let expected = [before, after].map(str::to_owned);
        assert_eq!(met, BTreeSet::from(expected));
        copies.len() - 1
    }

    /// Starts a gateway with a copy of this state folder, and returns the name of the policies that serve.
    async fn check(&self, state: &Path, told: &str) -> String {
        let place = tempfile::tempdir().unwrap();
        let state_again = place.path().join("state");
        copy(state, &state_again);
        let started = match self.start_with(&state_again).await {
            Ok(started) => started,
            Err(refusals) => panic!("{told}: {refusals}"),
        };
        let serves = started.serves(told);
        // And one can go back, as far as there is something.
        match started.live.roll_back(None, "ops").await {
            Ok(_) => assert_ne!(started.serves(told), serves, "{told}"),
            Err(why) => assert_eq!(why, Unsteered::NothingBefore, "{told}"),
        }
        serves
    }
}

impl Started {
    /// The name of the policies that serve. The history and the list of files agree on them, and all copies are whole.
    fn serves(&self, told: &str) -> String {
        let current = self.live.current();
        let serving = self.live.guard.serving().unwrap();
        assert_eq!(serving.digest, current.digest(), "{told}");
        let last = self.source.history().unwrap().unwrap().pop().unwrap();
        assert_eq!(
            (last.number, last.digest),
            (current.number(), current.digest().to_string()),
            "{told}"
        );
        let sets = self.source.kept().unwrap();
        for set in &sets {
            if let Err(why) = self.source.restore(set, &Facts::default()) {
                panic!("{told}: {why}");
            }
        }
        let is_refused = |set: &last_good::Set| {
            let mut refused = self.source.refused().unwrap().into_iter();
            refused.any(|(digest, _)| Some(digest) == set.digest())
        };
        // Those that were taken back are not served for want of better here.
        let set = sets.iter().find(|set| !is_refused(set)).unwrap();
        assert_eq!(set.digest(), Some(current.digest()), "{told}");
        assert_eq!(set.pin().cloned(), self.live.pinned(), "{told}");
        let [_, model, ..] = serving.given;
        let settings: serde_json::Value =
            serde_json::from_slice(&model.settings.unwrap().bytes).unwrap();
        settings["owned_by"].as_str().unwrap().to_owned()
    }

    /// Uploads policies of this name.
    async fn offer(&self, by: &str) -> String {
        let mut files: [SlotFiles; Slot::COUNT] = Default::default();
        files[Slot::Model as usize].settings = Some(owned(by).as_bytes().into());
        let candidate = self.live.offer(files, None, "ops").await.unwrap();
        candidate.digest.to_string()
    }

    async fn promote(&self, by: &str) {
        let digest = self.offer(by).await;
        self.live.promote(&digest, "ops").await.unwrap();
    }

    /// Lets the gateway look at its folder, as it does all the time.
    async fn look(&self) {
        let files = self.live.current().policies().files();
        let look = self.source.look(&Facts::default(), &files);
        self.live.take(&self.source, &look).await.unwrap();
        self.live.keep(&self.source).await;
    }

    /// A fault of the policies that serve, with which they are taken back.
    async fn fail(&self) {
        let mut lives = self.live.lives();
        let stop = CancellationToken::new();
        let (live, source, stopped) = (Arc::clone(&self.live), self.source.clone(), stop.clone());
        let guarding = tokio::spawn(async move { live.guard(&source, &stopped).await });
        let caller = Caller {
            id: "ann".to_owned(),
            tenant: None,
            groups: Vec::new(),
        };
        let ask = model::Ask {
            caller,
            requested: Some("codex-5".to_owned()),
            effort: None,
        };
        let fault = Fault {
            slot: Slot::Model,
            policy: "codex-model".to_owned(),
            kind: FaultKind::Trap,
            cause: "unreachable".to_owned(),
        };
        self.live
            .current()
            .doubt(&fault, &Resolve { ask, now_ms: 0 });
        while lives.recv().await.unwrap().what != What::TakenBack {}
        stop.cancel();
        guarding.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_within_the_first_start_leaves_a_start() {
    let site = Site::new();
    let kills = Kills::within(site.state.path());
    site.start().await;
    let (copies, _place) = kills.stop();
    assert!(copies.len() > 10, "{}", copies.len());
    for state in &copies {
        assert_eq!(site.check(state, "the first start").await, "one");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_writes_nothing_that_a_kill_could_cut() {
    let site = Site::new();
    let started = site.start().await;
    let kills = Kills::within(site.state.path());
    started.offer("two").await;
    let (copies, _place) = kills.stop();
    assert_eq!(copies.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_within_a_promotion_leaves_those_before_or_the_promoted_ones() {
    let site = Site::new();
    let started = site.start().await;
    let digest = started.offer("two").await;
    let promotion = started.live.promote(&digest, "ops");
    let steps = site.killed_within(["one", "two"], promotion).await;
    assert!(steps > 10, "{steps}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_within_a_change_of_the_folder_leaves_those_before_or_the_new_ones() {
    let site = Site::new();
    let started = site.start().await;
    site.publish(&owned("two"));
    // A start looks at the folder; one that is broken by then falls back on those before.
    site.killed_within(["one", "two"], started.look()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_within_a_roll_back_leaves_those_before_or_those_gone_back_to() {
    let site = Site::new();
    let started = site.start().await;
    started.promote("two").await;
    let back = started.live.roll_back(None, "ops");
    site.killed_within(["two", "one"], back).await;
    // And of files, after a restart.
    let started = site.start().await;
    assert_eq!(started.serves("a restart"), "one");
    let back = started.live.roll_back(None, "ops");
    site.killed_within(["one", "two"], back).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_within_a_take_back_leaves_those_on_probation_or_those_before() {
    // Of a change of the folder, and of a promotion: by then the folder decides again.
    let site = Site::new();
    let started = site.start().await;
    site.publish(&owned("two"));
    started.look().await;
    site.killed_within(["two", "one"], started.fail()).await;
    let site = Site::new();
    let started = site.start().await;
    started.promote("two").await;
    site.killed_within(["two", "one"], started.fail()).await;
    assert_eq!(started.live.pinned(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_the_folder_is_to_be_followed_again_leaves_the_pin_or_the_folder() {
    let site = Site::new();
    let started = site.start().await;
    started.promote("two").await;
    let follow = started.live.follow("ops");
    site.killed_within(["two", "one"], follow).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_that_did_not_come_about_is_no_consent_after_a_restart() {
    let site = Site::new();
    let started = site.start().await;
    let verdicts = [
        Verdict::Failed("7 decisions differ".to_owned()),
        Verdict::Dropped("ops".to_owned()),
        Verdict::TakenBack("it trapped".to_owned()),
    ];
    let mut refused = Vec::new();
    for (by, verdict) in ["two", "three", "four"].into_iter().zip(verdicts) {
        let digits = started.offer(by).await;
        let digest = started.live.find(&digits).unwrap();
        started.live.refuse_change(digest, verdict.clone()).await;
        refused.push((digest, verdict));
        // Others came to serve in the moment of the swap.
        let overtaken = started.live.promote_taken(digest, "ops", || None).await;
        assert_eq!(overtaken.err(), Some(Unsteered::Stale));
    }
    assert_eq!(started.source.refused().unwrap(), refused);
    assert_eq!(site.start().await.serves("a restart"), "one");
}
