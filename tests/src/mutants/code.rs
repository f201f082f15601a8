//! Mutants of a component's code: one comparison or one constant of the policy's own functions is another one.

use std::collections::HashMap;

use codex_gateway::policy::Slot;
use wasmparser::{FunctionBody, KnownCustom, Name, Operator, Parser, Payload, TypeRef};

use super::{Pair, draft, settings};

/// Constants from here on are addresses: data begins at 1 MiB.
const ADDRESSES: i64 = 1 << 20;

/// Constants up to here are mostly places and alignments in memory: another one decides nothing, or faults.
const LAYOUT: i64 = 17;

/// One change of a component, of as many bytes as before.
#[derive(Debug, Clone)]
pub struct Patch {
    /// The function and the change.
    pub name: String,
    at: usize,
    to: Vec<u8>,
}

/// The built-in component of a slot.
///
/// # Panics
/// If its file is gone.
#[must_use]
pub fn built_in(slot: Slot) -> Vec<u8> {
    let source = codex_gateway::policy::Source::new(None, Default::default());
    let candidates = source.read(&super::facts()).expect("the built-in policies");
    candidates[slot as usize].wasm.to_vec()
}

/// Mutants of the built-in policy of a slot with these settings, evenly of all: at most so many.
#[must_use]
pub fn mutants(slot: Slot, most: usize) -> Vec<Pair> {
    let component = built_in(slot);
    let patches = patches(&component);
    let every = patches.len().div_ceil(most.max(1)).max(1);
    let original = settings::of(slot);
    let chosen = patches.into_iter().step_by(every);
    chosen
        .map(|patch| Pair {
            name: format!("{slot}: {}", patch.name),
            drafts: [
                draft(slot, Some(component.clone()), &original),
                draft(slot, Some(patch.apply(&component)), &original),
            ],
        })
        .collect()
}

impl Patch {
    fn apply(&self, component: &[u8]) -> Vec<u8> {
        let mut mutant = component.to_vec();
        mutant[self.at..self.at + self.to.len()].copy_from_slice(&self.to);
        mutant
    }
}

/// All patches of the functions that decide.
///
/// # Panics
/// If the component cannot be read.
#[must_use]
pub fn patches(component: &[u8]) -> Vec<Patch> {
    let mut patches = Vec::new();
    let (mut imported, mut bodies) = (0_u32, Vec::new());
    for payload in Parser::new(0).parse_all(component) {
        match payload.expect("a component") {
            Payload::ModuleSection { .. } => {
                imported = 0;
                bodies.clear();
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import.expect("an import");
                    imported += u32::from(matches!(import.ty, TypeRef::Func(_)));
                }
            }
            Payload::CodeSectionEntry(body) => bodies.push(body),
            Payload::CustomSection(section) => {
                if let KnownCustom::Name(names) = section.as_known() {
                    let names = functions(names);
                    for (index, body) in (imported..).zip(&bodies) {
                        if let Some(name) = names.get(&index).filter(|name| decides(name)) {
                            of_function(name, body, component, &mut patches);
                        }
                    }
                }
            }
            _ => {}
        }
    }
    patches
}

fn functions(names: wasmparser::NameSectionReader<'_>) -> HashMap<u32, String> {
    let mut all = HashMap::new();
    for name in names {
        if let Ok(Name::Function(functions)) = name {
            all.extend(
                functions
                    .into_iter()
                    .flatten()
                    .map(|named| (named.index, named.name.to_owned())),
            );
        }
    }
    all
}

/// Whether a function is the policy's own and takes part in decisions, not in reading settings.
fn decides(name: &str) -> bool {
    let own = [
        "codex_policy",
        "#authenticate",
        "#verify",
        "#catalog",
        "#resolve",
        "#quotas",
        "#decide",
        "#observe",
    ];
    let others = [
        "configure",
        "Deserialize",
        "deserialize",
        "serde",
        "Visitor",
        "visit_",
        "needs",
        "8settings",
        "..settings..",
        "check_",
        "schema",
    ];
    own.iter().any(|part| name.contains(part)) && !others.iter().any(|part| name.contains(part))
}

fn of_function(name: &str, body: &FunctionBody<'_>, component: &[u8], patches: &mut Vec<Patch>) {
    let short: String = name
        .rsplit("codex_policy")
        .next()
        .unwrap_or(name)
        .chars()
        .take(60)
        .collect();
    let operators = body.get_operators_reader().expect("operators");
    for operator in operators.into_iter_with_offsets() {
        let (operator, at) = operator.expect("an operator");
        let code = component[at];
        let others: &[u8] = match code {
            // Equal and not equal; less and less or equal, or its opposite.
            0x46 | 0x51 => &[code + 1],
            0x47 | 0x52 => &[code - 1],
            0x48..=0x4b | 0x53..=0x56 => &[code + 4],
            0x4c..=0x4f | 0x57..=0x5a => &[code - 4],
            0x71 => &[0x72],
            0x72 => &[0x71],
            _ => &[],
        };
        for other in others {
            patches.push(Patch {
                name: format!("{short} at {at:#x}: {operator:?} becomes {other:#x}"),
                at,
                to: vec![*other],
            });
        }
        let number = match operator {
            Operator::I32Const { value } => i64::from(value),
            Operator::I64Const { value } => value,
            _ => continue,
        };
        // In the first byte of LEB128 the next number has as many bytes, unless it carries: the only one has a sign in its sixth bit.
        let first = component[at + 1];
        let carries = match first {
            0..0x80 => first >= 0x3f,
            _ => first == 0xff,
        };
        if (LAYOUT..ADDRESSES).contains(&number) && !carries {
            patches.push(Patch {
                name: format!("{short} at {at:#x}: {operator:?} becomes {}", number + 1),
                at: at + 1,
                to: vec![first + 1],
            });
        }
    }
}
