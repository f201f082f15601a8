//! Finds `<use_tool>` blocks in the answer's text: tool calls of clients that describe their tools in the prompt.

use serde_json::{Map, Value};

use super::search::{Scan, Search};

const OPENING: &str = "<use_tool";
const CLOSING: &str = "</use_tool>";

/// What is longer without an end is text, in bytes: nothing is shown and nothing counted while it may become a call.
const LONGEST: usize = 256 << 10;

/// A complete block.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// All of it, tags included.
    pub(super) text: String,
    /// The tool it names, empty if it names none.
    pub(super) name: String,
    /// What stands between its tags, trimmed.
    pub(super) arguments: String,
}

impl Block {
    /// The arguments as a JSON object: written as one, or as tags of which each is a member.
    pub(super) fn to_json(&self) -> String {
        let mut content = self.arguments.as_str();
        if let Some((before, rest)) = content.split_once("<name>")
            && let Some((_, after)) = rest.split_once("</name>")
        {
            content = if before.trim().is_empty() {
                after
            } else {
                before
            };
        }
        let content = content.trim();
        if let Ok(object @ Value::Object(_)) = serde_json::from_str(content) {
            return object.to_string();
        }
        Value::Object(members(content)).to_string()
    }
}

/// The tags at the top of a text, by name. A value that is a JSON list or object is one.
fn members(mut content: &str) -> Map<String, Value> {
    let mut members = Map::new();
    while let Some((_, rest)) = content.split_once('<')
        && let Some((name, rest)) = rest.split_once('>')
    {
        content = rest;
        let closing = format!("</{name}>");
        let Some((value, rest)) = rest.split_once(closing.as_str()) else {
            continue;
        };
        content = rest;
        let value = value.trim();
        let json = value
            .starts_with(['{', '['])
            .then(|| serde_json::from_str(value).ok());
        let value = json
            .flatten()
            .unwrap_or_else(|| Value::String(unescape(value)));
        members.insert(name.trim().to_owned(), value);
    }
    members
}

/// XML's five entities; the ampersand last, so that nothing is unescaped twice.
fn unescape(text: &str) -> String {
    let entities = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&amp;", "&"),
    ];
    entities
        .iter()
        .fold(text.to_owned(), |text, (entity, character)| {
            text.replace(entity, character)
        })
}

/// What a piece of text led to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Text that is part of no block.
    pub(super) before: String,
    /// The block that followed it, and text after the block that was not looked at.
    pub(super) block: Option<(Block, String)>,
}

impl Found {
    fn text(mut before: String, more: &str) -> Self {
        before.push_str(more);
        Self {
            before,
            block: None,
        }
    }
}

/// Reads text piece by piece.
#[derive(Debug)]
pub(super) struct Blocks {
    opening: Search,
    closing: Search,
    /// The block so far, while in one.
    open: Option<String>,
}

impl Blocks {
    pub(super) fn new() -> Self {
        Self {
            opening: Search::new([OPENING]),
            closing: Search::new([CLOSING]),
            open: None,
        }
    }

    /// Looks at the next piece, up to the first block that it completes.
    pub(super) fn push(&mut self, text: String) -> Found {
        let (mut before, mut text) = (String::new(), text);
        loop {
            let (inside, mut open) = match self.open.take() {
                Some(open) => (text, open),
                None => match self.opening.push(text) {
                    Scan::Clear(more) => return Found::text(before, &more),
                    Scan::Hit { before: more, rest } => {
                        before.push_str(&more);
                        (rest, OPENING.to_owned())
                    }
                },
            };
            let next = inside.chars().next();
            if open == OPENING && next.is_some_and(|next| !ends_name(next)) {
                // Another tag, or a word about this one.
                before.push_str(&open);
                text = inside;
                continue;
            }
            return match self.closing.push(inside) {
                Scan::Clear(more) => {
                    open.push_str(&more);
                    if open.len() > LONGEST {
                        open.push_str(&self.closing.flush());
                        return Found::text(before, &open);
                    }
                    self.open = Some(open);
                    Found::text(before, "")
                }
                Scan::Hit { before: more, rest } => {
                    open.push_str(&more);
                    open.push_str(CLOSING);
                    let block = Some((read(open), rest));
                    Found { before, block }
                }
            };
        }
    }

    /// Gives back what is held, an unfinished block too, and begins anew.
    pub(super) fn flush(&mut self) -> String {
        let mut held = self.open.take().unwrap_or_default();
        held.push_str(&self.opening.flush());
        held.push_str(&self.closing.flush());
        held
    }

    /// Whether something is held back.
    pub(super) fn is_holding(&self) -> bool {
        self.open.is_some() || self.opening.holding() > 0
    }
}

/// Whether the name of a tag ends before this character.
fn ends_name(next: char) -> bool {
    next == '>' || next == '/' || next.is_whitespace()
}

