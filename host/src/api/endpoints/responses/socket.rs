//! `GET /v1/responses` as a WebSocket: accepts the connection, and writes the answers to its turns.

use std::convert::Infallible;
use std::future::ready;

use axum::RequestPartsExt;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{
    CONNECTION, HOST, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{Stream, StreamExt, stream};
use hyper::upgrade::OnUpgrade;
use sha1::{Digest, Sha1};

use super::Writer;
use crate::api::choices::{self, Choices};
use crate::api::endpoints::unknown;
use crate::api::generate::Generate;
use crate::api::middleware::cors;
use crate::api::request_context::Authenticated;
use crate::api::socket::Accepted;
use crate::api::{Shared, sse};
use crate::codex::Usage;
use crate::openai::responses::Transport;
use crate::openai::{ApiError, GatewayError};
use crate::turn::{self, Delta, Finish};

/// The text that every server appends to a client's key (RFC 6455 §1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// `GET`: makes the connection a WebSocket, on which each `response.create` is a request of its own.
pub(in crate::api) async fn open(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, ApiError> {
    let (mut parts, _) = request.into_parts();
    if !unknown::asks_for_websocket(&parts.headers) {
        let mut error = unknown::method(parts.method, parts.uri, parts.headers).await;
        let allowed = ("allow".to_owned(), "POST,HEAD".to_owned());
        error.headers.push(allowed);
        return Err(error);
    }
    let Some(limits) = shared.config.sockets else {
        return Err(unknown::no_websocket());
    };
    let accept = accept(&parts.headers)?;
    if let Some(origin) = parts.headers.get(ORIGIN) {
        let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
        let origins = shared.config.origins.as_ref();
        if !cors::may_connect(origins, origin, host.unwrap_or_default()) {
            return Err(GatewayError::OriginNotAllowed.into());
        }
    }
    // HTTP/2 has no upgrades.
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    let upgrade = upgrade.ok_or_else(unknown::no_websocket)?;
    let Authenticated(caller) = parts.extract().await?;
    let most = limits.per_caller;
    let slot = shared.sockets.take(&choices::key(&caller), most);
    let slot = slot.ok_or(GatewayError::TooManySockets { most })?;
    let accepted = Accepted::new(shared, limits, parts, upgrade, slot);
    Ok(switched(accept, accepted))
}

/// The answer to the client's key.
fn accept(headers: &HeaderMap) -> Result<HeaderValue, ApiError> {
    let invalid = |why| ApiError::from(GatewayError::InvalidHandshake { why });
    let text = |name| headers.get(name).map(HeaderValue::as_bytes);
    if !unknown::lists(headers, &CONNECTION, "upgrade") {
        return Err(invalid("its 'Connection' is not 'Upgrade'"));
    }
    if text(SEC_WEBSOCKET_VERSION) != Some(b"13") {
        let mut error = invalid("its 'Sec-WebSocket-Version' is not 13");
        error.status = StatusCode::UPGRADE_REQUIRED.as_u16();
        let version = ("sec-websocket-version".to_owned(), "13".to_owned());
        error.headers.push(version);
        return Err(error);
    }
    let key = text(SEC_WEBSOCKET_KEY).unwrap_or_default();
    if !STANDARD.decode(key).is_ok_and(|key| key.len() == 16) {
        return Err(invalid("its 'Sec-WebSocket-Key' is not 16 bytes in base64"));
    }
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    HeaderValue::try_from(STANDARD.encode(digest)).map_err(|_| invalid("its key is invalid"))
}

fn switched(accept: HeaderValue, accepted: Accepted) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    response.extensions_mut().insert(accepted);
    response
}

/// Answers a turn of a WebSocket.
pub(super) async fn answer(
    intake: &mut Generate<'_>,
    model: &str,
    choices: Choices,
    (writer, transport): (Writer, Transport),
) -> Result<Response, ApiError> {
    if transport.generates {
        let deltas = intake.begin(model, true, choices).await?;
        return respond(deltas.into_stream(), writer).await;
    }
    intake.admit(model, true, &choices).await?;
    respond(nothing(), writer).await
}

/// The deltas of a request with `generate: false`: the answer is empty and complete.
fn nothing() -> impl Stream<Item = (u32, Delta)> + Send + Unpin {
    let end = Delta::End {
        finish: Finish::Stop,
        stop: None,
        usage: Usage::default(),
        estimated: false,
    };
    stream::iter([(0, end)])
}

/// Answers with a body that has one event in each frame. Its status waits for the first delta, as that of a stream.
async fn respond(
    deltas: impl Stream<Item = (u32, Delta)> + Send + Unpin + 'static,
    mut writer: Writer,
) -> Result<Response, ApiError> {
    let deltas = sse::begun(deltas, sse::PATIENCE).await?;
    let first = stream::iter(writer.begun());
    // For deltas without an end of their own.
    let broken_off = stream::iter([(0, Delta::Failed(turn::Error::Interrupted))]);
    let rest = deltas.chain(broken_off).flat_map(move |(_, delta)| {
        let is_last = matches!(delta, Delta::End { .. } | Delta::Failed(_));
        let written = writer.write(delta).into_iter().map(Some);
        stream::iter(written.chain(is_last.then_some(None)))
    });
    // The body ends with the last event: a client may send the next message at once.
    let rest = rest.scan((), |(), event| ready(event));
    let frames = first
        .chain(rest)
        .map(|event| Ok::<_, Infallible>(Bytes::from(event.data)));
    Ok(Response::new(Body::from_stream(frames)))
}
