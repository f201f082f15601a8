//! `policies.toml`: what the host must know of a slot, beside the operator's components.

use std::io;
use std::ops::Range;
use std::path::{Component, Path};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::Slot;
use super::component::{Instances, Options};
use super::engine::MAX_MEMORY;
use super::fault::{Problem, Refusal};
use super::guest::Limits;
use super::live::Refusals;
use crate::file;

/// Beside the components; optional.
pub(super) const MANIFEST: &str = "policies.toml";
/// It has some tens of lines.
const MAX_BYTES: u64 = 256 << 10;

/// What the manifest says, slot by slot, all mistakes sorted out.
#[derive(Debug, Default)]
pub(super) struct Manifest {
    entries: [Option<Entry>; 4],
}

/// What is said about one slot.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) component: Option<String>,
    pub(super) settings: Option<String>,
    /// Nothing need be there for this slot.
    pub(super) built_in: bool,
    pub(super) options: Options,
}

/// The file as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Tables {
    auth: Option<Table>,
    model: Option<Table>,
    rate_limit: Option<Table>,
    tool_stop: Option<Table>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    component: Option<Spanned<String>>,
    settings: Option<Spanned<String>>,
    #[serde(default)]
    built_in: bool,
    instances: Option<Instances>,
    #[serde(default)]
    grants: Vec<Grant>,
    memory_mib: Option<Spanned<u64>>,
    deadline_ms: Option<Spanned<u64>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Grant {
    Credential,
}

