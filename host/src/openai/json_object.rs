//! Reads a JSON request member by member, with errors that name the member.

use serde_json::{Map, Number, Value};

use super::{ApiError, GatewayError};

/// The most JSON values in a request: in memory a value takes up to a hundred times its two bytes of JSON. The limit allows some
/// 60,000 messages, and more tools than any model takes.
const MOST_VALUES: usize = 200_000;

/// The most levels of objects and arrays in a request. Codex, as most programs in Rust, reads up to 127, and its own messages add
/// some around a schema: beyond that it ignores the message without a reply.
const MOST_LEVELS: usize = 100;

/// Refuses a body with so many values that parsing it would take much more memory than its bytes, and one that is nested so deeply
/// that Codex could not read it.
fn bound_values(body: &[u8]) -> Result<(), ApiError> {
    let (values, levels) = measure(body);
    if values > MOST_VALUES {
        return Err(GatewayError::TooManyValues { most: MOST_VALUES }.into());
    }
    if levels > MOST_LEVELS {
        return Err(GatewayError::TooDeep { most: MOST_LEVELS }.into());
    }
    Ok(())
}

/// Counts the values of a document, without the names of members, and its levels. The counts of invalid JSON have no meaning.
fn measure(json: &[u8]) -> (usize, usize) {
    let (mut values, mut in_string, mut escaped) = (1, false, false);
    let (mut level, mut levels) = (0_usize, 0);
    for byte in json {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            // Each value but the first of its list or object has a comma before it, and the first has the bracket.
            (false, b',') => values += 1,
            (false, b'[' | b'{') => {
                values += 1;
                level += 1;
                levels = levels.max(level);
            }
            (false, b']' | b'}') => level = level.saturating_sub(1),
            _ => {}
        }
    }
    (values, levels)
}

/// A JSON object whose members are taken out one by one. An absent member and `null` are the same, as at OpenAI.
#[derive(Debug)]
pub(super) struct Object {
    members: Map<String, Value>,
    /// Its path in the request; empty for the request itself.
    path: String,
}

impl Object {
    /// Reads a request body.
    pub(super) fn from_body(body: &[u8]) -> Result<Self, ApiError> {
        bound_values(body)?;
        let value: Value = serde_json::from_slice(body).map_err(|error| {
            let why = error.to_string();
            match body {
                [] => GatewayError::NoBody,
                _ => GatewayError::InvalidJson { why },
            }
        })?;
        Self::from_value(value, String::new())
    }

    pub(super) fn from_value(value: Value, path: String) -> Result<Self, ApiError> {
        match value {
            Value::Object(members) => Ok(Self { members, path }),
            other => Err(wrong_type(path, "an object", &other)),
        }
    }

    /// The members that were not taken, as a value.
    pub(super) fn into_value(self) -> Value {
        Value::Object(self.into_members())
    }

    /// The members that were not taken.
    pub(super) fn into_members(self) -> Map<String, Value> {
        self.members
    }

    /// The path of a member in the request.
    pub(super) fn path_of(&self, name: &str) -> String {
        match self.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        }
    }

    /// Whether the member is present; also true of a `null`.
    pub(super) fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// Whether the member is present and not `null`.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.members.get(name).is_some_and(|value| !value.is_null())
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.members.remove(name).filter(|value| !value.is_null())
    }

    /// A member that was not taken, without taking it.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.members.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn string(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong_type(self.path_of(name), "a string", &other)),
        }
    }

    pub(super) fn required_string(&mut self, name: &str) -> Result<String, ApiError> {
        let text = self.string(name)?;
        text.ok_or_else(|| self.missing(name))
    }

    /// Takes a string of at most `most` bytes. An empty one is the same as none.
    pub(super) fn short_string(
        &mut self,
        name: &str,
        most: usize,
    ) -> Result<Option<String>, ApiError> {
        let text = self.string(name)?.filter(|text| !text.is_empty());
        match text.as_ref().map(String::len) {
            Some(found) if found > most => {
                let param = self.path_of(name);
                let long = GatewayError::StringTooLong {
                    param: param.clone(),
                    most,
                    found,
                };
                Err(long.about(param))
            }
            _ => Ok(text),
        }
    }

    /// Takes a string that must not be empty.
    pub(super) fn required_id(&mut self, name: &str) -> Result<String, ApiError> {
        let id = self.required_string(name)?;
        match id.is_empty() {
            true => Err(empty_string(self.path_of(name))),
            false => Ok(id),
        }
    }

    pub(super) fn boolean(&mut self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(other) => Err(wrong_type(self.path_of(name), "a boolean", &other)),
        }
    }

    /// Takes a whole number that may be 0.
    pub(super) fn whole(&mut self, name: &str) -> Result<Option<u64>, ApiError> {
        let value = self.take(name);
        let number = value.as_ref().and_then(Value::as_u64);
        match value {
            Some(other) if number.is_none() => {
                let expected = "a whole number, 0 or more";
                Err(wrong_type(self.path_of(name), expected, &other))
            }
            _ => Ok(number),
        }
    }

    /// Takes a whole number that is 1 or more.
    pub(super) fn positive(&mut self, name: &str) -> Result<Option<u64>, ApiError> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        match value.as_u64() {
            Some(0) => {}
            Some(number) => return Ok(Some(number)),
            None if value.is_i64() => {}
            None => return Err(wrong_type(self.path_of(name), "a whole number", &value)),
        }
        let below = GatewayError::BelowMinimum {
            name: name.to_owned(),
            found: value.to_string(),
        };
        Err(below.about(self.path_of(name)))
    }

    pub(super) fn number(&mut self, name: &str) -> Result<Option<Number>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Number(number)) => Ok(Some(number)),
            Some(other) => Err(wrong_type(self.path_of(name), "a number", &other)),
        }
    }

    pub(super) fn array(&mut self, name: &str) -> Result<Option<Vec<Value>>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(elements)) => Ok(Some(elements)),
            Some(other) => Err(wrong_type(self.path_of(name), "an array", &other)),
        }
    }

    pub(super) fn object(&mut self, name: &str) -> Result<Option<Self>, ApiError> {
        let path = self.path_of(name);
        self.take(name)
            .map(|value| Self::from_value(value, path))
            .transpose()
    }

    pub(super) fn required_object(&mut self, name: &str) -> Result<Self, ApiError> {
        let object = self.object(name)?;
        object.ok_or_else(|| self.missing(name))
    }

    /// Takes a string that has to be one of these words.
    pub(super) fn word(
        &mut self,
        name: &str,
        words: &[&'static str],
    ) -> Result<Option<&'static str>, ApiError> {
        let Some(text) = self.string(name)? else {
            return Ok(None);
        };
        match words.iter().find(|&&word| word == text) {
            Some(word) => Ok(Some(word)),
            None => Err(unsupported(self.path_of(name), &text, words)),
        }
    }

    pub(super) fn required_word(
        &mut self,
        name: &str,
        words: &[&'static str],
    ) -> Result<&'static str, ApiError> {
        let word = self.word(name, words)?;
        word.ok_or_else(|| self.missing(name))
    }

    pub(super) fn missing(&self, name: &str) -> ApiError {
        let param = self.path_of(name);
        GatewayError::Missing {
            param: param.clone(),
        }
        .about(param)
    }
}

