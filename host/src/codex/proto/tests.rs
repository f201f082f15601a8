//! The backend with a shell script in place of Codex: start, turns, death, shutdown.

use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::codex::binary::tests::script;
use crate::codex::tests::{idle, kill, scripted, until};
use crate::codex::{
    Backend, BackendChoice, Cause, Event, Item, Part, Role, Tool, TurnOutcome, binary,
};

/// Speaks as much of the protocol as is needed for a turn that says one word and never ends. Like the real Codex, it
/// exits only when asked to and its input has ended. Its process id is listed once it has reported the path of its record:
/// if it is killed before that, it leaves a record that the gateway does not know.
const SCRIPT: &str = r#"#!/bin/sh
case $1 in
--version) echo codex-cli 0.42.0; exit;;
--help) echo '  proto  Run'; exit;;
esac
if [ -f "$CODEX_HOME/fault" ]; then cat "$CODEX_HOME/fault" >&2; exit 3; fi
record=$CODEX_HOME/sessions/rollout-$$.jsonl
mkdir -p "$CODEX_HOME/sessions" && echo x > "$record"
say() { echo "{\"id\":\"$1\",\"msg\":{\"type\":$2}}"; }
say '' "\"session_configured\",\"rollout_path\":\"$record\""
echo $$ >> "$CODEX_HOME/pids"
while read -r line; do
  case $line in
  *user_turn*) [ -f "$CODEX_HOME/deaf" ] && continue
    say turn '"task_started"'; say turn "\"agent_message_delta\",\"delta\":\"$$\"";;
  *interrupt*) say turn '"turn_aborted","reason":"interrupted"';;
  *shutdown*) leave=1;;
  esac
done
[ "$leave" ] || exec sleep 60
"#;

const SIGNED_IN: &str = r#"{"OPENAI_API_KEY":"sk-x"}"#;

struct Rig {
    server: Proto,
    home: TempDir,
}

async fn start(config: Config) -> Result<Proto, StartError> {
    let home = command::read_home(&config);
    let probe = binary::ask(|| command::command(&config, &home)).await?;
    Proto::start(config, probe)
}

async fn rig(change: impl FnOnce(&mut Config)) -> Rig {
    let home = tempfile::tempdir().unwrap();
    let mut config = scripted(&home, SCRIPT);
    std::fs::write(home.path().join("auth.json"), SIGNED_IN).unwrap();
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

    /// A turn, and the id of the process that runs it.
    async fn turn(&self) -> (TurnReceiver, String) {
        let mut turn = self.server.start_turn(Plan::default()).await.unwrap();
        match turn.next().await {
            Some(Event::Text(pid)) => (turn, pid),
            other => panic!("{other:?}"),
        }
    }

    /// Waits until no turn runs.
    async fn idle(&self) {
        idle(self.server.watch()).await;
    }

    /// The live processes that have reported the path of their record; waits until there is one.
    async fn alive(&self) -> Vec<String> {
        loop {
            match self.known() {
                none if none.is_empty() => tokio::task::yield_now().await,
                some => return some,
            }
        }
    }

    fn known(&self) -> Vec<String> {
        let pids = std::fs::read_to_string(self.home.path().join("pids")).unwrap_or_default();
        let alive = pids.lines().filter(|pid| process(pid).exists());
        alive.map(str::to_owned).collect()
    }

    /// Shuts down, and checks that neither a process nor a record is left.
    async fn down(self) {
        self.server.shutdown().await;
        assert_eq!(self.known(), [""; 0], "a process is left");
        if let Ok(mut records) = std::fs::read_dir(self.home.path().join("sessions")) {
            assert!(records.next().is_none(), "a record is left");
        }
    }
}

fn process(pid: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}"))
}

#[tokio::test]
async fn each_turn_has_a_process_of_its_own_and_nothing_outlives_it() {
    let rig = rig(|_| {}).await;
    let status = rig.until(|status| status.ready).await;
    assert_eq!((status.kind, status.version.as_str()), ("proto", "0.42.0"));
    let mut pids = std::collections::HashSet::new();
    for _ in 0..5 {
        let (mut turn, pid) = rig.turn().await;
        assert_eq!(rig.server.watch().borrow().turns, 1);
        turn.interrupt();
        assert_eq!(
            turn.next().await,
            Some(Event::Ended(TurnOutcome::Interrupted))
        );
        assert_eq!(turn.next().await, None);
        rig.idle().await;
        assert!(!process(&pid).exists(), "it left with its turn");
        assert!(pids.insert(pid));
    }
    drop(rig.turn().await);
    rig.idle().await;
    assert_eq!(rig.server.watch().borrow().restarts, 0);
    rig.down().await;
}

#[tokio::test]
async fn a_killed_process_fails_its_turn_and_no_other() {
    let rig = rig(|_| {}).await;
    let ((mut one, pid), (mut other, _)) = (rig.turn().await, rig.turn().await);
    kill(&pid);
    let Some(Event::Ended(TurnOutcome::Failed(Error::WorkerExited(why)))) = one.next().await else {
        panic!("the turn has failed");
    };
    assert!(why.contains("signal: 9"), "{why}");
    other.interrupt();
    assert_eq!(
        other.next().await,
        Some(Event::Ended(TurnOutcome::Interrupted))
    );
    rig.until(|status| status.restarts == 1 && status.ready)
        .await;
    rig.down().await;
}

