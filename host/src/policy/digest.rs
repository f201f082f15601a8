//! The identity of policies: SHA-256 over everything of the operator's that decides, the same in every process.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};

use super::Slot;
use super::candidate::{Candidate, Options, hex};

/// SHA-256 of a slot's component, settings and options, or of a whole generation.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The number of hexadecimal digits that are shown of a digest, as in `x-codex-policy`.
    pub const SHOWN: usize = 12;

    /// Of a generation: over the digests of its slots, in their order.
    pub(super) fn of_generation(slots: [Self; Slot::COUNT]) -> Self {
        let mut hash = Sha256::new();
        for slot in slots {
            hash.update(slot.0);
        }
        Self(hash.finalize().into())
    }

    /// Of the generation that is made of these candidates.
    pub(super) fn of_candidates(candidates: &[Candidate; Slot::COUNT]) -> Self {
        Self::of_generation(candidates.each_ref().map(Self::of))
    }

    /// Of one slot. The gateway's facts (`host` in the settings) are not part of it: they are not the operator's choice, and an
    /// update of Codex must not make a known policy a new one.
    pub(super) fn of(candidate: &Candidate) -> Self {
        let Options {
            instances,
            credential,
            limits,
        } = candidate.options;
        let text = format!(
            "{}\ncomponent {}\nsettings {}\ninstances {}\ncredential {credential}\nmemory {}\ndeadline {} us\nwall {} us\n",
            candidate.slot,
            hex(&Sha256::digest(&candidate.wasm)),
            hex(&Sha256::digest(without_facts(&candidate.settings))),
            instances.name(),
            limits.memory,
            limits.deadline.as_micros(),
            limits.wall.as_micros(),
        );
        Self(Sha256::digest(text).into())
    }

    /// Reads all 64 digits.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes().as_chunks::<2>();
        let mut bytes = [0; 32];
        if digits.0.len() != bytes.len() || !digits.1.is_empty() {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.0) {
            let pair = std::str::from_utf8(pair).ok()?;
            // A sign is no digit.
            pair.chars()
                .all(|digit| digit.is_ascii_hexdigit())
                .then_some(())?;
            *byte = u8::from_str_radix(pair, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// The 32 bytes.
    pub(super) fn bytes(self) -> [u8; 32] {
        self.0
    }

    /// The first digits, which people compare.
    #[must_use]
    pub fn short(&self) -> String {
        hex(&self.0[..Self::SHOWN / 2])
    }
}

fn without_facts(settings: &str) -> String {
    match serde_json::from_str(settings) {
        Ok(serde_json::Value::Object(mut members)) => {
            members.remove("host");
            serde_json::Value::Object(members).to_string()
        }
        _ => settings.to_owned(),
    }
}

/// All 64 hexadecimal digits.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'a> Deserialize<'a> for Digest {
    fn deserialize<D: Deserializer<'a>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("expected 64 hexadecimal digits"))
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Instances, Limits};

    fn candidate(wasm: &[u8], settings: &str) -> Candidate {
        Candidate {
            slot: Slot::Auth,
            file: "auth.wasm".to_owned(),
            wasm: wasm.into(),
            settings_file: "auth.json".to_owned(),
            settings: settings.to_owned(),
            options: Options::default(),
        }
    }

    #[test]
    fn what_the_operator_chose_is_the_identity_and_nothing_else_is() {
        let one = candidate(b"a", r#"{"keys":[],"host":{"models":[]}}"#);
        let same = [
            candidate(b"a", r#"{"keys":[],"host":{"models":["new"]}}"#),
            candidate(b"a", r#"{ "keys": [] }"#),
            Candidate {
                file: "other.wasm".to_owned(),
                settings_file: "other.json".to_owned(),
                ..one.clone()
            },
        ];
        for same in &same {
            assert_eq!(Digest::of(same), Digest::of(&one), "{same:?}");
        }
        let options = |change: &dyn Fn(&mut Options)| {
            let mut other = one.clone();
            change(&mut other.options);
            other
        };
        let others = [
            candidate(b"b", &one.settings),
            candidate(b"a", r#"{"keys":[1]}"#),
            Candidate {
                slot: Slot::Model,
                ..one.clone()
            },
            options(&|options| options.instances = Instances::Warm),
            options(&|options| options.credential = true),
            options(&|options| options.limits.memory += 1),
            options(&|options| options.limits.deadline *= 2),
            options(&|options| options.limits.wall = Limits::default().wall * 2),
        ];
        for other in &others {
            assert_ne!(Digest::of(other), Digest::of(&one), "{other:?}");
        }
    }

    /// Operators compare digests of gateways of different versions: these must not change.
    #[test]
    fn a_digest_is_the_same_for_ever() {
        let slot = Digest::of(&candidate(b"a", "{}"));
        assert_eq!(slot.short(), "ef9e906e4632");
        let generation = Digest::of_generation([slot; 4]);
        assert_eq!(generation.short(), "bc876a708add");
        let digits = generation.to_string();
        assert_eq!(Digest::parse(&digits), Some(generation));
        for other in ["", &digits[1..], &format!("{digits}00"), &"+1".repeat(32)] {
            assert_eq!(Digest::parse(other), None, "{other}");
        }
    }
}
