//! Reads any frames of a WebSocket's client, cut into any pieces: the same messages, within the limit, and the messages that were
//! sent if they were sent as RFC 6455 has it.

#![no_main]

#[path = "../cuts.rs"]
mod cuts;

use arbitrary::Arbitrary;
use codex_gateway::api::replay::{self, Frame};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};

/// The longest message that is sent whole: one that is larger is read elsewhere.
const LONGEST: usize = 200_000;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const PING: u8 = 9;
const LAST: u8 = 0x80;

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
}

#[derive(Debug, Arbitrary)]
enum Client {
    /// Any bytes.
    Any { bytes: Vec<u8>, limit: u16 },
    /// Any frames.
    Frames { frames: Vec<Sent>, limit: u16 },
    /// Messages as the protocol has them.
    Honest(Vec<Message>),
}

#[derive(Debug, Arbitrary)]
struct Sent {
    first: u8,
    is_masked: bool,
    mask: [u8; 4],
    /// The bytes that the length takes: lengths may be longer than need be.
    form: Form,
    payload: Vec<u8>,
    /// The length is another one.
    lie: Option<u64>,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Form {
    Shortest,
    Two,
    Eight,
}

#[derive(Debug, Arbitrary)]
struct Message {
    text: String,
    times: u16,
    /// Where it is cut, with a ping there.
    cuts: Vec<(u16, [u8; 5])>,
    mask: [u8; 4],
}

fuzz_target!(|client: Client| {
    match client {
        Client::Any { bytes, limit } => {
            check(&bytes, usize::from(limit));
        }
        Client::Frames { frames, limit } => {
            let bytes: Vec<u8> = frames.iter().flat_map(Sent::bytes).collect();
            check(&bytes, usize::from(limit));
        }
        Client::Honest(messages) => {
            let (mut bytes, mut expected) = (Vec::new(), Vec::new());
            for message in &messages {
                message.send(&mut bytes, &mut expected);
            }
            expected.push(Frame::Broken("the client has gone".to_owned()));
            assert_eq!(check(&bytes, LONGEST), expected);
        }
    }
});

/// Reads the bytes: the result is the same however they are cut, and within the limits.
fn check(bytes: &[u8], limit: usize) -> Vec<Frame> {
    let read = |pieces| RUNTIME.with(|runtime| runtime.block_on(replay::frames(pieces, limit)));
    let whole = read([bytes, b"", b""]);
    assert_eq!(read(cuts::cut(bytes)), whole);
    let (last, rest) = whole.split_last().expect("an end");
    assert!(matches!(last, Frame::Close(_) | Frame::Broken(_)));
    for frame in rest {
        match frame {
            Frame::Text(text) => {
                assert!(text.len() <= limit && std::str::from_utf8(text).is_ok());
            }
            Frame::Ping(payload) => assert!(payload.len() <= 125),
            Frame::Pong => {}
            Frame::Close(_) | Frame::Broken(_) => panic!("not the last: {frame:?}"),
        }
    }
    whole
}

impl Sent {
    fn bytes(&self) -> Vec<u8> {
        let length = self.lie.unwrap_or(self.payload.len() as u64);
        let masked = if self.is_masked { 0x80 } else { 0 };
        let mut bytes = vec![self.first];
        match (self.form, u8::try_from(length), u16::try_from(length)) {
            (Form::Shortest, Ok(length @ ..126), _) => bytes.push(masked | length),
            (Form::Shortest | Form::Two, _, Ok(length)) => {
                bytes.push(masked | 126);
                bytes.extend(length.to_be_bytes());
            }
            _ => {
                bytes.push(masked | 127);
                bytes.extend(length.to_be_bytes());
            }
        }
        if self.is_masked {
            bytes.extend(self.mask);
        }
        bytes.extend(mask(&self.payload, self.mask));
        bytes
    }
}

fn mask(payload: &[u8], mask: [u8; 4]) -> impl Iterator<Item = u8> {
    let masks = mask.into_iter().cycle();
    payload.iter().zip(masks).map(|(byte, mask)| byte ^ mask)
}

impl Message {
    /// Adds its frames, and what is to be read.
    fn send(&self, bytes: &mut Vec<u8>, expected: &mut Vec<Frame>) {
        let times = usize::from(self.times).min(LONGEST / self.text.len().max(1));
        let text = self.text.repeat(times.max(1));
        let text = &text.as_bytes()[..text.floor_char_boundary(LONGEST)];
        let (mut rest, mut kind) = (text, TEXT);
        for (at, ping) in &self.cuts {
            let (part, further) = rest.split_at(usize::from(*at).min(rest.len()));
            bytes.extend(self.frame(kind, part));
            bytes.extend(self.frame(LAST | PING, ping));
            expected.push(Frame::Ping(ping.to_vec()));
            (rest, kind) = (further, CONTINUATION);
        }
        bytes.extend(self.frame(LAST | kind, rest));
        expected.push(Frame::Text(text.to_vec()));
    }

    fn frame(&self, first: u8, payload: &[u8]) -> Vec<u8> {
        let sent = Sent {
            first,
            is_masked: true,
            mask: self.mask,
            form: Form::Shortest,
            payload: payload.to_vec(),
            lie: None,
        };
        sent.bytes()
    }
}
