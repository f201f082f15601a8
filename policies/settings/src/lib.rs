//! The names that the default policies and the host match alike: callers, groups and models, with patterns.

pub mod models;
pub mod who;
