//! Honest clients at a modest rate: streamed chats, the list of models, forward authentication.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::gateway::{KEY, stream};

/// The pause between a client's requests.
const PAUSE: Duration = Duration::from_millis(100);

/// The timeout of a request. No honest answer takes as long on a busy machine, and a person would give up by then.
const PATIENCE: Duration = Duration::from_secs(15);

/// The kind of an honest request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A chat completion, streamed.
    Chat,
    /// The list of models.
    Models,
    /// Forward authentication, as an edge proxy asks it.
    Verify,
    /// A chat completion on a new connection, from an address that was not used before.
    Newcomer,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Chat, Self::Models, Self::Verify, Self::Newcomer];
}

/// The outcome of a request.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The kind of the request.
    pub kind: Kind,
    answer: Result<Duration, String>,
}

impl Outcome {
    /// The time to the last byte, if the answer was right.
    #[must_use]
    pub fn took(&self) -> Option<Duration> {
        self.answer.as_ref().ok().copied()
    }

    /// The error, if the answer was wrong or missing.
    #[must_use]
    pub fn lost(&self) -> Option<String> {
        let lost = self.answer.as_ref().err()?;
        Some(format!("{:?}: {lost}", self.kind))
    }
}

/// Two clients of each kind.
pub(super) struct Crowd {
    outcomes: Arc<Mutex<Vec<Outcome>>>,
    stop: CancellationToken,
    clients: JoinSet<()>,
}

impl Crowd {
    pub(super) fn start(address: &str) -> Self {
        let outcomes = Arc::<Mutex<Vec<Outcome>>>::default();
        let (stop, mut clients) = (CancellationToken::new(), JoinSet::new());
        for (number, kind) in Kind::ALL.into_iter().chain(Kind::ALL).enumerate() {
            let origin = format!("http://{address}");
            let (outcomes, stop) = (Arc::clone(&outcomes), stop.clone());
            clients.spawn(async move {
                let client = client(kind);
                for turn in 0.. {
                    let place = if kind == Kind::Newcomer { turn } else { 0 };
                    let from = Ipv4Addr::from_bits(0xcb00_0000 + (number << 16) as u32 + place);
                    let began = Instant::now();
                    let asked = ask(kind, request(&client, &origin, kind, from));
                    let asked = tokio::time::timeout(PATIENCE, asked).await;
                    let answer = asked.unwrap_or_else(|_| Err(format!("nothing in {PATIENCE:?}")));
                    let answer = answer.map(|()| began.elapsed());
                    let outcome = Outcome { kind, answer };
                    outcomes.lock().push(outcome);
                    if stop
                        .run_until_cancelled(tokio::time::sleep(PAUSE))
                        .await
                        .is_none()
                    {
                        return;
                    }
                }
            });
        }
        Self {
            outcomes,
            stop,
            clients,
        }
    }

    /// The outcomes since the last call.
    pub(super) fn take(&self) -> Vec<Outcome> {
        std::mem::take(&mut *self.outcomes.lock())
    }

    /// Stops the clients and waits for their last answers.
    pub(super) async fn end(mut self) -> Vec<Outcome> {
        self.stop.cancel();
        while self.clients.join_next().await.is_some() {}
        self.take()
    }
}

fn client(kind: Kind) -> Client {
    let kept = if kind == Kind::Newcomer { 0 } else { 4 };
    let client = Client::builder().pool_max_idle_per_host(kept);
    client.build().expect("a client")
}

fn request(client: &Client, origin: &str, kind: Kind, from: Ipv4Addr) -> RequestBuilder {
    let words = json!({"demo": {"deltas": 5, "text": "x ", "delay_ms": 5}}).to_string();
    let request = match kind {
        Kind::Chat | Kind::Newcomer => client
            .post(format!("{origin}/v1/chat/completions"))
            .json(&stream(&words)),
        Kind::Models => client.get(format!("{origin}/v1/models")),
        Kind::Verify => client
            .get(format!("{origin}/verify"))
            .header("x-forwarded-method", "GET")
            .header("x-forwarded-proto", "https")
            .header("x-forwarded-host", "codex.example")
            .header("x-forwarded-uri", "/v1/models"),
    };
    request
        .bearer_auth(KEY)
        .header("x-forwarded-for", from.to_string())
}

async fn ask(kind: Kind, request: RequestBuilder) -> Result<(), String> {
    let response: Response = request.send().await.map_err(|error| chain(&error))?;
    let status = response.status();
    let body = response.text().await.map_err(|error| chain(&error))?;
    let whole = match kind {
        Kind::Chat | Kind::Newcomer => body.ends_with("data: [DONE]\n\n") && body.contains("x "),
        Kind::Models => body.contains("\"object\":\"list\""),
        Kind::Verify => true,
    };
    match status.as_u16() {
        200 if whole => Ok(()),
        status => Err(format!(
            "{status}: {}",
            &body[..body.floor_char_boundary(200)]
        )),
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}
