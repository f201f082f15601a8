//! Adds OpenAI's error object to the bare refusals that hyper sends by itself.

use std::io::IoSlice;

use crate::openai::{ApiError, GatewayError};

/// The answer to a request whose head is incomplete.
pub(super) fn head_too_slow() -> Vec<u8> {
    answer(
        "HTTP/1.1 408 Request Timeout\r\n",
        GatewayError::HeadTooSlow,
    )
}

/// The status lines, as hyper writes them, with the error that each is. The bounds of a head are hyper's.
const STATUSES: [(&str, GatewayError); 4] = [
    ("HTTP/1.1 400 Bad Request\r\n", GatewayError::InvalidHttp),
    ("HTTP/1.1 414 URI Too Long\r\n", GatewayError::UriTooLong),
    (
        "HTTP/1.1 431 Request Header Fields Too Large\r\n",
        GatewayError::HeadTooLarge {
            headers: 100,
            bytes: 64 << 10,
        },
    ),
    (
        "HTTP/1.1 505 HTTP Version Not Supported\r\n",
        GatewayError::HttpVersion,
    ),
];

fn answer(line: &str, error: GatewayError) -> Vec<u8> {
    let body = ApiError::from(error).to_json();
    let length = body.len();
    format!(
        "{line}content-type: application/json\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// The answer that replaces hyper's, and how much of it was sent.
#[derive(Debug, Default)]
pub(super) struct Reject {
    answer: Vec<u8>,
    sent: usize,
}

impl Reject {
    /// Prepares our answer if the slices are a complete bare refusal of hyper.
    pub(super) fn look(&mut self, slices: &[IoSlice<'_>]) {
        let [head, rest @ ..] = slices else { return };
        if !rest.iter().all(|slice| slice.is_empty()) || !self.answer.is_empty() {
            return;
        }
        let status = STATUSES
            .iter()
            .find(|(line, ..)| head.starts_with(line.as_bytes()));
        let empty = b"content-length: 0\r\n";
        if let Some((line, error)) = status
            && head.windows(empty.len()).any(|part| part == empty)
            && head.ends_with(b"\r\n\r\n")
        {
            self.answer = answer(line, error.clone());
        }
    }

    /// The part of our answer that is still to be sent.
    pub(super) fn rest(&self) -> Option<&[u8]> {
        (!self.answer.is_empty()).then(|| &self.answer[self.sent..])
    }

    /// Counts sent bytes. Returns whether the answer is complete.
    pub(super) fn sent(&mut self, bytes: usize) -> bool {
        self.sent += bytes;
        let all = self.sent >= self.answer.len();
        if all {
            *self = Self::default();
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(head: &str) -> Option<String> {
        let mut reject = Reject::default();
        reject.look(&[IoSlice::new(head.as_bytes())]);
        Some(String::from_utf8_lossy(reject.rest()?).into_owned())
    }

    fn is_whole(answer: &str) -> bool {
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let length = head.split("content-length: ").nth(1).unwrap();
        let length: usize = length.lines().next().unwrap().parse().unwrap();
        let error: serde_json::Value = serde_json::from_str(body).unwrap();
        length == body.len() && error["error"]["message"].is_string()
    }

    #[test]
    fn a_status_without_a_word_gets_some_and_nothing_else_does() {
        for (line, error) in STATUSES {
            let code = error.row().code;
            let answer = said(&format!(
                "{line}connection: close\r\ncontent-length: 0\r\n\r\n"
            ));
            let answer = answer.unwrap();
            assert!(
                answer.starts_with(line) && answer.contains(code) && is_whole(&answer),
                "{answer}"
            );
        }
        for other in [
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\nHTTP",
        ] {
            assert_eq!(said(other), None, "{other}");
        }
        assert!(is_whole(&String::from_utf8(head_too_slow()).unwrap()));
    }
}
