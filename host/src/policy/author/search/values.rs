//! Makes the value of a field: one that settings or answers name, or another one.

use serde_json::{Map, Value, json};

use super::fields::{Field, Kind};
use super::mutate::{Maker, fingerprint};

/// The longest text, in bytes.
const LONGEST: usize = 256;

impl Maker {
    /// A value for a field; `before` is the one that it has.
    pub(super) fn value(&mut self, field: &Field, before: Option<&Value>) -> Value {
        match field.kind {
            Kind::Text(usual) => {
                let before = before.and_then(Value::as_str);
                json!(self.text(field.names, usual, before))
            }
            Kind::Texts => {
                let count = self.dice.below(3);
                let texts = (0..count).map(|_| self.text(field.names, &[], None));
                texts.collect::<Vec<_>>().into()
            }
            Kind::Fingerprint => {
                let known = self.words.named(&mut self.dice, field.names);
                let known = known.as_deref().and_then(fingerprint);
                known
                    .unwrap_or_else(|| format!("{:064x}", self.dice.below(16)))
                    .into()
            }
            Kind::Flag => (!before.and_then(Value::as_bool).unwrap_or_default()).into(),
            Kind::Number => {
                let near = before.and_then(Value::as_u64).unwrap_or_default();
                let values = [
                    self.number(),
                    self.number(),
                    near + 1,
                    near.saturating_sub(1),
                ];
                values[self.dice.below(values.len())]
                    .min(u64::from(u32::MAX))
                    .into()
            }
            Kind::Headers => self.headers(field),
            Kind::Null => Value::Null,
            Kind::Event => self.event(field),
        }
    }

    fn headers(&mut self, field: &Field) -> Value {
        let mut headers = Vec::new();
        let names = self.headers.clone();
        for name in names {
            if !self.dice.one_in(3) {
                headers.push(json!([name, self.text(field.names, &["x"], None)]));
            }
        }
        if self.headers.is_empty() {
            let name = self.words.piece(&mut self.dice).unwrap_or_default();
            let value = self.text(field.names, &["x"], None);
            headers.push(json!([name.to_ascii_lowercase(), value]));
        }
        headers.into()
    }

    fn event(&mut self, field: &Field) -> Value {
        let number = self.number().min(u64::from(u32::MAX));
        match self.dice.below(5) {
            0 => json!({ "TextAfterCalls": number }),
            1 => json!({ "Quiet": number }),
            _ => {
                let mut call = Map::new();
                for (name, usual) in [("name", "search"), ("arguments", r#"{"a":1}"#)] {
                    if self.dice.one_in(2) {
                        call.insert(name.into(), self.text(field.names, &[usual], None).into());
                    }
                }
                if self.dice.one_in(4) {
                    call.insert("textual".into(), true.into());
                }
                json!({ "Called": call })
            }
        }
    }

    fn text(&mut self, names: &[&str], usual: &[&str], before: Option<&str>) -> String {
        let dice = &mut self.dice;
        let found = match dice.below(20) {
            0..=8 => self.words.named(dice, names),
            9..=11 => dice.pick(usual).map(|text| (*text).to_owned()),
            12 | 13 => self.words.any(dice),
            14 | 15 => self.words.piece(dice),
            _ => None,
        };
        if let Some(found) = found {
            return found;
        }
        let named = self.words.named(dice, names);
        let usual = dice.pick(usual).map(|text| (*text).to_owned());
        let base = before.map(str::to_owned).filter(|_| dice.one_in(2));
        let base = base.or(named).or(usual).unwrap_or_default();
        self.altered(&base)
    }

    /// A text that a client might write in place of another.
    fn altered(&mut self, text: &str) -> String {
        let dice = &mut self.dice;
        let piece = self.words.piece(dice).unwrap_or_default();
        let cut = text.floor_char_boundary(dice.below(text.len() + 1));
        let (head, tail) = text.split_at(cut);
        let mut altered = match dice.below(10) {
            0 => text.to_ascii_uppercase(),
            1 => text.to_ascii_lowercase(),
            2 => format!(" {text} "),
            3 => format!("{text}{piece}"),
            4 => format!("{piece}{text}"),
            5 => format!("{head}{piece}{tail}"),
            6 => head.to_owned(),
            7 => format!("{text}/x"),
            8 => format!("{text}x"),
            _ => format!("{text}/{piece}"),
        };
        altered.truncate(altered.floor_char_boundary(LONGEST));
        altered
    }
}
