//! Checks images in a request before Codex gets them: Codex silently replaces an image that it cannot read by a text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{ApiError, GatewayError, json_object};
use crate::codex::{Item, Part};

/// The largest image in bytes, as at OpenAI.
const MOST_BYTES: usize = 20 << 20;

/// The most pixels of an image. Codex unpacks it: a file of 100 KB with 900 million pixels took it 2.5 GB and 15 s.
const MOST_PIXELS: usize = 50_000_000;

/// The most pixels of all images of a conversation together: Codex unpacks some 100 million in a second, for each turn anew.
const MOST_PIXELS_TOGETHER: usize = 5 * MOST_PIXELS;

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

/// Bounds the images of a whole conversation, each of which was checked. `param` is its member in the request.
///
/// # Errors
/// 400 if they have more than 250 million pixels.
pub(super) fn bound(conversation: &[Item], param: &str) -> Result<(), ApiError> {
    let parts = conversation.iter().flat_map(|item| match item {
        Item::Message { parts, .. } | Item::CallOutput { parts, .. } => parts.as_slice(),
        Item::Call { .. } => &[],
    });
    let urls: Vec<&str> = parts
        .filter_map(|part| match part {
            Part::Image { url, .. } => Some(url.as_str()),
            Part::Text(_) => None,
        })
        .collect();
    // So many are within the bound, whatever they are.
    if urls.len() <= MOST_PIXELS_TOGETHER / MOST_PIXELS {
        return Ok(());
    }
    let pixels: usize = urls.into_iter().filter_map(pixels).sum();
    match pixels > MOST_PIXELS_TOGETHER {
        true => Err(GatewayError::ImagesTooManyPixels.about(param)),
        false => Ok(()),
    }
}

/// The pixels of an image that was checked. Its head tells them; only if that is long, the rest is decoded, too.
fn pixels(url: &str) -> Option<usize> {
    /// Of base64: 48 KiB of the image.
    const HEAD: usize = 64 << 10;
    let (_, coded) = url.split_once(',')?;
    let size = |coded: &str| {
        let bytes = STANDARD.decode(coded).ok()?;
        let size = imagesize::blob_size(&bytes).ok()?;
        Some(size.width.saturating_mul(size.height))
    };
    coded.get(..HEAD).and_then(size).or_else(|| size(coded))
}

/// Beginnings of files that clients send as images, and their names.
const OTHERS: [(&[u8], &str); 7] = [
    (b"BM", "a BMP image"),
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (b"\0\0\x01\0", "an icon"),
    (b"%PDF", "a PDF document"),
    (b"<svg", "an SVG image"),
    (b"<?xml", "an SVG image"),
];

/// A name for an image of a type that Codex cannot read. `declared` is the media type in its URL.
fn name_of(bytes: &[u8], declared: &str) -> String {
    // The container of the formats of cameras and telephones has its brand after its length.
    let found = match (bytes.get(4..8), bytes.get(8..12)) {
        (Some(b"ftyp"), Some(b"avif" | b"avis")) => Some("an AVIF image"),
        (Some(b"ftyp"), Some(b"heic" | b"heix" | b"mif1" | b"msf1")) => Some("a HEIC image"),
        _ => None,
    };
    let others = || OTHERS.iter().find(|(known, _)| bytes.starts_with(known));
    match found.or_else(|| others().map(|(_, name)| *name)) {
        Some(name) => name.to_owned(),
        None => format!("an image of this type ({})", json_object::shorten(declared)),
    }
}

fn look_at(url: &str) -> Result<(), GatewayError> {
    let is_data = url
        .get(..5)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"));
    if !is_data {
        return Err(GatewayError::ImageNotInline);
    }
    let is_base64 = |head: &&str| {
        head.rsplit(';')
            .next()
            .is_some_and(|word| word.eq_ignore_ascii_case("base64"))
    };
    let coded = url.split_once(',').filter(|(head, _)| is_base64(head));
    let Some((head, coded)) = coded else {
        return Err(GatewayError::ImageNotBase64);
    };
    let declared = head.get(5..).unwrap_or_default();
    let declared = declared.split_once(';').map_or(declared, |(kind, _)| kind);
    if coded.len() / 4 * 3 > MOST_BYTES {
        return Err(GatewayError::ImageTooLarge);
    }
    match STANDARD.decode(coded) {
        Ok(bytes) if bytes.is_empty() => Err(GatewayError::ImageEmpty),
        Ok(bytes) if is_known(&bytes) && is_image(declared) => bound_pixels(&bytes),
        Ok(bytes) => Err(GatewayError::ImageUnknown {
            found: name_of(&bytes, declared),
        }),
        Err(error) => Err(GatewayError::ImageBroken {
            why: error.to_string(),
        }),
    }
}

/// An image whose size cannot be read may be of any size: Codex's own decoders are more lenient, for example about fill bytes
/// in a JPEG.
fn bound_pixels(bytes: &[u8]) -> Result<(), GatewayError> {
    match imagesize::blob_size(bytes) {
        Ok(size) if size.width.saturating_mul(size.height) > MOST_PIXELS => {
            Err(GatewayError::ImageTooManyPixels {
                width: size.width,
                height: size.height,
            })
        }
        Ok(_) => Ok(()),
        Err(_) => Err(GatewayError::ImageSizeUnknown),
    }
}

