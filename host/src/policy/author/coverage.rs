//! The denial codes that cases met, compared with those that the policy declares.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::super::Slot;

/// A member of the settings schema that the gateway defines: the codes of the policy's denials.
const DENIALS: &str = "x-denials";

/// The denial codes of one slot's policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CoveredSlot {
    /// The slot.
    pub slot: &'static str,
    /// The number of calls that met each code.
    pub met: BTreeMap<String, u64>,
    /// The codes that the policy declares and no call met; absent if it declares none.
    pub missing: Option<Vec<String>>,
    /// The codes that calls met and the policy does not declare; empty if it declares none.
    pub undeclared: Vec<String>,
}

/// The codes that were met, by slot.
#[derive(Debug, Clone, Default)]
pub struct Coverage(BTreeMap<Slot, Met>);

#[derive(Debug, Clone, Default)]
struct Met {
    codes: BTreeMap<String, u64>,
    declared: Option<BTreeSet<String>>,
}

impl Coverage {
    pub(super) fn knows(&self, slot: Slot) -> bool {
        self.0.contains_key(&slot)
    }

    /// Notes the codes that a settings schema declares.
    pub(super) fn declare(&mut self, slot: Slot, schema: &str) {
        let schema: Value = serde_json::from_str(schema).unwrap_or_default();
        let declared = schema[DENIALS].as_array().map(|codes| {
            let codes = codes.iter().filter_map(Value::as_str);
            codes.map(str::to_owned).collect()
        });
        self.0.entry(slot).or_default().declared = declared;
    }

    pub(super) fn meet(&mut self, slot: Slot, code: &str) {
        let met = self.0.entry(slot).or_default();
        *met.codes.entry(code.to_owned()).or_default() += 1;
    }

    /// The result, slot by slot.
    #[must_use]
    pub fn slots(&self) -> Vec<CoveredSlot> {
        let slots = self.0.iter().map(|(slot, Met { codes, declared })| {
            let missing = declared.as_ref().map(|declared| {
                let missing = declared.iter().filter(|code| !codes.contains_key(*code));
                missing.cloned().collect()
            });
            let undeclared = declared.iter().flat_map(|declared| {
                let undeclared = codes.keys().filter(|code| !declared.contains(*code));
                undeclared.cloned()
            });
            CoveredSlot {
                slot: slot.name(),
                met: codes.clone(),
                missing,
                undeclared: undeclared.collect(),
            }
        });
        slots.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_no_case_meets_are_named_if_the_policy_declares_them() {
        let mut coverage = Coverage::default();
        coverage.declare(Slot::Auth, r#"{"x-denials": ["a", "b"]}"#);
        coverage.declare(Slot::Model, "{}");
        for (slot, code) in [
            (Slot::Auth, "a"),
            (Slot::Auth, "c"),
            (Slot::Auth, "a"),
            (Slot::Model, "d"),
        ] {
            coverage.meet(slot, code);
        }
        let [auth, model] = &coverage.slots()[..] else {
            panic!("two slots")
        };
        assert_eq!((auth.met["a"], auth.met["c"]), (2, 1));
        assert_eq!(auth.missing, Some(vec!["b".to_owned()]));
        assert_eq!(auth.undeclared, ["c"]);
        assert_eq!((&model.missing, model.undeclared.len()), (&None, 0));
    }
}
