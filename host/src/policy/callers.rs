//! The callers of a canary: by name, by tenant, or a share of all, chosen by hash.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::bindings::Caller;
use super::digest::Digest;

/// The most names of each list.
pub(super) const NAMES: usize = 256;
/// The most bytes of a name.
const NAME: usize = 1_024;

/// The callers for whom a candidate decides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Canary {
    /// The ids of callers, as the serving auth policy names them.
    pub callers: Vec<String>,
    /// Tenants, with all their callers.
    pub tenants: Vec<String>,
    /// The percentage of all callers, chosen by the hash of candidate and caller: the same caller stays in.
    pub percent: u8,
}

impl Canary {
    /// Whether it is within its bounds.
    pub(super) fn is_valid(&self) -> bool {
        let is_bounded =
            |names: &[String]| names.len() <= NAMES && names.iter().all(|name| name.len() <= NAME);
        self.percent <= 100 && is_bounded(&self.callers) && is_bounded(&self.tenants)
    }

    /// Whether no caller can be one of them.
    pub(super) fn is_of_nobody(&self) -> bool {
        self.percent == 0 && self.callers.is_empty() && self.tenants.is_empty()
    }

    /// Whether this caller is one of them.
    pub(super) fn contains(&self, candidate: Digest, caller: &Caller) -> bool {
        let tenant = caller.tenant.as_ref();
        self.callers.contains(&caller.id)
            || tenant.is_some_and(|tenant| self.tenants.contains(tenant))
            || self.percent > 0 && place(candidate, caller) < u32::from(self.percent)
    }
}

/// The place of a caller between 0 and 99. Each candidate has its own order, so that not the same callers are always first.
fn place(candidate: Digest, caller: &Caller) -> u32 {
    let mut hash = Sha256::new();
    hash.update(candidate.bytes());
    // Both are free texts: the length keeps two pairs apart.
    hash.update((caller.id.len() as u64).to_be_bytes());
    hash.update(&caller.id);
    hash.update(caller.tenant.as_deref().unwrap_or_default());
    let [a, b, c, d, ..]: [u8; 32] = hash.finalize().into();
    u32::from_be_bytes([a, b, c, d]) % 100
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(id: &str, tenant: Option<&str>) -> Caller {
        Caller {
            id: id.to_owned(),
            tenant: tenant.map(str::to_owned),
            groups: Vec::new(),
        }
    }

    #[test]
    fn a_share_is_about_as_large_as_asked_and_the_same_callers_stay_in() {
        let share = |percent, digest: u8| {
            let canary = Canary {
                percent,
                ..Canary::default()
            };
            let callers = (0..1_000).map(|number| format!("caller-{number}"));
            let is_in =
                |id: &String| canary.contains(Digest::from([digest; 32]), &caller(id, None));
            callers.filter(is_in).collect::<Vec<_>>()
        };
        assert!(share(0, 1).is_empty());
        assert_eq!(share(100, 1).len(), 1_000);
        let (ten, thirty) = (share(10, 1), share(30, 1));
        assert!((70..=130).contains(&ten.len()), "{}", ten.len());
        assert!((250..=350).contains(&thirty.len()), "{}", thirty.len());
        assert_eq!(ten, share(10, 1));
        assert!(ten.iter().all(|id| thirty.contains(id)));
        assert_ne!(ten, share(10, 2), "each candidate has its own");
    }

    #[test]
    fn the_same_id_of_another_tenant_is_another_caller() {
        let digest = Digest::from([1; 32]);
        let places = ["a", "b", "c", "d"].map(|tenant| place(digest, &caller("x", Some(tenant))));
        assert!(places.iter().any(|place| *place != places[0]), "{places:?}");
        let canary = Canary {
            tenants: vec!["a".to_owned()],
            ..Canary::default()
        };
        assert!(canary.contains(digest, &caller("x", Some("a"))));
        assert!(!canary.contains(digest, &caller("a", Some("b"))));
        assert!(!canary.contains(digest, &caller("a", None)));
    }

    #[test]
    fn its_lists_are_bounded() {
        let names = |count: usize| (0..count).map(|number| number.to_string()).collect();
        let of = |callers, percent| Canary {
            callers,
            percent,
            ..Canary::default()
        };
        assert!(of(names(NAMES), 100).is_valid());
        assert!(!of(names(NAMES + 1), 0).is_valid());
        assert!(!of(Vec::new(), 101).is_valid());
        assert!(!of(vec!["x".repeat(NAME + 1)], 0).is_valid());
    }
}
