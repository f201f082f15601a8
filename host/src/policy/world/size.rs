//! The bytes that the contract's types take in memory, about.

use std::mem::size_of;

use super::super::bindings::{Caller, Denial, Header, Request};

/// Of a text that may be absent.
pub(super) fn option(text: &Option<String>) -> usize {
    text.as_ref().map_or(0, String::len)
}

pub(super) fn caller(caller: &Caller) -> usize {
    let groups = caller.groups.iter();
    let groups: usize = groups.map(|group| size_of::<String>() + group.len()).sum();
    caller.id.len() + option(&caller.tenant) + groups
}

pub(super) fn headers(headers: &[Header]) -> usize {
    let sizes = headers.iter();
    sizes
        .map(|(name, value)| size_of::<Header>() + name.len() + value.len())
        .sum()
}

pub(super) fn request(request: &Request) -> usize {
    let credential = request.credential.as_ref();
    let texts = [
        &request.id,
        &request.method,
        &request.path,
        &request.host,
        &request.client,
    ];
    texts.map(String::len).iter().sum::<usize>()
        + option(&request.query)
        + credential.map_or(0, |given| given.scheme.len() + given.fingerprint.len())
        + headers(&request.headers)
}

/// Of an answer that may be a denial.
pub(super) fn answer<T>(answer: &Result<T, Denial>, size: impl FnOnce(&T) -> usize) -> usize {
    match answer {
        Ok(answer) => size(answer),
        Err(denial) => {
            let texts = [&denial.kind, &denial.code, &denial.message];
            let texts: usize = texts.map(String::len).iter().sum();
            texts + option(&denial.param) + headers(&denial.headers)
        }
    }
}
