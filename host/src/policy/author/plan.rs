//! Checks a policy in the place where it is to serve: over the built-in ones, or over those in a folder.

use std::iter;
use std::path::Path;
use std::sync::Arc;

use super::super::change::takes_steps;
use super::super::digest::Digest;
use super::super::distrust::SIGNATURE_ENDING;
use super::super::engine::Engine;
use super::super::fault::{Problem, Refusal, Refusals};
use super::super::given::{Files, Named, Overlay};
use super::super::notice::Notice;
use super::super::policies::prepare;
use super::super::source::Source;
use super::{Draft, Subject};

/// A policy that passed every check, on its way into a folder.
pub struct Planned {
    /// The digest of the slot's policy. That of all four is not known here: a gateway without a key makes one for its auth slot.
    pub digest: Digest,
    /// Warnings.
    pub notices: Vec<Notice>,
    /// Whether the folder's rules have steps that they take before they serve.
    pub takes_steps: bool,
    /// The names of the files within the folder, and their bytes.
    pub files: Vec<(String, Arc<[u8]>)>,
}

/// Prepares a policy as a start does, with the other files of the source. Returns the warnings and the refusals of its slot.
pub async fn check_draft(
    engine: &Engine,
    source: &Source,
    draft: &Draft,
) -> (Vec<Notice>, Vec<Refusal>) {
    let given = draft.given();
    let files = Overlay {
        component: given.component,
        settings: given.settings,
        options: Some(given.options),
    };
    let untrusted = distrusted(source, draft, [&files.component, &files.settings]);
    let look = source.look_with(&draft.facts, draft.slot, files);
    let mut refusals = look.refusals;
    refusals.extend(untrusted);
    refusals.retain(|refusal| refusal.slot.is_none_or(|slot| slot == draft.slot));
    if let Some(candidate) = &look.candidates[draft.slot as usize] {
        let prepared = Subject::of(engine, candidate).await;
        refusals.extend(prepared.err());
    }
    let mut notices = look.notices.all();
    let names = [&draft.component, &draft.settings];
    let is_own = |notice: &Notice| {
        names
            .into_iter()
            .flatten()
            .any(|(name, _)| *name == notice.file)
    };
    notices.retain(is_own);
    (notices, refusals)
}

/// Prepares the policies of a folder with a draft's files in place of its own, under the names that the folder has for them. The
/// draft's options are none of its files: the folder's hold.
///
/// # Errors
/// Everything that a start with the folder would refuse.
pub async fn plan(
    engine: &Engine,
    source: &Source,
    draft: &Draft,
) -> Result<Planned, Vec<Refusal>> {
    let default = || Files {
        component: Some(format!("{}.wasm", draft.slot)),
        settings: Some(format!("{}.json", draft.slot)),
    };
    let names = source.names(draft.slot).unwrap_or_else(default);
    let named = |name: Option<String>, file: &Option<super::NamedFile>| {
        let (name, (_, bytes)) = name.zip(file.clone())?;
        Some(Named { name, bytes })
    };
    let files = Overlay {
        component: named(names.component, &draft.component),
        settings: named(names.settings, &draft.settings),
        options: None,
    };
    let written = [files.component.clone(), files.settings.clone()];
    let untrusted = distrusted(source, draft, written.each_ref());
    let look = source.look_with(&draft.facts, draft.slot, files);
    let rules = look.rules.clone();
    let offer = look.complete().map_err(|Refusals(refusals)| refusals);
    let offer = with(offer, untrusted)?;
    let prepared = prepare(engine, &offer.candidates, None).await;
    prepared.map_err(|Refusals(refusals)| refusals)?;
    let takes_steps = takes_steps(offer.digest(), &rules);
    let signatures = [&draft.signatures.component, &draft.signatures.settings];
    let written = written.into_iter().zip(signatures);
    let written = written.filter_map(|(file, signature)| Some((file?, signature)));
    Ok(Planned {
        digest: Digest::of(&offer.candidates[draft.slot as usize]),
        notices: offer.notices.all(),
        takes_steps,
        files: written.flat_map(with_signature).collect(),
    })
}

/// A file and its signature, if there is one, with their names.
fn with_signature(
    (file, signature): (Named, &Option<Arc<[u8]>>),
) -> impl Iterator<Item = (String, Arc<[u8]>)> {
    let name = format!("{}{SIGNATURE_ENDING}", file.name);
    let signature = signature.clone().map(|signature| (name, signature));
    iter::once((file.name, file.bytes)).chain(signature)
}

/// The refusals of a draft's files that a trusted key did not sign. A signature counts for the file's name without its folders.
fn distrusted(source: &Source, draft: &Draft, files: [&Option<Named>; 2]) -> Vec<Refusal> {
    let signatures = [&draft.signatures.component, &draft.signatures.settings];
    let both = files.into_iter().zip(signatures);
    let refused = both.filter_map(|(file, signature)| {
        let Named { name, bytes } = file.as_ref()?;
        let own = Path::new(name).file_name().unwrap_or_default();
        let own = own.to_string_lossy();
        let verified = source.trust().verify(&own, bytes, signature.as_deref());
        Some(Refusal {
            file: name.clone(),
            slot: Some(draft.slot),
            problem: Problem::Untrusted(verified.err()?),
        })
    });
    refused.collect()
}

/// The result, with further refusals.
fn with<T>(result: Result<T, Vec<Refusal>>, further: Vec<Refusal>) -> Result<T, Vec<Refusal>> {
    match (result, further.is_empty()) {
        (result, true) => result,
        (Ok(_), false) => Err(further),
        (Err(refusals), false) => Err([refusals, further].concat()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::super::Slot;
    use super::super::super::candidate::{Instances, Options};
    use super::super::super::facts::Facts;
    use super::super::super::source::Defaults;
    use super::*;

    #[tokio::test]
    async fn files_get_the_names_that_the_folder_has_for_them() {
        let folder = tempfile::tempdir().unwrap();
        let toml = "[auth]\nsettings = \"keys.json\"\n";
        fs::write(folder.path().join("policies.toml"), toml).unwrap();
        fs::write(folder.path().join("keys.json"), r#"{"keys": []}"#).unwrap();
        let source = Source::new(Some(folder.path().to_owned()), Defaults::default());
        let draft = Draft {
            slot: Slot::Auth,
            component: None,
            settings: Some((
                "new.json".to_owned(),
                Arc::from(&br#"{"anonymous": ["/x"]}"#[..]),
            )),
            options: Options::default(),
            facts: Facts::default(),
            signatures: Default::default(),
        };
        let engine = Engine::new(None).unwrap();
        let planned = plan(&engine, &source, &draft).await.ok().unwrap();
        assert_eq!(planned.files[0].0, "keys.json");
        assert!(!planned.takes_steps);
        // The digest is that of the files in their folder: of its options, and of no others.
        let warm = Options {
            instances: Instances::Warm,
            ..Options::default()
        };
        let other = Draft {
            options: warm,
            ..draft
        };
        let again = plan(&engine, &source, &other).await.ok().unwrap();
        assert_eq!(again.digest, planned.digest);
    }
}
