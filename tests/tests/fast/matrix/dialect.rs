//! The columns of the matrix: the same request in the words of each dialect, and how it is sent.

use codex_gateway_tests::gateway::{Gateway, KEY};
use codex_gateway_tests::socket::{Socket, TEXT};
use codex_gateway_tests::sse::{self, Events};
use futures_util::StreamExt;
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

use super::answer::{Answer, error};
use crate::journal;

/// A way to ask for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/completions`.
    Completions,
    /// `/v1/responses`, by `POST`.
    Responses,
    /// The same over a WebSocket.
    Socket,
    /// `/v1/messages`.
    Messages,
}

/// The columns, in the order of a row's cells.
pub(super) const COLUMNS: [Dialect; 5] = [
    Dialect::Chat,
    Dialect::Completions,
    Dialect::Responses,
    Dialect::Socket,
    Dialect::Messages,
];

/// A request, in no dialect's words.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    /// The user's message.
    text: String,
    /// The model.
    model: &'static str,
    /// The key.
    key: &'static str,
    /// A PNG in base64, beside the text.
    image: Option<&'static str>,
    /// Whether the function `get_weather` is offered.
    tools: bool,
    /// Whether a tool is offered that the provider runs itself.
    hosted: bool,
    /// The most tokens of the answer.
    max_tokens: Option<u64>,
    /// The body as it is sent, instead of all above but the key.
    raw: Option<&'static str>,
}

impl Ask {
    pub(super) fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            model: "codex-5",
            key: KEY,
            image: None,
            tools: false,
            hosted: false,
            max_tokens: None,
            raw: None,
        }
    }

    pub(super) fn model(self, model: &'static str) -> Self {
        Self { model, ..self }
    }

    pub(super) fn key(self, key: &'static str) -> Self {
        Self { key, ..self }
    }

    pub(super) fn image(self, data: &'static str) -> Self {
        let image = Some(data);
        Self { image, ..self }
    }

    pub(super) fn tools(self) -> Self {
        let tools = true;
        Self { tools, ..self }
    }

    pub(super) fn hosted(self) -> Self {
        let hosted = true;
        Self { hosted, ..self }
    }

    pub(super) fn max_tokens(self, tokens: u64) -> Self {
        let max_tokens = Some(tokens);
        Self { max_tokens, ..self }
    }

    pub(super) fn raw(self, body: &'static str) -> Self {
        let raw = Some(body);
        Self { raw, ..self }
    }
}

