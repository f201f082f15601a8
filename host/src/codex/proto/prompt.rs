//! A conversation as one message: `proto` knows no history but its own, so what was said is written down.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write;

use serde::Serialize;

use crate::codex::{Item, Part, Role};

/// A piece of the message.
#[derive(Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Input<'a> {
    /// Words.
    Text {
        /// These.
        text: Cow<'a, str>,
    },
    /// A picture.
    Image {
        /// A `data:` URL.
        image_url: &'a str,
    },
}

impl<'a> Input<'a> {
    fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Text { text: text.into() }
    }
}

/// The message for a conversation: a single message of the user's as it is, anything else as a transcript,
/// with the pictures of the user's last message after it.
pub(super) fn inputs(history: &[Item]) -> Vec<Input<'_>> {
    if let [
        Item::Message {
            role: Role::User,
            parts,
        },
    ] = history
    {
        return parts.iter().map(input).collect();
    }
    let last = history.iter().rposition(is_users);
    let pictures = last.and_then(|last| history.get(last)).map(parts);
    let pictures = pictures
        .unwrap_or_default()
        .iter()
        .filter(|part| is_picture(part));
    let transcript = Input::text(transcript(history, last));
    std::iter::once(transcript)
        .chain(pictures.map(input))
        .collect()
}

fn input(part: &Part) -> Input<'_> {
    match part {
        Part::Text(text) => Input::text(text),
        Part::Image { url, .. } => Input::Image { image_url: url },
    }
}

/// `[who] what`, a line an item. `shown`: the item whose pictures are sent along.
fn transcript(history: &[Item], shown: Option<usize>) -> String {
    let mut names = HashMap::new();
    let mut text = String::new();
    for (index, item) in history.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        let picture = if Some(index) == shown {
            "[attached image]"
        } else {
            "[image]"
        };
        // Writing to a string does not fail.
        let _ = match item {
            Item::Message { role, parts } => {
                write!(text, "[{}] {}", name(*role), said(parts, picture))
            }
            Item::Call {
                id,
                name,
                arguments,
            } => {
                names.insert(id.as_str(), name.as_str());
                write!(text, "[assistant called {name}] {arguments}")
            }
            Item::CallOutput { id, parts } => {
                let name = names.get(id.as_str()).copied().unwrap_or(id);
                write!(text, "[{name} returned] {}", said(parts, picture))
            }
        };
    }
    text
}

fn said(parts: &[Part], picture: &str) -> String {
    let words = parts.iter().map(|part| match part {
        Part::Text(text) => text,
        Part::Image { .. } => picture,
    });
    words.collect::<Vec<_>>().join("\n")
}

const fn name(role: Role) -> &'static str {
    match role {
        Role::Developer => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    }
}

fn is_users(item: &Item) -> bool {
    matches!(
        item,
        Item::Message {
            role: Role::User,
            ..
        }
    )
}

fn is_picture(part: &Part) -> bool {
    matches!(part, Part::Image { .. })
}

fn parts(item: &Item) -> &[Part] {
    match item {
        Item::Message { parts, .. } | Item::CallOutput { parts, .. } => parts,
        Item::Call { .. } => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Part {
        Part::Text(text.to_owned())
    }

    fn picture(name: &str) -> Part {
        Part::Image {
            url: format!("data:{name}"),
            detail: None,
        }
    }

    fn message<const N: usize>(role: Role, parts: [Part; N]) -> Item {
        Item::Message {
            role,
            parts: parts.into(),
        }
    }

    #[test]
    fn a_single_message_is_sent_as_it_is() {
        let history = [message(
            Role::User,
            [text("[user] look:"), picture("a"), text("nice?")],
        )];
        let expected = [
            Input::text("[user] look:"),
            Input::Image {
                image_url: "data:a",
            },
            Input::text("nice?"),
        ];
        assert_eq!(inputs(&history), expected);
    }

    #[test]
    fn a_conversation_becomes_a_transcript_with_the_last_pictures() {
        let history = [
            message(Role::Developer, [text("Be terse.")]),
            message(Role::User, [text("Paris?"), picture("old")]),
            Item::Call {
                id: "c1".to_owned(),
                name: "weather".to_owned(),
                arguments: "{\"city\":\"Paris\"}".to_owned(),
            },
            Item::CallOutput {
                id: "c1".to_owned(),
                parts: vec![text("18C"), text("dry")],
            },
            message(Role::Assistant, [text("18C.")]),
            message(Role::User, [text("And here?"), picture("new")]),
        ];
        let expected = "[system] Be terse.\n[user] Paris?\n[image]\n\
            [assistant called weather] {\"city\":\"Paris\"}\n[weather returned] 18C\ndry\n\
            [assistant] 18C.\n[user] And here?\n[attached image]";
        assert_eq!(
            inputs(&history),
            [
                Input::text(expected),
                Input::Image {
                    image_url: "data:new"
                }
            ]
        );
    }

    #[test]
    fn who_speaks_is_said_even_when_only_one_does() {
        let system = [message(Role::Developer, [text("Say hi.")])];
        assert_eq!(inputs(&system), [Input::text("[system] Say hi.")]);
        let orphan = [Item::CallOutput {
            id: "c9".to_owned(),
            parts: vec![text("x")],
        }];
        assert_eq!(inputs(&orphan), [Input::text("[c9 returned] x")]);
        assert_eq!(inputs(&[]), [Input::text("")]);
    }
}
