//! Reads any body of a request in each dialect: it is refused, or a plan in which each call has an id of its own, and each output
//! belongs to one.

#![no_main]

use std::collections::HashSet;

use codex_gateway::codex::plan::Item;
use codex_gateway::openai::chat::ChatRequest;
use codex_gateway::openai::completions::CompletionRequest;
use codex_gateway::openai::messages::MessagesRequest;
use codex_gateway::openai::responses::{Memory, ResponsesRequest};
use codex_gateway::openai::{ApiError, Reading, Target};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let (reading, target) = (Reading::default(), Target::default());
    match ChatRequest::parse(body, &reading) {
        Ok(request) => assert_paired(&request.into_plan(target.clone()).0.history),
        Err(error) => assert_refused(&error),
    }
    let request = ResponsesRequest::parse(body, &reading);
    match request.and_then(|request| request.into_plan(target.clone(), Memory::default())) {
        Ok((plan, ..)) => assert_paired(&plan.history),
        Err(error) => assert_refused(&error),
    }
    match MessagesRequest::parse(body, &reading) {
        Ok(request) => assert_paired(&request.into_plan(target.clone()).0.history),
        Err(error) => assert_refused(&error),
    }
    match CompletionRequest::parse(body) {
        Ok(request) => {
            for (plan, _) in request.into_plans(&target) {
                assert!(plan.history.len() <= 1);
            }
        }
        Err(error) => assert_refused(&error),
    }
});

fn assert_refused(error: &ApiError) {
    assert_eq!(error.status, 400, "{error}");
    assert!(!error.code.is_empty());
}

fn assert_paired(history: &[Item]) {
    let (mut calls, mut open) = (HashSet::new(), HashSet::new());
    for item in history {
        match item {
            Item::Call { id, .. } => {
                assert!(!id.is_empty() && id.len() <= 64, "{id}");
                assert!(calls.insert(id), "{id} is there twice");
                open.insert(id);
            }
            Item::CallOutput { id, .. } => {
                assert!(calls.contains(id), "{id} has no call");
                open.remove(id);
            }
            Item::Message { parts, .. } => assert!(!parts.is_empty()),
        }
    }
    assert!(open.is_empty(), "without an output: {open:?}");
}
