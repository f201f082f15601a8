//! Numbers over restarts, between gateways, after a torn line, in a file that is full.

use super::*;

const DIGESTS: [&str; 3] = ["one", "two", "three"];

fn digest(name: &str) -> Digest {
    let options = crate::policy::Options::default();
    Digest::of(&crate::policy::Candidate {
        slot: crate::policy::Slot::Auth,
        file: String::new(),
        wasm: name.as_bytes().into(),
        settings_file: String::new(),
        settings: String::new(),
        options,
    })
}

fn activation(name: &str, at_least: u64) -> Activation {
    Activation {
        by: None,
        door: Door::Folder,
        digest: digest(name),
        taken_back: None,
        files: vec![format!("{name}.json")],
        at_least,
    }
}

fn history() -> (tempfile::TempDir, History) {
    let state = tempfile::tempdir().unwrap();
    let history = History::new(state.path(), Some(Path::new("/policies")));
    (state, history)
}

fn entries(history: &History) -> Vec<Activated> {
    let text = std::fs::read_to_string(&history.0).unwrap();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn numbers_go_on_after_a_restart_and_the_same_policies_keep_theirs() {
    let (state, history) = history();
    let number = |history: &History, name, at_least| {
        let entry = history.activate(&activation(name, at_least)).unwrap();
        assert_eq!(entry.digest, digest(name).to_string());
        entry.number
    };
    assert_eq!(number(&history, "one", 1), 1);
    assert_eq!(number(&history, "two", 2), 2);
    // A restart: every process begins with 1.
    let again = History::new(state.path(), Some(Path::new("/policies")));
    assert_eq!(number(&again, "two", 1), 2);
    assert_eq!(number(&again, "one", 3), 3);
    assert_eq!(number(&again, "three", 4), 4);
    // Another policy folder, and gateways without one, count for themselves.
    for of in [Some(Path::new("/others")), None] {
        assert_eq!(number(&History::new(state.path(), of), "three", 1), 1);
    }
    let entries = entries(&history);
    let told: Vec<_> = entries
        .iter()
        .map(|entry| {
            (
                entry.number,
                entry.files[0].as_str(),
                entry.before.is_some(),
            )
        })
        .collect();
    let expected = [
        (1, "one.json", false),
        (2, "two.json", true),
        (3, "one.json", true),
        (4, "three.json", true),
    ];
    assert_eq!(told, expected);
    assert_eq!(entries[2].before.as_ref(), Some(&entries[1].digest));
}

#[test]
fn the_numbers_of_one_process_never_fall() {
    let (_state, history) = history();
    history.activate(&activation("one", 1)).unwrap();
    std::fs::remove_file(&history.0).unwrap();
    let entry = history.activate(&activation("two", 2)).unwrap();
    assert_eq!((entry.number, entry.before), (2, None));
    // The history ends with the same policies, but under a number that this process has passed.
    let entry = history.activate(&activation("two", 7)).unwrap();
    assert_eq!(entry.number, 7);
}

/// `kill -9` and a power failure may leave any beginning of a line.
#[test]
fn a_line_that_was_cut_anywhere_is_passed_over() {
    let (_state, history) = history();
    for (name, number) in DIGESTS.into_iter().zip(1..) {
        history.activate(&activation(name, number)).unwrap();
    }
    let whole = std::fs::read(&history.0).unwrap();
    let two = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    let (second, _) = two.clone().nth(1).unwrap();
    for cut in second + 1..whole.len() {
        std::fs::write(&history.0, &whole[..cut]).unwrap();
        let entry = history.activate(&activation("new", 1)).unwrap();
        // Only the end of the line is missing in the last of these.
        let expected = if cut == whole.len() - 1 { 4 } else { 3 };
        assert_eq!(entry.number, expected, "cut at {cut}");
        let after = std::fs::read_to_string(&history.0).unwrap();
        let last = after.lines().last().unwrap();
        assert_eq!(serde_json::from_str::<Activated>(last).unwrap(), entry);
    }
}

#[test]
fn a_full_history_keeps_its_newer_half() {
    let (_state, history) = history();
    history.activate(&activation("one", 1)).unwrap();
    let line = std::fs::read_to_string(&history.0).unwrap();
    let many = MOST_BYTES as usize / line.len() + 1;
    std::fs::write(&history.0, line.repeat(many)).unwrap();
    let entry = history.activate(&activation("two", 1)).unwrap();
    assert_eq!(entry.number, 2);
    let kept = entries(&history);
    assert!(
        kept.len() < many * 2 / 3 && kept.len() > many / 3,
        "{}",
        kept.len()
    );
    assert_eq!(kept.last(), Some(&entry));
}

#[test]
fn names_of_files_do_not_make_a_line_too_long_to_be_read_back() {
    let (_state, history) = history();
    let long = Activation {
        files: vec!["\u{1}".repeat(255); 64],
        ..activation("one", 1)
    };
    let written = history.activate(&long).unwrap();
    assert_eq!(written.number, 1);
    assert_eq!(history.activate(&activation("two", 1)).unwrap().number, 2);
}

#[test]
fn gateways_that_share_a_history_agree_on_the_numbers() {
    let (_state, history) = history();
    let names: Vec<String> = (0..40).map(|n| n.to_string()).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for name in &names {
                    history.activate(&activation(name, 1)).unwrap();
                }
            });
        }
    });
    let entries = entries(&history);
    let numbers: Vec<u64> = entries.iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, (1..=entries.len() as u64).collect::<Vec<_>>());
    for pair in entries.windows(2) {
        assert_eq!(pair[1].before.as_ref(), Some(&pair[0].digest));
        assert_ne!(pair[0].digest, pair[1].digest);
    }
}

