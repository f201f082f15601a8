//! Reads a stream of server-sent events as a client does.

use futures_util::{Stream, StreamExt};
use serde_json::Value;

/// One event of a stream. Its name, if it has one, is also in its data.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A `data:` line that is JSON.
    Data(Value),
    /// `data: [DONE]`.
    Done,
    /// A comment.
    Comment(String),
}

/// Reads events as they arrive.
pub struct Events {
    body: std::pin::Pin<Box<dyn Stream<Item = reqwest::Result<bytes::Bytes>> + Send>>,
    buffer: String,
}

impl Events {
    /// The events of a response.
    #[must_use]
    pub fn of(response: reqwest::Response) -> Self {
        Self {
            body: Box::pin(response.bytes_stream()),
            buffer: String::new(),
        }
    }

    /// The next event; none if the body ended, for any reason.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.buffer.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.buffer = rest;
                return Some(parse(&event));
            }
            let bytes = self.body.next().await?.ok()?;
            self.buffer
                .push_str(std::str::from_utf8(&bytes).expect("frames are whole characters"));
        }
    }

    /// The remaining events.
    pub async fn rest(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

/// Name and data of each event of a response or a message, once the body has ended.
///
/// # Panics
/// If an event's data has another name.
pub async fn named(response: reqwest::Response) -> Vec<(String, Value)> {
    let text = response.text().await.expect("a body");
    let event = |block: &str| {
        let (name, data) = block.strip_prefix("event: ")?.split_once("\ndata: ")?;
        let data: Value = serde_json::from_str(data).expect("data is JSON");
        assert_eq!(data["type"], name);
        Some((name.to_owned(), data))
    };
    text.split("\n\n").filter_map(event).collect()
}

fn parse(event: &str) -> Event {
    if let Some(comment) = event.strip_prefix(':') {
        return Event::Comment(comment.trim().to_owned());
    }
    let name = event.strip_prefix("event: ");
    let (name, data) = name.map_or((None, event), |named| {
        let (name, data) = named.split_once('\n').unwrap_or((named, ""));
        (Some(name), data)
    });
    let data = data
        .strip_prefix("data: ")
        .unwrap_or_else(|| panic!("not a data line: {event}"));
    if data == "[DONE]" {
        return Event::Done;
    }
    let data: Value = serde_json::from_str(data).expect("data is JSON");
    assert!(name.is_none_or(|name| data["type"] == name), "{event}");
    Event::Data(data)
}

/// The text of the answer, joined.
#[must_use]
pub fn text(events: &[Event]) -> String {
    let contents = events.iter().filter_map(|event| match event {
        Event::Data(data) => data["choices"][0]["delta"]["content"].as_str(),
        _ => None,
    });
    contents.collect()
}

/// All finish reasons; a stream that ended well has exactly one.
#[must_use]
pub fn finishes(events: &[Event]) -> Vec<String> {
    let reasons = events.iter().filter_map(|event| match event {
        Event::Data(data) => data["choices"][0]["finish_reason"]
            .as_str()
            .map(str::to_owned),
        _ => None,
    });
    reasons.collect()
}

/// The error object in the stream, if there is one.
#[must_use]
pub fn error(events: &[Event]) -> Option<&Value> {
    events.iter().find_map(|event| match event {
        Event::Data(data) if data.get("error").is_some() => Some(&data["error"]),
        _ => None,
    })
}
