//! The versions of Codex that the gateway can use, and those it is tested with.

/// The versions the gateway is tested with, by backend.
const TESTED: [(&str, &str); 3] = [
    ("0.171.0", "app-server"),
    ("0.169.0", "app-server"),
    ("0.42.0", "proto"),
];

/// The first version whose app-server has everything that the gateway uses.
const OLDEST: (u32, u32) = (0, 157);

/// See [`OLDEST`].
pub(super) fn oldest() -> String {
    let (major, minor) = OLDEST;
    format!("{major}.{minor}")
}

/// Whether the tests with the real Codex were run with this version.
pub(super) fn is_tested(version: &str, backend: &'static str) -> bool {
    TESTED.contains(&(version, backend))
}

/// Whether a version is known to be too old for `app-server`. A program built from its source says 0.0.0.
pub(super) fn is_too_old(version: &str) -> bool {
    let mut numbers = version.split('.').map_while(|number| number.parse().ok());
    let (Some(major), Some(minor)) = (numbers.next(), numbers.next()) else {
        return false;
    };
    (major, minor) != (0, 0) && (major, minor) < OLDEST
}

/// Warns of a version that was not tested: Codex changes its protocols without notice.
pub(super) fn warn(version: &str, backend: &'static str) {
    if !is_tested(version, backend) {
        let tested = TESTED.map(|(version, backend)| format!("{version} ({backend})"));
        tracing::warn!(
            version,
            backend,
            "this version of Codex is not one the gateway was tested with: {}",
            tested.join(", ")
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_before_the_oldest_are_too_old_where_that_can_be_known() {
        for version in ["0.44.0", "0.99.0", "0.156.0-alpha.1"] {
            assert!(is_too_old(version), "{version}");
        }
        for version in ["0.157.0", "0.169.0", "1.0.0", "0.0.0", "nightly", ""] {
            assert!(!is_too_old(version), "{version}");
        }
    }
}
