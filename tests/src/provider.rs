//! A scripted model provider on loopback: the Responses API as Codex speaks it, and a record of its requests.
//!
//! A request is answered by the next queued script, or by the script in its last user message, if that is
//! `{"provider": {…}}`. After the client has run its tools, `then` is the script. The members of a script are those of
//! [`Script`]. A prompt that is no script is answered with a short text, unless it asks for a call or for JSON: see `sense`.

mod answer;
mod script;
mod sense;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::post;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use crate::tokens::Tokens;
pub use script::{Call, Script};

/// The timeout of [`Provider::wait_for`].
const PATIENCE: Duration = Duration::from_secs(20);

/// The API key that Codex gets.
pub const KEY: &str = "sk-provider-test";

/// The environment variable with that key.
pub const KEY_VARIABLE: &str = "TEST_PROVIDER_KEY";

/// A running provider. It stops when dropped.
#[derive(Debug)]
pub struct Provider {
    url: String,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

/// One recorded request.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The headers, names in lower case.
    pub headers: HeaderMap,
    /// The JSON body.
    pub body: Value,
}

impl Recorded {
    /// Role (or type) and text of every input item, in order.
    #[must_use]
    pub fn conversation(&self) -> Vec<(String, String)> {
        let items = self.body["input"].as_array().cloned().unwrap_or_default();
        items.iter().map(script::said).collect()
    }

    /// The results of the tools, in order.
    #[must_use]
    pub fn outputs(&self) -> Vec<String> {
        let said = self.conversation().into_iter();
        said.filter(|(role, _)| role == "function_call_output")
            .map(|(_, text)| text)
            .collect()
    }

    /// The names of the tools that were offered.
    #[must_use]
    pub fn tools(&self) -> Vec<String> {
        let tools = self.body["tools"].as_array().cloned().unwrap_or_default();
        tools
            .iter()
            .map(|tool| tool["name"].as_str().unwrap_or_default().to_owned())
            .collect()
    }
}

/// The number of requests, and of their answers in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests received.
    pub requests: usize,
    /// Answers that reached their scripted end.
    pub finished: usize,
    /// Answers whose client disconnected before the end.
    pub abandoned: usize,
    /// Answers that wait at their `stall`.
    pub stalled: usize,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<VecDeque<Script>>,
    requests: Mutex<Vec<Recorded>>,
    counts: watch::Sender<Counts>,
    released: watch::Sender<u64>,
}

impl Provider {
    /// Starts a provider on a free port.
    pub async fn spawn() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/v1", listener.local_addr().expect("an address"));
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            requests: Mutex::default(),
            counts: watch::Sender::default(),
            released: watch::Sender::default(),
        });
        let responses = post(respond).layer(DefaultBodyLimit::disable());
        let app = Router::new()
            .route("/v1/responses", responses)
            .with_state(Arc::clone(&shared));
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move {
            stopped
                .run_until_cancelled(async {
                    axum::serve(listener, app)
                        .await
                        .expect("the provider serves")
                })
                .await
        });
        Self {
            url,
            shared,
            _stop: stop.drop_guard(),
        }
    }

    /// The base URL, `/v1` included.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Queues `script` for the next request without a script.
    pub fn push(&self, script: Script) {
        self.shared
            .queue
            .lock()
            .expect("no test panicked")
            .push_back(script);
    }

    /// The requests received so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared
            .requests
            .lock()
            .expect("no test panicked")
            .clone()
    }

    /// Forgets the requests received so far.
    pub fn forget(&self) {
        self.shared
            .requests
            .lock()
            .expect("no test panicked")
            .clear();
    }

    /// The counts so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        *self.shared.counts.borrow()
    }

    /// Waits until the counts satisfy `so`.
    pub async fn wait_for(&self, so: impl Fn(&Counts) -> bool) {
        let mut counts = self.shared.counts.subscribe();
        let waited = tokio::time::timeout(PATIENCE, counts.wait_for(|counts| so(counts))).await;
        assert!(
            waited.is_ok(),
            "the provider waited in vain: {:?}",
            self.counts()
        );
    }

    /// Releases every answer that waits at its `stall`.
    pub fn release(&self) {
        self.shared.released.send_modify(|times| *times += 1);
    }
}

impl Shared {
    fn count(&self, change: impl FnOnce(&mut Counts)) {
        self.counts.send_modify(change);
    }
}

async fn respond(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: axum::Json<Value>,
) -> Response {
    let recorded = Recorded {
        headers,
        body: body.0,
    };
    let queued = shared.queue.lock().expect("no test panicked").pop_front();
    let script = queued.unwrap_or_else(|| Script::asked_for(&recorded.body));
    let id = {
        let mut requests = shared.requests.lock().expect("no test panicked");
        requests.push(recorded);
        requests.len()
    };
    shared.count(|counts| counts.requests += 1);
    answer::answer(shared, script, id)
}

/// Writes a `config.toml` into `folder` that makes Codex use the provider at `url`, with [`KEY_VARIABLE`] for its key.
///
/// # Panics
/// If the folder cannot be written.
pub fn codex_home(folder: &Path, url: &str) {
    std::fs::create_dir_all(folder).expect("a folder for Codex");
    let config = format!(
        "model_provider = \"test\"\n\n[model_providers.test]\nname = \"Test\"\nbase_url = \"{url}\"\n\
         wire_api = \"responses\"\nenv_key = \"{KEY_VARIABLE}\"\n"
    );
    std::fs::write(folder.join("config.toml"), config).expect("config.toml");
}
