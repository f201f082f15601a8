//! Tests of the usage log: events are written and read back, the files are bounded, no request waits.

use std::path::Path;

use super::*;
use crate::file::journal::QUEUE;
use crate::telemetry::Tokens;

fn log(folder: &Path, max_bytes: u64, max_files: u32) -> UsageLog {
    UsageLog::open(Config {
        path: folder.join("usage.ndjson"),
        max_bytes,
        max_files,
    })
    .unwrap()
}

/// A request that cost `output` tokens of answer.
fn request<'a>(id: &'a str, caller: &'a str, output: u64) -> Summary<'a> {
    Summary {
        id,
        caller: Some(caller),
        model: Some("codex-5"),
        stream: Some(false),
        tokens: Some(Tokens {
            input: 10,
            output,
            ..Tokens::default()
        }),
        ..Summary::default()
    }
}

fn query(group: Option<Group>, caller: Option<&str>) -> Query {
    Query {
        start: 0,
        end: u64::MAX,
        group,
        caller: caller.map(str::to_owned),
    }
}

async fn ids(log: &UsageLog, limit: usize) -> Vec<String> {
    let events = log.last(limit, None).await.unwrap();
    events.into_iter().map(|event| event.req_id).collect()
}

#[tokio::test]
async fn what_was_told_is_read_back_added_up_and_by_caller() {
    let folder = tempfile::tempdir().unwrap();
    let log = log(folder.path(), 1 << 20, 2);
    for (id, caller, output) in [("1", "alice", 1), ("2", "bob", 2), ("3", "alice", 3)] {
        log.ended(&request(id, caller, output));
    }
    log.ended(&Summary::default());
    assert_eq!(ids(&log, 2).await, ["2", "3"], "what began no turn is none");
    assert_eq!(log.last(9, Some("bob".to_owned())).await.unwrap().len(), 1);
    let report = log
        .report(query(Some(Group::Caller), None))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(report.totals.requests, 3);
    assert_eq!(report.totals.tokens.total_tokens_est, 36);
    let callers: Vec<_> = report
        .buckets
        .into_iter()
        .map(|(key, sums)| (key, sums.tokens.completion_tokens_est))
        .collect();
    assert_eq!(
        callers,
        [
            (Key::Name("alice".to_owned()), 4),
            (Key::Name("bob".to_owned()), 2)
        ]
    );
    let own = log.report(query(None, Some("bob"))).await.unwrap().unwrap();
    assert_eq!((own.totals.requests, own.buckets.len()), (1, 0));
    assert_eq!(log.counts(), (3, 0));
}

#[tokio::test]
async fn files_are_few_and_small_and_read_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let log = log(folder.path(), 2_000, 3);
    let all: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    for id in &all {
        log.ended(&request(id, "alice", 1));
    }
    let kept = ids(&log, 1_000).await;
    assert!(kept.len() > 3 && kept.len() < 30, "{} are kept", kept.len());
    assert_eq!(kept, all[all.len() - kept.len()..]);
    let sizes = || {
        std::fs::read_dir(folder.path())
            .unwrap()
            .map(|file| file.unwrap().metadata().unwrap().len())
    };
    assert_eq!(sizes().count(), 3);
    assert!(sizes().all(|size| size <= 2_000));
}

#[tokio::test]
async fn two_gateways_write_one_log_while_one_replaces_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let [old, new] = [(); 2].map(|()| log(folder.path(), 20_000, 9));
    for id in 0..200 {
        let log = if id % 3 == 0 { &old } else { &new };
        log.ended(&request(&id.to_string(), "alice", 1));
        if id % 10 == 0 {
            assert_eq!(ids(log, 1).await.len(), 1, "it was written");
        }
    }
    old.close();
    let mut kept = ids(&new, 1_000).await;
    kept.sort_by_key(|id| id.parse::<u32>().unwrap());
    let all: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    assert_eq!(kept, all, "each once");
    let files = std::fs::read_dir(folder.path()).unwrap();
    let sizes = files.map(|file| file.unwrap().metadata().unwrap().len());
    assert!(sizes.into_iter().all(|size| size <= 20_000));
    assert!(folder.path().join("usage.ndjson.2").exists(), "they moved");
}

