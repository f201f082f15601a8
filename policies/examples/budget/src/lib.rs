//! The rate-limit policy `budget`: each tenant has an amount of money in a calendar month.

pub mod decide;
pub mod month;
pub mod settings;

pub use decide::Budget;

codex_policy::export!(rate_limit: Budget);
