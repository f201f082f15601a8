//! Usage: one event for each request with a turn, appended to a rotating file, and read back for reports.

mod files;
mod report;
mod write;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, SyncSender, TrySendError, channel, sync_channel,
};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, oneshot};

use super::Summary;
use super::log::{millis, shorten};
use files::Files;
pub use report::{Group, Key, Query, Report, Sums, TooManyBuckets, Totals};

/// The most events in the queue. Further ones are dropped: no request waits for a disk.
const QUEUE: usize = 4_096;
/// The most reports that are made at once; others wait.
const READERS: usize = 2;
/// How long a report waits for events that were queued before it.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the end of the process waits for a disk.
const CLOSING: Duration = Duration::from_secs(5);
/// The interval at which `close` tries again to get a place in a full queue.
const AGAIN: Duration = Duration::from_millis(10);

/// The caller of requests with `PROXY_API_KEY`, to whom the predecessor's events belong too.
pub const OWNER: &str = "default";

fn owner() -> String {
    OWNER.to_owned()
}

/// Where events are written, and how many are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The file that is written; older files have `.1`, `.2`, … appended.
    pub path: PathBuf,
    /// The size in bytes after which a new file begins.
    pub max_bytes: u64,
    /// The number of files, including the one that is written.
    pub max_files: u32,
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

/// A message for the writer.
enum Message {
    Event(Box<Event>),
    /// Answered when all events before it were written to the file.
    Flush(oneshot::Sender<()>),
    End,
}

/// The numbers of written and of dropped events.
#[derive(Debug, Default)]
struct Counts {
    written: AtomicU64,
    dropped: AtomicU64,
}

impl Counts {
    /// Counts a dropped event, and logs at powers of two only: a full disk must not fill another one with log lines.
    fn dropped(&self, cause: &dyn std::fmt::Display) {
        let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
        if dropped.is_power_of_two() {
            tracing::error!(dropped, %cause, "usage events were not recorded");
        }
    }
}

/// The usage of all callers, on disk.
#[derive(Debug)]
pub struct UsageLog {
    sender: SyncSender<Message>,
    /// Disconnected when the writer has ended.
    ended: Mutex<Receiver<()>>,
    files: Arc<Files>,
    counts: Arc<Counts>,
    readers: Arc<Semaphore>,
}

impl UsageLog {
    /// Opens the file and starts the writer.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn open(config: Config) -> std::io::Result<Self> {
        let files = Arc::new(Files::new(config));
        let counts = Arc::new(Counts::default());
        let (sender, receiver): (_, Receiver<Message>) = sync_channel(QUEUE);
        let writer = write::Writer::open(Arc::clone(&files), Arc::clone(&counts))?;
        let (running, ended) = channel();
        std::thread::Builder::new()
            .name("usage-log".to_owned())
            .spawn(move || {
                writer.run(&receiver);
                // In this order, so that an event after the end finds no receiver and is counted as dropped.
                drop(receiver);
                drop(running);
            })?;
        Ok(Self {
            sender,
            ended: Mutex::new(ended),
            files,
            counts,
            readers: Arc::new(Semaphore::new(READERS)),
        })
    }

    /// Queues the event of a request that is over, without waiting.
    pub(super) fn ended(&self, request: &Summary<'_>) {
        let Some(event) = Event::of(request) else {
            return;
        };
        if let Err(error) = self.sender.try_send(Message::Event(Box::new(event))) {
            self.counts.dropped(&error);
        }
    }

    /// The numbers of events written and dropped.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.counts.written), read(&self.counts.dropped))
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
        let (written, is_written) = oneshot::channel();
        if self.sender.try_send(Message::Flush(written)).is_ok() {
            // If the disk hangs, the report is made without the latest events instead of later.
            let _ = tokio::time::timeout(PATIENCE, is_written).await;
        }
        let readers = Arc::clone(&self.readers).acquire_owned().await;
        let turn = readers.map_err(std::io::Error::other)?;
        let files = Arc::clone(&self.files);
        let reading = move || {
            // Held until the end of the read, even if the reader has been cancelled.
            let _turn = turn;
            work(&files)
        };
        tokio::task::spawn_blocking(reading).await?
    }

    /// Writes the queued events, and ends: within a time limit, even if the disk hangs. Later events are dropped.
    pub fn close(&self) {
        self.close_within(CLOSING);
    }

    fn close_within(&self, limit: Duration) {
        let end = Instant::now() + limit;
        // A full queue has room again when the writer takes from it; a writer that has ended takes nothing more.
        while let Err(TrySendError::Full(_)) = self.sender.try_send(Message::End) {
            if Instant::now() >= end {
                break;
            }
            std::thread::sleep(AGAIN);
        }
        let ended = self.ended.lock();
        let left = end.saturating_duration_since(Instant::now());
        if let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(left) {
            tracing::error!("usage events are lost: the usage log cannot be written in time");
        }
    }
}

#[cfg(test)]
mod tests;
