//! Lists the input of a response, item by item, as Codex got it.

use serde::Serialize;

use super::super::{ApiError, GatewayError, id, json, json_object};
use crate::codex::{Item, Part, Role};

/// The page of a list that a client asks for.
#[derive(Debug, Clone)]
pub struct InputList {
    /// The order of the items.
    pub order: Order,
    /// The most items of the page.
    pub limit: usize,
    /// The id of the item before the page.
    pub after: Option<String>,
    /// Whether pictures have their data.
    pub images: bool,
}

/// The order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The conversation's.
    EarliestFirst,
    /// The reverse.
    LatestFirst,
}

#[derive(Serialize)]
struct Page<'a> {
    object: &'static str,
    data: Vec<Listed<'a>>,
    first_id: Option<String>,
    last_id: Option<String>,
    has_more: bool,
}

#[derive(Serialize)]
pub(super) struct Listed<'a> {
    id: String,
    status: &'static str,
    #[serde(flatten)]
    body: Body<'a>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Body<'a> {
    Message {
        role: &'static str,
        content: Vec<PartBody<'a>>,
    },
    FunctionCall {
        call_id: &'a str,
        name: &'a str,
        arguments: &'a str,
    },
    FunctionCallOutput {
        call_id: &'a str,
        output: Vec<PartBody<'a>>,
    },
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum PartBody<'a> {
    InputText {
        text: &'a str,
    },
    OutputText {
        text: &'a str,
        annotations: [(); 0],
    },
    InputImage {
        detail: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        image_url: Option<&'a str>,
    },
}

impl<'a> Listed<'a> {
    /// The item at this place of the response's input, or of a list that is like it.
    pub(super) fn of(response: &str, at: usize, item: &'a Item, images: bool) -> Self {
        Self {
            id: item_id(response, at, item),
            status: "completed",
            body: body(item, images),
        }
    }
}

/// One page of the list, as JSON. `items` is the input of the response.
///
/// # Errors
/// 400 if no item has the id in `after`.
pub fn list_input(response: &str, items: &[Item], list: &InputList) -> Result<String, ApiError> {
    let all: Vec<(usize, &Item)> = match list.order {
        Order::EarliestFirst => items.iter().enumerate().collect(),
        Order::LatestFirst => items.iter().enumerate().rev().collect(),
    };
    let id = |&(at, item): &(usize, &Item)| item_id(response, at, item);
    let from = match &list.after {
        None => 0,
        Some(after) => {
            let found = all.iter().position(|item| id(item) == *after);
            found.ok_or_else(|| unknown(after))? + 1
        }
    };
    let rest = all.get(from..).unwrap_or_default();
    let page = &rest[..list.limit.min(rest.len())];
    Ok(json::write(&Page {
        object: "list",
        data: page
            .iter()
            .map(|&(at, item)| Listed::of(response, at, item, list.images))
            .collect(),
        first_id: page.first().map(id),
        last_id: page.last().map(id),
        has_more: rest.len() > page.len(),
    }))
}

fn unknown(after: &str) -> ApiError {
    let id = json_object::shorten(after);
    GatewayError::ItemNotFound { id }.about("after")
}

fn item_id(response: &str, at: usize, item: &Item) -> String {
    let kind = match item {
        Item::Message { .. } => "msg",
        Item::Call { .. } => "fc",
        Item::CallOutput { .. } => "fco",
    };
    id::input_item(kind, response, at)
}

fn body(item: &Item, images: bool) -> Body<'_> {
    match item {
        Item::Message { role, parts } => Body::Message {
            role: role.name(),
            content: content(parts, *role == Role::Assistant, images),
        },
        Item::Call {
            id,
            name,
            arguments,
        } => Body::FunctionCall {
            call_id: id,
            name,
            arguments,
        },
        Item::CallOutput { id, parts } => Body::FunctionCallOutput {
            call_id: id,
            output: content(parts, false, images),
        },
    }
}

fn content(parts: &[Part], is_answer: bool, images: bool) -> Vec<PartBody<'_>> {
    let parts = parts.iter();
    parts
        .map(|part| match part {
            Part::Text(text) if is_answer => PartBody::OutputText {
                text,
                annotations: [],
            },
            Part::Text(text) => PartBody::InputText { text },
            Part::Image { url, detail } => PartBody::InputImage {
                detail: detail.as_deref().unwrap_or("auto"),
                image_url: images.then_some(url),
            },
        })
        .collect()
}
