//! Stdout and stderr of this process, each behind a queue: no serving thread waits for their reader.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

use super::ACCESS;
use super::queue::Queue;

/// How long the end of the process waits for a reader that takes lines.
const LIMIT: Duration = Duration::from_secs(5);

/// How long it waits for a reader that takes none.
const SILENCE: Duration = Duration::from_secs(1);

/// The streams of the process, which has one stdout and one stderr.
static STREAMS: OnceLock<Streams> = OnceLock::new();

/// A stream for text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

#[derive(Debug)]
pub(super) struct Streams {
    out: Arc<Queue>,
    err: Arc<Queue>,
}

/// Starts the threads that write the lines of [`say`] and of the log.
///
/// # Errors
/// If no thread can be started, or no descriptor is left.
pub fn open() -> io::Result<()> {
    let duplicate =
        |stream: BorrowedFd<'_>| io::Result::Ok(File::from(stream.try_clone_to_owned()?));
    let out = duplicate(io::stdout().as_fd())?;
    let err = duplicate(io::stderr().as_fd())?;
    let (of_out, of_err) = (out.metadata()?, err.metadata()?);
    let out = Queue::start("stdout", out)?;
    // If both are the same file, one queue keeps the lines in order.
    let same = (of_out.dev(), of_out.ino()) == (of_err.dev(), of_err.ino());
    let err = match same {
        true => Arc::clone(&out),
        false => Queue::start("stderr", err)?,
    };
    // The first streams of a process stay.
    let _ = STREAMS.set(Streams { out, err });
    Ok(())
}

/// Writes text for a person: directly before [`open`]; after it through the queue, without waiting for a reader.
pub fn say(stream: Stream, text: &str) {
    let _ = match (STREAMS.get(), stream) {
        (Some(streams), stream) => {
            streams.of(stream).push(text.as_bytes());
            Ok(())
        }
        (None, Stream::Out) => io::stdout().write_all(text.as_bytes()),
        (None, Stream::Err) => io::stderr().write_all(text.as_bytes()),
    };
}

/// Waits until the readers have taken the queued lines, within limits.
pub fn flush() {
    if let Some(Streams { out, err }) = STREAMS.get() {
        out.flush(LIMIT, SILENCE);
        err.flush(LIMIT, SILENCE);
    }
}

/// The number of lines that were dropped because the reader was too slow.
#[must_use]
pub fn dropped() -> u64 {
    STREAMS.get().map_or(0, |Streams { out, err }| {
        let of_err = if Arc::ptr_eq(out, err) {
            0
        } else {
            err.dropped()
        };
        out.dropped() + of_err
    })
}

impl Streams {
    fn of(&self, stream: Stream) -> &Queue {
        match stream {
            Stream::Out => &self.out,
            Stream::Err => &self.err,
        }
    }
}

/// Chooses the stream of a log line by its target.
pub(super) struct ByTarget;

impl<'a> MakeWriter<'a> for ByTarget {
    type Writer = Stream;

    fn make_writer(&'a self) -> Stream {
        Stream::Err
    }

    fn make_writer_for(&'a self, about: &Metadata<'_>) -> Stream {
        match about.target() {
            ACCESS => Stream::Out,
            _ => Stream::Err,
        }
    }
}

/// The log passes each line in one piece.
impl Write for Stream {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Some(streams) = STREAMS.get() {
            streams.of(*self).push(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
