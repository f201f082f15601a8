//! Reads any compressed body: never more than the limit, the same with every limit that is enough, and no part of a body as
//! the whole.

#![no_main]

use std::io::Write;

use arbitrary::Arbitrary;
use codex_gateway::api::replay::decode;
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Request {
    body: Body,
    limit: u16,
}

#[derive(Debug, Arbitrary)]
enum Body {
    /// Any bytes under any name.
    Any { coding: Coding, bytes: Vec<u8> },
    /// Any header.
    Header { value: Vec<u8>, bytes: Vec<u8> },
    /// A text that was compressed, perhaps a bomb.
    Packed {
        zstd: bool,
        level: u8,
        text: Vec<u8>,
        times: u16,
        harm: Harm,
    },
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Coding {
    Gzip,
    Brotli,
    Zstd,
}

impl Coding {
    fn name(self) -> &'static [u8] {
        match self {
            Self::Gzip => b"gzip",
            Self::Brotli => b"br",
            Self::Zstd => b"zstd",
        }
    }
}

#[derive(Debug, Arbitrary)]
enum Harm {
    None,
    Cut(u32),
    Flip(u32, u8),
    Add(Vec<u8>),
}

/// The longest text that is compressed.
const LONGEST: usize = 1 << 22;

fuzz_target!(|request: Request| {
    let limit = usize::from(request.limit);
    match request.body {
        Body::Any { coding, bytes } => {
            drop(check(coding.name(), &bytes, limit));
        }
        Body::Header { value, bytes } => {
            if let Err(code) = decode(&value, &bytes, limit) {
                assert!(is_known(&code) || code == "unsupported_encoding", "{code}");
            }
        }
        Body::Packed {
            zstd,
            level,
            text,
            times,
            harm,
        } => {
            let times = usize::from(times).min(LONGEST / text.len().max(1));
            let text = text.repeat(times);
            let coding = if zstd { Coding::Zstd } else { Coding::Gzip };
            let packed = pack(coding, level, &text);
            let harmed = harmed(packed.clone(), harm);
            let decoded = check(coding.name(), &harmed, limit);
            if harmed == packed {
                match decoded {
                    Ok(decoded) => assert_eq!(decoded, text),
                    Err(code) => assert!(code == "request_too_large" && text.len() > limit),
                }
            } else if harmed.len() < packed.len() && !harmed.is_empty() {
                // Only the limit may hide that the end is missing.
                assert!(decoded.is_err(), "a part of a body is no body");
            }
        }
    }
});

fn is_known(code: &str) -> bool {
    ["request_too_large", "invalid_encoding"].contains(&code)
}

/// Decodes within the limit, and again within others.
fn check(coding: &[u8], bytes: &[u8], limit: usize) -> Result<Vec<u8>, String> {
    let decoded = decode(coding, bytes, limit);
    match &decoded {
        Ok(decoded) => {
            assert!(decoded.len() <= limit);
            assert_eq!(decode(coding, bytes, decoded.len()).as_ref(), Ok(decoded));
            if let Some(less) = decoded.len().checked_sub(1) {
                let refused = decode(coding, bytes, less).expect_err("it is too large");
                assert_eq!(refused, "request_too_large");
            }
        }
        Err(code) => assert!(is_known(code), "{code}"),
    }
    decoded
}

fn pack(coding: Coding, level: u8, text: &[u8]) -> Vec<u8> {
    match coding {
        Coding::Zstd => zstd::encode_all(text, i32::from(level % 6)).expect("it is compressed"),
        _ => {
            let level = flate2::Compression::new(u32::from(level % 10));
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), level);
            writer.write_all(text).expect("it is compressed");
            writer.finish().expect("it is compressed")
        }
    }
}

fn harmed(mut packed: Vec<u8>, harm: Harm) -> Vec<u8> {
    let place = |at: u32| usize::try_from(at).unwrap_or(0) % packed.len().max(1);
    match harm {
        Harm::None => {}
        Harm::Cut(at) => packed.truncate(place(at)),
        Harm::Flip(at, bits) => {
            let at = place(at);
            packed[at] ^= bits;
        }
        Harm::Add(bytes) => packed.extend(bytes),
    }
    packed
}