#[tokio::test]
async fn what_waits_is_written_before_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let first = log(folder.path(), 1 << 20, 2);
    for _ in 0..1_000 {
        first.ended(&request("1", "alice", 1));
    }
    first.close();
    let text = std::fs::read_to_string(folder.path().join("usage.ndjson")).unwrap();
    assert_eq!(text.lines().count(), 1_000);
    first.ended(&request("late", "alice", 1));
    assert_eq!(first.counts(), (1_000, 1), "what comes later is counted");
}

#[tokio::test]
async fn lines_that_are_none_are_skipped_and_a_cut_one_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("usage.ndjson");
    let theirs = r#"{"ts":1757800000000,"req_id":"old","route":"/v1/chat/completions","method":"POST","requested_model":"codex-5","effective_model":"gpt-5","stream":true,"prompt_tokens_est":8,"completion_tokens_est":6,"total_tokens_est":14,"duration_ms":67,"status":200,"user_agent":"curl"}"#;
    let long = "x".repeat(100_000);
    std::fs::write(
        &path,
        format!("{theirs}\n{long}\n\nnonsense\n{{\"ts\":1,\"req"),
    )
    .unwrap();
    let log = log(folder.path(), 1 << 20, 2);
    log.ended(&request("new", "alice", 1));
    assert_eq!(ids(&log, 9).await, ["old", "new"]);
    let own = log.report(query(None, Some(OWNER))).await.unwrap().unwrap();
    assert_eq!(own.totals.tokens.prompt_tokens_est, 8, "theirs is its");
    let report = log
        .report(query(Some(Group::Day), None))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(report.totals.tokens.prompt_tokens_est, 18);
    let days: Vec<_> = report.buckets.into_iter().map(|(key, _)| key).collect();
    assert_eq!((days.len(), &days[0]), (2, &Key::Time(1_757_721_600_000)));
}

#[cfg(unix)]
#[tokio::test]
async fn a_disk_that_takes_nothing_costs_events_and_nobody_waits() {
    // Every write to this device fails as on a full disk.
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/full", folder.path().join("usage.ndjson")).unwrap();
    let log = log(folder.path(), 1 << 20, 2);
    for _ in 0..10 {
        log.ended(&request("1", "alice", 1));
    }
    log.close();
    assert_eq!(log.counts(), (0, 10));
}

#[cfg(unix)]
#[tokio::test]
async fn only_its_owner_may_read_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    drop(log(folder.path(), 1 << 20, 2));
    let file = std::fs::metadata(folder.path().join("usage.ndjson")).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_pipe_is_refused_and_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("usage.ndjson");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    let refused = UsageLog::open(Config {
        path,
        max_bytes: 1 << 20,
        max_files: 2,
    });
    let said = refused.unwrap_err().to_string();
    assert!(said.contains("a pipe, not a regular file"), "{said}");
}

#[test]
fn the_end_does_not_wait_for_a_disk_that_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let log = log(folder.path(), 1 << 20, 2);
    // Another process holds the lock on the file, and does not release it.
    let held = std::fs::File::open(folder.path().join("usage.ndjson")).unwrap();
    held.lock().unwrap();
    for _ in 0..2 * QUEUE {
        log.ended(&request("1", "alice", 1));
    }
    log.journal.close_within(Duration::from_millis(50));
    let (written, dropped) = log.counts();
    assert!(written == 0 && dropped > 0, "{written} {dropped}");
}

#[tokio::test]
async fn a_folder_that_is_gone_is_made_again() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("usage");
    std::fs::create_dir(&folder).unwrap();
    let log = log(&folder, 1 << 20, 2);
    log.ended(&request("1", "alice", 1));
    assert_eq!(ids(&log, 9).await, ["1"]);
    std::fs::remove_dir_all(&folder).unwrap();
    log.ended(&request("2", "alice", 1));
    assert_eq!(ids(&log, 9).await, ["2"]);
    assert_eq!(log.counts(), (2, 0));
}