#[test]
fn a_history_that_cannot_be_written_says_why() {
    let (_state, history) = history();
    std::fs::create_dir_all(&history.0).unwrap();
    let error = history.activate(&activation("one", 1)).unwrap_err();
    let told = error.to_string();
    assert!(
        told.contains("history-") && told.contains("a folder"),
        "{told}"
    );
}

#[test]
fn what_was_taken_back_is_known_after_a_restart_until_it_is_activated_again() {
    let (_state, history) = history();
    assert_eq!(history.refused().unwrap(), []);
    let back = |name, bad, why: &str| Activation {
        door: Door::TakenBack,
        taken_back: Some((digest(bad), why.to_owned())),
        ..activation(name, 1)
    };
    for activation in [
        activation("one", 1),
        activation("two", 1),
        back("one", "two", "first"),
        // Whatever another gateway has activated meanwhile.
        activation("other", 1),
        back("one", "three", "second"),
        Activation {
            door: Door::LastGood,
            ..activation("two", 1)
        },
    ] {
        history.activate(&activation).unwrap();
    }
    let refused = |name, why: &str| (digest(name), Verdict::TakenBack(why.to_owned()));
    let both = [refused("two", "first"), refused("three", "second")];
    assert_eq!(history.refused().unwrap(), both);
    history.activate(&activation("one", 1)).unwrap();
    history.activate(&activation("two", 1)).unwrap();
    assert_eq!(history.refused().unwrap(), both[1..]);
}

#[test]
fn the_reason_of_a_refusal_is_cut() {
    let (_state, history) = history();
    let long = Verdict::Failed("x".repeat(1 << 20));
    history.refuse(digest("two"), &long).unwrap();
    let refused = history.refused().unwrap();
    let [(found, Verdict::Failed(why))] = &refused[..] else {
        panic!("{refused:?}");
    };
    assert_eq!(*found, digest("two"));
    assert!(why.len() < 2 * WHY, "{}", why.len());
}

#[test]
fn a_change_that_did_not_pass_is_known_after_a_restart_until_it_is_activated() {
    let (_state, history) = history();
    history.activate(&activation("one", 1)).unwrap();
    let verdicts = [
        (
            digest("two"),
            Verdict::Failed("7 decisions differ".to_owned()),
        ),
        (digest("three"), Verdict::Dropped("ops".to_owned())),
        (digest("four"), Verdict::TakenBack("it trapped".to_owned())),
    ];
    for (digest, verdict) in &verdicts {
        history.refuse(*digest, verdict).unwrap();
    }
    assert_eq!(history.refused().unwrap(), verdicts);
    // They are no activations.
    assert_eq!(history.entries().unwrap().len(), 1);
    assert_eq!(history.activate(&activation("one", 1)).unwrap().number, 1);
    assert_eq!(history.activate(&activation("two", 1)).unwrap().number, 2);
    assert_eq!(history.refused().unwrap(), verdicts[1..]);
}

