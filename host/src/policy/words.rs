//! Names and texts of guests and files: a name is valid or refused, a text is cut and escaped.

/// The most bytes of a name: of a caller, a group, a model, a rule, a policy. Names become labels, fields of a log line or
/// headers.
pub(super) const NAME: usize = 256;

/// The most bytes of a text for a person: an error, a denial's message, output that a guest printed.
pub(super) const TEXT: usize = 4096;

/// The most bytes of a line for an operator, which contains several texts.
pub(super) const LINE: usize = 16 << 10;

/// The mark at the end of a text that was cut.
pub(super) const CUT: &str = "…";

/// Whether a character could break a line or a terminal, or make a text look like another one.
pub(super) fn is_control(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Whether a text contains such a character.
pub(super) fn has_control(words: &str) -> bool {
    words.contains(is_control)
}

/// Checks a name, which may be empty, of at most `most` bytes.
///
/// # Errors
/// The problem of the name, without the name itself.
pub(super) fn name_within(most: usize, what: &str, name: &str) -> Result<(), String> {
    if name.len() > most {
        return Err(format!("{what} of {} bytes (at most {most})", name.len()));
    }
    if has_control(name) {
        return Err(format!("{what} with control characters"));
    }
    Ok(())
}

/// Checks a name that must not be empty, of at most [`NAME`] bytes.
pub(super) fn name(what: &str, name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err(format!("{what} that is empty"));
    }
    name_within(NAME, what, name)
}

/// Cuts a text to `most` bytes, and escapes control characters: `\n`, `\u{1b}`.
pub(super) fn text_within(most: usize, words: String) -> String {
    if words.len() <= most && !has_control(&words) {
        return words;
    }
    let mut text = String::new();
    for character in words.chars() {
        let before = text.len();
        if is_control(character) {
            text.extend(character.escape_default());
        } else {
            text.push(character);
        }
        if text.len() > most {
            text.truncate(before);
            text.push_str(CUT);
            break;
        }
    }
    text
}

/// Cuts a text to [`TEXT`] bytes, and escapes control characters.
pub(super) fn text(words: impl Into<String>) -> String {
    text_within(TEXT, words.into())
}

/// Escapes the control characters of a text, but for its line breaks.
pub(super) fn lines(words: &str) -> String {
    let lines: Vec<_> = words.lines().map(text).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_stays_as_it_is_if_nothing_is_wrong_with_it() {
        for words in ["", "Später, 明日.", "a \"quoted\" \\n"] {
            assert_eq!(text(words), words);
        }
    }

    #[test]
    fn a_text_breaks_no_line_and_no_terminal_and_has_an_end() {
        let told = text("a\r\nb\t\0\u{1b}[31m\u{9b}\u{2028}\u{202e}c");
        assert_eq!(
            told,
            "a\\r\\nb\\t\\u{0}\\u{1b}[31m\\u{9b}\\u{2028}\\u{202e}c"
        );
        for long in ["é".repeat(500_000), "\u{1b}".repeat(900_000)] {
            let told = text(long);
            assert!(told.ends_with(CUT) && told.len() <= TEXT + CUT.len());
        }
    }

    #[test]
    fn a_name_is_short_and_plain() {
        assert_eq!(name("a caller", &"x".repeat(NAME)), Ok(()));
        assert_eq!(name("a caller", "Jürgen Groß"), Ok(()));
        let long = name("a caller", &"x".repeat(NAME + 1));
        assert_eq!(long, Err("a caller of 257 bytes (at most 256)".to_owned()));
        for broken in ["a\nb", "a\0", "\u{1b}[2J", "a\u{85}b", "a\u{2028}b"] {
            let expected = Err("a caller with control characters".to_owned());
            assert_eq!(name("a caller", broken), expected);
        }
        assert!(name("a caller", "").is_err() && name_within(9, "a tenant", "").is_ok());
    }
}
