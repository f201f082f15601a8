//! The mistakes and the warnings of a configuration.

/// A mistake in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: expected {expected}, found {found}")]
pub struct Problem {
    /// The variable.
    pub variable: &'static str,
    /// A description of the right value.
    pub expected: String,
    /// The value; never that of a secret.
    pub found: String,
}

/// A value that is valid but probably not intended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {what}")]
pub struct Warning {
    /// The variable, or the file.
    pub name: String,
    /// The warning, and its remedy where there is one.
    pub what: String,
    /// Whether it is normal for a first start, and worth an info line only.
    pub is_remark: bool,
}
