//! The last good files are restored unchanged, for the right folder, and no other user can read them.

use std::os::unix::fs::MetadataExt;

use super::*;

fn serving(settings: &str) -> Serving {
    Serving {
        given: given(settings),
        pin: None,
    }
}

fn given(settings: &str) -> [Given; Slot::COUNT] {
    Slot::ALL.map(|slot| Given {
        component: None,
        settings: (slot == Slot::Auth).then(|| Named {
            name: "auth.json".to_owned(),
            bytes: settings.as_bytes().into(),
        }),
        options: Options::default(),
        built_in: false,
    })
}

#[test]
fn the_last_good_files_come_back_as_they_were() {
    let state = tempfile::tempdir().unwrap();
    let last = LastGood::new(state.path(), Path::new("/policies"));
    assert_eq!(last.read().unwrap(), []);
    last.keep(&serving("{}")).unwrap();
    last.keep(&serving(r#"{"realm":"x"}"#)).unwrap();
    let past = last.read().unwrap().remove(0);
    assert_eq!(past.given, given(r#"{"realm":"x"}"#));
    assert!(past.since.elapsed().unwrap() < Duration::from_secs(3_600));
    let files = last.files().unwrap().unwrap();
    assert_eq!(
        files[Slot::Auth as usize].settings.as_deref(),
        Some("auth.json")
    );
}

#[test]
fn each_policy_folder_has_its_own_past() {
    let state = tempfile::tempdir().unwrap();
    let [one, other] = ["/policies", "/others"].map(Path::new);
    let [one, other] = [one, other].map(|folder| LastGood::new(state.path(), folder));
    one.keep(&serving("{}")).unwrap();
    assert_eq!(other.read().unwrap(), []);
    other.keep(&serving(r#"{"realm":"x"}"#)).unwrap();
    assert_eq!(one.read().unwrap()[0].given, given("{}"));
}

#[test]
fn a_policy_folder_is_the_same_by_a_link_and_while_it_is_away() {
    let state = tempfile::tempdir().unwrap();
    let place = tempfile::tempdir().unwrap();
    let (folder, link) = (place.path().join("policies"), place.path().join("link"));
    fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink("policies", &link).unwrap();
    let of = |path| LastGood::new(state.path(), path);
    of(&folder).keep(&serving("{}")).unwrap();
    assert!(!of(&link).read().unwrap().is_empty());
    fs::remove_dir(&folder).unwrap();
    assert!(!of(&folder).read().unwrap().is_empty());
    assert!(!of(&link).read().unwrap().is_empty());
}

#[test]
fn the_same_files_keep_their_date_and_a_damaged_pointer_is_kept_aside() {
    let state = tempfile::tempdir().unwrap();
    let last = LastGood::new(state.path(), Path::new("/policies"));
    last.keep(&serving("{}")).unwrap();
    let (pointer, _) = last.pointers().remove(0);
    let text = fs::read_to_string(&pointer).unwrap();
    let long_ago = text.replace("\"since\":", "\"since\":1,\"x\":");
    fs::write(&pointer, &long_ago).unwrap();
    assert_eq!(last.keep(&serving("{}")).unwrap(), None);
    assert_eq!(fs::read_to_string(&pointer).unwrap(), long_ago);
    fs::write(&pointer, "garbage").unwrap();
    let error = last.files().unwrap_err().to_string();
    assert!(error.starts_with(pointer.to_str().unwrap()), "{error}");
    let aside = last.keep(&serving("{}")).unwrap().unwrap();
    assert!(last.files().unwrap().is_some());
    assert_eq!(fs::read(aside).unwrap(), b"garbage");
}

#[test]
fn the_pointers_of_a_link_that_moves_on_are_bounded() {
    let state = tempfile::tempdir().unwrap();
    let place = tempfile::tempdir().unwrap();
    let link = place.path().join("current");
    for release in 0..MOST_POINTERS + 8 {
        let folder = place.path().join(release.to_string());
        fs::create_dir(&folder).unwrap();
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(&folder, &link).unwrap();
        let settings = serving(&format!(r#"{{"realm":"{release}"}}"#));
        LastGood::new(state.path(), &link).keep(&settings).unwrap();
    }
    let entries = fs::read_dir(state.path().join(FOLDER)).unwrap().count();
    assert_eq!(entries, MOST_POINTERS + 1, "and the blobs");
    let last = LastGood::new(state.path(), &link);
    assert!(!last.read().unwrap().is_empty());
}

#[test]
fn nobody_else_can_read_what_is_kept_and_damage_is_noticed() {
    let state = tempfile::tempdir().unwrap();
    let last = LastGood::new(state.path(), Path::new("/policies"));
    last.keep(&serving("{}")).unwrap();
    let blobs = state.path().join(FOLDER).join(BLOBS);
    let blob = fs::read_dir(&blobs)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    assert_eq!(fs::metadata(&blobs).unwrap().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(&blob).unwrap().mode() & 0o777, 0o600);
    fs::write(&blob, "[]").unwrap();
    let error = last.read().unwrap_err().to_string();
    assert!(error.contains("auth.json is damaged"), "{error}");
    fs::remove_file(&blob).unwrap();
    let error = last.read().unwrap_err().to_string();
    assert!(error.starts_with(blob.to_str().unwrap()), "{error}");
}

#[test]
fn a_pointer_of_this_version_has_an_entry_for_each_of_four_slots() {
    let state = tempfile::tempdir().unwrap();
    let last = LastGood::new(state.path(), Path::new("/policies"));
    last.keep(&serving("{}")).unwrap();
    let (pointer, _) = last.pointers().remove(0);
    let pointer: serde_json::Value = serde_json::from_slice(&fs::read(pointer).unwrap()).unwrap();
    let entries = pointer["slots"].as_array().unwrap().len();
    assert_eq!(
        (&pointer["version"], entries),
        (&1.into(), 4),
        "a new number of slots is a new version"
    );
}

#[test]
fn a_state_folder_that_is_gone_is_made_again() {
    let place = tempfile::tempdir().unwrap();
    let state = place.path().join("state");
    let last = LastGood::new(&state, Path::new("/policies"));
    last.keep(&serving("{}")).unwrap();
    fs::remove_dir_all(&state).unwrap();
    last.keep(&serving("{}")).unwrap();
    assert_eq!(last.read().unwrap().remove(0).given, given("{}"));
    assert_eq!(fs::metadata(&state).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn who_pinned_what_serves_is_known_until_it_follows_again() {
    let state = tempfile::tempdir().unwrap();
    let last = LastGood::new(state.path(), Path::new("/policies"));
    last.keep(&serving("{}")).unwrap();
    assert_eq!(last.pin().unwrap(), None);
    let pinned = Serving {
        pin: Some(Pin::now("ops")),
        ..serving(r#"{"realm":"x"}"#)
    };
    last.keep(&pinned).unwrap();
    assert_eq!(last.pin().unwrap(), pinned.pin);
    last.keep(&serving(r#"{"realm":"x"}"#)).unwrap();
    assert_eq!(last.pin().unwrap(), None);
    // Those before are not forgotten over it.
    let past: Vec<_> = last
        .read()
        .unwrap()
        .into_iter()
        .map(|past| past.given)
        .collect();
    assert_eq!(past, [given(r#"{"realm":"x"}"#), given("{}")]);
}
