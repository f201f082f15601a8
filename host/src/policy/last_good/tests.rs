//! The last good files are restored unchanged, for the right folder, and no other user can read them.

use std::os::unix::fs::MetadataExt;
use std::time::SystemTime;

use super::super::Options;
use super::super::digest::Digest;
use super::super::given::Named;
use super::*;

fn serving(settings: &str) -> Serving {
    Serving {
        given: given(settings),
        digest: Digest::from(<[u8; 32]>::from(Sha256::digest(settings))),
        pin: None,
    }
}

/// The files of all generations that are kept, that of the one that serves first.
fn kept(last: &LastGood) -> Vec<[Given; Slot::COUNT]> {
    let sets = last.sets().unwrap();
    let given = sets.iter().map(|set| last.given(set).unwrap());
    given.collect()
}

/// The realms of these generations.
fn realms(last: &LastGood) -> Vec<String> {
    let kept = kept(last).into_iter();
    let settings = kept.map(|[auth, ..]| auth.settings.unwrap().bytes);
    let realms = settings.map(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).unwrap());
    realms
        .map(|settings| settings["realm"].as_str().unwrap().to_owned())
        .collect()
}

fn realm(realm: impl std::fmt::Display) -> Serving {
    serving(&format!(r#"{{"realm":"{realm}"}}"#))
}

/// As if all files in a folder were written some minutes ago.
fn age(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let long_ago = SystemTime::now() - 3 * UNFINISHED;
            let file = fs::File::options().append(true).open(&path).unwrap();
            file.set_modified(long_ago).unwrap();
        }
    }
}

