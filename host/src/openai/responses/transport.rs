//! The members of a request that only the WebSocket mode has.

use std::borrow::Cow;

use serde::Deserialize;

use super::super::ApiError;
use super::super::json_object::{Object, invalid_value};
use super::super::params::unsupported;
use super::ResponsesRequest;

/// The one event that a client may send.
const CREATE: &str = "response.create";

/// The longest `stream_id`, in bytes: each event repeats it.
const LONGEST_LANE: usize = 128;

/// See the module. A request over HTTP has the default, whatever its members are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transport {
    /// The event's `type`.
    event: Option<String>,
    /// Whether the model is asked; otherwise the request is only kept to be continued.
    pub generates: bool,
    /// The error for members that are not what they should be; over HTTP there is none.
    wrong: Option<ApiError>,
}

impl Default for Transport {
    fn default() -> Self {
        Self {
            event: None,
            generates: true,
            wrong: None,
        }
    }
}

impl Transport {
    pub(super) fn read(body: &mut Object) -> Result<Self, ApiError> {
        let event = body.take("type");
        let lane = body.short_string("stream_id", LONGEST_LANE);
        let (generates, wrong) = match body.boolean("generate") {
            Ok(generates) => (generates != Some(false), None),
            Err(error) => (true, Some(error)),
        };
        Ok(Self {
            event: event.and_then(|event| event.as_str().map(str::to_owned)),
            generates,
            wrong: lane.err().or(wrong),
        })
    }
}

/// The lane of a message: each event of its answer repeats it, errors about a message that is no request too. None if there is no
/// lane that can be repeated.
#[must_use]
pub fn lane_of(message: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Routed<'a> {
        #[serde(borrow)]
        stream_id: Option<Cow<'a, str>>,
    }
    let routed: Routed<'_> = serde_json::from_slice(message).ok()?;
    let lane = routed.stream_id.filter(|lane| lane.len() <= LONGEST_LANE)?;
    Some(lane.into_owned())
}

impl ResponsesRequest {
    /// Checks that a message of a WebSocket is one that creates a response.
    ///
    /// # Errors
    /// 400, for another event, a `stream_id` that is no short string, a `generate` that is no boolean, or a response in the background.
    pub fn check_event(&self) -> Result<(), ApiError> {
        if self.transport.event.as_deref() != Some(CREATE) {
            let message = format!("This gateway takes one event on a WebSocket: '{CREATE}'.");
            return Err(invalid_value("type".to_owned(), message));
        }
        if let Some(error) = &self.transport.wrong {
            return Err(error.clone());
        }
        if self.background {
            let message = "A WebSocket has no responses in the background: send a POST request.";
            return Err(unsupported("background", message));
        }
        Ok(())
    }
}
