//! Holds JSON answers against the document's schemas, in both directions: nothing undocumented, nothing never answered.

use std::collections::BTreeSet;

use serde_json::{Value, json};

/// The document, and what of it answers have had so far.
pub(super) struct Schemas {
    document: Value,
    /// Operations that were answered with 200.
    pub(super) answered: BTreeSet<String>,
    /// Members of schemas of answers, as pointers into the document.
    members: BTreeSet<String>,
    /// Those that some answer had.
    pub(super) seen: BTreeSet<String>,
}

impl Schemas {
    /// Closes all objects of answers: members that the document lacks are mistakes from then on. Requests stay open.
    pub(super) fn of(document: Value) -> Self {
        let mut schemas = Self {
            document,
            answered: BTreeSet::new(),
            members: BTreeSet::new(),
            seen: BTreeSet::new(),
        };
        let mut left: Vec<String> = schemas.bodies().into_iter().map(|(_, at)| at).collect();
        let mut visited = BTreeSet::new();
        while let Some(at) = left.pop() {
            if visited.insert(at.clone()) {
                schemas.close(&at, &mut left);
            }
        }
        schemas
    }

    /// Operations with 200 and JSON, and where the schema of its body is; and the schemas of errors.
    fn bodies(&self) -> Vec<(Option<String>, String)> {
        let mut bodies = Vec::new();
        for (path, item) in self.document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                for status in operation["responses"].as_object().into_iter().flatten() {
                    let at = self.body(path, method, status.0);
                    let is_done = status.0 == "200";
                    let operation = is_done.then(|| format!("{method} {path}"));
                    bodies.extend(at.map(|at| (operation, at)));
                }
            }
        }
        bodies
    }

    /// All operations that answer 200 and JSON.
    pub(super) fn operations(&self) -> BTreeSet<String> {
        let bodies = self.bodies().into_iter();
        bodies.filter_map(|(operation, _)| operation).collect()
    }

    /// Where the schema of a body of JSON is.
    fn body(&self, path: &str, method: &str, status: &str) -> Option<String> {
        let path = path.replace('/', "~1");
        let at = format!("/paths/{path}/{method}/responses/{status}");
        let at = format!("{}/content/application~1json/schema", self.resolve(&at));
        self.document.pointer(&at)?;
        Some(self.resolve(&at))
    }

    /// Where a reference there leads, or the same place.
    fn resolve(&self, at: &str) -> String {
        let schema = self.document.pointer(at);
        let reference = schema.and_then(|schema| schema["$ref"].as_str());
        reference.map_or_else(|| at.to_owned(), |reference| reference[1..].to_owned())
    }

    /// Closes the object there, and names the schemas below it.
    fn close(&mut self, at: &str, below: &mut Vec<String>) {
        let schema = self.document.pointer_mut(at).unwrap();
        let object = schema.as_object_mut().unwrap();
        if let Some(members) = object.get("properties").and_then(Value::as_object) {
            let names = members.keys();
            let members: Vec<_> = names
                .map(|name| format!("{at}/properties/{name}"))
                .collect();
            object.entry("additionalProperties").or_insert(json!(false));
            below.extend(members.iter().map(|member| self.resolve(member)));
            self.members.extend(members);
        }
        below.extend(self.parts(at).iter().map(|part| self.resolve(part)));
    }

    /// The schemas of elements, and of alternatives.
    fn parts(&self, at: &str) -> Vec<String> {
        let schema = self.document.pointer(at).unwrap();
        let any = schema["anyOf"].as_array().map_or(0, Vec::len);
        let mut parts: Vec<_> = (0..any)
            .map(|index| format!("{at}/anyOf/{index}"))
            .collect();
        parts.extend(schema.get("items").map(|_| format!("{at}/items")));
        parts
    }

    /// The mistakes of a value at that place.
    fn mistakes(&self, at: &str, value: &Value) -> Vec<String> {
        let mut schema = self.document.pointer(at).unwrap().clone();
        schema["components"] = self.document["components"].clone();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let errors = validator.iter_errors(value);
        errors
            .map(|error| format!("{error} ({})", error.instance_path()))
            .collect()
    }

    /// Holds one answer against the document.
    pub(super) fn check(&mut self, method: &str, path: &str, status: u16, answer: &Value) {
        let at = self.body(path, method, &status.to_string());
        let at = at.unwrap_or_else(|| panic!("{method} {path} has no {status} with JSON"));
        let mistakes = self.mistakes(&at, answer);
        assert!(
            mistakes.is_empty(),
            "{method} {path}: {mistakes:#?}\n{answer:#}"
        );
        if status == 200 {
            self.answered.insert(format!("{method} {path}"));
        }
        self.walk(&at, answer);
    }

    fn walk(&mut self, at: &str, value: &Value) {
        for part in self.parts(at) {
            let part_at = self.resolve(&part);
            match value {
                Value::Array(elements) if part.ends_with("/items") => {
                    elements
                        .iter()
                        .for_each(|element| self.walk(&part_at, element));
                }
                _ if self.mistakes(&part_at, value).is_empty() => self.walk(&part_at, value),
                _ => {}
            }
        }
        for (name, member) in value.as_object().into_iter().flatten() {
            let member_at = format!("{at}/properties/{name}");
            if self.members.contains(&member_at) {
                self.walk(&self.resolve(&member_at), member);
                self.seen.insert(member_at);
            }
        }
    }

    /// Members that no answer had.
    pub(super) fn unseen(&self) -> Vec<&str> {
        let unseen = self.members.difference(&self.seen);
        unseen.map(String::as_str).collect()
    }
}
