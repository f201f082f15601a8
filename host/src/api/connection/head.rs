//! Finds where a request's head begins and ends among the bytes of a connection.

/// The bytes that an HTTP/2 client sends first (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The frame types that carry heads, and the flag of the last frame of a head (RFC 9113 §6.2, §6.10).
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// The protocol of a connection, and whether part of a head has come.
#[derive(Debug)]
pub(super) enum Head {
    /// The bytes so far are this many of the preface, and nothing else.
    Undecided(usize),
    /// HTTP/1: the bytes between two requests are a head.
    Text,
    /// HTTP/2: heads are in frames, among frames of other types.
    Frames(Frames),
}

/// The parser's position within the frames.
#[derive(Debug, Default)]
pub(super) struct Frames {
    header: [u8; 9],
    /// Bytes of the frame's header that have come.
    come: usize,
    /// Bytes of the frame's payload that are missing.
    missing: usize,
    /// A head has begun, and its last frame is not complete.
    open: bool,
    /// The present frame ends a head.
    last: bool,
}

impl Head {
    pub(super) fn new() -> Self {
        Self::Undecided(0)
    }

    pub(super) fn is_text(&self) -> bool {
        matches!(self, Self::Text)
    }

    /// Takes the next bytes of the connection.
    pub(super) fn read(&mut self, mut bytes: &[u8]) {
        if let Self::Undecided(come) = self {
            let expected = &PREFACE[*come..];
            let same = bytes.iter().zip(expected).take_while(|(a, b)| a == b);
            let same = same.count();
            if same < bytes.len().min(expected.len()) {
                *self = Self::Text;
                return;
            }
            *come += same;
            if *come == PREFACE.len() {
                *self = Self::Frames(Frames::default());
            }
            bytes = &bytes[same..];
        }
        if let Self::Frames(frames) = self {
            frames.read(bytes);
        }
    }

    /// Whether the bytes so far end within a head or a frame's header. HTTP/1 is not parsed here: there it is always true.
    pub(super) fn is_open(&self) -> bool {
        match self {
            Self::Undecided(come) => *come > 0,
            Self::Text => true,
            Self::Frames(frames) => frames.open || frames.come > 0,
        }
    }
}

impl Frames {
    fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.missing > 0 {
                let come = self.missing.min(bytes.len());
                self.missing -= come;
                bytes = &bytes[come..];
            } else {
                let come = (self.header.len() - self.come).min(bytes.len());
                self.header[self.come..self.come + come].copy_from_slice(&bytes[..come]);
                self.come += come;
                bytes = &bytes[come..];
                if self.come < self.header.len() {
                    return;
                }
                self.begin();
            }
            if self.missing == 0 && self.last {
                (self.open, self.last) = (false, false);
            }
        }
    }

    /// Begins a frame whose header is complete.
    fn begin(&mut self) {
        let [a, b, c, kind, flags, ..] = self.header;
        self.come = 0;
        self.missing = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        if matches!(kind, HEADERS | CONTINUATION) {
            self.open = true;
            self.last = flags & END_HEADERS != 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let [.., a, b, c] = length.to_be_bytes();
        let mut frame = vec![a, b, c, kind, flags, 0, 0, 0, 1];
        frame.extend(vec![0; length]);
        frame
    }

    /// Whether a head is open after each of the pieces.
    fn told(pieces: &[&[u8]]) -> Vec<bool> {
        let mut head = Head::new();
        let told = pieces.iter().map(|piece| {
            head.read(piece);
            head.is_open()
        });
        told.collect()
    }

    #[test]
    fn what_begins_otherwise_than_the_preface_is_text() {
        for start in ["G", "POST / HTTP/1.1\r\n", "PRI * HTTP/1", "\r\n"] {
            let mut head = Head::new();
            head.read(start.as_bytes());
            assert!(head.is_text() && head.is_open(), "{start:?}");
        }
        let mut head = Head::new();
        head.read(b"PRI * HT");
        assert!(!head.is_text() && head.is_open());
        head.read(b"ML");
        assert!(head.is_text());
    }

    #[test]
    fn half_a_head_is_open_and_other_frames_are_not() {
        let (settings, ping) = (frame(4, 0, 12), frame(6, 0, 8));
        let (headers, rest) = (frame(HEADERS, 0, 5), frame(CONTINUATION, END_HEADERS, 5));
        let (head, data) = (frame(HEADERS, END_HEADERS, 0), frame(0, 0, 20_000));
        let pieces: Vec<&[u8]> = vec![PREFACE, &settings, &ping, &headers, &rest, &head, &data];
        let expected = [false, false, false, true, false, false, false];
        assert_eq!(told(&pieces), expected);
        let half: Vec<&[u8]> = vec![PREFACE, &head[..4], &head[4..], &rest[..10], &rest[10..]];
        assert_eq!(told(&half), [false, true, false, true, false]);
        let whole = pieces.concat();
        for cut in 1..PREFACE.len() + 60 {
            let (start, end) = whole.split_at(cut);
            assert!(!told(&[start, end])[1], "cut at {cut}");
        }
    }
}
