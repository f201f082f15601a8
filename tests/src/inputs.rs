//! The number of inputs that a test tries: a few by default, as many as wished by a command of its own.

/// As many as usual, times `TEST_INPUTS`.
///
/// # Panics
/// If that is no number.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "no configuration of the gateway")]
pub fn count(usual: u32) -> u32 {
    let factor = std::env::var("TEST_INPUTS").ok();
    usual * factor.map_or(1, |factor| factor.parse().expect("a number"))
}
