//! Nothing more is trusted than before, and nothing less.

use std::collections::BTreeSet;

use tempfile::TempDir;

use super::*;

fn pem(content: &str) -> String {
    format!("{BEGIN}\n{content}\n{END}\n")
}

/// A folder with a bundle of these certificates.
fn bundle(text: &str) -> (TempDir, Roots) {
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("bundle.crt");
    fs::write(&bundle, text).unwrap();
    let roots = Roots {
        bundle,
        hashed: None,
    };
    (folder, roots)
}

/// Every certificate in every file that the variables name, as Codex reads them.
fn trusted(variables: &[(&'static str, PathBuf)]) -> BTreeSet<String> {
    let [(FILE, file), (FOLDER, roots)] = variables else {
        panic!("{variables:?}");
    };
    let mut files = vec![file.clone()];
    files.extend(fs::read_dir(roots).unwrap().map(|one| one.unwrap().path()));
    let texts = files.iter().map(|file| read(file).unwrap());
    texts
        .flat_map(|text| certificates(&text).map(plain).collect::<Vec<_>>())
        .collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn all_of_the_bundle_is_trusted_and_only_one_of_it_in_the_slow_way() {
    let (folder, roots) = bundle(&format!("# A\n{}# \u{e9}B\n{}", pem("a\na"), pem("b")));
    let variables = roots.lay_out(folder.path()).unwrap();
    assert_eq!(trusted(&variables), set(&["aa", "b"]));
    let slow = read(&variables[0].1).unwrap();
    assert_eq!(certificates(&slow).map(plain).collect::<Vec<_>>(), ["aa"]);
}

#[test]
fn what_the_system_changes_is_seen_at_once() {
    let (folder, roots) = bundle(&pem("a"));
    let variables = roots.lay_out(folder.path()).unwrap();
    // As update-ca-certificates does.
    let new = folder.path().join("new");
    fs::write(&new, pem("a") + &pem("c")).unwrap();
    fs::rename(&new, &roots.bundle).unwrap();
    assert_eq!(trusted(&variables), set(&["a", "c"]));
}

#[test]
fn what_only_openssl_would_have_found_by_its_hash_is_trusted_too() {
    let (folder, mut roots) = bundle(&pem("a"));
    let hashed = folder.path().join("certs");
    fs::create_dir(&hashed).unwrap();
    for (name, content) in [
        ("0a1b2c3d.0", pem("a")),
        ("0a1b2c3e.1", pem("d")),
        ("mine.pem", pem("not hashed")),
        ("README", "no certificate".to_owned()),
    ] {
        fs::write(hashed.join(name), content).unwrap();
    }
    symlink(hashed.join("gone"), hashed.join("0a1b2c3f.0")).unwrap();
    roots.hashed = Some(hashed);
    let variables = roots.lay_out(folder.path()).unwrap();
    assert_eq!(trusted(&variables), set(&["a", "d"]));
    assert_eq!(fs::read_dir(&variables[1].1).unwrap().count(), 2);
}

#[test]
fn what_codex_must_judge_itself_is_left_alone() {
    for text in ["", "no certificate", BEGIN, &(pem("a") + REMARKS)] {
        let (folder, roots) = bundle(text);
        assert_eq!(roots.lay_out(folder.path()).unwrap(), [], "{text}");
    }
}

#[test]
fn the_operators_own_choice_holds() {
    let (folder, roots) = bundle(&pem("mine"));
    let bundle = roots.bundle.display().to_string();
    let laid_out = |variables: &[(&str, &str)], mode, quick_roots| {
        let place = tempfile::tempdir_in(folder.path()).unwrap().keep();
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let config = Config {
            parent_env: variables.iter().map(own).collect(),
            mode,
            quick_roots,
            ..Config::default()
        };
        lay_out(&config, &place)
    };
    let quick = Some(true);
    let file = (FILE, bundle.as_str());
    assert_eq!(
        trusted(&laid_out(&[file, (FOLDER, "")], Mode::Chat, quick)),
        set(&["mine"])
    );
    for left_alone in [
        laid_out(&[file, (FOLDER, "/etc/ssl/certs")], Mode::Chat, quick),
        laid_out(&[file, (CHOSEN, &bundle)], Mode::Chat, quick),
        laid_out(&[(FILE, "/nowhere")], Mode::Chat, quick),
        laid_out(&[file], Mode::Agent(crate::codex::Sandbox::ReadOnly), quick),
        laid_out(&[file], Mode::Chat, Some(false)),
        laid_out(&[file], Mode::Chat, None),
    ] {
        assert_eq!(left_alone, []);
    }
}
