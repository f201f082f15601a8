//! Finds the digest that its first digits mean.

use std::collections::BTreeSet;

use crate::openai::{ApiError, GatewayError};
use crate::policy::Digest;

/// The most digests that an ambiguous beginning is answered with.
const MOST: usize = 8;

/// The one of these digests that begins with `first`.
///
/// # Errors
/// If there is none, or more than one.
pub(super) fn find<'a>(
    digests: impl Iterator<Item = &'a str>,
    first: &str,
) -> Result<String, ApiError> {
    let is_written =
        (1..=64).contains(&first.len()) && first.bytes().all(|byte| byte.is_ascii_hexdigit());
    let first = first.to_ascii_lowercase();
    let fits = digests.filter(|digest| is_written && digest.starts_with(&first));
    let found: BTreeSet<&str> = fits.collect();
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one.to_owned()),
        (Some(one), Some(other)) => {
            let all = [one, other].into_iter().chain(found).take(MOST);
            let all: Vec<&str> = all
                .map(|digest| digest.get(..Digest::SHOWN).unwrap_or(digest))
                .collect();
            let found = all.join(", ");
            Err(GatewayError::AmbiguousDigest { first, found }.into())
        }
        (None, _) => {
            let first = first.chars().take(64).collect();
            Err(GatewayError::GenerationNotFound { first }.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_digits_mean_a_digest_if_they_mean_only_one() {
        let known = ["9c1e41ab02f3", "9c1e77aa0c1d", "9c1e41ab02f3"];
        let find = |first: &str| find(known.into_iter(), first);
        assert_eq!(find("9C1E4").unwrap(), known[0]);
        assert_eq!(find(known[1]).unwrap(), known[1]);
        let both = find("9c1e").unwrap_err();
        assert_eq!((both.status, &*both.code), (409, "ambiguous_digest"));
        assert!(both.message.contains("9c1e41ab02f3, 9c1e77aa0c1d"));
        for none in ["", "8", "latest", "é"] {
            assert_eq!(find(none).unwrap_err().status, 404, "{none}");
        }
    }
}
