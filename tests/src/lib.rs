//! Code shared by the end-to-end tests: gateways to talk to, and fake or real programs around them.

pub mod alike;
pub mod attack;
pub mod bare;
pub mod clients;
pub mod crowd;
pub mod edge;
pub mod examples;
pub mod gateway;
pub mod guests;
pub mod inputs;
pub mod mutants;
pub mod operator;
pub mod place;
pub mod provider;
pub mod real;
pub mod remains;
pub mod replay;
pub mod socket;
pub mod sse;
pub mod tls;
pub mod tokens;
