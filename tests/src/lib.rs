//! What the end-to-end tests share: a gateway to talk to, and the neighbours it talks to.

pub mod attack;
pub mod bare;
pub mod crowd;
pub mod edge;
pub mod gateway;
pub mod guests;
pub mod provider;
pub mod real;
pub mod remains;
pub mod replay;
pub mod sse;
pub mod tls;
