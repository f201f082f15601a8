//! Usage: one event for each request with a turn, appended to a rotating file, and read back for reports.

mod report;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::Summary;
use super::log::{millis, shorten};
pub use crate::file::journal::Config;
use crate::file::journal::{Files, Journal, Subject};
pub use report::{Group, Key, Query, Report, Sums, TooManyBuckets, Totals};

/// The most reports that are made at once; others wait.
const READERS: usize = 2;
/// How long a report waits for events that were queued before it.
const PATIENCE: Duration = Duration::from_secs(2);

/// The caller of requests with `PROXY_API_KEY`, to whom the predecessor's events belong too.
pub const OWNER: &str = "default";

fn owner() -> String {
    OWNER.to_owned()
}

/// One event: a request with a turn, recorded when it is over. The gateway's predecessor wrote the same names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Milliseconds since 1970.
    pub ts: u64,
    /// The `x-request-id` of the answer.
    pub req_id: String,
    /// The route.
    pub route: String,
    /// The HTTP method.
    pub method: String,
    /// The caller's id, from the auth policy. The predecessor had one key only and recorded no caller.
    #[serde(default = "owner")]
    pub caller: String,
    /// The caller's tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The model's name in the answer.
    #[serde(default)]
    pub requested_model: String,
    /// The model Codex ran.
    #[serde(default)]
    pub effective_model: String,
    /// Whether the answer was a stream.
    #[serde(default)]
    pub stream: bool,
    /// Prompt tokens, the cached ones included.
    #[serde(default)]
    pub prompt_tokens_est: u64,
    /// Answer tokens, reasoning included.
    #[serde(default)]
    pub completion_tokens_est: u64,
    /// The sum of both.
    #[serde(default)]
    pub total_tokens_est: u64,
    /// Prompt tokens from the provider's cache.
    #[serde(default)]
    pub cached_tokens: u64,
    /// Answer tokens spent on reasoning.
    #[serde(default)]
    pub reasoning_tokens: u64,
    /// Whether any of these numbers is an estimate instead of the provider's count.
    #[serde(default)]
    pub estimated: bool,
    /// The time to the last byte.
    #[serde(default)]
    pub duration_ms: u64,
    /// The time to the first of the answer's content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_first_token_ms: Option<u64>,
    /// The HTTP status.
    #[serde(default)]
    pub status: u16,
    /// Why the turn ended, or the code of the error that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<String>,
    /// Whether the client got the whole answer.
    #[serde(default)]
    pub complete: bool,
    /// The `User-Agent` header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
}

impl Event {
    /// The event of a request; absent if it began no turn.
    fn of(request: &Summary<'_>) -> Option<Self> {
        let stream = request.stream?;
        let tokens = request.tokens.unwrap_or_default();
        let text = |text: Option<&str>| text.map(|text| shorten(text).to_owned());
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Some(Self {
            ts: now.map_or(0, millis),
            req_id: request.id.to_owned(),
            route: request.route.to_owned(),
            method: request.method.to_owned(),
            caller: text(request.caller).unwrap_or_default(),
            tenant: text(request.tenant),
            requested_model: text(request.model).unwrap_or_default(),
            effective_model: text(request.runs).unwrap_or_default(),
            stream,
            prompt_tokens_est: tokens.input,
            completion_tokens_est: tokens.output,
            total_tokens_est: tokens.input.saturating_add(tokens.output),
            cached_tokens: tokens.cached_input,
            reasoning_tokens: tokens.reasoning,
            estimated: tokens.estimated,
            duration_ms: millis(request.duration),
            time_to_first_token_ms: request.first_token.map(millis),
            status: request.status,
            finish_reason: request.finish.map(str::to_owned),
            complete: request.complete,
            user_agent: text(request.user_agent),
        })
    }
}

/// The usage log's place in the log.
const SUBJECT: Subject = Subject {
    name: "the usage log",
    lost: |dropped, cause| tracing::error!(dropped, %cause, "usage events were not recorded"),
};

/// The usage of all callers, on disk.
#[derive(Debug)]
pub struct UsageLog {
    journal: Journal<Box<Event>>,
    readers: Arc<Semaphore>,
}

impl UsageLog {
    /// Opens the file and starts the writer.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn open(config: Config) -> std::io::Result<Self> {
        let line = |event: Box<Event>| serde_json::to_vec(&event).ok();
        Ok(Self {
            journal: Journal::open(SUBJECT, config, line)?,
            readers: Arc::new(Semaphore::new(READERS)),
        })
    }

    /// Queues the event of a request that is over, without waiting.
    pub(super) fn ended(&self, request: &Summary<'_>) {
        if let Some(event) = Event::of(request) {
            self.journal.push(Box::new(event));
        }
    }

    /// The numbers of events written and dropped.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        self.journal.counts()
    }

    /// Adds up the events that match a query.
    ///
    /// # Errors
    /// If there would be too many buckets, or the files cannot be read.
    pub async fn report(&self, query: Query) -> std::io::Result<Result<Report, TooManyBuckets>> {
        self.read(move |files| report::report(files, &query)).await
    }

    /// The last events, oldest first, as they were written; of one caller only, if given.
    ///
    /// # Errors
    /// If the files cannot be read.
    pub async fn last(&self, limit: usize, caller: Option<String>) -> std::io::Result<Vec<Event>> {
        self.read(move |files| report::last(files, limit, caller.as_deref()))
            .await
    }

    /// Reads on a blocking thread, after the events queued before were written.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Files) -> std::io::Result<T> + Send + 'static,
    ) -> std::io::Result<T> {
        if let Some(is_written) = self.journal.flush() {
            // If the disk hangs, the report is made without the latest events instead of later.
            let _ = tokio::time::timeout(PATIENCE, is_written).await;
        }
        let readers = Arc::clone(&self.readers).acquire_owned().await;
        let turn = readers.map_err(std::io::Error::other)?;
        let files = Arc::clone(self.journal.files());
        let reading = move || {
            // Held until the end of the read, even if the reader has been cancelled.
            let _turn = turn;
            work(&files)
        };
        tokio::task::spawn_blocking(reading).await?
    }

    /// Writes the queued events, and ends: within a time limit, even if the disk hangs. Later events are dropped.
    pub fn close(&self) {
        self.journal.close();
    }
}

#[cfg(test)]
mod tests;