impl Manifest {
    /// Reads the manifest of a folder, if there is one.
    ///
    /// # Errors
    /// If the folder cannot be read; every mistake in the manifest, each with its line, table and member.
    pub(super) fn read(folder: Option<&Path>) -> Result<Self, Refusals> {
        let refuse = |file: String, problem| Refusal {
            file,
            slot: None,
            problem,
        };
        let Some(folder) = folder else {
            return Ok(Self::default());
        };
        let unreadable = |file: String, error: io::Error| {
            Refusals(vec![refuse(file, Problem::Unreadable(error.to_string()))])
        };
        if let Err(error) = std::fs::read_dir(folder) {
            return Err(unreadable(folder.display().to_string(), error));
        }
        match file::read_within(folder, MANIFEST, MAX_BYTES) {
            Ok(bytes) => parse(&String::from_utf8_lossy(&bytes)).map_err(|mistakes| {
                let refusal = |mistake| refuse(MANIFEST.to_owned(), Problem::Manifest(mistake));
                Refusals(mistakes.into_iter().map(refusal).collect())
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(unreadable(MANIFEST.to_owned(), error)),
        }
    }

    /// What is said about a slot.
    pub(super) fn take(&mut self, slot: Slot) -> Entry {
        self.entries[slot as usize].take().unwrap_or_default()
    }
}

fn parse(text: &str) -> Result<Manifest, Vec<String>> {
    let tables: Tables = toml::from_str(text).map_err(|error| {
        let at = error.span().map(|span| place(text, span));
        let at = at.map(|at| format!("{at}: ")).unwrap_or_default();
        vec![format!("{at}{}", error.message().replace('\n', ", "))]
    })?;
    let mut mistakes = Vec::new();
    let tables = [
        tables.auth,
        tables.model,
        tables.rate_limit,
        tables.tool_stop,
    ];
    let entries = tables.map(|table| Some(table?.check(text, &mut mistakes)));
    match mistakes.is_empty() {
        true => Ok(Manifest { entries }),
        false => Err(mistakes),
    }
}

impl Table {
    fn check(self, text: &str, mistakes: &mut Vec<String>) -> Entry {
        let default = Limits::default();
        let mut number = |given: Option<Spanned<u64>>, range: Range<u64>, usual: u64| {
            let Some(given) = given else { return usual };
            if !range.contains(given.as_ref()) {
                let (least, most) = (range.start, range.end - 1);
                let at = place(text, given.span());
                let found = given.as_ref();
                mistakes.push(format!("{at}: expected {least} to {most}, found {found}"));
            }
            *given.as_ref()
        };
        let most = MAX_MEMORY as u64 >> 20;
        let memory = number(self.memory_mib, 1..most + 1, default.memory as u64 >> 20);
        let deadline = number(
            self.deadline_ms,
            2..10_001,
            default.deadline.as_millis() as u64,
        );
        if self.built_in
            && let Some(component) = &self.component
        {
            let at = place(text, component.span());
            mistakes.push(format!(
                "{at}: expected no component where `built_in` is true"
            ));
        }
        for named in self.component.iter().chain(&self.settings) {
            if !is_file_name(named.as_ref()) {
                let at = place(text, named.span());
                mistakes.push(format!(
                    "{at}: expected the name of a file in this folder, found a path"
                ));
            }
        }
        let deadline = Duration::from_millis(deadline.min(10_000));
        Entry {
            component: self.component.map(Spanned::into_inner),
            settings: self.settings.map(Spanned::into_inner),
            built_in: self.built_in,
            options: Options {
                instances: self.instances.unwrap_or(Instances::Frozen),
                credential: self.grants.contains(&Grant::Credential),
                limits: Limits {
                    memory: (memory.min(most) as usize) << 20,
                    deadline,
                    wall: default.wall.max(deadline * 10),
                    ..default
                },
            },
        }
    }
}

/// One step down from the folder, and none up or elsewhere.
fn is_file_name(name: &str) -> bool {
    let mut steps = Path::new(name).components();
    matches!(steps.next(), Some(Component::Normal(step)) if step == name) && steps.next().is_none()
}

/// Where something is, in an operator's words: its line, its table, and the member, if it is one.
fn place(text: &str, span: Range<usize>) -> String {
    let before = text.get(..span.start).unwrap_or(text);
    let number = before.lines().count().max(1) + usize::from(before.ends_with('\n'));
    let number = if before.is_empty() { 1 } else { number };
    let line = text.lines().nth(number - 1).unwrap_or_default();
    let member = line.split_once('=').map(|(member, _)| member.trim());
    let is_table = |line: &&str| line.trim_start().starts_with('[');
    let table = before.lines().chain([line]).rfind(is_table);
    let table = table.map_or("", |table| {
        table.split_inclusive(']').next().unwrap_or(table).trim()
    });
    match member {
        Some(member) if !table.is_empty() => format!("line {number}, {table} {member}"),
        Some(member) => format!("line {number}, {member}"),
        None => format!("line {number}, {table}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> String {
        parse(text).unwrap_err().join("; ")
    }

    #[test]
    fn mistakes_name_line_table_and_member() {
        assert_eq!(
            mistakes("# x\n[auth]\nmemory_mib = 4096\n\n[model]\ndeadline_ms = 0"),
            "line 3, [auth] memory_mib: expected 1 to 128, found 4096; \
             line 6, [model] deadline_ms: expected 2 to 10000, found 0"
        );
        let said = mistakes("[auth]\nsettings = \"a.json\"\nfrozen = true\n");
        assert!(
            said.starts_with("line 3, [auth] frozen: unknown field"),
            "{said}"
        );
        let said = mistakes("[auth]\ninstances = \"hot\"");
        assert!(
            said.starts_with("line 2, [auth] instances: unknown variant"),
            "{said}"
        );
        let said = mistakes("[rate_limit]\n");
        assert!(
            said.starts_with("line 1, [rate_limit]: unknown field"),
            "{said}"
        );
        let said = mistakes("[auth\n");
        assert!(said.starts_with("line 1, "), "{said}");
    }

    #[test]
    fn files_outside_the_folder_cannot_be_named() {
        for name in ["/etc/passwd", "../x.json", "..", ".", "a/b.json", ""] {
            let said = mistakes(&format!("[auth]\nsettings = \"{name}\""));
            let expected =
                "line 2, [auth] settings: expected the name of a file in this folder, found a path";
            assert_eq!(said, expected, "{name}");
        }
        assert!(parse("[auth]\nsettings = \"..data.json\"").is_ok());
    }

    #[test]
    fn a_component_cannot_be_named_and_built_in() {
        let said = mistakes("[auth]\nbuilt_in = true\ncomponent = \"x.wasm\"");
        assert!(said.starts_with("line 3, [auth] component: "), "{said}");
    }
}
