//! Finds words in text that arrives in pieces, and holds back only text that could still become one of them.

/// Searches for several words at once, with one Knuth-Morris-Pratt automaton each: constant work per byte, wherever the pieces
/// end.
#[derive(Debug, Default)]
pub(super) struct Search {
    words: Vec<Automaton>,
    /// The text that is held back begins at `held[start..]`; text before it was passed on already.
    held: String,
    start: usize,
}

/// The result of a piece of text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Scan<'a> {
    /// No word is complete. This text can no longer be part of one.
    Clear(String),
    /// A word is complete. The search has started anew and has not read `rest`.
    Hit {
        /// The text before the word.
        before: String,
        /// The word.
        word: String,
        /// The text after it, within the piece.
        rest: &'a str,
    },
}

impl Search {
    /// A search for these words. Empty words are never found.
    pub(super) fn new<W: AsRef<str>>(words: impl IntoIterator<Item = W>) -> Self {
        let words = words
            .into_iter()
            .map(|word| Automaton::new(word.as_ref()))
            .filter(|automaton| !automaton.word.is_empty())
            .collect();
        Self {
            words,
            ..Self::default()
        }
    }

    /// Reads the next piece. The word that is complete first wins; of two that end together, the longer one.
    pub(super) fn push<'a>(&mut self, text: &'a str) -> Scan<'a> {
        if self.words.is_empty() {
            return Scan::Clear(text.to_owned());
        }
        for (at, byte) in text.bytes().enumerate() {
            let complete = self.words.iter_mut().filter_map(|word| word.advance(byte));
            if let Some(length) = complete.max() {
                let (looked_at, rest) = text.split_at(at + 1);
                let mut before = self.flush();
                before.push_str(looked_at);
                let word = before.split_off(before.len() - length);
                return Scan::Hit { before, word, rest };
            }
        }
        let pending = self.words.iter().map(|word| word.matched).max();
        Scan::Clear(self.pass_all_but(pending.unwrap_or(0), text))
    }

    /// Returns the text that is held back, and starts anew.
    pub(super) fn flush(&mut self) -> String {
        for word in &mut self.words {
            word.matched = 0;
        }
        let mut held = std::mem::take(&mut self.held);
        held.drain(..std::mem::take(&mut self.start));
        held
    }

    /// The number of bytes that are held back.
    pub(super) fn holding(&self) -> usize {
        self.held.len() - self.start
    }

    /// A word's prefix begins with its first character, so the text that is kept begins at a character's first byte.
    fn pass_all_but(&mut self, keep: usize, text: &str) -> String {
        if self.holding() == 0 {
            let (passed, kept) = text.split_at(text.len() - keep);
            self.held = kept.to_owned();
            self.start = 0;
            return passed.to_owned();
        }
        self.held.push_str(text);
        let end = self.held.len() - keep;
        let passed = self
            .held
            .get(self.start..end)
            .unwrap_or_default()
            .to_owned();
        self.start = end;
        // The bytes moved are never more than the bytes passed on since the last move.
        if self.start * 2 >= self.held.len() {
            self.held.drain(..self.start);
            self.start = 0;
        }
        passed
    }
}

#[derive(Debug)]
struct Automaton {
    word: Box<[u8]>,
    /// At `n`: the length of the longest proper prefix of `word[..=n]` that is also its suffix.
    borders: Box<[usize]>,
    /// The length of the word's prefix with which the text now ends.
    matched: usize,
}

impl Automaton {
    fn new(word: &str) -> Self {
        let mut automaton = Self {
            word: word.as_bytes().into(),
            borders: vec![0; word.len()].into(),
            matched: 0,
        };
        // The borders of a word are the lengths it matches in itself, one byte late.
        for at in 1..word.len() {
            automaton.advance(word.as_bytes().get(at).copied().unwrap_or_default());
            if let Some(border) = automaton.borders.get_mut(at) {
                *border = automaton.matched;
            }
        }
        automaton.matched = 0;
        automaton
    }

