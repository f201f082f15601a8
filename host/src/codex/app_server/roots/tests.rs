//! The laid out roots are trusted exactly as before: no certificate more, and none less.

use std::collections::BTreeSet;

use tempfile::TempDir;

use super::certificate::tests::certificate;
use super::*;

/// An authority with this name.
fn authority(name: &str) -> String {
    // The tag is that of a mail address.
    BASE64_STANDARD.encode(certificate(Some(true), &[(0x81, name)]))
}

fn pem(content: &str) -> String {
    let (head, tail) = content.split_at(content.len() / 2);
    format!("{BEGIN}\n{head}\n{tail}\n{END}\n")
}

/// A folder with a system's bundle of these certificates.
fn system(text: &str) -> (TempDir, Roots) {
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("bundle.crt");
    fs::write(&bundle, text).unwrap();
    let hashed = folder.path().join("certs");
    fs::create_dir(&hashed).unwrap();
    let roots = Roots {
        bundle,
        system: Some(Some(hashed)),
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

fn set(certificates: &[&str]) -> BTreeSet<String> {
    certificates.iter().map(|one| (*one).to_owned()).collect()
}

#[test]
fn all_of_the_bundle_is_trusted_and_only_one_of_it_in_the_slow_way() {
    let (a, b) = (authority("a"), authority("b"));
    let (folder, roots) = system(&format!("# A\n{}# \u{e9}B\n{}", pem(&a), pem(&b)));
    let variables = roots.lay_out(folder.path()).unwrap();
    assert_eq!(trusted(&variables), set(&[&a, &b]));
    let slow = read(&variables[0].1).unwrap();
    assert_eq!(certificates(&slow).map(plain).collect::<Vec<_>>(), [a]);
}

#[test]
fn what_the_system_adds_is_seen_at_once() {
    let (a, b) = (authority("a"), authority("b"));
    let (folder, roots) = system(&pem(&a));
    let variables = roots.lay_out(folder.path()).unwrap();
    // The way in which `update-ca-certificates` replaces the bundle.
    let new = folder.path().join("new");
    fs::write(&new, pem(&a) + &pem(&b)).unwrap();
    fs::rename(&new, &roots.bundle).unwrap();
    assert_eq!(trusted(&variables), set(&[&a, &b]));
}

#[test]
fn what_only_openssl_would_have_found_by_its_hash_is_trusted_too() {
    let [a, d, other] = ["a", "d", "not hashed"].map(authority);
    let server = BASE64_STANDARD.encode(certificate(Some(false), &[(0x82, "localhost")]));
    let (folder, roots) = system(&pem(&a));
    let hashed = folder.path().join("certs");
    for (name, content) in [
        ("0a1b2c3d.0", pem(&a)),
        ("0a1b2c3e.1", pem(&d)),
        ("0a1b2c40.0", pem(&server)),
        ("mine.pem", pem(&other)),
        ("README", "no certificate".to_owned()),
    ] {
        fs::write(hashed.join(name), content).unwrap();
    }
    symlink(hashed.join("gone"), hashed.join("0a1b2c3f.0")).unwrap();
    let variables = roots.lay_out(folder.path()).unwrap();
    let expected = set(&[&a, &d]);
    assert_eq!(trusted(&variables), expected, "no server is an authority");
}

#[test]
fn where_rustls_would_not_trust_the_same_the_roots_are_left_alone() {
    let a = authority("a");
    let server = BASE64_STANDARD.encode(certificate(Some(false), &[]));
    let both = BASE64_STANDARD.encode(certificate(Some(true), &[(0x82, "llm.internal")]));
    let old = BASE64_STANDARD.encode(certificate(None, &[]));
    for odd in [&server, &both, &old, "AAA"] {
        let (folder, roots) = system(&(pem(&a) + &pem(odd)));
        assert_eq!(roots.lay_out(folder.path()).unwrap(), [], "{odd}");
    }
    let (folder, roots) = system(&pem(&a));
    fs::write(folder.path().join("certs/0a1b2c3d.0"), pem(&both)).unwrap();
    assert_eq!(roots.lay_out(folder.path()).unwrap(), []);
}

#[test]
fn what_codex_must_judge_itself_is_left_alone() {
    for text in [
        "",
        "no certificate",
        BEGIN,
        &(pem(&authority("a")) + REMARKS),
    ] {
        let (folder, mut roots) = system(text);
        assert_eq!(roots.lay_out(folder.path()).unwrap(), [], "{text}");
        roots.system = None;
        assert_eq!(roots.lay_out(folder.path()).unwrap(), [], "{text}");
    }
}

#[test]
fn the_operators_own_choice_holds() {
    let mine = BASE64_STANDARD.encode("whatever rustls makes of it");
    let (folder, roots) = system(&pem(&mine));
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
        set(&[&mine])
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