fn read(text: String) -> Block {
    let content = text
        .strip_prefix(OPENING)
        .and_then(|content| content.strip_suffix(CLOSING));
    let (attributes, arguments) = content
        .unwrap_or_default()
        .split_once('>')
        .unwrap_or_default();
    let name = between(arguments, "<name>", "</name>")
        .or_else(|| between(attributes, " name=\"", "\""))
        .or_else(|| between(attributes, " name='", "'"))
        .unwrap_or_default()
        .trim()
        .to_owned();
    let arguments = arguments.trim().to_owned();
    Block {
        text,
        name,
        arguments,
    }
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let (_, text) = text.split_once(start)?;
    Some(text.split_once(end)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_become_a_json_object() {
        for (inside, json) in [
            (
                "<name>f</name><query>a &amp;lt; b</query>",
                r#"{"query":"a &lt; b"}"#,
            ),
            (
                "\n  <name>f</name>\n  <path>x/y.md</path>\n  <n>3</n>\n",
                r#"{"n":"3","path":"x/y.md"}"#,
            ),
            (
                "<name>f</name><tags>[\"a\", 1]</tags>",
                r#"{"tags":["a",1]}"#,
            ),
            (
                "<name>f</name>{\"q\": {\"deep\": true}}",
                r#"{"q":{"deep":true}}"#,
            ),
            ("{\"q\": 1}<name>f</name>", r#"{"q":1}"#),
            ("<name>f</name><open>never closed <b>x</b>", r#"{"b":"x"}"#),
            ("", "{}"),
        ] {
            let block = read(format!("<use_tool>{inside}</use_tool>"));
            assert_eq!(block.to_json(), json, "{inside}");
        }
    }

    /// Text outside blocks with `|` where a block stood, then the blocks as (name, arguments).
    fn blocks<'a>(pieces: impl IntoIterator<Item = &'a str>) -> (String, Vec<(String, String)>) {
        let (mut blocks, mut text, mut found) = (Blocks::new(), String::new(), Vec::new());
        for piece in pieces {
            let mut rest = Some(piece.to_owned());
            while let Some(piece) = rest.take() {
                let Found { before, block } = blocks.push(piece);
                text.push_str(&before);
                if let Some((block, after)) = block {
                    text.push('|');
                    found.push((block.name, block.arguments));
                    rest = Some(after);
                }
            }
        }
        text.push_str(&blocks.flush());
        (text, found)
    }

    #[test]
    fn names_come_from_the_inner_tag_or_the_attribute() {
        for (block, name, arguments) in [
            (
                "<use_tool><name>readNote</name><path>a.md</path></use_tool>",
                "readNote",
                "<name>readNote</name><path>a.md</path>",
            ),
            (
                "<use_tool name=\"search\"> {\"query\":\"x > y\"} </use_tool>",
                "search",
                "{\"query\":\"x > y\"}",
            ),
            ("<use_tool id='1' name='list'></use_tool>", "list", ""),
            ("<use_tool>{}</use_tool>", "", "{}"),
            ("<use_tool/></use_tool>", "", ""),
        ] {
            let (text, found) = blocks([block]);
            assert_eq!(text, "|", "{block}");
            assert_eq!(found, [(name.to_owned(), arguments.to_owned())], "{block}");
        }
    }

    #[test]
    fn finds_the_same_however_the_text_is_cut() {
        let text = "é <use_tool><name>a</name></use_tool> and <use_tools> <use_tool name=\"b\">1</use_tool><use_tool>open é";
        let expected = blocks([text]);
        assert_eq!(expected.0, "é | and <use_tools> |<use_tool>open é");
        assert_eq!(expected.1.len(), 2);
        for (at, _) in text.char_indices() {
            assert_eq!(blocks([&text[..at], &text[at..]]), expected, "cut at {at}");
        }
        let characters = text
            .char_indices()
            .map(|(at, c)| &text[at..at + c.len_utf8()]);
        assert_eq!(blocks(characters), expected);
    }

    #[test]
    fn what_is_no_block_does_not_wait_for_the_end() {
        let mut blocks = Blocks::new();
        assert_eq!(blocks.push("a <use_tool".to_owned()).before, "a ");
        assert!(blocks.is_holding(), "it may be one");
        assert_eq!(blocks.push("s>, b".to_owned()).before, "<use_tools>, b");
        assert!(!blocks.is_holding());
        let mut shown = blocks.push("<use_tool>".to_owned()).before;
        let mut pieces = 0;
        while shown.is_empty() {
            assert!(pieces < 1_000, "a block is not longer than this");
            shown = blocks.push("never closed ".repeat(100)).before;
            pieces += 1;
        }
        assert!(shown.starts_with("<use_tool>never") && shown.len() > LONGEST);
        assert!(!blocks.is_holding());
    }

    #[test]
    fn what_only_begins_like_a_block_is_given_back() {
        for text in [
            "a <",
            "a <use_",
            "a <use_tool>never closed </use_tool",
            "1 < 2 </use_tool>",
            "<use_tools> and <use_tool_config a='b'> are no </use_tool>",
        ] {
            assert_eq!(blocks([text]), (text.to_owned(), vec![]));
        }
    }
}
