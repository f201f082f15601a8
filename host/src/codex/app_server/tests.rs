//! The backend with a shell script in place of Codex: start, death, leases, shutdown.

use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::codex::binary::tests::script;
use crate::codex::tests::{idle, kill, scripted, until};
use crate::codex::{Event, Recycling, TurnOutcome};

/// Speaks as much of the protocol as is needed for a turn that never ends. Requests begin with their id.
const SCRIPT: &str = r#"#!/bin/sh
case $1 in
--version) echo codex-cli 1.2.3; exit;;
--help) echo '  app-server  Run'; exit;;
debug) echo '{"models":[{"slug":"own","visibility":"list","priority":1}]}'; exit;;
esac
if [ -f "$CODEX_HOME/fault" ]; then cat "$CODEX_HOME/fault" >&2; exit 3; fi
for setting; do case $setting in model_catalog_json=*) echo "$setting" > "$CODEX_HOME/catalogue";; esac; done
while read -r line; do
  id=${line#*:}; id=${id%%,*}
  case $line in
  *'"method":"initialized"'*) ;;
  *server/diagnostics*) echo "{\"id\":$id,\"result\":{\"process\":{\"residentMemoryBytes\":1000}}}";;
  *thread/start*) echo "{\"id\":$id,\"result\":{\"thread\":{\"id\":\"t$id\"}}}";;
  *turn/start*) echo "{\"id\":$id,\"result\":{\"turn\":{\"id\":\"k\"}}}";;
  *turn/interrupt*)
    thread=${line#*threadId\":\"}; thread=${thread%%\"*}
    echo "{\"id\":$id,\"result\":{}}"
    echo "{\"method\":\"turn/completed\",\"params\":{\"threadId\":\"$thread\",\"turn\":{\"id\":\"k\",\"status\":\"interrupted\"}}}";;
  *) echo "{\"id\":$id,\"result\":{}}";;
  esac
done
"#;

struct Rig {
    server: AppServer,
    home: TempDir,
}

async fn start(config: Config) -> Result<AppServer, StartError> {
    let home = command::read_home(&config);
    let probe = binary::ask(|| command::command(&config, &home)).await?;
    AppServer::start(config, probe).await
}

async fn rig(change: impl FnOnce(&mut Config)) -> Rig {
    let home = tempfile::tempdir().unwrap();
    let mut config = scripted(&home, SCRIPT);
    change(&mut config);
    Rig {
        server: start(config).await.unwrap(),
        home,
    }
}

impl Rig {
    async fn until(&self, so: impl Fn(&Status) -> bool) -> Status {
        until(self.server.watch(), so).await
    }

    /// The folder the worker was given, found by the path of the catalogue in its settings.
    fn folder(&self) -> PathBuf {
        let setting = std::fs::read_to_string(self.home.path().join("catalogue")).unwrap();
        let path = setting
            .trim()
            .strip_prefix("model_catalog_json=")
            .unwrap()
            .trim_matches('"');
        PathBuf::from(path).parent().unwrap().to_owned()
    }
}

/// The process id of the first worker.
fn pid(status: &Status) -> u32 {
    status
        .workers
        .first()
        .and_then(|worker| worker.pid)
        .unwrap()
}

#[tokio::test]
async fn it_becomes_ready_and_leaves_nothing_behind() {
    let rig = rig(|_| {}).await;
    let status = rig.until(|status| status.ready).await;
    assert_eq!(
        (status.version.as_str(), status.restarts, &status.reason),
        ("1.2.3", 0, &None)
    );
    let folder = rig.folder();
    assert!(folder.join("catalogue.json").exists());
    rig.server.shutdown().await;
    assert!(!folder.exists(), "the folder");
    let process = PathBuf::from(format!("/proc/{}", pid(&status)));
    assert!(!process.exists(), "the process");
    let refused = rig.server.start_turn(Plan::default()).await.unwrap_err();
    assert_eq!(
        refused,
        Error::Unavailable("the gateway is shutting down".to_owned())
    );
}

#[tokio::test]
async fn a_killed_worker_fails_its_turns_and_the_next_serves_at_once() {
    let rig = rig(|_| {}).await;
    let first = pid(&rig.until(|status| status.ready).await);
    let mut turn = rig.server.start_turn(Plan::default()).await.unwrap();
    kill(first);
    let Some(Event::Ended(TurnOutcome::Failed(Error::WorkerExited(why)))) = turn.next().await
    else {
        panic!("the turn has failed");
    };
    assert!(why.contains("signal: 9"), "{why}");
    let next = rig.server.start_turn(Plan::default()).await.unwrap();
    let status = rig.until(|status| status.ready).await;
    assert_ne!(pid(&status), first);
    assert_eq!(status.restarts, 1);
    drop(next);
    rig.server.shutdown().await;
}