#[test]
fn the_numbers_go_on_however_many_changes_did_not_pass() {
    let (_state, history) = history();
    history.activate(&activation("one", 7)).unwrap();
    let verdict = Verdict::Failed("x".repeat(1_000));
    history.refuse(digest("two"), &verdict).unwrap();
    let text = std::fs::read_to_string(&history.0).unwrap();
    let (_, line) = text.split_once('\n').unwrap();
    for times in [300, 900] {
        let more = line.repeat(times);
        let mut file = File::options().append(true).open(&history.0).unwrap();
        std::io::Write::write_all(&mut file, more.as_bytes()).unwrap();
        history.refuse(digest("three"), &verdict).unwrap();
        assert_eq!(history.activate(&activation("one", 1)).unwrap().number, 7);
    }
    assert!(std::fs::metadata(&history.0).unwrap().len() < MOST_BYTES);
}

#[test]
fn a_folder_has_one_history_however_it_is_written() {
    let state = Path::new("/state");
    let of = |path: &str| History::new(state, Some(Path::new(path))).0;
    assert_eq!(of("/policies/"), of("/policies"));
    assert_eq!(of("/./policies"), of("/policies"));
    assert_ne!(of("/policies/x"), of("/policies"));
}

#[test]
fn a_line_of_a_newer_gateway_counts() {
    let (_state, history) = history();
    history.activate(&activation("one", 7)).unwrap();
    let line = std::fs::read_to_string(&history.0).unwrap();
    let line = line
        .replace("\"folder\"", "\"registry\"")
        .replace("\"at\"", "\"who\":\"ann\",\"at\"");
    std::fs::write(&history.0, line).unwrap();
    assert_eq!(entries(&history)[0].door, Door::Other);
    assert_eq!(history.activate(&activation("two", 1)).unwrap().number, 8);
}

#[test]
fn histories_of_former_policy_folders_are_bounded() {
    let state = tempfile::tempdir().unwrap();
    let of = |number: usize| {
        let folder = PathBuf::from(format!("/policies/{number}"));
        History::new(state.path(), Some(&folder))
    };
    for number in 0..MOST + 8 {
        of(number).activate(&activation("one", 1)).unwrap();
        // They are removed by their times, which may be the same on a fast disk.
        let file = File::options().append(true).open(of(number).0).unwrap();
        let time = SystemTime::now() - Duration::from_secs(1_000 - number as u64);
        file.set_modified(time).unwrap();
    }
    let names = fs::read_dir(state.path().join(FOLDER)).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name());
    assert_eq!(names.count(), 2 * MOST, "each with its lock");
    assert!(of(7).entries().unwrap().is_empty());
    assert_eq!(of(8).entries().unwrap().len(), 1);
    // One that a gateway holds stays.
    let held = file::lock(&of(8).0.with_extension(LOCK)).unwrap();
    of(0).activate(&activation("one", 1)).unwrap();
    assert_eq!(of(8).entries().unwrap().len(), 1);
    drop(held);
}

/// An operator's wish that came too late writes what serves now, perhaps before those are written that took the others back.
#[test]
fn what_was_taken_back_is_known_whatever_was_written_of_those_that_serve_again() {
    let (_state, history) = history();
    for name in ["good", "bad", "wished", "good"] {
        history.activate(&activation(name, 1)).unwrap();
    }
    let why = "it failed".to_owned();
    let back = Activation {
        taken_back: Some((digest("bad"), why.clone())),
        ..activation("good", 3)
    };
    let entry = history.activate(&back).unwrap();
    assert_eq!(
        history.refused().unwrap(),
        [(digest("bad"), Verdict::TakenBack(why))]
    );
    // Once is enough.
    assert_eq!(history.activate(&back).unwrap(), entry);
    assert_eq!(entries(&history).len(), 5);
}
