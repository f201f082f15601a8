//! Compares a settings schema with the code that reads the settings, for the tests of the policies.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Whether `schema` names the members that `T` accepts, and no others.
///
/// # Errors
/// The names that only one of them has, or that one of them accepts any name.
pub fn agree<T: DeserializeOwned>(schema: &Value) -> Result<(), String> {
    let (described, accepted) = (described(schema)?, accepted::<T>()?);
    let differing: Vec<_> = described.symmetric_difference(&accepted).collect();
    if differing.is_empty() {
        Ok(())
    } else {
        Err(format!("only one of schema and code has {differing:?}"))
    }
}

fn described(schema: &Value) -> Result<BTreeSet<String>, String> {
    match (&schema["additionalProperties"], &schema["properties"]) {
        (Value::Bool(false), Value::Object(members)) => Ok(members.keys().cloned().collect()),
        _ => Err("the schema takes any name".to_owned()),
    }
}

/// The member names of `T`, read from its error about an unknown member.
fn accepted<T: DeserializeOwned>() -> Result<BTreeSet<String>, String> {
    let Err(error) = T::deserialize(json!({ "?": 0 })) else {
        return Err("the code takes any name".to_owned());
    };
    let error = error.to_string();
    let names = error.split('`').skip(3).step_by(2);
    Ok(names.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read by name")]
    struct Strict {
        one: Option<u8>,
        two: Option<u8>,
    }

    #[derive(Deserialize)]
    struct Loose {}

    #[test]
    fn a_member_that_only_one_side_knows_is_named() {
        let schema = |names: &[&str]| {
            let members = names.iter().map(|name| ((*name).to_owned(), json!({})));
            json!({"additionalProperties": false, "properties": Value::Object(members.collect())})
        };
        assert_eq!(agree::<Strict>(&schema(&["one", "two"])), Ok(()));
        for (names, odd) in [(&["one"][..], "two"), (&["one", "two", "three"], "three")] {
            let error = agree::<Strict>(&schema(names)).unwrap_err();
            assert!(error.contains(odd), "{error}");
        }
        assert!(agree::<Loose>(&schema(&[])).is_err());
        assert!(agree::<Strict>(&json!({"properties": {"one": {}, "two": {}}})).is_err());
    }
}