#[tokio::test]
async fn a_worker_that_cannot_start_says_why_and_is_tried_until_it_can() {
    let rig = rig(|config| {
        config.lease_wait = Duration::ZERO;
        let home = config.home.clone().unwrap();
        std::fs::write(
            home.join("fault"),
            "WARNING: old\nError: no such provider\nin `here`\n",
        )
        .unwrap();
    })
    .await;
    let status = rig.until(|status| status.restarts > 3).await;
    let reason = status.reason.unwrap();
    assert!(
        reason.contains("exit status: 3") && reason.ends_with("Error: no such provider"),
        "{reason}"
    );
    let refused = rig.server.start_turn(Plan::default()).await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable(_)), "{refused:?}");
    std::fs::remove_file(rig.home.path().join("fault")).unwrap();
    rig.until(|status| status.ready).await;
    rig.server.shutdown().await;
}

#[tokio::test]
async fn a_configuration_that_changes_under_the_start_is_read_again() {
    let rig = rig(|config| {
        // The script repairs the configuration at its first start, after the gateway has read it.
        let mend =
            "case $1 in app-server) echo 'model = \"new\"' > \"$CODEX_HOME/config.toml\";; esac\n";
        let text = SCRIPT.replacen('\n', &format!("\n{mend}"), 1);
        script(&config.bin, &text);
    })
    .await;
    let status = rig.until(|status| status.ready).await;
    assert_eq!(status.restarts, 1);
    rig.server.shutdown().await;
}

#[tokio::test]
async fn a_new_login_and_new_settings_have_a_worker_of_their_own_and_no_turn_is_lost() {
    let rig = rig(|config| config.probe_interval = Duration::from_millis(20)).await;
    let mut before = pid(&rig.until(|status| status.ready).await);
    for (name, relieved) in [("auth.json", 1), ("config.toml", 2)] {
        let mut turn = rig.server.start_turn(Plan::default()).await.unwrap();
        std::fs::write(rig.home.path().join(name), "# new").unwrap();
        let so = |status: &Status| status.recycled == relieved && status.workers.len() == 2;
        rig.until(so).await;
        turn.interrupt();
        assert_eq!(
            turn.next().await,
            Some(Event::Ended(TurnOutcome::Interrupted))
        );
        let status = rig.until(|status| status.workers.len() == 1).await;
        assert_ne!(pid(&status), before);
        before = pid(&status);
    }
    assert_eq!(rig.server.watch().borrow().restarts, 0);
    rig.server.shutdown().await;
}

#[tokio::test]
async fn leases_are_counted_and_come_back() {
    let rig = rig(|config| {
        config.max_turns = 2;
        config.queue_max = 0;
    })
    .await;
    rig.until(|status| status.ready).await;
    for _ in 0..5 {
        let turns = (
            rig.server.start_turn(Plan::default()).await.unwrap(),
            rig.server.start_turn(Plan::default()).await.unwrap(),
        );
        assert_eq!(rig.server.watch().borrow().turns, 2);
        assert_eq!(
            rig.server.start_turn(Plan::default()).await.unwrap_err(),
            Error::Busy
        );
        drop(turns);
        idle(rig.server.watch()).await;
    }
    rig.server.shutdown().await;
}

#[tokio::test]
async fn turns_are_shared_by_the_workers_and_each_is_replaced_alone() {
    let rig = rig(|config| {
        config.workers = 2;
        config.max_turns = 1;
    })
    .await;
    let ready = rig.until(|status| status.workers.len() == 2).await;
    let mut first = rig.server.start_turn(Plan::default()).await.unwrap();
    let mut second = rig.server.start_turn(Plan::default()).await.unwrap();
    let loads: Vec<_> = rig
        .server
        .watch()
        .borrow()
        .workers
        .iter()
        .map(|worker| worker.turns)
        .collect();
    assert_eq!(loads, [1, 1]);
    kill(pid(&ready));
    let Some(Event::Ended(TurnOutcome::Failed(Error::WorkerExited(_)))) = first.next().await else {
        panic!("the turn on the killed worker has failed");
    };
    second.interrupt();
    assert_eq!(
        second.next().await,
        Some(Event::Ended(TurnOutcome::Interrupted)),
        "the other went on"
    );
    rig.until(|status| status.workers.len() == 2 && status.restarts == 1)
        .await;
    rig.server.shutdown().await;
}

