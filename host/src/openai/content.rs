//! Reads the content of messages and of functions' outputs into parts for Codex.

use serde_json::Value;

use super::json_object::{self, Object};
use super::{ApiError, image};
use crate::codex::Part;

/// Takes content out of an object. `types` are the dialect's names for the allowed types of parts.
pub(super) fn read(holder: &mut Object, name: &str, types: &[&str]) -> Result<Vec<Part>, ApiError> {
    if !holder.has(name) {
        return Err(holder.missing(name));
    }
    let path = holder.path_of(name);
    match holder.take(name) {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![Part::Text(text)]),
        Some(Value::Array(parts)) => {
            let parts = parts.into_iter().enumerate();
            parts
                .map(|(at, part)| {
                    read_part(Object::from_value(part, format!("{path}[{at}]"))?, types)
                })
                .collect()
        }
        Some(other) => Err(json_object::wrong_type(
            path,
            "a string or an array of parts",
            &other,
        )),
    }
}

fn read_part(mut part: Object, types: &[&str]) -> Result<Part, ApiError> {
    let found = part.required_string("type")?;
    if !types.contains(&found.as_str()) {
        let path = part.path_of("type");
        let what = match found.as_str() {
            "input_audio" => "audio",
            "file" | "input_file" => "files",
            _ => return Err(json_object::unsupported(path, &found, types)),
        };
        let message = format!("Codex takes no {what}: send text or an image.");
        return Err(json_object::invalid_value(path, message));
    }
    match found.as_str() {
        "image_url" => read_nested_image(part),
        "input_image" => read_flat_image(part),
        "refusal" => Ok(Part::Text(part.required_string("refusal")?)),
        _ => Ok(Part::Text(part.required_string("text")?)),
    }
}

fn read_nested_image(mut part: Object) -> Result<Part, ApiError> {
    let path = part.path_of("image_url");
    let mut image = part.required_object("image_url")?;
    let url = image.required_string("url")?;
    make_image(url, image, path)
}

fn read_flat_image(mut part: Object) -> Result<Part, ApiError> {
    let path = part.path_of("image_url");
    match part.string("image_url")? {
        Some(url) => make_image(url, part, path),
        None if part.take("file_id").is_some() => {
            let message = "This gateway keeps no files: send the image itself, as a data URL.";
            Err(json_object::invalid_value(part.path_of("file_id"), message))
        }
        None => Err(part.missing("image_url")),
    }
}

/// `holder` has the image's `detail`; `path` is the path of its URL.
fn make_image(url: String, mut holder: Object, path: String) -> Result<Part, ApiError> {
    let detail = match holder.word("detail", &["auto", "low", "high", "original"])? {
        // For `low` Codex would send a sentence instead of the picture. The provider may still choose it for `auto`.
        Some("low") => Some("auto"),
        detail => detail,
    };
    image::check(&url, &path)?;
    Ok(Part::Image {
        url,
        detail: detail.map(str::to_owned),
    })
}
