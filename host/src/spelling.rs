//! Finds the known name that a misspelt name probably means.

use std::iter::once;

/// The shortest known name that is considered: shorter ones resemble too many other names.
const SHORTEST: usize = 6;

/// From this length on two errors are allowed, below it one.
const LONG: usize = 12;

/// The candidate that a misspelt name means, if it is close to one: with a letter added, missing, replaced, swapped or in another
/// case. A name that equals a candidate is not misspelt.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let mut best: Option<(usize, usize, &str)> = None;
    for candidate in candidates {
        let slips = if candidate.len() < LONG { 1 } else { 2 };
        if name == candidate {
            return None;
        }
        let longer = name.len().abs_diff(candidate.len());
        let near = candidate.len() >= SHORTEST && longer <= slips && begin_alike(name, candidate);
        let Some(distance) = near.then(|| distance(name, candidate)) else {
            continue;
        };
        // If two are equally close, the one of the same length: swapping two letters is commoner than leaving one out.
        let is_better = |(least, other, _)| (distance, longer) < (least, other);
        if distance <= slips && best.is_none_or(is_better) {
            best = Some((distance, longer, candidate));
        }
    }
    best.map(|(_, _, candidate)| candidate)
}

/// The short candidate that a name means with one error, for places where few other names are expected.
pub(crate) fn near_short<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let mut candidates = candidates.into_iter();
    candidates.find(|candidate| {
        (4..SHORTEST).contains(&candidate.len())
            && begin_alike(name, candidate)
            && distance(name, candidate) == 1
    })
}

/// Whether the first letters are equal: people rarely mistype the first one, and `OAUTH_PORT` is not `AUTH_PORT`.
fn begin_alike(name: &str, candidate: &str) -> bool {
    let first = |text: &str| {
        text.chars()
            .next()
            .map(|letter| letter.to_ascii_uppercase())
    };
    first(name) == first(candidate)
}

/// The number of errors between two names, in any case of letters: the optimal string alignment distance.
fn distance(left: &str, right: &str) -> usize {
    let [left, right] = [left, right].map(|text| text.to_ascii_uppercase().into_bytes());
    let mut before = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (row, letter) in left.iter().enumerate() {
        let mut here: Vec<usize> = once(row + 1).collect();
        for (column, other) in right.iter().enumerate() {
            let replaced = above[column] + usize::from(letter != other);
            let mut least = replaced.min(above[column + 1] + 1).min(here[column] + 1);
            let swapped =
                row > 0 && column > 0 && left[row - 1] == *other && right[column - 1] == *letter;
            if swapped {
                least = least.min(before[column - 1] + 1);
            }
            here.push(least);
        }
        before = std::mem::replace(&mut above, here);
    }
    above.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_slip_counts_once() {
        for (name, slips) in [
            ("CODEX_MODEL", 0),
            ("codex_model", 0),
            ("CODEX_MODLE", 1),
            ("CODEX_MODL", 1),
            ("CODEX_MODELL", 1),
            ("CODEX_NODEL", 1),
            ("XCODEX_MODLE", 2),
            ("", 11),
        ] {
            assert_eq!(distance(name, "CODEX_MODEL"), slips, "{name}");
            assert_eq!(distance("CODEX_MODEL", name), slips, "{name}");
        }
    }

    #[test]
    fn the_nearest_candidate_was_meant_and_a_candidate_means_itself() {
        let candidates = ["CODEX_MODE", "CODEX_MODEL", "TOKEN_LOG_PATH", "PORT"];
        let meant = |name| nearest(name, candidates);
        assert_eq!(meant("CODEX_MODLE"), Some("CODEX_MODEL"));
        assert_eq!(meant("CODEX_MDOE"), Some("CODEX_MODE"));
        assert_eq!(meant("TOKNE_LOG_PAHT"), Some("TOKEN_LOG_PATH"));
        assert_eq!(meant("codex_model"), Some("CODEX_MODEL"));
        for other in ["CODEX_MODE", "CODEX_NAME_", "XODEX_MODE", "PROT", ""] {
            assert_eq!(meant(other), None, "{other}");
        }
    }
}
