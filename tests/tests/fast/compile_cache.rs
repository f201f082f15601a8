//! The compile cache: a change of settings compiles only the parts that depend on them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use codex_gateway::policy::{Defaults, Engine, Facts, Live, Source};
use codex_gateway_tests::guests::{EVERY, deploy};

/// The compiled components in the cache.
fn compiled(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(compiled(&path));
        // The other files are the cache's own statistics.
        } else if path.extension().is_none() {
            found.insert(path);
        }
    }
    found
}

/// The number of components compiled when the settings of an auth policy change.
async fn compiled_by_a_change(instances: &str) -> usize {
    let (cache, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let manifest = format!("[auth]\ninstances = \"{instances}\"\n");
    deploy(folder.path(), "policies.toml", manifest.as_bytes());
    deploy(folder.path(), "auth.wasm", EVERY);
    deploy(folder.path(), "auth.json", br#"{"stamp": 1}"#);
    let source = Source::new(Some(folder.path().to_owned()), Defaults::default());
    let facts = Facts::default();
    let engine = Engine::new(Some(cache.path())).unwrap();
    let live = Live::start(engine, &source.read(&facts).unwrap())
        .await
        .unwrap();
    let before = compiled(cache.path());
    assert!(!before.is_empty());
    deploy(folder.path(), "auth.json", br#"{"stamp": 2}"#);
    let number = live.replace(&source.read(&facts).unwrap()).await.unwrap();
    assert_eq!(number, 2);
    compiled(cache.path()).difference(&before).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn new_settings_of_a_warm_policy_compile_nothing() {
    assert_eq!(compiled_by_a_change("warm").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn new_settings_of_a_frozen_policy_compile_nothing() {
    assert_eq!(compiled_by_a_change("frozen").await, 0);
}