    /// Reads the next byte. Returns the word's length if the byte completes it.
    fn advance(&mut self, byte: u8) -> Option<usize> {
        while self.matched > 0 && self.word.get(self.matched) != Some(&byte) {
            self.matched = self.borders.get(self.matched - 1).copied().unwrap_or(0);
        }
        if self.word.get(self.matched) == Some(&byte) {
            self.matched += 1;
        }
        (self.matched == self.word.len()).then_some(self.matched)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text before the first word, and whether there was one; with one push per piece.
    fn scan<'a>(words: &[&str], pieces: impl IntoIterator<Item = &'a str>) -> (String, bool) {
        let mut search = Search::new(words);
        let mut passed = String::new();
        for piece in pieces {
            match search.push(piece) {
                Scan::Clear(text) => passed.push_str(&text),
                Scan::Hit { before, .. } => return (passed + &before, true),
            }
        }
        (passed + &search.flush(), false)
    }

    /// The definition, tried at every end: the first end at which a word is complete, and the longest such word.
    fn naive(words: &[&str], text: &str) -> (String, bool) {
        for end in 0..=text.len() {
            let complete = words
                .iter()
                .filter(|word| text.as_bytes()[..end].ends_with(word.as_bytes()));
            if let Some(length) = complete.map(|word| word.len()).max() {
                return (text[..end - length].to_owned(), true);
            }
        }
        (text.to_owned(), false)
    }

    #[test]
    fn finds_the_same_however_the_text_is_cut() {
        let words: &[&[&str]] = &[
            &["END"],
            &["\n\n", "\nUser:"],
            &["aab", "ab", "b"],
            &["aaaa"],
            &["abab!"],
            &["日本", "本"],
            &["éé", "é!"],
        ];
        let texts = [
            "",
            "EN",
            "ENEND tail",
            "one\nUse\nUser: two",
            "aaaab",
            "aabaab",
            "abababab!",
            "日日本語",
            "éaéé",
            "xé",
        ];
        for words in words {
            for text in texts {
                let expected = naive(words, text);
                let borders = text.char_indices().map(|(at, _)| at).chain([text.len()]);
                for (at, to) in borders
                    .clone()
                    .flat_map(|at| borders.clone().map(move |to| (at, to)))
                {
                    if at <= to {
                        let pieces = [&text[..at], &text[at..to], &text[to..]];
                        assert_eq!(scan(words, pieces), expected, "{words:?} in {pieces:?}");
                    }
                }
                let characters = text
                    .char_indices()
                    .map(|(at, c)| &text[at..at + c.len_utf8()]);
                assert_eq!(
                    scan(words, characters),
                    expected,
                    "{words:?} in {text:?}, by character"
                );
            }
        }
    }

    #[test]
    fn holds_back_only_what_could_become_a_word() {
        let mut search = Search::new(["\nUser:"]);
        for (piece, passed, holding) in [
            ("Hello", "Hello", 0),
            (" there\nUs", " there", 3),
            ("e", "", 4),
            ("less\n", "\nUseless", 1),
            ("!", "\n!", 0),
        ] {
            assert_eq!(search.push(piece), Scan::Clear(passed.to_owned()));
            assert_eq!(search.holding(), holding, "after {piece:?}");
        }
    }

    #[test]
    fn a_hit_says_what_was_not_looked_at() {
        let mut search = Search::new(["END"]);
        let hit = search.push("one END two END three");
        let Scan::Hit { before, word, rest } = hit else {
            panic!("{hit:?}")
        };
        assert_eq!((&*before, &*word, rest), ("one ", "END", " two END three"));
        assert!(matches!(search.push(rest), Scan::Hit { rest, .. } if rest == " three"));
    }

    #[test]
    fn without_words_text_passes_untouched() {
        let mut search = Search::new(Vec::<String>::new());
        assert_eq!(search.push("anything"), Scan::Clear("anything".to_owned()));
        assert!(!scan(&[""], ["an empty word is no word"]).1);
    }

    /// A word that is always nearly complete is the worst case: much text is held back, and each push passes on one byte.
    #[test]
    fn what_is_held_is_seldom_moved_and_never_piles_up() {
        let (word, text) = ("a".repeat(1_000) + "b", "a".repeat(100_000));
        let (mut search, mut passed, mut moved) = (Search::new([word]), 0, 0);
        for at in 0..text.len() {
            let Scan::Clear(clear) = search.push(&text[at..=at]) else {
                panic!("there is no b");
            };
            passed += clear.len();
            moved += usize::from(!clear.is_empty() && search.start == 0);
            assert!(search.held.len() <= 2 * 1_000 + 1);
        }
        assert_eq!((passed, search.holding()), (99_000, 1_000));
        assert!(moved <= 100, "{moved} times");
    }
}