#[tokio::test]
async fn a_full_house_is_waited_for_in_order_and_a_crowd_is_sent_away() {
    let rig = rig(|config| {
        config.max_turns = 1;
        config.queue_max = 1;
        // Only the bound of the queue matters here.
        config.lease_wait = Duration::ZERO;
    })
    .await;
    rig.until(|status| status.ready).await;
    let running = rig.server.start_turn(Plan::default()).await.unwrap();
    let mut next = pin!(rig.server.start_turn(Plan::default()));
    assert!(futures_util::poll!(&mut next).is_pending());
    assert_eq!(
        rig.server.start_turn(Plan::default()).await.unwrap_err(),
        Error::Busy
    );
    drop(running);
    let next = next.await.unwrap();
    drop(next);
    rig.server.shutdown().await;
}

#[tokio::test]
async fn a_worker_that_has_done_its_part_is_relieved_without_a_lost_turn() {
    let rig = rig(|config| {
        config.probe_interval = Duration::from_millis(10);
        config.recycling = Recycling {
            turns: 1,
            ..Recycling::default()
        };
    })
    .await;
    let first = pid(&rig.until(|status| status.ready).await);
    let mut turn = rig.server.start_turn(Plan::default()).await.unwrap();
    let both = rig
        .until(|status| status.recycled == 1 && status.workers.iter().any(|worker| worker.leaving))
        .await;
    assert!(
        both.ready && both.workers.len() == 2,
        "the next is there before the last goes: {both:?}"
    );
    let mut other = rig.server.start_turn(Plan::default()).await.unwrap();
    for turn in [&mut turn, &mut other] {
        turn.interrupt();
        assert_eq!(
            turn.next().await,
            Some(Event::Ended(TurnOutcome::Interrupted))
        );
    }
    let after = rig
        .until(|status| {
            status
                .workers
                .iter()
                .all(|worker| worker.pid != Some(first))
        })
        .await;
    assert_eq!(after.restarts, 0);
    drop((turn, other));
    rig.server.shutdown().await;
}

#[tokio::test]
async fn a_worker_that_uses_too_much_memory_is_relieved() {
    let rig = rig(|config| {
        config.probe_interval = Duration::from_millis(10);
        config.recycling.memory_bytes = 1000;
    })
    .await;
    rig.until(|status| status.recycled >= 2).await;
    rig.server.shutdown().await;
}

#[tokio::test]
async fn the_operators_model_comes_first_even_if_the_program_does_not_know_it() {
    let ids = |rig: &Rig| {
        rig.server
            .models()
            .listed
            .into_iter()
            .map(|model| model.id)
            .collect::<Vec<_>>()
    };
    let plain = rig(|_| {}).await;
    assert_eq!(
        (ids(&plain), plain.server.models().default),
        (vec!["own".to_owned()], "own".to_owned())
    );
    let home = rig(|config| {
        let home = config.home.clone().unwrap();
        std::fs::write(home.join("config.toml"), "model = \"local\"\n").unwrap();
    })
    .await;
    assert_eq!(ids(&home), ["local", "own"]);
    assert_eq!(home.server.models().default, "local");
    let configured = rig(|config| config.model = Some("own".to_owned())).await;
    assert_eq!(ids(&configured), ["own"]);
    for rig in [plain, home, configured] {
        rig.server.shutdown().await;
    }
}

#[tokio::test]
async fn a_program_of_no_use_is_refused_at_the_start() {
    let home = tempfile::tempdir().unwrap();
    let config = scripted(&home, SCRIPT);
    script(
        &config.bin,
        "#!/bin/sh\ncase $1 in --version) echo codex-cli 0.42.0;; debug) exit 2;; esac\n",
    );
    let refused = start(config.clone()).await.unwrap_err();
    assert!(
        matches!(&refused, StartError::TooOld { version } if version == "0.42.0"),
        "{refused}"
    );
    assert!(refused.is_configuration());
    let missing = Config {
        bin: "/nonexistent/codex".into(),
        ..config.clone()
    };
    let refused = start(missing).await.unwrap_err();
    assert!(matches!(refused, StartError::Probe(_)) && refused.is_configuration());
}

#[tokio::test]
async fn a_version_with_another_app_server_is_too_old() {
    let home = tempfile::tempdir().unwrap();
    let config = scripted(&home, &SCRIPT.replace("1.2.3", "0.99.0"));
    let refused = start(config).await.unwrap_err();
    assert!(
        matches!(&refused, StartError::TooOld { version } if version == "0.99.0"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_working_folder_that_cannot_be_made_is_told_with_its_setting() {
    let home = tempfile::tempdir().unwrap();
    let config = Config {
        workdir: Some(home.path().join("codex").join("below-a-file")),
        ..scripted(&home, SCRIPT)
    };
    let refused = start(config).await.unwrap_err();
    assert!(refused.is_configuration());
    assert!(
        refused.to_string().starts_with("PROXY_CODEX_WORKDIR: "),
        "{refused}"
    );
}
