//! Writes a conversation as one message: `proto` knows no history but its own, so the history becomes a transcript.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write;

use serde::Serialize;

use crate::codex::{Item, Part, Role};

/// A piece of the message.
#[derive(Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Input<'a> {
    /// Text.
    Text {
        /// The text itself.
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

/// The message for a conversation: a single message of the user as it is, anything else as a transcript, followed by
/// the pictures in the order of their places in it.
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
    let pictures = history
        .iter()
        .flat_map(parts)
        .filter(|part| is_picture(part));
    let transcript = Input::text(transcript(history));
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

/// The transcript: one line per item, `[author] text`, with `[image 1]` in place of the first picture.
fn transcript(history: &[Item]) -> String {
    let mut names = HashMap::new();
    let mut pictures = 0;
    let mut text = String::new();
    for (index, item) in history.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        let said = said(parts(item), &mut pictures);
        // Writing to a string does not fail.
        let _ = match item {
            Item::Message { role, .. } => write!(text, "[{}] {said}", name(*role)),
            Item::Call {
                id,
                name,
                arguments,
            } => {
                names.insert(id.as_str(), name.as_str());
                write!(text, "[assistant called {name}] {arguments}")
            }
            Item::CallOutput { id, .. } => {
                let name = names.get(id.as_str()).copied().unwrap_or(id);
                write!(text, "[{name} returned] {said}")
            }
        };
    }
    text
}

/// The text of the parts. `pictures` is the number of pictures so far.
fn said(parts: &[Part], pictures: &mut u32) -> String {
    let words = parts.iter().map(|part| match part {
        Part::Text(text) => Cow::from(text),
        Part::Image { .. } => {
            *pictures += 1;
            format!("[image {pictures}]").into()
        }
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
    fn a_conversation_becomes_a_transcript_with_its_pictures() {
        let history = [
            message(Role::Developer, [text("Be terse.")]),
            message(Role::User, [picture("a"), text("or"), picture("b")]),
            Item::Call {
                id: "c1".to_owned(),
                name: "look".to_owned(),
                arguments: "{\"at\":\"a\"}".to_owned(),
            },
            Item::CallOutput {
                id: "c1".to_owned(),
                parts: vec![text("seen"), picture("c")],
            },
            message(Role::Assistant, [text("The first.")]),
            message(Role::User, [text("And this?"), picture("d")]),
            message(Role::User, [text("Well?")]),
        ];
        let expected = "[system] Be terse.\n[user] [image 1]\nor\n[image 2]\n\
            [assistant called look] {\"at\":\"a\"}\n[look returned] seen\n[image 3]\n\
            [assistant] The first.\n[user] And this?\n[image 4]\n[user] Well?";
        let image = |image_url| Input::Image { image_url };
        assert_eq!(
            inputs(&history),
            [
                Input::text(expected),
                image("data:a"),
                image("data:b"),
                image("data:c"),
                image("data:d"),
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
