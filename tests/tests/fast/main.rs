//! Tests with the demo or a scripted Codex behind the gateway: one program, so that it is linked once.

use codex_gateway_tests::gateway::{Gateway, Setup, stream};
use codex_gateway_tests::sse::Events;
use serde_json::json;

mod addresses;
mod admin;
mod authors;
mod background;
mod book;
mod callers;
mod canary;
mod candidate_faults;
mod candidates;
mod changes;
mod circles;
mod codex_faults;
mod compaction;
mod compile_cache;
mod completions;
mod compressed;
mod concurrency;
mod connections;
mod contract;
mod cors;
mod dialects;
mod disconnects;
mod docs;
mod errors;
mod examples;
mod explain;
mod folder_and_api;
mod forward_auth;
mod fuzz;
mod given;
mod golden;
mod health;
mod hostile;
mod hosts;
mod http;
mod identity;
mod imports;
mod journal;
mod keys;
mod layers;
mod limits;
mod live_decisions;
mod logins;
mod matrix;
mod messages;
mod metrics;
mod mutants;
mod new_policies;
mod obsidian;
mod oci;
mod odd_files;
mod openapi;
mod parameters;
mod past;
mod policies;
mod probation;
mod protocol_log;
mod records;
mod replicas;
mod requests;
mod responses;
mod restarts;
mod sandboxes;
mod secrets;
mod socket;
mod socket_ends;
mod status;
mod steering;
mod steps;
mod swap;
mod timers;
mod traces;
mod trials;
mod trust;
mod unserved;
mod usage;
mod workers;

/// A setup with the scripted Codex.
fn fake() -> Setup {
    Setup::codex(env!("CARGO_BIN_EXE_fake-codex"))
}

/// A setup with the scripted Codex under a name that makes it an old version, with `proto` only.
fn old_fake() -> Setup {
    Setup::old_codex(env!("CARGO_BIN_EXE_fake-codex"))
}

/// Opens a stream that goes on until its reader disconnects.
async fn endless(gateway: &Gateway) -> Events {
    let endless = json!({"fake": {"text": ["x"], "repeat": 1_000_000, "delay_ms": 5}});
    let response = gateway.chat(&stream(&endless.to_string())).send().await;
    let mut events = Events::of(response.unwrap());
    assert!(events.next().await.is_some());
    events
}
