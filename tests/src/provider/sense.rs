//! Answers a prompt that is not a script: follows the schema it is given, and calls the function that is asked for.
//!
//! It is no model. It looks only at what a request says: a schema, the gateway's instructions at the end of the
//! conversation, the names of the offered functions, and numbers and quoted words in the prompt. If none of them asks for a
//! call or for JSON, the answer is the default text.

use serde_json::{Map, Value};

use super::script::{Call, Script, is_output, said};

/// A schema that demands a deeper value has no end.
const DEPTH: usize = 16;

/// Answers a request whose last message of the user is `turn[0]`; the gateway's instructions and outputs of tools follow it.
pub(super) fn answer(body: &Value, turn: &[Value]) -> Script {
    let prompt = said(&turn[0]).1;
    let instructions: String = turn[1..]
        .iter()
        .filter(|item| item["role"] == "developer")
        .map(|item| said(item).1)
        .collect();
    if let Some(tool) = wanted_tool(body, &instructions, &prompt, turn) {
        let arguments = Writer::new(&prompt, &tool["parameters"]).value();
        let call = Call {
            name: tool["name"].as_str().unwrap_or_default().to_owned(),
            arguments: arguments.to_string(),
            custom: false,
        };
        return Script {
            calls: vec![call],
            ..Script::default()
        };
    }
    let Some(json) = wanted_json(body, &instructions, &prompt) else {
        return Script::default();
    };
    let json = json.to_string();
    Script {
        text: json.split_inclusive(',').map(str::to_owned).collect(),
        ..Script::default()
    }
}

/// The function that an instruction demands, or else that the prompt asks for, unless functions have already run.
fn wanted_tool<'a>(
    body: &'a Value,
    instructions: &str,
    prompt: &str,
    turn: &[Value],
) -> Option<&'a Value> {
    let mut tools = body["tools"]
        .as_array()?
        .iter()
        .filter(|tool| tool["type"] == "function");
    if let Some((_, named)) = instructions.split_once("must call the function `") {
        let name = named.split('`').next();
        return tools.find(|tool| tool["name"].as_str() == name);
    }
    let is_asked = |tool: &&Value| is_asked_for(tool["name"].as_str(), prompt);
    if instructions.contains("must call at least one") {
        return tools.clone().find(is_asked).or_else(|| tools.next());
    }
    match turn.iter().any(is_output) {
        true => None,
        false => tools.find(is_asked),
    }
}

/// Whether a prompt has the name of a function, or its last word, as `weather` for `get_weather`.
fn is_asked_for(name: Option<&str>, prompt: &str) -> bool {
    let last = name.and_then(|name| name.rsplit('_').next());
    let is_between = |letter: char| !letter.is_alphanumeric() && letter != '_';
    let mut words = prompt.split(is_between).map(Some);
    words.any(|word| word == name || word == last)
}

/// The JSON that the format of the text demands, or an instruction; without a schema, an object with the prompt's quoted words.
fn wanted_json(body: &Value, instructions: &str, prompt: &str) -> Option<Value> {
    let schema = &body["text"]["format"]["schema"];
    if schema.is_object() {
        return Some(Writer::new(prompt, schema).value());
    }
    let (_, instruction) = instructions.split_once("one valid JSON object")?;
    if let Some((_, schema)) = instruction.split_once("this JSON Schema: ") {
        let mut read = serde_json::Deserializer::from_str(schema).into_iter::<Value>();
        let schema = read.next()?.ok()?;
        return Some(Writer::new(prompt, &schema).value());
    }
    let member = |word: &str| (word.to_owned(), Value::from(word));
    Some(Value::Object(quoted(prompt).map(member).collect()))
}

/// The words of a text in single quotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    let pieces: Vec<&str> = text.split('\'').collect();
    let closed = pieces.len().saturating_sub(1);
    (1..closed).step_by(2).map(move |at| pieces[at])
}

/// Writes the smallest value that a schema allows, with the numbers and the first quoted words of a prompt.
struct Writer<'a> {
    root: &'a Value,
    numbers: std::vec::IntoIter<u64>,
    words: Option<&'a str>,
}

impl<'a> Writer<'a> {
    fn new(prompt: &'a str, root: &'a Value) -> Self {
        let digits = prompt.split(|letter: char| !letter.is_ascii_digit());
        let numbers: Vec<u64> = digits.filter_map(|digits| digits.parse().ok()).collect();
        Self {
            root,
            numbers: numbers.into_iter(),
            words: quoted(prompt).next(),
        }
    }

    fn value(mut self) -> Value {
        self.follow(self.root, DEPTH)
    }

    fn follow(&mut self, schema: &'a Value, depth: usize) -> Value {
        let Some(depth) = depth.checked_sub(1) else {
            return Value::Null;
        };
        if let Some(place) = schema["$ref"].as_str() {
            let root = self.root;
            let there = root.pointer(place.trim_start_matches('#'));
            return self.follow(there.unwrap_or(&Value::Null), depth);
        }
        if let Some(first) = schema.get("const").or(schema["enum"].get(0)) {
            return first.clone();
        }
        let choices = ["anyOf", "oneOf", "allOf"];
        if let Some(first) = choices.iter().find_map(|name| schema[name].get(0)) {
            return self.follow(first, depth);
        }
        let kind = &schema["type"];
        match kind.as_str().or(kind[0].as_str()) {
            Some("object") => self.object(schema, depth),
            Some("array") => {
                let least = schema["minItems"].as_u64().unwrap_or(0);
                let items = (0..least).map(|_| self.follow(&schema["items"], depth));
                items.collect()
            }
            Some("string") => self.words.unwrap_or("some text").into(),
            Some("integer" | "number") => self.numbers.next().unwrap_or(1).into(),
            Some("boolean") => true.into(),
            _ => Value::Null,
        }
    }

    fn object(&mut self, schema: &'a Value, depth: usize) -> Value {
        let required = schema["required"].as_array().map(Vec::as_slice);
        let mut members = Map::new();
        for name in required
            .unwrap_or_default()
            .iter()
            .filter_map(Value::as_str)
        {
            let member = self.follow(&schema["properties"][name], depth);
            members.insert(name.to_owned(), member);
        }
        Value::Object(members)
    }
}
