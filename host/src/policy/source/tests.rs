//! Files of the folder override what is built in, slot by slot, and every mistake is found.

use super::*;

fn read(files: &[(&str, &str)]) -> Result<[Candidate; Slot::COUNT], Refusals> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    Source::new(Some(folder.path().to_owned()), Defaults::default()).read(&Facts::default())
}

#[test]
fn without_files_everything_is_built_in() {
    let candidates = read(&[]).unwrap();
    assert!(
        candidates
            .iter()
            .all(|c| c.file == "built-in" && c.settings_file == "environment")
    );
}

#[test]
fn a_settings_file_replaces_the_environment_whole() {
    let defaults = Defaults {
        auth: object(br#"{"keys":[]}"#).unwrap(),
        ..Defaults::default()
    };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("auth.json"),
        r#"{"anonymous":["/v1/models"]}"#,
    )
    .unwrap();
    let source = Source::new(Some(folder.path().to_owned()), defaults);
    let [auth, ..] = source.read(&Facts::default()).unwrap();
    let settings: Value = serde_json::from_str(&auth.settings).unwrap();
    assert_eq!(settings.get("keys"), None);
    assert_eq!(settings["anonymous"][0], "/v1/models");
    assert!(settings["host"].is_object());
}

#[test]
fn every_mistake_is_reported_at_once() {
    let refusals = read(&[
        ("auth.json", "[]"),
        ("model.json", "{"),
        ("tool-stop.json", r#"{"host":{}}"#),
    ])
    .unwrap_err();
    let slots: Vec<_> = refusals
        .0
        .iter()
        .filter_map(|refusal| refusal.slot)
        .collect();
    assert_eq!(slots, [Slot::Auth, Slot::Model, Slot::ToolStop]);
}

#[test]
fn the_manifest_names_files_and_limits() {
    let manifest = "[auth]\nsettings = \"callers.json\"\ninstances = \"warm\"\ngrants = [\"credential\"]\nmemory_mib = 64\n";
    let [auth, ..] = read(&[("policies.toml", manifest), ("callers.json", "{}")]).unwrap();
    assert_eq!(auth.settings_file, "callers.json");
    assert_eq!(auth.options.instances, Instances::Warm);
    assert!(auth.options.credential);
    assert_eq!(auth.options.limits.memory, 64 << 20);
}

#[test]
fn what_overrides_a_slot_is_found_under_its_own_name_or_the_one_it_was_given() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let source = Source::new(Some(folder.path().to_owned()), Defaults::default());
    assert_eq!(source.overridden(Slot::Auth), Some((false, false)));
    write("auth.wasm", "");
    write("callers.json", "");
    assert_eq!(source.overridden(Slot::Auth), Some((true, false)));
    write("policies.toml", "[auth]\nsettings = \"callers.json\"");
    assert_eq!(source.overridden(Slot::Auth), Some((true, true)));
    assert_eq!(source.overridden(Slot::Model), Some((false, false)));
    write("policies.toml", "[auth]\nsettings = callers.json");
    assert_eq!(source.overridden(Slot::Auth), None);
}

#[test]
fn a_manifest_with_an_unknown_word_a_path_or_a_missing_file_is_refused() {
    for manifest in [
        "[auth]\nfrozen = true",
        "[auth]\nsettings = \"../x.json\"",
        "[auth]\ncomponent = \"gone.wasm\"",
        "[auth]\nmemory_mib = 4096",
    ] {
        assert!(read(&[("policies.toml", manifest)]).is_err(), "{manifest}");
    }
}

#[test]
fn a_component_without_settings_gets_none_of_the_built_in_ones() {
    let defaults = Defaults {
        auth: object(br#"{"keys":[{"sha256":"00"}]}"#).unwrap(),
        ..Defaults::default()
    };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("auth.wasm"), "").unwrap();
    let source = Source::new(Some(folder.path().to_owned()), defaults);
    let [auth, ..] = source.read(&Facts::default()).unwrap();
    let settings: Map<String, Value> = serde_json::from_str(&auth.settings).unwrap();
    assert_eq!(settings.keys().collect::<Vec<_>>(), ["host"]);
    assert_eq!(auth.settings_file, "none");
}
