//! Counters after a restart, and after a start with an invalid file.

use super::super::{Quota, Reservation, Unit};
use super::*;

/// A window so long that nothing refills while the test runs.
const WINDOW_MS: u64 = 1_000_000_000;

fn quota(unit: Unit, cost: u64) -> Quota {
    Quota {
        name: "rule".to_owned(),
        key: "alice".to_owned(),
        unit,
        limit: 10,
        window_ms: WINDOW_MS,
        cost,
    }
}

fn remaining(memory: &Memory, unit: Unit) -> u64 {
    memory.draw(&[quota(unit, 0)]).0[0].remaining
}

fn draw(memory: &Memory, unit: Unit, cost: u64) -> Reservation {
    memory.draw(&[quota(unit, cost)]).1.unwrap()
}

fn folder() -> (tempfile::TempDir, State) {
    let folder = tempfile::tempdir().unwrap();
    let state = State::new(folder.path().to_owned());
    (folder, state)
}

#[test]
fn a_restart_remembers_what_was_spent_and_frees_what_was_held() {
    let (_folder, mut state) = folder();
    let memory = state.load();
    drop(draw(&memory, Unit::Requests, 4));
    let mut settled = draw(&memory, Unit::Tokens, 8);
    settled.settle(1);
    drop(settled);
    // A crash: these two reservations are never settled or released.
    let (_tokens, _place) = (
        draw(&memory, Unit::Tokens, 3),
        draw(&memory, Unit::Concurrent, 7),
    );
    state.save(&memory).unwrap();
    let again = state.load();
    assert_eq!(remaining(&again, Unit::Requests), 6);
    assert_eq!(remaining(&again, Unit::Tokens), 6, "the estimate stands");
    assert_eq!(remaining(&again, Unit::Concurrent), 10);
}

#[tokio::test(start_paused = true)]
async fn it_is_saved_while_it_runs_and_at_the_end() {
    let (folder, state) = folder();
    let memory = state.load();
    let stop = CancellationToken::new();
    let keeping = tokio::spawn(state.keep(memory.clone(), stop.clone()));
    drop(draw(&memory, Unit::Requests, 4));
    let file = folder.path().join(FILE);
    while !file.exists() {
        tokio::time::sleep(EVERY).await;
    }
    drop(draw(&memory, Unit::Requests, 3));
    stop.cancel();
    keeping.await.unwrap();
    let again = State::new(folder.path().to_owned()).load();
    assert_eq!(remaining(&again, Unit::Requests), 3);
}

#[test]
fn a_damaged_or_newer_file_is_an_empty_start_and_is_kept_aside() {
    let (folder, mut state) = folder();
    let memory = Memory::default();
    drop(draw(&memory, Unit::Requests, 4));
    state.save(&memory).unwrap();
    let file = folder.path().join(FILE);
    let whole = fs::read(&file).unwrap();
    let newer = String::from_utf8(whole.clone()).unwrap();
    let newer = newer.replace("\"version\":1", "\"version\":2");
    for damaged in [
        &whole[..whole.len() / 2],
        b"",
        b"\xff\xfe",
        b"[]",
        newer.as_bytes(),
    ] {
        fs::write(&file, damaged).unwrap();
        assert_eq!(remaining(&state.load(), Unit::Requests), 10);
        assert_eq!(fs::read(folder.path().join(ASIDE)).unwrap(), damaged);
        assert!(!file.exists(), "it is said once");
    }
    state.save(&memory).unwrap();
    assert_eq!(remaining(&state.load(), Unit::Requests), 6);
}

#[test]
fn time_that_passed_meanwhile_refills_and_time_that_went_backwards_does_not() {
    let (folder, mut state) = folder();
    let memory = Memory::default();
    drop(draw(&memory, Unit::Requests, 10));
    state.save(&memory).unwrap();
    let file = folder.path().join(FILE);
    let mut saved: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let saved_ms = saved["saved_ms"].as_u64().unwrap();
    for (ms, left) in [
        (saved_ms - WINDOW_MS / 2, 5),
        (saved_ms - 2 * WINDOW_MS, 10),
        (saved_ms + WINDOW_MS, 0),
        (u64::MAX, 0),
    ] {
        saved["saved_ms"] = ms.into();
        fs::write(&file, saved.to_string()).unwrap();
        assert_eq!(remaining(&state.load(), Unit::Requests), left, "{ms}");
    }
}

#[test]
fn of_two_processes_the_older_saves_and_then_the_other() {
    let (folder, mut older) = folder();
    let mut newer = State::new(folder.path().to_owned());
    let memory = Memory::default();
    older.save(&memory).unwrap();
    drop(draw(&memory, Unit::Requests, 4));
    let held = newer.save(&memory).unwrap_err().to_string();
    let pid = std::process::id();
    assert!(
        held.starts_with(&format!("kept by process {pid} on ")),
        "{held}"
    );
    newer.save_or_warn(&memory);
    assert_eq!(newer.trouble, Some(Trouble::Held), "which is no failure");
    assert_eq!(remaining(&newer.load(), Unit::Requests), 10);
    drop(older);
    newer.save(&memory).unwrap();
    assert_eq!(remaining(&newer.load(), Unit::Requests), 6);
}

#[test]
fn where_nothing_can_be_saved_counting_goes_on() {
    let mut state = State::new("/dev/null/nowhere".into());
    let memory = state.load();
    state.save_or_warn(&memory);
    assert_eq!(state.trouble, Some(Trouble::Failed));
    assert_eq!(remaining(&memory, Unit::Requests), 10);
}

#[test]
fn a_folder_that_is_gone_is_made_again_and_locked_again() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("state");
    let memory = Memory::default();
    let mut state = State::new(folder.clone());
    state.save(&memory).unwrap();
    fs::remove_dir_all(&folder).unwrap();
    state.save(&memory).unwrap();
    assert!(folder.join(FILE).exists());
    let other = State::new(folder).save(&memory);
    assert!(matches!(other, Err(SaveError::Held(_))), "{other:?}");
}