/// The error for a value of the wrong JSON type. An empty `param` means the request body.
pub(super) fn wrong_type(param: String, expected: &'static str, got: &Value) -> ApiError {
    let found = match got {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a decimal number",
        Value::Number(_) => "a whole number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    if param.is_empty() {
        return GatewayError::BodyType { expected, found }.into();
    }
    let wrong = GatewayError::InvalidType {
        param: param.clone(),
        expected,
        found,
    };
    wrong.about(param)
}

/// The error for a word that is not one of the allowed words.
pub(super) fn unsupported(param: String, got: &str, words: &[&str]) -> ApiError {
    let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let message = format!(
        "Invalid value for '{param}': '{}'. Supported values are: {}.",
        shorten(got),
        words.join(", ")
    );
    invalid_value(param, message)
}

pub(super) fn invalid_value(param: String, message: impl Into<String>) -> ApiError {
    let message = message.into();
    GatewayError::InvalidValue { message }.about(param)
}

/// The error for a string without a character.
pub(super) fn empty_string(param: String) -> ApiError {
    let empty = GatewayError::EmptyString {
        param: param.clone(),
    };
    empty.about(param)
}

/// An array without an element that is needed.
pub(super) fn empty(param: &str, needed: &'static str) -> ApiError {
    let param = param.to_owned();
    GatewayError::EmptyArray {
        param: param.clone(),
        needed,
    }
    .about(param)
}

/// Shortens the client's text for an error message, so that it can still be recognised.
pub(super) fn shorten(text: &str) -> String {
    const BYTES: usize = 64;
    match text.len() {
        0..=BYTES => text.to_owned(),
        _ => format!("{}…", &text[..text.floor_char_boundary(BYTES)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_levels_are_counted_outside_of_strings() {
        for (json, counts) in [
            (r"1", (1, 0)),
            (r"[1,2,3]", (4, 1)),
            (r"[[1],[[2]]]", (6, 3)),
            (r#"{"a":[1,{"b":"[,,,{"}],"c":"\"\\","d":"\\\","}"#, (7, 3)),
        ] {
            assert_eq!(measure(json.as_bytes()), counts, "{json}");
        }
    }

    #[test]
    fn a_request_that_is_nested_too_deeply_is_told_so() {
        let nested = |levels: usize| {
            let arrays = levels - 1;
            format!(r#"{{"a":{}{}}}"#, "[".repeat(arrays), "]".repeat(arrays))
        };
        assert!(Object::from_body(nested(MOST_LEVELS).as_bytes()).is_ok());
        for levels in [MOST_LEVELS + 1, 1_000, 100_000] {
            let error = Object::from_body(nested(levels).as_bytes()).unwrap_err();
            assert_eq!((error.status, &*error.code), (400, "too_deeply_nested"));
        }
    }

    #[test]
    fn a_request_of_countless_values_is_refused_before_they_are_read() {
        let zeros = vec!["0"; MOST_VALUES].join(",");
        let error = Object::from_body(format!("[{zeros}").as_bytes()).unwrap_err();
        assert_eq!(error.code, "too_many_values");
        let text = format!(r#"{{"a":"{zeros}"}}"#);
        assert!(Object::from_body(text.as_bytes()).is_ok());
    }
}
