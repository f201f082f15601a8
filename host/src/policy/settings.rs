//! Settings files: a JSON object, read strictly, so that there is only one way to read it.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::fault::Problem;

/// The most bytes of settings: 100,000 keys have 14 million bytes. In memory they may take twenty times as much.
pub(super) const MAX_SETTINGS: u64 = 16 << 20;

/// The mark that some editors put before UTF-8 text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Whether a text is in UTF-16, as some editors save it: it has a byte-order mark, or each of its first characters has a zero
/// byte beside it.
pub(super) fn is_utf16(bytes: &[u8]) -> bool {
    match bytes {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => true,
        [0, first, 0, second, ..] | [first, 0, second, 0, ..] => *first != 0 && *second != 0,
        _ => false,
    }
}

/// Reads the text of a settings file.
///
/// # Errors
/// If the text is too large or no JSON object, or an object in it has a member twice.
pub(super) fn object(bytes: &[u8]) -> Result<Map<String, Value>, Problem> {
    if bytes.len() as u64 > MAX_SETTINGS {
        let found = format!("more than {MAX_SETTINGS} bytes");
        return Err(Problem::SettingsShape(found));
    }
    let text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let found = match serde_json::from_slice(text) {
        Ok(Unambiguous(Value::Object(settings))) => return Ok(settings),
        Ok(Unambiguous(Value::Array(_))) => "a list".to_owned(),
        Ok(Unambiguous(Value::String(_))) => "a string".to_owned(),
        Ok(Unambiguous(Value::Null)) => "null".to_owned(),
        Ok(Unambiguous(_)) => "a single value".to_owned(),
        Err(_) if is_utf16(bytes) => "text in UTF-16: save it as UTF-8".to_owned(),
        Err(_) if text.trim_ascii().is_empty() => "an empty file: write {}".to_owned(),
        Err(error) if error.is_data() => error.to_string(),
        Err(error) => format!("text that is not JSON: {error}"),
    };
    Err(Problem::SettingsShape(found))
}

/// JSON in which no object has a member twice: parsers differ in which of the two they use.
struct Unambiguous(Value);

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Unambiguous(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let Unambiguous(value) = members.next_value()?;
            if object.contains_key(&name) {
                return Err(de::Error::custom(format_args!("the member `{name}` twice")));
            }
            object.insert(name, value);
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_bounded_in_bytes_and_depth_whichever_way_they_come() {
        let mut text = br#"{"a":1}"#.to_vec();
        text.resize(MAX_SETTINGS as usize, b' ');
        assert!(object(&text).is_ok());
        // Not even looked at: it would be no JSON.
        text.push(b'[');
        let refused = object(&text).unwrap_err().to_string();
        assert!(
            refused.ends_with("found more than 16777216 bytes"),
            "{refused}"
        );
        let deep = format!(r#"{{"a":{}"#, "[".repeat(1_000));
        let refused = object(deep.as_bytes()).unwrap_err().to_string();
        assert!(refused.contains("recursion limit exceeded"), "{refused}");
    }

    #[test]
    fn a_byte_order_mark_is_no_mistake() {
        let read = object("\u{feff}{\"keys\": []}".as_bytes()).unwrap();
        assert_eq!(Value::Object(read), serde_json::json!({"keys": []}));
    }

    #[test]
    fn values_of_all_kinds_are_read_as_they_are_written() {
        let text = r#"{"a": [1, -2, 0.5, "x\n", true, null], "b": {"a": {}}}"#;
        let read = Value::Object(object(text.as_bytes()).unwrap());
        assert_eq!(read, serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn a_member_that_is_there_twice_is_refused_wherever_it_is() {
        for text in [
            r#"{"keys": [], "keys": []}"#,
            r#"{"rules": [{"limit": 5, "limit": 6}]}"#,
        ] {
            let refused = object(text.as_bytes()).unwrap_err().to_string();
            assert!(refused.contains("twice at line 1"), "{refused}");
        }
    }

    #[test]
    fn text_that_is_no_object_is_named() {
        for (text, found) in [
            (&b"[]"[..], "a list"),
            (b"3", "a single value"),
            (b"{", "not JSON"),
            (b" \n", "an empty file"),
            (b"\xff\xfe{\0}\0", "UTF-16"),
            (b"{\0}\0", "UTF-16"),
            (b"\0{\0}", "UTF-16"),
        ] {
            let refused = object(text).unwrap_err().to_string();
            assert!(refused.contains(found), "{refused}");
        }
    }
}