impl Dialect {
    fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Responses | Self::Socket => "/v1/responses",
            Self::Messages => "/v1/messages",
        }
    }

    /// The forms in which this dialect answers: whole, streamed or both.
    pub(super) fn forms(self) -> &'static [bool] {
        match self {
            Self::Socket => &[true],
            _ => &[false, true],
        }
    }

    /// The content of the user's message.
    fn content(self, ask: &Ask) -> Value {
        let Some(data) = ask.image else {
            return json!(ask.text);
        };
        let url = format!("data:image/png;base64,{data}");
        let kind = match self {
            Self::Responses | Self::Socket => "input_text",
            _ => "text",
        };
        let image = match self {
            Self::Messages => {
                json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}})
            }
            Self::Responses | Self::Socket => json!({"type": "input_image", "image_url": url}),
            Self::Chat | Self::Completions => {
                json!({"type": "image_url", "image_url": {"url": url}})
            }
        };
        json!([{"type": kind, "text": ask.text}, image])
    }

    fn tool(self) -> Value {
        let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
        match self {
            Self::Messages => json!({"name": "get_weather", "input_schema": schema}),
            Self::Responses | Self::Socket => {
                json!({"type": "function", "name": "get_weather", "parameters": schema})
            }
            Self::Chat | Self::Completions => {
                json!({"type": "function", "function": {"name": "get_weather", "parameters": schema}})
            }
        }
    }

    /// A tool that OpenAI or Anthropic runs.
    fn hosted_tool(self) -> Value {
        match self {
            Self::Messages => json!({"type": "web_search_20250305", "name": "web_search"}),
            _ => json!({"type": "web_search"}),
        }
    }

    /// The body.
    pub(super) fn body(self, ask: &Ask, stream: bool) -> String {
        if let Some(raw) = ask.raw {
            return raw.to_owned();
        }
        let said = json!([{"role": "user", "content": self.content(ask)}]);
        let mut body = json!({"model": ask.model, "stream": stream});
        match self {
            Self::Chat | Self::Messages => body["messages"] = said,
            Self::Completions => body["prompt"] = json!(ask.text),
            Self::Responses | Self::Socket => body["input"] = said,
        }
        match self {
            Self::Chat | Self::Completions if stream => {
                body["stream_options"] = json!({"include_usage": true});
            }
            Self::Socket => body["type"] = json!("response.create"),
            _ => {}
        }
        let mut tools = Vec::new();
        tools.extend(ask.tools.then(|| self.tool()));
        tools.extend(ask.hosted.then(|| self.hosted_tool()));
        if !tools.is_empty() {
            body["tools"] = Value::Array(tools);
        }
        let limit = match self {
            Self::Responses | Self::Socket => "max_output_tokens",
            _ => "max_tokens",
        };
        if let Some(tokens) = ask.max_tokens {
            body[limit] = json!(tokens);
        }
        body.to_string()
    }

    fn request(self, gateway: &Gateway, ask: &Ask, stream: bool) -> RequestBuilder {
        let url = format!("{}{}", gateway.origin, self.path());
        let request = gateway.client.post(url);
        let request = match self {
            Self::Messages => request
                .header("x-api-key", ask.key)
                .header("anthropic-version", "2023-06-01"),
            _ => request.bearer_auth(ask.key),
        };
        let request = request.header("content-type", "application/json");
        request.body(self.body(ask, stream))
    }

    /// Sends the request, and reads all of the answer.
    pub(super) async fn ask(self, gateway: &Gateway, ask: &Ask, stream: bool) -> Answer {
        if self == Self::Socket {
            return over_a_socket(gateway, ask).await;
        }
        let request = self.request(gateway, ask, stream);
        let response = request.send().await.expect("an answer");
        let headers = response.headers().iter();
        let headers = headers
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        let status = response.status().as_u16();
        let mut answer = if stream && status == 200 {
            self.streamed(response).await
        } else {
            Answer::whole(self, status, &response.json().await.expect("JSON"))
        };
        answer.headers = headers;
        answer
    }

    async fn streamed(self, response: Response) -> Answer {
        match self {
            Self::Chat | Self::Completions => {
                Answer::chunks(self, &Events::of(response).rest().await)
            }
            _ => {
                let events = sse::named(response).await;
                let events: Vec<Value> = events.into_iter().map(|(_, data)| data).collect();
                match self {
                    Self::Messages => Answer::message(&events),
                    _ => Answer::response(self, &events),
                }
            }
        }
    }

    /// Sends the request, and disconnects when its turn runs; in a stream, after its first bytes.
    pub(super) async fn leave(self, gateway: &Gateway, ask: &Ask, stream: bool) {
        let turns = journal::count(gateway, "turn/start");
        let has_begun = |gateway: &Gateway| journal::count(gateway, "turn/start") > turns;
        if self == Self::Socket {
            let mut socket = Socket::open(gateway).await;
            socket.frame(TEXT, self.body(ask, true).as_bytes()).await;
            assert_eq!(socket.event().await["type"], "response.created");
        } else if stream {
            let response = self.request(gateway, ask, true).send().await;
            let mut body = response.expect("an answer").bytes_stream();
            assert!(body.next().await.is_some());
        } else {
            let request = tokio::spawn(self.request(gateway, ask, false).send());
            gateway.until(has_begun, "turn").await;
            request.abort();
            assert!(request.await.unwrap_err().is_cancelled());
        }
    }
}

/// Opens a WebSocket, sends the request, and reads its answer and, if there is one, the close frame.
async fn over_a_socket(gateway: &Gateway, ask: &Ask) -> Answer {
    let dialect = Dialect::Socket;
    let opened = Socket::open_with(gateway, ask.key, &[]).await;
    let mut socket = match opened {
        Ok(socket) => socket,
        Err(refused) => {
            let ending = format!("{} {}", refused.status, error(dialect, &refused.body));
            return Answer {
                ending,
                ..Answer::default()
            };
        }
    };
    socket.frame(TEXT, dialect.body(ask, true).as_bytes()).await;
    let events = socket.answer().await;
    Answer::response(dialect, &events)
}
