//! Checks images in a request before Codex gets them: Codex silently replaces an image that it cannot read by a text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{ApiError, GatewayError};

/// The largest image in bytes, as at OpenAI.
const MOST_BYTES: usize = 20 << 20;

/// Whether Codex 0.169.0 can read it, judged by the first bytes; Codex corrects a media type that does not match them.
fn is_known(bytes: &[u8]) -> bool {
    let is_webp = bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP".as_slice());
    let beginnings: [&[u8]; 4] = [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a"];
    is_webp || beginnings.iter().any(|known| bytes.starts_with(known))
}

/// Checks an image's URL. `param` is its path in the request.
///
/// # Errors
/// 400 with one of OpenAI's codes: no data URL, not base64, too large, or an image that Codex cannot read.
pub(super) fn check(url: &str, param: &str) -> Result<(), ApiError> {
    look_at(url).map_err(|error| error.about(param))
}

fn look_at(url: &str) -> Result<(), GatewayError> {
    let is_data = url
        .get(..11)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:image/"));
    if !is_data {
        return Err(GatewayError::ImageNotInline);
    }
    let is_base64 = |head: &&str| {
        head.rsplit(';')
            .next()
            .is_some_and(|word| word.eq_ignore_ascii_case("base64"))
    };
    let coded = url.split_once(',').filter(|(head, _)| is_base64(head));
    let Some((_, coded)) = coded else {
        return Err(GatewayError::ImageNotBase64);
    };
    if coded.len() / 4 * 3 > MOST_BYTES {
        return Err(GatewayError::ImageTooLarge);
    }
    match STANDARD.decode(coded) {
        Ok(bytes) if bytes.is_empty() => Err(GatewayError::ImageEmpty),
        Ok(bytes) if is_known(&bytes) => Ok(()),
        Ok(_) => Err(GatewayError::ImageUnknown),
        Err(error) => Err(GatewayError::ImageBroken {
            why: error.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(head: &str, bytes: &[u8]) -> String {
        format!("{head}{}", STANDARD.encode(bytes))
    }

    #[test]
    fn pictures_that_codex_can_read_pass() {
        let webp = b"RIFF\x24\0\0\0WEBPVP8 ";
        let formats: [&[u8]; 4] = [b"\x89PNG\r\n\x1a\n\0", b"\xff\xd8\xff\xe0", b"GIF89a", webp];
        for bytes in formats {
            for head in [
                "data:image/png;base64,",
                "data:image/jpg;base64,",
                "DATA:IMAGE/PNG;BASE64,",
                "data:image/png;charset=utf-8;base64,",
            ] {
                assert_eq!(check(&url(head, bytes), "p"), Ok(()), "{head} {bytes:?}");
            }
        }
    }

    #[test]
    fn what_codex_would_leave_out_is_refused_with_its_place() {
        let png = "data:image/png;base64,";
        let large = format!("{png}{}", "A".repeat(MOST_BYTES / 3 * 4 + 8));
        for (url, code) in [
            (
                "https://example.com/cat.png".to_owned(),
                "invalid_image_url",
            ),
            (
                url("data:application/pdf;base64,", b"%PDF"),
                "invalid_image_url",
            ),
            ("data:image/png,abc".to_owned(), "invalid_image_url"),
            ("data:image/png;base64".to_owned(), "invalid_image_url"),
            (png.to_owned(), "empty_image_file"),
            (format!("{png}!!!!"), "invalid_base64_image"),
            (format!("{png}iVBO Rw=="), "invalid_base64_image"),
            (format!("{png}iVB"), "invalid_base64_image"),
            (url(png, b"<svg/>"), "unsupported_image_media_type"),
            (
                url(png, b"RIFF\x24\0\0\0WAVE"),
                "unsupported_image_media_type",
            ),
            (url(png, b"\x89PN"), "unsupported_image_media_type"),
            (large, "image_too_large"),
        ] {
            let error = check(&url, "messages[0].x").expect_err(&url);
            let found = (error.status, &*error.code, error.param.as_deref());
            assert_eq!(found, (400, code, Some("messages[0].x")), "{error}");
        }
    }
}
