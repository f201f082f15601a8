//! `codex-gateway policy inspect`: describes a component, also one that a gateway would refuse.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use codex_gateway::policy::{Inspected, inspect_policy};

use super::super::text::harmless;
use super::super::{EXIT_CONFIG, complain, fail, print};
use super::subject::{Subject, block_on, workbench, wrong};

/// The arguments.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    subject: Subject,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let (engine, facts) = match workbench() {
        Ok(ready) => ready,
        Err(failed) => return failed,
    };
    let draft = match arguments.subject.draft(facts) {
        Ok(draft) => draft,
        Err(mistake) => return wrong(&mistake),
    };
    let inspected = match block_on(inspect_policy(&engine, &draft)) {
        Ok(Ok(inspected)) => inspected,
        Ok(Err(refusal)) => return wrong(&refusal),
        Err(failed) => return failed,
    };
    let text = match arguments.json {
        true => serde_json::to_string(&inspected).map(|text| text + "\n"),
        false => Ok(table(&inspected)),
    };
    if let Err(error) = text
        .map_err(anyhow::Error::from)
        .and_then(|text| print(&text))
    {
        return fail(&error);
    }
    match &inspected.refusal {
        Some(refusal) if !arguments.json => {
            complain(&format!(
                "a gateway would refuse it with these settings: {refusal}"
            ));
            ExitCode::from(EXIT_CONFIG)
        }
        Some(_) => ExitCode::from(EXIT_CONFIG),
        None => ExitCode::SUCCESS,
    }
}

fn table(inspected: &Inspected) -> String {
    let Inspected {
        file,
        fits,
        name,
        version,
        contract,
        exports,
        imports,
        refused_imports,
        bytes,
        sha256,
        digest,
        instances,
        warm_because,
        image_bytes,
        needs,
        settings_schema,
        ..
    } = inspected;
    let none = |text: String| {
        if text.is_empty() {
            "none".to_owned()
        } else {
            text
        }
    };
    let unknown = || "not known, as it would be refused".to_owned();
    let because = warm_because.as_ref();
    let because = because.map_or_else(String::new, |because| format!(", because {because}"));
    let instances = instances.map(|instances| format!("{}{because}", instances.name()));
    let sees = match (needs, instances.is_some()) {
        (Some(needs), _) => none(needs.join(", ")),
        (None, true) => "everything: contract 0.1 has no needs".to_owned(),
        (None, false) => unknown(),
    };
    let size = match image_bytes {
        Some(image) => format!("{bytes} bytes, {image} as it serves"),
        None => format!("{bytes} bytes"),
    };
    let rows = [
        ("policy", format!("{name} {version}, {file}")),
        ("fits", fits.join(", ")),
        ("contract", format!("codex:policy {contract}")),
        ("exports", exports.join(", ")),
        ("imports", none(imports.join(", "))),
        ("refused", refused(refused_imports)),
        ("needs", sees),
        ("instances", instances.unwrap_or_else(unknown)),
        ("size", size),
        ("sha256", sha256.clone()),
        ("digest", digest.clone().unwrap_or_else(unknown)),
        ("settings", properties(settings_schema)),
    ];
    let mut text = String::new();
    for (what, value) in rows {
        let value = harmless(&value);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{what:<10} {value}");
    }
    text
}

/// The imports that have no effect.
fn refused(imports: &[String]) -> String {
    match imports.is_empty() {
        true => "none of these".to_owned(),
        false => format!("{}, when they are used", imports.join(", ")),
    }
}

/// The members of the settings, with their types; `--json` has the whole schema.
fn properties(schema: &serde_json::Value) -> String {
    let properties = schema["properties"].as_object().into_iter().flatten();
    let described = properties.map(|(name, schema)| match schema["type"].as_str() {
        Some(kind) => format!("{name} ({kind})"),
        None => name.clone(),
    });
    match described.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => "its schema names none".to_owned(),
        members => members,
    }
}
