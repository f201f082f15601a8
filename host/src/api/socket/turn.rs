//! One turn of a WebSocket: a message becomes a request of its own, and the events of its answer become messages.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request};
use axum::http::header::{
    ACCEPT, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, ORIGIN,
    SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    TRANSFER_ENCODING, UPGRADE,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};
use axum::response::Response;
use futures_util::future::BoxFuture;
use http_body_util::BodyExt;
use serde_json::{Map, Value};
use tower::Service;

use super::frames::Message;
use crate::api::aliases::ModelOfUrl;
use crate::api::bodies::RoomTaken;
use crate::api::connection::{Offer, Peer, Underway};
use crate::api::routes::routed;
use crate::openai::ApiError;

/// Headers of the handshake that are none of its turns'. Each turn has an id of its own.
const NOT_A_TURNS: [HeaderName; 14] = [
    ACCEPT,
    CONNECTION,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    EXPECT,
    ORIGIN,
    SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("x-request-id"),
];

/// The WebSocket that a request belongs to: its answer is a body with one event in each frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) struct OnSocket(pub(in crate::api) u64);

/// The head that all turns of a connection have in common.
#[derive(Debug, Clone)]
pub(super) struct TurnHead {
    uri: Uri,
    headers: HeaderMap,
    model: Option<ModelOfUrl>,
}

impl TurnHead {
    /// The head of the handshake, without what concerns only the handshake.
    pub(super) fn of(parts: Parts) -> Self {
        let Parts {
            uri,
            mut headers,
            mut extensions,
            ..
        } = parts;
        for name in NOT_A_TURNS {
            headers.remove(name);
        }
        let json = HeaderValue::from_static("application/json");
        headers.insert(CONTENT_TYPE, json);
        Self {
            uri,
            headers,
            model: extensions.remove(),
        }
    }

    fn request(&self, on: OnSocket, peer: &Peer, message: Message) -> Request {
        let Message { text, room, .. } = message;
        let length = HeaderValue::from(text.len());
        let mut request = Request::new(Body::from(text));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = Version::HTTP_11;
        request.headers_mut().clone_from(&self.headers);
        request.headers_mut().insert(CONTENT_LENGTH, length);
        let extensions = request.extensions_mut();
        extensions.insert(ConnectInfo(peer.clone()));
        extensions.insert(on);
        extensions.insert(RoomTaken::new(room));
        if let Some(model) = &self.model {
            extensions.insert(model.clone());
        }
        request
    }
}

/// A turn that runs.
pub(super) struct Turn {
    answer: Answer,
    lane: Lane,
    underway: Arc<Underway>,
}

/// The lane of a message, as each event of its answer begins.
#[derive(Default)]
pub(super) struct Lane(Option<String>);

impl Lane {
    pub(super) fn of(message: &Message) -> Self {
        let name = message.lane.as_deref();
        Self(name.map(|name| format!("{{\"stream_id\":{},", Value::from(name))))
    }

    /// The event in this lane. Events are objects, and have a type.
    fn put(&self, event: Bytes) -> Bytes {
        match (&self.0, event.strip_prefix(b"{")) {
            (Some(begins), Some(rest)) => [begins.as_bytes(), rest].concat().into(),
            _ => event,
        }
    }
}

enum Answer {
    Asked(BoxFuture<'static, Response>),
    Events(Body),
    Refused(BoxFuture<'static, Bytes>),
    Over,
}

impl Turn {
    /// Sends the message through the service, as a request of this head.
    pub(super) fn begin<S>(
        head: &TurnHead,
        on: OnSocket,
        peer: &Peer,
        message: Message,
        service: S,
    ) -> Self
    where
        S: Service<Request, Response = Response, Error = Infallible> + Send + 'static,
        S::Future: Send,
    {
        let underway = Arc::new(peer.begin(Version::HTTP_11));
        let lane = Lane::of(&message);
        let request = head.request(on, peer, message);
        let answer = Box::pin(routed(service, request));
        Self {
            answer: Answer::Asked(answer),
            lane,
            underway,
        }
    }

    /// The next message of the answer, none at its end. May be cancelled.
    pub(super) async fn next(&mut self) -> Option<(Bytes, Offer)> {
        loop {
            match &mut self.answer {
                Answer::Asked(response) => self.answer = answer(response.await),
                Answer::Events(body) => match body.frame().await {
                    Some(Ok(frame)) => {
                        if let Ok(event) = frame.into_data() {
                            return Some((self.lane.put(event), self.underway.offer()));
                        }
                    }
                    Some(Err(_)) | None => self.answer = Answer::Over,
                },
                Answer::Refused(message) => {
                    let message = message.await;
                    self.answer = Answer::Over;
                    return Some((self.lane.put(message), self.underway.offer()));
                }
                Answer::Over => return None,
            }
        }
    }
}

fn answer(response: Response) -> Answer {
    if response.status().is_success() {
        return Answer::Events(response.into_body());
    }
    let (parts, body) = response.into_parts();
    Answer::Refused(Box::pin(async move {
        // Bodies of refusals are in memory.
        let body = body.collect().await.map(|body| body.to_bytes());
        let body = String::from_utf8_lossy(&body.unwrap_or_default()).into_owned();
        error_event(parts.status, &parts.headers, &body)
    }))
}

/// The message for an error that no request answered with; `lane` is that of the message that it is about.
pub(super) fn error_message(error: &ApiError, lane: &Lane) -> Bytes {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    lane.put(error_event(status, &HeaderMap::new(), &error.to_json()))
}

/// An error as OpenAI sends it in this mode: the body of the answer with its status, and the headers that clients wait by.
fn error_event(status: StatusCode, headers: &HeaderMap, body: &str) -> Bytes {
    let is_for_clients = |name: &str| {
        !name.starts_with("access-control-") && !["content-type", "vary"].contains(&name)
    };
    let headers: Map<String, Value> = headers
        .iter()
        .filter(|(name, _)| is_for_clients(name.as_str()))
        .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.into())))
        .collect();
    let mut event = Map::new();
    event.insert("type".to_owned(), "error".into());
    event.insert("status".to_owned(), status.as_u16().into());
    let body = serde_json::from_str::<Map<String, Value>>(body).unwrap_or_default();
    event.extend(body);
    event.insert("headers".to_owned(), headers.into());
    Value::from(event).to_string().into()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn a_turn_has_the_model_of_its_connections_url() {
        let (mut parts, ()) = axum::http::Request::new(()).into_parts();
        parts.extensions.insert(ModelOfUrl("codex-5".to_owned()));
        let peer = Peer::from(SocketAddr::from(([127, 0, 0, 1], 1)));
        let request = TurnHead::of(parts).request(OnSocket(1), &peer, Message::default());
        let model = request.extensions().get::<ModelOfUrl>();
        assert_eq!(model.map(|model| model.0.as_str()), Some("codex-5"));
        let room = request.extensions().get::<RoomTaken>();
        assert!(room.is_some_and(|room| room.take().is_some()));
    }
}
