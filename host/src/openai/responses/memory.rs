//! The memory of a response, for requests that continue it or refer to its items.

use std::collections::HashMap;

use crate::codex::Item;

/// The memory to keep of one response, or the known past of a request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Memory {
    /// The conversation until the end of the response, oldest first; instructions are not carried over.
    pub conversation: Vec<Item>,
    /// How many items of the conversation the response answers; those after them are the answer.
    pub input: usize,
    /// The items of answers by their ids. Reasoning items are `None`: Codex cannot take them again.
    pub items: HashMap<String, Option<Item>>,
}
