//! Reads the content of messages and of tools' results into parts for Codex.

use serde_json::Value;

use super::super::json_object::{self, Object};
use super::super::{ApiError, image};
use crate::codex::Part;

/// The blocks that tell something, and that a tool's result may have, too.
pub(super) const TELLING: [&str; 5] = [
    "text",
    "image",
    "document",
    "search_result",
    "tool_reference",
];

/// The blocks of the content of `holder`: a text is one block.
pub(super) fn blocks(holder: &mut Object, name: &str) -> Result<Vec<Object>, ApiError> {
    let path = holder.path_of(name);
    let blocks = match holder.take(name) {
        None => return Ok(Vec::new()),
        Some(Value::String(text)) => {
            let block = serde_json::json!({"type": "text", "text": text});
            return Ok(vec![Object::from_value(block, path)?]);
        }
        Some(Value::Array(blocks)) => blocks,
        Some(other) => {
            let expected = "a string or an array of blocks";
            return Err(json_object::wrong_type(path, expected, &other));
        }
    };
    let blocks = blocks.into_iter().enumerate();
    blocks
        .map(|(at, block)| Object::from_value(block, format!("{path}[{at}]")))
        .collect()
}

/// The parts of content that has only [`TELLING`] blocks, or of them only these.
pub(super) fn parts(
    holder: &mut Object,
    name: &str,
    kinds: &[&'static str],
) -> Result<Vec<Part>, ApiError> {
    let mut parts = Vec::new();
    for mut block in blocks(holder, name)? {
        let kind = block.required_word("type", kinds)?;
        tell(kind, block, &mut parts)?;
    }
    Ok(parts)
}

/// Appends the parts of a block of one of the [`TELLING`] kinds.
pub(super) fn tell(kind: &str, mut block: Object, parts: &mut Vec<Part>) -> Result<(), ApiError> {
    match kind {
        "image" => parts.push(image_part(block)?),
        "document" => document(block, parts)?,
        "search_result" => {
            let (title, source) = (block.string("title")?, block.string("source")?);
            let heading = [title, source].into_iter().flatten();
            parts.push(Part::Text(heading.collect::<Vec<_>>().join("\n")));
            parts.extend(self::parts(&mut block, "content", &["text"])?);
        }
        "tool_reference" => {
            let name = block.required_string("tool_name")?;
            parts.push(Part::Text(format!("The tool `{name}` can be called.")));
        }
        _ => parts.push(Part::Text(block.required_string("text")?)),
    }
    Ok(())
}

fn image_part(mut block: Object) -> Result<Part, ApiError> {
    let mut source = block.required_object("source")?;
    let (url, path) = match source.required_word("type", &["base64", "url", "file"])? {
        "base64" => {
            let media_type = source.required_string("media_type")?;
            let data = source.required_string("data")?;
            let url = format!("data:{media_type};base64,{data}");
            (url, source.path_of("data"))
        }
        "url" => (source.required_string("url")?, source.path_of("url")),
        _ => {
            let path = source.path_of("file_id");
            let message = "This gateway keeps no files: send the image itself, in base64.";
            return Err(json_object::invalid_value(path, message));
        }
    };
    image::check(&url, &path)?;
    Ok(Part::Image { url, detail: None })
}

/// A document that is text. Its title and context come first.
fn document(mut block: Object, parts: &mut Vec<Part>) -> Result<(), ApiError> {
    let mut source = block.required_object("source")?;
    let kinds = ["text", "content", "base64", "url", "file"];
    let kind = source.required_word("type", &kinds)?;
    if !["text", "content"].contains(&kind) {
        let message = "Codex takes no files: send text or an image.";
        return Err(json_object::invalid_value(source.path_of("type"), message));
    }
    for about in [block.string("title")?, block.string("context")?] {
        parts.extend(about.map(Part::Text));
    }
    match kind {
        "text" => parts.push(Part::Text(source.required_string("data")?)),
        _ => parts.extend(self::parts(&mut source, "content", &["text", "image"])?),
    }
    Ok(())
}
