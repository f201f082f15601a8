//! Queues log lines in bounded memory and writes them on a thread of their own; lines beyond the bound are dropped and counted.
//!
//! Not `tracing-appender`'s `NonBlocking`: it bounds lines, not bytes.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

/// The most bytes in the queue: about the output of a busy gateway in one second, for which a healthy reader may sleep.
const MAX_BYTES: usize = 4 << 20;

/// The most lines in the queue: each costs memory beside its bytes.
const MAX_LINES: usize = 1 << 14;

/// The pause before the next write to a full descriptor, if another process made it non-blocking.
const FULL: Duration = Duration::from_millis(10);

/// The queue of lines for one descriptor.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// Notified when a line was queued, or the last one was written.
    changed: Condvar,
    name: &'static str,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: VecDeque<Box<[u8]>>,
    bytes: usize,
    /// One more line is being written.
    writing: bool,
    written: u64,
    dropped: u64,
}

impl Queue {
    /// Starts the thread that writes to `to`; `name` is the stream's name in the log.
    ///
    /// # Errors
    /// If no thread can be started.
    pub(super) fn start(name: &'static str, to: File) -> io::Result<Arc<Self>> {
        let queue = Arc::new(Self {
            waiting: Mutex::default(),
            changed: Condvar::new(),
            name,
        });
        let writer = Arc::clone(&queue);
        std::thread::Builder::new()
            .name(format!("log-{name}"))
            .spawn(move || writer.run(to))?;
        Ok(queue)
    }

    /// Queues a line, or drops and counts it. Never waits for the descriptor.
    pub(super) fn push(&self, line: &[u8]) {
        let mut waiting = self.lock();
        let fits = waiting.bytes.saturating_add(line.len()) <= MAX_BYTES;
        if fits && waiting.lines.len() < MAX_LINES {
            waiting.bytes += line.len();
            waiting.lines.push_back(line.into());
            self.changed.notify_all();
        } else {
            waiting.dropped += 1;
        }
    }

    /// The number of dropped lines.
    pub(super) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Waits until every line is written: at most `limit` in all, and at most `silence` while the reader takes nothing.
    pub(super) fn flush(&self, limit: Duration, silence: Duration) {
        let end = Instant::now() + limit;
        let mut waiting = self.lock();
        let (mut written, mut since) = (waiting.written, Instant::now());
        while waiting.writing || !waiting.lines.is_empty() {
            let until = end.min(since + silence);
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            self.changed.wait_for(&mut waiting, left);
            if waiting.written != written {
                (written, since) = (waiting.written, Instant::now());
            }
        }
    }

    /// One write per line: a pipe with several writers takes each line in one piece (PIPE_BUF).
    fn run(&self, mut to: File) {
        let mut told = 0;
        loop {
            let line = self.next();
            let whole = write_all(&mut to, &line).is_ok();
            let mut waiting = self.lock();
            waiting.writing = false;
            match whole {
                true => waiting.written += 1,
                false => waiting.dropped += 1,
            }
            let idle = waiting.lines.is_empty();
            let dropped = waiting.dropped;
            drop(waiting);
            if idle {
                self.changed.notify_all();
                // Logged when the reader has caught up, and only if the descriptor takes lines.
                if whole && dropped > told {
                    tracing::warn!(
                        stream = self.name,
                        lines = dropped - told,
                        "log lines were dropped: the reader of the log is too slow"
                    );
                    told = dropped;
                }
            }
        }
    }

    fn next(&self) -> Box<[u8]> {
        let mut waiting = self.lock();
        loop {
            if let Some(line) = waiting.lines.pop_front() {
                waiting.bytes -= line.len();
                waiting.writing = true;
                return line;
            }
            self.changed.wait(&mut waiting);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock()
    }
}

fn write_all(to: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(taken) => bytes = &bytes[taken..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(FULL),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::OwnedFd;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn pipe() -> (io::PipeReader, Arc<Queue>) {
        let (reader, writer) = io::pipe().unwrap();
        let queue = Queue::start("test", File::from(OwnedFd::from(writer))).unwrap();
        (reader, queue)
    }

    #[test]
    fn lines_come_whole_and_in_order_and_are_there_after_a_flush() {
        let (mut reader, queue) = pipe();
        let mut expected = String::new();
        for number in 0..1_000 {
            let line = format!("line {number}\n");
            queue.push(line.as_bytes());
            expected.push_str(&line);
        }
        queue.flush(LONG, LONG);
        let mut read = vec![0; expected.len()];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(String::from_utf8(read).unwrap(), expected);
        assert_eq!(queue.dropped(), 0);
    }

    #[test]
    fn a_reader_that_takes_nothing_costs_lines_and_bounded_memory() {
        let (mut reader, queue) = pipe();
        let line = [b'x'; 1024];
        let given = 2 * MAX_BYTES / line.len();
        for _ in 0..given {
            queue.push(&line);
        }
        let kept = queue.lock().bytes;
        assert!(kept <= MAX_BYTES && kept > MAX_BYTES / 2, "{kept}");
        let dropped = queue.dropped();
        assert!(dropped > 0);
        // Without a reader, `flush` returns at its limit.
        queue.flush(Duration::from_millis(50), Duration::from_millis(10));
        let reading = std::thread::spawn(move || {
            let (mut all, mut piece) = (0, [0; 1 << 16]);
            while all < (given - dropped as usize) * line.len() {
                all += reader.read(&mut piece).unwrap();
            }
        });
        queue.flush(LONG, LONG);
        reading.join().unwrap();
        assert_eq!(queue.dropped(), dropped, "all that were taken came");
    }

    #[test]
    fn many_short_lines_are_bounded_too() {
        let (_reader, queue) = pipe();
        // The pipe itself holds some of them.
        for _ in 0..MAX_LINES + (1 << 17) {
            queue.push(b"\n");
        }
        assert!(queue.dropped() > 0);
    }

    #[test]
    fn a_reader_that_has_gone_costs_lines_only() {
        let (reader, queue) = pipe();
        drop(reader);
        queue.push(b"unread\n");
        queue.flush(LONG, LONG);
        assert_eq!(queue.dropped(), 1);
    }
}