fn blobs(state: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(state.join(FOLDER).join(BLOBS)).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
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
    assert_eq!(last.sets().unwrap(), []);
    last.keep(&serving("{}")).unwrap();
    last.keep(&serving(r#"{"realm":"x"}"#)).unwrap();
    assert_eq!(kept(&last), [given(r#"{"realm":"x"}"#), given("{}")]);
    let set = last.sets().unwrap().remove(0);
    assert!(set.since().elapsed().unwrap() < Duration::from_secs(3_600));
    assert_eq!(set.digest(), Some(serving(r#"{"realm":"x"}"#).digest));
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
    assert_eq!(other.sets().unwrap(), []);
    other.keep(&serving(r#"{"realm":"x"}"#)).unwrap();
    assert_eq!(kept(&one), [given("{}")]);
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
    assert!(!of(&link).sets().unwrap().is_empty());
    fs::remove_dir(&folder).unwrap();
    assert!(!of(&folder).sets().unwrap().is_empty());
    assert!(!of(&link).sets().unwrap().is_empty());
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
        LastGood::new(state.path(), &link)
            .keep(&realm(release))
            .unwrap();
    }
    let entries = fs::read_dir(state.path().join(FOLDER)).unwrap().count();
    assert_eq!(entries, MOST_POINTERS + 2, "and the blobs, and the lock");
    let last = LastGood::new(state.path(), &link);
    assert!(!kept(&last).is_empty());
}

#[test]
fn nobody_else_can_read_what_is_kept_and_damage_is_noticed() {
    let state = tempfile::tempdir().unwrap();
    let last = LastGood::new(state.path(), Path::new("/policies"));
    last.keep(&serving("{}")).unwrap();
    let blob = blobs(state.path()).remove(0);
    let folder = blob.parent().unwrap();
    assert_eq!(fs::metadata(folder).unwrap().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(&blob).unwrap().mode() & 0o777, 0o600);
    let set = last.sets().unwrap().remove(0);
    fs::write(&blob, "[]").unwrap();
    let error = last.given(&set).unwrap_err().to_string();
    let path = blob.to_str().unwrap();
    assert!(
        error.starts_with(path) && error.contains("auth.json is damaged"),
        "{error}"
    );
    fs::remove_file(&blob).unwrap();
    let error = last.given(&set).unwrap_err().to_string();
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
    assert_eq!(kept(&last), [given("{}")]);
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
    assert_eq!(kept(&last), [given(r#"{"realm":"x"}"#), given("{}")]);
}

#[test]
fn eight_generations_are_kept_behind_the_one_that_serves() {
    let state = tempfile::tempdir().unwrap();
    let last = LastGood::new(state.path(), Path::new("/policies"));
    for number in 0..12 {
        last.keep(&realm(number)).unwrap();
    }
    let past = |numbers: &[u32]| numbers.iter().map(u32::to_string).collect::<Vec<_>>();
    assert_eq!(realms(&last), past(&[11, 10, 9, 8, 7, 6, 5, 4, 3]));
    // One of them serves again: it is not kept twice.
    last.keep(&realm(5)).unwrap();
    assert_eq!(realms(&last), past(&[5, 11, 10, 9, 8, 7, 6, 4, 3]));
    // The same generation of a file that is written otherwise: the new file is kept.
    let spaced = Serving {
        given: given(r#"{ "realm" : "5" }"#),
        ..realm(5)
    };
    last.keep(&spaced).unwrap();
    assert_eq!(realms(&last), past(&[5, 11, 10, 9, 8, 7, 6, 4, 3]));
    assert_eq!(kept(&last)[0], spaced.given);
}

#[test]
fn copies_that_no_generation_names_are_swept_and_so_is_what_was_never_completed() {
    let state = tempfile::tempdir().unwrap();
    let last = LastGood::new(state.path(), Path::new("/policies"));
    for number in 0..12 {
        last.keep(&realm(number)).unwrap();
    }
    let folder = state.path().join(FOLDER);
    for place in [folder.clone(), folder.join(BLOBS)] {
        fs::write(place.join(".tmpx1Y2z3"), "half").unwrap();
    }
    last.keep(&realm(12)).unwrap();
    assert_eq!(blobs(state.path()).len(), 14, "they are young");
    age(&folder);
    age(&folder.join(BLOBS));
    last.keep(&realm(13)).unwrap();
    assert_eq!(blobs(state.path()).len(), 9);
    assert_eq!(kept(&last).len(), 9);
    let names = fs::read_dir(&folder).unwrap();
    let mut names = names.map(|entry| entry.unwrap().file_name());
    assert!(names.all(|name| !name.to_string_lossy().starts_with(".tmp")));
}

#[test]
fn generations_before_are_bounded_in_bytes_but_for_the_last() {
    let state = tempfile::tempdir().unwrap();
    let last = LastGood::new(state.path(), Path::new("/policies"));
    for number in 0..4 {
        last.keep(&realm(number)).unwrap();
    }
    for blob in blobs(state.path()) {
        let file = fs::File::options().append(true).open(blob).unwrap();
        file.set_len(200 << 20).unwrap();
    }
    last.keep(&realm(4)).unwrap();
    assert_eq!(last.sets().unwrap().len(), 2);
}

/// The state folder of a gateway that kept the last two generations only.
#[test]
fn what_an_earlier_gateway_kept_is_read_and_goes_on() {
    let state = tempfile::tempdir().unwrap();
    let last = LastGood::new(state.path(), Path::new("/policies"));
    let folder = state.path().join(FOLDER);
    fs::create_dir_all(folder.join(BLOBS)).unwrap();
    let slots = |settings: &str| {
        let sha256 = hex(&Sha256::digest(settings));
        fs::write(folder.join(BLOBS).join(&sha256), settings).unwrap();
        let none = r#"{"component":null,"settings":null,"instances":"frozen","credential":false,"memory_bytes":33554432,"deadline_ms":50,"wall_ms":500,"built_in":false}"#;
        let blob = format!(r#""settings":{{"name":"auth.json","sha256":"{sha256}"}}"#);
        let auth = none.replace(r#""settings":null"#, &blob);
        format!("[{auth},{none},{none},{none}]")
    };
    let (one, two) = (r#"{"realm":"1"}"#, r#"{"realm":"2"}"#);
    let pointer = format!(
        r#"{{"version":1,"of":"/policies","since":1700000000,"slots":{},"before":{},"pin":{{"by":"ops","since":1700000001}}}}"#,
        slots(two),
        slots(one)
    );
    let (path, _) = last.pointers().remove(0);
    fs::write(&path, &pointer).unwrap();
    assert_eq!(realms(&last), ["2", "1"]);
    assert_eq!(last.pin().unwrap().unwrap().by, "ops");
    let sets = last.sets().unwrap();
    assert!(sets.iter().all(|set| set.digest().is_none()));
    // It starts with them, and then others serve.
    last.keep(&realm(2)).unwrap();
    assert_eq!(last.sets().unwrap()[0].since(), sets[0].since());
    last.keep(&realm(3)).unwrap();
    assert_eq!(realms(&last), ["3", "2", "1"]);
    // An earlier gateway finds there what it reads.
    let text = fs::read(&path).unwrap();
    let text: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(text["version"], 1);
    for member in ["of", "since", "slots"] {
        assert!(text[member] != serde_json::Value::Null, "{member}");
    }
}
