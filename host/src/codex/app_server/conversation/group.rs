//! Recognises conversations that begin alike, whose prompts the provider may find in its cache under one key.

use std::collections::HashMap;

use super::{Chain, Digest, size};
use crate::codex::{Item, Plan};

/// The bytes of a common beginning from which on it is worth a key: providers keep prompts of 1,024 tokens and more.
const WORTH: usize = 4096;

/// The digest of what the conversation has in common with others of its caller: the client's own key; else its instructions, or
/// if these are short its first message with them. None if all this is short, or the turn has functions, with which a thread cannot
/// have another's key. `kind` is the digest of caller, model and tools.
pub(super) fn of(plan: &Plan, history: &[Item], kind: &Chain) -> Option<Digest> {
    if !plan.tools.is_empty() {
        return None;
    }
    let mut kind = kind.clone();
    if let Some(key) = &plan.cache_key {
        kind.add("the client's key");
        kind.add(key);
        return Some(kind.digest());
    }
    let instructions = history.iter().take_while(|item| item.is_instruction());
    let instructions = instructions.count();
    let beginnings = [instructions, instructions + 1];
    let mut beginnings = beginnings.into_iter().filter_map(|end| history.get(..end));
    let long = beginnings.find(|items| items.iter().map(size).sum::<usize>() >= WORTH)?;
    kind.add("the beginning");
    for item in long {
        kind.add_item(item, &HashMap::new());
    }
    Some(kind.digest())
}

#[cfg(test)]
mod tests {
    use super::super::Conversation;
    use super::*;
    use crate::codex::Role;
    use crate::codex::tests::said;

    fn group(plan: Plan) -> Option<Digest> {
        Conversation::of(&plan).unwrap().group
    }

    fn plan(instructions: &str, question: &str) -> Plan {
        Plan {
            history: vec![
                said(Role::Developer, instructions),
                said(Role::User, question),
            ],
            ..Plan::default()
        }
    }

    #[test]
    fn long_instructions_are_a_group_whatever_is_asked() {
        let long = "Be terse. ".repeat(500);
        let first = group(plan(&long, "one"));
        assert!(first.is_some());
        assert_eq!(first, group(plan(&long, "two")));
        assert_ne!(first, group(plan(&long.repeat(2), "one")));
        let other = Plan {
            caller: "bob".to_owned(),
            ..plan(&long, "one")
        };
        assert_ne!(first, group(other));
    }

    #[test]
    fn short_instructions_are_one_with_the_first_message() {
        let long = "All of it. ".repeat(500);
        let first = group(plan("Be terse.", &long));
        assert!(first.is_some());
        assert_eq!(first, group(plan("Be terse.", &long)));
        assert_ne!(first, group(plan("Be verbose.", &long)));
        assert_eq!(group(plan("Be terse.", "Hi")), None);
    }

    #[test]
    fn the_clients_key_counts_before_all_else() {
        let keyed = |key: &str, question: &str| {
            group(Plan {
                cache_key: Some(key.to_owned()),
                ..plan("Be terse.", question)
            })
        };
        assert!(keyed("a", "one").is_some());
        assert_eq!(keyed("a", "one"), keyed("a", "two"));
        assert_ne!(keyed("a", "one"), keyed("b", "one"));
    }
}
