//! The conversation that is kept of a response, for requests that refer to it.

use std::collections::HashMap;

use crate::codex::Item;

/// To be kept of one response, or what is known of the past of a request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Memory {
    /// All that was said until the end of the response, oldest first; instructions are not carried over.
    pub conversation: Vec<Item>,
    /// What items of answers stand for, by their ids. Reasoning stands for nothing: Codex cannot be given it again.
    pub items: HashMap<String, Option<Item>>,
}