#[tokio::test]
async fn spare_processes_that_died_are_no_trouble() {
    let rig = rig(|_| {}).await;
    rig.until(|status| status.ready).await;
    for _ in 0..3 {
        rig.alive().await.iter().for_each(kill);
        drop(rig.turn().await);
        // The process of that turn is leaving by itself: it may be gone before it is killed.
        rig.idle().await;
    }
    rig.down().await;
}

#[tokio::test]
async fn what_cannot_start_says_why_and_is_tried_until_it_can() {
    let rig = rig(|config| {
        config.lease_wait = Duration::ZERO;
        let home = config.home.clone().unwrap();
        std::fs::write(home.join("fault"), "Error: no such provider\nin `here`\n").unwrap();
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
    rig.down().await;
}

#[tokio::test]
async fn turns_are_bounded_and_one_that_is_not_begun_is_given_up() {
    let rig = rig(|config| {
        config.max_turns = 1;
        config.queue_wait = Duration::from_millis(500);
        config.rpc_timeout = Duration::from_millis(200);
    })
    .await;
    rig.until(|status| status.ready).await;
    let turn = rig.turn().await;
    let refused = rig.server.start_turn(Plan::default()).await.unwrap_err();
    assert_eq!(refused, Error::Busy);
    drop(turn);
    rig.idle().await;
    std::fs::write(rig.home.path().join("deaf"), "").unwrap();
    let refused = rig.server.start_turn(Plan::default()).await.unwrap_err();
    let expected = Error::RpcTimeout {
        method: "user_turn",
        after_ms: 200,
    };
    assert_eq!(refused, expected);
    rig.down().await;
}

#[tokio::test]
async fn shutdown_ends_turns_and_refuses_new_ones() {
    let rig = rig(|_| {}).await;
    let (mut turn, _) = rig.turn().await;
    rig.server.shutdown().await;
    assert!(matches!(
        turn.next().await,
        Some(Event::Ended(TurnOutcome::Failed(Error::WorkerExited(_))))
    ));
    let refused = rig.server.start_turn(Plan::default()).await.unwrap_err();
    assert_eq!(
        refused,
        Error::Unavailable("the gateway is shutting down".to_owned())
    );
    drop(turn);
    rig.down().await;
}

#[tokio::test]
async fn what_these_versions_cannot_do_is_refused_with_the_remedy() {
    let rig = rig(|_| {}).await;
    let words = |error: Error| match error {
        Error::Upstream {
            cause: Cause::InvalidRequest,
            message,
            ..
        } => message,
        other => panic!("{other:?}"),
    };
    let tools = Plan {
        tools: vec![Tool {
            name: "f".to_owned(),
            description: None,
            parameters: serde_json::json!({}),
        }],
        ..Plan::default()
    };
    let refused = words(rig.server.start_turn(tools).await.unwrap_err());
    assert!(
        refused.contains("npm install -g @openai/codex"),
        "{refused}"
    );
    let effort = Plan {
        effort: Some("xhigh".to_owned()),
        history: vec![Item::Message {
            role: Role::User,
            parts: vec![Part::Text("hi".to_owned())],
        }],
        ..Plan::default()
    };
    let refused = words(rig.server.start_turn(effort).await.unwrap_err());
    assert!(refused.contains("'xhigh'"), "{refused}");
    rig.down().await;
}

#[tokio::test]
async fn the_operators_model_comes_first() {
    let ids = |rig: &Rig| -> Vec<String> {
        let models = rig.server.models().listed.into_iter();
        models.map(|model| model.id).collect()
    };
    let plain = rig(|_| {}).await;
    assert_eq!(ids(&plain), ["gpt-5", "gpt-5-codex"]);
    assert_eq!(plain.server.models().default, "gpt-5");
    let own = rig(|config| config.model = Some("own".to_owned())).await;
    assert_eq!(ids(&own), ["own", "gpt-5", "gpt-5-codex"]);
    assert_eq!(own.server.models().default, "own");
    for rig in [plain, own] {
        rig.down().await;
    }
}

#[tokio::test]
async fn a_program_is_spoken_to_as_it_can_be() {
    let home = tempfile::tempdir().unwrap();
    let config = scripted(&home, SCRIPT);
    let backend = Backend::connect(config.clone(), BackendChoice::Auto)
        .await
        .unwrap();
    assert_eq!(backend.kind(), "proto");
    backend.shutdown().await;
    let refused = Backend::connect(config.clone(), BackendChoice::AppServer).await;
    assert!(matches!(refused, Err(StartError::TooOld { .. })));
    script(
        &config.bin,
        "#!/bin/sh\ncase $1 in --version) echo codex-cli 0.43.0;; esac\n",
    );
    let refused = Backend::connect(config.clone(), BackendChoice::Auto).await;
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("0.43.0") && refused.contains("npm install"),
        "{refused}"
    );
    let refused = Backend::connect(config, BackendChoice::Proto).await;
    assert!(matches!(refused, Err(StartError::NoProto { .. })));
}
