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
    with_prefix("chatcmpl-")
}

/// A new id of a completion: `cmpl-` and 29 letters and digits.
#[must_use]
pub fn completion() -> String {
    with_prefix("cmpl-")
}

/// A new id of a response: `resp_` and 29 letters and digits.
#[must_use]
pub fn response() -> String {
    with_prefix(RESPONSE)
}

/// A new id of a message: `msg_` and 29 letters and digits.
#[must_use]
pub fn message() -> String {
    with_prefix("msg_")
}

/// The id of an item of a response, for example `msg_…_0`: as unique as the response's own id, and always the same for the same
/// response and index.
pub(super) fn item(kind: &str, response: &str, index: usize) -> String {
    let stem = response.strip_prefix(RESPONSE).unwrap_or(response);
    format!("{kind}_{stem}_{index}")
}

/// The id of an item of a response's input, for example `msg_…_in0`.
pub(super) fn input_item(kind: &str, response: &str, index: usize) -> String {
    let stem = response.strip_prefix(RESPONSE).unwrap_or(response);
    format!("{kind}_{stem}_in{index}")
}

const RESPONSE: &str = "resp_";

fn with_prefix(prefix: &str) -> String {
    format!("{prefix}{}", nanoid::nanoid!(LENGTH, &ALPHABET))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_are_letters_and_digits() {
        for (make, prefix) in [
            (chat_completion as fn() -> String, "chatcmpl-"),
            (completion, "cmpl-"),
            (response, "resp_"),
            (message, "msg_"),
        ] {
            let (one, two) = (make(), make());
            assert_ne!(one, two);
            let random = one.strip_prefix(prefix).unwrap();
            assert_eq!(random.len(), 29);
            assert!(random.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        }
    }
}
