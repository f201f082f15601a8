//! Tests that hold for every dialect, and what the tests of each share.

pub(super) mod golden;
mod nulls;
