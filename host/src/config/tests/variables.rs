//! The list of variables against the code: each one is read, described on its own, and superseded where its description says so.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::*;
use crate::policy::Slot;

/// Variables that note the names that are asked for.
struct Noted {
    set: HashMap<String, String>,
    asked: RefCell<BTreeSet<String>>,
}

impl env::Vars for Noted {
    fn get(&self, name: &str) -> Option<String> {
        self.asked.borrow_mut().insert(name.to_owned());
        self.set.get(name).cloned()
    }

    fn all(&self) -> Vec<(String, String)> {
        env::Vars::all(&self.set)
    }
}

#[test]
fn every_variable_is_read() {
    let mut asked = BTreeSet::new();
    for set in [None, Some(("CODEX_BIN", "/bin/sh"))] {
        let set = set.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let noted = Noted {
            set: set.into_iter().collect(),
            asked: RefCell::default(),
        };
        Config::read_all(&noted);
        asked.append(&mut noted.asked.borrow_mut());
    }
    let mut unread = env::ALL.iter().map(|variable| variable.name);
    assert_eq!(unread.find(|name| !asked.contains(*name)), None);
}

/// A row is read alone: in README, by `codex-gateway config`, after a new variable was put between two others.
#[test]
fn no_description_refers_to_the_row_before_or_after() {
    for variable in env::ALL {
        let what = format!(" {} ", variable.what.to_lowercase());
        for words in [" next ", " same for ", " above ", " below ", " such "] {
            let is_free = !what.contains(words) || what.contains("takes the next one");
            assert!(is_free, "{}: `{words}`", variable.name);
        }
    }
}

#[test]
fn a_settings_file_supersedes_exactly_the_variables_that_say_so() {
    let value = |variable: &env::Variable| match variable.default {
        words if words.contains(' ') => "sk-0123456789abcdef",
        value => value,
    };
    let folder = tempfile::tempdir().unwrap();
    for slot in Slot::ALL {
        std::fs::write(folder.path().join(format!("{slot}.json")), "{}").unwrap();
    }
    let every = env::ALL
        .iter()
        .filter(|variable| variable.default != "none");
    let mut vars: HashMap<String, String> = every
        .map(|variable| (variable.name.to_owned(), value(variable).to_owned()))
        .collect();
    let place = folder.path().to_string_lossy().into_owned();
    vars.insert("POLICY_DIR".to_owned(), place);
    let (config, _) = Config::read_all(&vars);
    for slot in Slot::ALL {
        let says = [
            format!("Superseded by a `{slot}.json`."),
            format!("Superseded by an `{slot}.json`."),
        ];
        let says = env::ALL
            .iter()
            .filter(|variable| says.iter().any(|words| variable.what.ends_with(words)));
        let says: BTreeSet<_> = says.map(|variable| variable.name).collect();
        let mark = format!("has no effect: POLICY_DIR has settings for {slot}");
        let told = config
            .warnings
            .iter()
            .filter(|warning| warning.what == mark);
        let told: BTreeSet<_> = told.map(|warning| warning.name.as_str()).collect();
        assert_eq!(told, says, "{slot}");
    }
}
