//! Tests with real programs: Codex, SDKs, a browser, edge proxies. `.ci/run` installs them.

mod agent;
mod answers;
mod beginnings;
mod browser;
mod calls;
mod claude;
mod client;
mod codex;
mod conversations;
mod crowd;
mod errors;
mod guard;
mod home;
mod leftovers;
mod logins;
mod names;
mod new_policies;
mod programs;
mod proto;
mod protocol_log;
mod proxies;
mod sdks;
mod story;
mod tls;
mod versions;
mod wishes;
