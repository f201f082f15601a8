//! The auth policy `jwt-auth`: it knows callers by JSON Web Tokens that an identity provider signed.

pub mod claims;
pub mod decide;
pub mod json;
pub mod keys;
pub mod settings;
pub mod token;

pub use decide::JwtAuth;

codex_policy::export!(auth: JwtAuth);
