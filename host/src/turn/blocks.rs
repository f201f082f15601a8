//! Finds `<use_tool>` blocks in the answer's text: tool calls of clients that describe their tools in the prompt.

use std::collections::{HashMap, VecDeque};

use serde_json::{Map, Value};

use super::search::{Scan, Search};

const OPENING: &str = "<use_tool";
const CLOSING: &str = "</use_tool>";

/// The most bytes of an unfinished block; a longer one is text. Until then none of it is shown, and none is counted.
const LONGEST: usize = 256 << 10;

/// A complete block.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// The whole text of the block, tags included.
    pub(super) text: String,
    /// The tool it names, empty if it names none.
    pub(super) name: String,
    /// The text between its tags, trimmed.
    pub(super) arguments: String,
}

impl Block {
    /// The arguments as a JSON object: parsed from JSON, or built from tags, each of which becomes a member.
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

/// The outermost tags of a text, by name. A value that is a JSON list or object is parsed.
fn members(content: &str) -> Map<String, Value> {
    let (mut members, mut closings) = (Map::new(), closings(content));
    let mut unread = content;
    while let Some((_, rest)) = unread.split_once('<')
        && let Some((name, rest)) = rest.split_once('>')
    {
        unread = rest;
        let start = content.len() - rest.len();
        let Some(ends) = closings.get_mut(name) else {
            continue;
        };
        while ends.pop_front_if(|end| *end < start).is_some() {}
        let Some((value, rest)) = ends
            .pop_front()
            .and_then(|end| rest.split_at_checked(end - start))
        else {
            continue;
        };
        unread = rest.split_once('>').unwrap_or_default().1;
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

/// The positions of the closing tags of each name, in order, so that a tag without a closing tag costs no search. No name
/// contains `</`.
fn closings(content: &str) -> HashMap<&str, VecDeque<usize>> {
    let (mut closings, mut at) = (HashMap::<_, VecDeque<_>>::new(), 0);
    for tag in content.split_inclusive('>') {
        at += tag.len();
        if let Some((_, tag)) = tag.rsplit_once("</")
            && let Some(name) = tag.strip_suffix('>')
        {
            let begins = at - "</".len() - tag.len();
            closings.entry(name).or_default().push_back(begins);
        }
    }
    closings
}

/// Decodes XML's five entities; the ampersand last, so that nothing is decoded twice.
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

/// The result of a piece of text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found<'a> {
    /// Text outside of blocks.
    pub(super) before: String,
    /// The block that followed, and the part of the piece after it, which was not read yet.
    pub(super) block: Option<(Block, &'a str)>,
}

/// Reads text piece by piece and finds the blocks in it.
#[derive(Debug)]
pub(super) struct Blocks {
    opening: Search,
    closing: Search,
    /// The text of the unfinished block, if there is one.
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

    /// Reads the next piece, up to the end of the first block that it completes. No byte is read twice.
    pub(super) fn push<'a>(&mut self, text: &'a str) -> Found<'a> {
        let (mut before, mut rest) = (String::new(), text);
        let block = loop {
            let mut open = match self.open.take() {
                Some(open) => open,
                None => match self.opening.push(rest) {
                    Scan::Clear(more) => {
                        before.push_str(&more);
                        break None;
                    }
                    Scan::Hit {
                        before: more,
                        rest: inside,
                        ..
                    } => {
                        before.push_str(&more);
                        rest = inside;
                        OPENING.to_owned()
                    }
                },
            };
            let next = rest.chars().next();
            if open == OPENING && next.is_some_and(|next| !ends_name(next)) {
                // Another tag, or text about this tag.
                before.push_str(&open);
                continue;
            }
            match self.closing.push(rest) {
                Scan::Clear(more) => {
                    open.push_str(&more);
                    if open.len() > LONGEST {
                        open.push_str(&self.closing.flush());
                        before.push_str(&open);
                    } else {
                        self.open = Some(open);
                    }
                    break None;
                }
                Scan::Hit {
                    before: more, rest, ..
                } => {
                    open.push_str(&more);
                    open.push_str(CLOSING);
                    break Some((read(open), rest));
                }
            }
        };
        Found { before, block }
    }

    /// Returns the text that is held back, an unfinished block too, and starts anew.
    pub(super) fn flush(&mut self) -> String {
        let mut held = self.open.take().unwrap_or_default();
        held.push_str(&self.opening.flush());
        held.push_str(&self.closing.flush());
        held
    }

    /// Whether text is held back.
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

    /// The definition: a tag ends at the first closing tag of its name, searched for anew from each tag.
    fn naive(mut content: &str) -> Vec<(&str, &str)> {
        let mut members = Vec::new();
        while let Some((_, rest)) = content.split_once('<')
            && let Some((name, rest)) = rest.split_once('>')
        {
            content = rest;
            if let Some((value, rest)) = rest.split_once(format!("</{name}>").as_str())
                && !name.contains("</")
            {
                members.push((name, value));
                content = rest;
            }
        }
        members
    }

    #[test]
    fn a_tag_ends_where_its_name_is_closed_first() {
        let words = ["<a>", "<b>", "</a>", "</b>", "<", "/", ">", "<//a>", "1"];
        let count = words.len();
        for number in 0..count.pow(5) {
            let word = |at| words[number / count.pow(at) % count];
            let content = [0, 1, 2, 3, 4].map(word).concat();
            let mut expected = Map::new();
            for (name, value) in naive(&content) {
                expected.insert(name.trim().to_owned(), value.trim().into());
            }
            assert_eq!(members(&content), expected, "{content}");
        }
    }

    /// As long as a block may be: a search for the closing tag from each tag would take minutes.
    #[test]
    fn tags_that_nobody_closes_are_passed_over() {
        let (same, different) = (
            "<a>".repeat(LONGEST / 8),
            (0..LONGEST / 16).map(|n| format!("<t{n}>")),
        );
        let content = different.collect::<String>() + &same + "<b>x</b>";
        let expected = Map::from_iter([("b".to_owned(), "x".into())]);
        assert_eq!(members(&content), expected);
    }

    /// Text outside blocks with `|` where a block stood, then the blocks as (name, arguments).
    fn blocks<'a>(pieces: impl IntoIterator<Item = &'a str>) -> (String, Vec<(String, String)>) {
        let (mut blocks, mut text, mut found) = (Blocks::new(), String::new(), Vec::new());
        for piece in pieces {
            let mut rest = Some(piece);
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
        assert_eq!(blocks.push("a <use_tool").before, "a ");
        assert!(blocks.is_holding(), "it may be one");
        assert_eq!(blocks.push("s>, b").before, "<use_tools>, b");
        assert!(!blocks.is_holding());
        let mut shown = blocks.push("<use_tool>").before;
        let mut pieces = 0;
        while shown.is_empty() {
            assert!(pieces < 1_000, "a block is not longer than this");
            shown = blocks.push(&"never closed ".repeat(100)).before;
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
