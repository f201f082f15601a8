//! Identifiers of answers, in OpenAI's form.

const LENGTH: usize = 29;

const ALPHABET: [char; 62] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I',
    'J', 'K', 'L', 'M', 'N', 'O', 'P', 'Q', 'R', 'S', 'T', 'U', 'V', 'W', 'X', 'Y', 'Z', 'a', 'b',
    'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', 'p', 'q', 'r', 's', 't', 'u',
    'v', 'w', 'x', 'y', 'z',
];

/// A new id of a chat completion: `chatcmpl-` and 29 letters and digits.
#[must_use]
pub fn chat_completion() -> String {
    format!("chatcmpl-{}", nanoid::nanoid!(LENGTH, &ALPHABET))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_are_letters_and_digits() {
        let (one, two) = (chat_completion(), chat_completion());
        assert_ne!(one, two);
        let random = one.strip_prefix("chatcmpl-").unwrap();
        assert_eq!(random.len(), 29);
        assert!(random.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    }
}
