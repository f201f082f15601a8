//! Decompresses request bodies, within the size limit of a body.

use std::io::{self, BufReader, Read};

use axum::http::HeaderMap;
use axum::http::header::CONTENT_ENCODING;

use crate::openai::{ApiError, GatewayError};

/// The codings that are read, as `Accept-Encoding` names them.
const READ: &str = "gzip, br, zstd";

/// The window of zstd, as the exponent of 2: RFC 9659 allows 8 MiB in HTTP. A larger one is allocated before the first byte is
/// decompressed.
const ZSTD_WINDOW: u32 = 23;

/// The bytes that a decompressor reads at once.
const CHUNK: usize = 16 << 10;

/// A compression of a request body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    Brotli,
    Zstd,
}

impl Coding {
    /// The coding of a request's body; none if it is not compressed.
    ///
    /// # Errors
    /// 415 for other codings, and for several.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, ApiError> {
        let values = headers.get_all(CONTENT_ENCODING).iter();
        let values: Vec<_> = values
            .map(|value| String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase())
            .collect();
        let codings = values.iter().flat_map(|value| value.split(','));
        let mut codings = codings
            .map(str::trim)
            .filter(|coding| !matches!(*coding, "" | "identity"));
        let coding = match codings.next() {
            None => return Ok(None),
            Some("gzip" | "x-gzip") => Self::Gzip,
            Some("br") => Self::Brotli,
            Some("zstd") => Self::Zstd,
            Some(_) => return Err(unsupported()),
        };
        match codings.next() {
            None => Ok(Some(coding)),
            Some(_) => Err(unsupported()),
        }
    }

    /// The decompressed body.
    ///
    /// # Errors
    /// 413 if it has more than `limit` bytes, and 400 if it is not in this coding, or not complete.
    pub(super) fn decode(self, body: &[u8], limit: usize) -> Result<Vec<u8>, GatewayError> {
        let decoded = match self {
            Self::Gzip => read(flate2::bufread::MultiGzDecoder::new(body), limit),
            // A window beyond those of RFC 7932, up to 1 GiB, which the decompressor would allow.
            Self::Brotli if body.first().is_some_and(|first| first & 0x7f == 0x11) => {
                Err(io::ErrorKind::InvalidData.into())
            }
            Self::Brotli => read(brotli_decompressor::Decompressor::new(body, CHUNK), limit),
            Self::Zstd => zstd::Decoder::with_buffer(BufReader::with_capacity(CHUNK, body))
                .and_then(|mut decoder| {
                    decoder.window_log_max(ZSTD_WINDOW)?;
                    read(decoder, limit)
                }),
        };
        let decoded = decoded.map_err(|_| GatewayError::BrokenEncoding {
            coding: self.name(),
        })?;
        match decoded.len() > limit {
            true => Err(GatewayError::BodyTooLarge { limit }),
            false => Ok(decoded),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }
}

/// Reads to the end, or one byte beyond the limit.
fn read(decoder: impl Read, limit: usize) -> io::Result<Vec<u8>> {
    let mut decoded = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    decoder.take(most).read_to_end(&mut decoded)?;
    Ok(decoded)
}

fn unsupported() -> ApiError {
    let mut error = GatewayError::Encoded.about("content-encoding");
    error
        .headers
        .push(("accept-encoding".to_owned(), READ.to_owned()));
    error
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    /// `{"a":1}` and a line feed, compressed by Node.
    const BROTLI: &[u8] = b"\x8b\x03\x80{\"a\":1}\n\x03";

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        writer.write_all(text).unwrap();
        writer.finish().unwrap()
    }

    fn code(error: &GatewayError) -> (u16, &'static str) {
        (error.row().status, error.row().code)
    }

    #[test]
    fn each_coding_is_read() {
        let text = b"{\"a\":1}\n";
        let zstd = zstd::encode_all(&text[..], 3).unwrap();
        for (coding, body) in [
            (Coding::Gzip, gzip(text).as_slice()),
            (Coding::Gzip, &[gzip(&text[..3]), gzip(&text[3..])].concat()),
            (Coding::Brotli, BROTLI),
            (Coding::Zstd, &zstd),
        ] {
            assert_eq!(coding.decode(body, text.len()).unwrap(), text, "{coding:?}");
            let large = coding.decode(body, text.len() - 1).unwrap_err();
            assert_eq!(code(&large), (413, "request_too_large"));
            for broken in [&body[..body.len() - 1], b"{\"a\":1}"] {
                let broken = coding.decode(broken, 100).unwrap_err();
                assert_eq!(code(&broken), (400, "invalid_encoding"), "{coding:?}");
            }
        }
    }

    #[test]
    fn a_bomb_is_read_only_up_to_the_limit() {
        let zeros = vec![0; 64 << 20];
        let zstd = zstd::encode_all(&zeros[..], 3).unwrap();
        for (coding, bomb) in [(Coding::Gzip, gzip(&zeros)), (Coding::Zstd, zstd)] {
            assert!(bomb.len() < 100_000);
            let refused = coding.decode(&bomb, 1 << 20).unwrap_err();
            assert_eq!(refused, GatewayError::BodyTooLarge { limit: 1 << 20 });
        }
    }

    #[test]
    fn a_window_that_takes_too_much_memory_is_refused() {
        let mut writer = zstd::Encoder::new(Vec::new(), 19).unwrap();
        writer.window_log(ZSTD_WINDOW + 2).unwrap();
        writer.write_all(&vec![7; 1 << 20]).unwrap();
        let body = writer.finish().unwrap();
        let refused = Coding::Zstd.decode(&body, 64 << 20).unwrap_err();
        assert_eq!(code(&refused), (400, "invalid_encoding"));
        let large = Coding::Brotli.decode(&[0x11, 30, 0x03], 100).unwrap_err();
        assert_eq!(code(&large), (400, "invalid_encoding"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_stay_within_the_limit(
            text in proptest::collection::vec(any::<u8>(), 0..200),
            at in any::<prop::sample::Index>(),
            change in any::<u8>(),
            noise in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let zstd = zstd::encode_all(&text[..], 3).unwrap();
            for (coding, mut body) in [
                (Coding::Gzip, gzip(&text)),
                (Coding::Brotli, BROTLI.to_vec()),
                (Coding::Zstd, zstd),
            ] {
                let at = at.index(body.len());
                body[at] ^= change;
                for body in [&body, &noise] {
                    let decoded = coding.decode(body, 100);
                    prop_assert!(decoded.is_err() || decoded.is_ok_and(|body| body.len() <= 100));
                }
            }
        }
    }

    #[test]
    fn the_header_is_read_as_http_defines_it() {
        for (values, expected) in [
            (&[][..], Some(None)),
            (&[""], Some(None)),
            (&["Identity"], Some(None)),
            (&["GZIP"], Some(Some(Coding::Gzip))),
            (&["x-gzip"], Some(Some(Coding::Gzip))),
            (&["identity, br"], Some(Some(Coding::Brotli))),
            (&["", "zstd"], Some(Some(Coding::Zstd))),
            (&["gzip, gzip"], None),
            (&["gzip", "br"], None),
            (&["deflate"], None),
            (&["gzip;q=1"], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_ENCODING, HeaderValue::from_static(value));
            }
            let found = Coding::of(&headers);
            assert_eq!(found.as_ref().ok(), expected.as_ref(), "{values:?}");
            if let Err(error) = found {
                assert_eq!((error.status, &*error.code), (415, "unsupported_encoding"));
                assert!(
                    error
                        .headers
                        .iter()
                        .any(|(name, _)| name == "accept-encoding")
                );
            }
        }
    }
}
