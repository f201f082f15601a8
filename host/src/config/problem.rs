//! A mistake in the configuration, and a warning about it.

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: expected {expected}, found {found}")]
pub struct Problem {
    /// The variable.
    pub variable: &'static str,
    /// What would be right.
    pub expected: String,
    /// The value; never that of a secret.
    pub found: String,
}

/// Something that is not wrong, but hardly meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {what}")]
pub struct Warning {
    /// The variable, or the file.
    pub name: String,
    /// What is to be known of it, and done about it.
    pub what: String,
    /// It is what a first look begins with, and worth a word only.
    pub is_remark: bool,
}
