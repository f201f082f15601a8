//! Words of guests and of files: a name is fit to be one or refused, a text is cut and escaped.

/// Bytes of a name: of a caller, a group, a model, a rule, a policy. Each is a label, a field of a log line or a header.
pub(super) const NAME: usize = 256;

/// Bytes of a text for a person: an error, a denial's message, what a guest printed.
pub(super) const TEXT: usize = 4096;

/// Bytes of a line for an operator, with several texts in it.
pub(super) const LINE: usize = 16 << 10;

/// Stands for what was cut off.
const CUT: &str = "…";

/// Whether a character could break a line or a terminal, or make text look like other text.
pub(super) fn is_control(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Whether there is a control character in it.
pub(super) fn has_control(words: &str) -> bool {
    words.contains(is_control)
}

/// Checks a name of at most so many bytes.
///
/// # Errors
/// What is wrong with it. The name itself is not repeated.
pub(super) fn name_within(most: usize, what: &str, name: &str) -> Result<(), String> {
    if name.len() > most {
        return Err(format!("{what} of {} bytes (at most {most})", name.len()));
    }
    if has_control(name) {
        return Err(format!("{what} with control characters"));
    }
    Ok(())
}

/// The same, of a name that there must be.
pub(super) fn name(what: &str, name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err(format!("{what} that is empty"));
    }
    name_within(NAME, what, name)
}

/// At most so many bytes, and no control characters: `\n`, `\u{1b}`.
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

/// The same, of any text.
pub(super) fn text(words: impl Into<String>) -> String {
    text_within(TEXT, words.into())
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