fn is_image(media_type: &str) -> bool {
    media_type
        .get(..6)
        .is_some_and(|kind| kind.eq_ignore_ascii_case("image/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codex::Role;

    fn url(head: &str, bytes: &[u8]) -> String {
        format!("{head}{}", STANDARD.encode(bytes))
    }

    /// The head of a PNG with this width and height.
    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
        bytes.extend(width.to_be_bytes());
        bytes.extend(height.to_be_bytes());
        bytes.extend([8, 2, 0, 0, 0]);
        bytes
    }

    #[test]
    fn a_small_file_with_very_many_pixels_is_refused() {
        let head = "data:image/png;base64,";
        assert_eq!(check(&url(head, &png(10_000, 5_000)), "p"), Ok(()));
        for (width, height) in [(10_000, 5_001), (30_000, 30_000), (u32::MAX, u32::MAX)] {
            let refused = check(&url(head, &png(width, height)), "p").unwrap_err();
            assert_eq!(refused.code, "image_too_large", "{width} {height}");
            assert!(
                refused.message.contains("50 million pixels"),
                "{}",
                refused.message
            );
        }
    }

    /// The head of a JPEG; `fill` stands before its frame.
    fn jpeg(width: u16, height: u16, fill: &[u8]) -> Vec<u8> {
        let frame = [
            &b"\xff\xc0\0\x0b\x08"[..],
            &height.to_be_bytes(),
            &width.to_be_bytes(),
        ];
        [&b"\xff\xd8"[..], fill, &frame.concat(), b"\x01\x01\x11\0"].concat()
    }

    fn gif(width: u16, height: u16) -> Vec<u8> {
        [
            &b"GIF89a"[..],
            &width.to_le_bytes(),
            &height.to_le_bytes(),
            &[0; 3],
        ]
        .concat()
    }

    /// A WebP in its extended form.
    fn webp(width: u32, height: u32) -> Vec<u8> {
        let three = |number: u32| (number - 1).to_le_bytes()[..3].to_vec();
        let begin = b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0";
        [&begin[..], &three(width), &three(height)].concat()
    }

    #[test]
    fn an_image_of_unknown_size_is_refused() {
        let whole = jpeg(30_000, 30_000, &[]);
        let filled = jpeg(30_000, 30_000, b"\xff");
        let cut = png(3, 2)[..18].to_vec();
        for (bytes, code) in [
            (whole, "image_too_large"),
            (filled, "image_parse_error"),
            (cut, "image_parse_error"),
        ] {
            let refused = check(&url("data:image/png;base64,", &bytes), "p").unwrap_err();
            assert_eq!(refused.code, code, "{bytes:?}");
        }
    }

    #[test]
    fn all_images_of_a_conversation_have_a_bound_together() {
        let image = |bytes: &[u8]| Part::Image {
            url: url("data:image/png;base64,", bytes),
            detail: None,
        };
        let conversation = |parts: Vec<Part>| {
            let output = Item::CallOutput {
                id: "call_1".to_owned(),
                parts: parts.clone(),
            };
            let message = Item::Message {
                role: Role::User,
                parts,
            };
            [message, output]
        };
        let large = png(10_000, 5_000);
        let long = jpeg(
            10_000,
            5_000,
            &[b"\xff\xe0\xff\xfe".to_vec(), vec![0; 65_532]].concat(),
        );
        for bytes in [large, long] {
            let (two, three) = (vec![image(&bytes); 2], vec![image(&bytes); 3]);
            assert_eq!(bound(&conversation(two), "input"), Ok(()));
            let refused = bound(&conversation(three), "input").unwrap_err();
            assert_eq!(
                (&*refused.code, refused.param.as_deref()),
                ("image_too_large", Some("input"))
            );
        }
        let many = vec![image(&png(1_000, 1_000)); 125];
        assert_eq!(bound(&conversation(many), "input"), Ok(()));
    }

    #[test]
    fn pictures_that_codex_can_read_pass() {
        for bytes in [&png(3, 2)[..], &jpeg(3, 2, &[]), &gif(3, 2), &webp(3, 2)] {
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
                "unsupported_image_media_type",
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

    #[test]
    fn an_image_that_codex_cannot_read_is_named() {
        let png = b"\x89PNG\r\n\x1a\n";
        for (declared, bytes, name) in [
            ("image/svg+xml", &b"<svg/>"[..], "an SVG image"),
            ("image/bmp", b"BM\0\0", "a BMP image"),
            ("image/png", b"MM\0*", "a TIFF image"),
            ("image/heic", b"\0\0\0\x18ftypheic", "a HEIC image"),
            ("image/avif", b"\0\0\0\x18ftypavif", "an AVIF image"),
            ("application/pdf", b"%PDF-1.7", "a PDF document"),
            ("image/odd", b"odd", "an image of this type (image/odd)"),
            ("text/plain", png, "an image of this type (text/plain)"),
        ] {
            let error = check(&url(&format!("data:{declared};base64,"), bytes), "p").unwrap_err();
            let expected = format!("Codex cannot read {name}: send PNG, JPEG, GIF or WebP.");
            assert_eq!(error.message, expected, "{declared}");
        }
    }
}
