//! Reads lines of a child's output, bounded in length.

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

/// The longest line a worker may write. Injected history comes back as one line per item.
const MAX_LINE: u64 = 64 * 1024 * 1024;

/// The capacity a buffer may keep after a long line.
const KEPT: usize = 1024 * 1024;

/// Why a worker's output cannot be read any further.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// A line is longer than any message may be.
    #[error("a line of the worker's output is longer than {MAX_LINE} bytes")]
    TooLong,
    /// Reading the pipe failed.
    #[error("the worker's output cannot be read: {0}")]
    Io(#[from] std::io::Error),
}

/// A child's output, line by line.
#[derive(Debug)]
pub(super) struct Lines<R> {
    input: BufReader<R>,
    line: Vec<u8>,
    /// The line was returned: the next call starts a new one.
    given: bool,
    limit: u64,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// Reads from `output`.
    pub(super) fn new(output: R) -> Self {
        Self {
            input: BufReader::with_capacity(64 * 1024, output),
            line: Vec::new(),
            given: false,
            limit: MAX_LINE,
        }
    }

    /// The next line without its line end, or `None` at the end of the output. An unfinished last line is
    /// dropped. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Option<&[u8]>, ReadError> {
        if std::mem::take(&mut self.given) {
            self.line.clear();
            self.line.shrink_to(KEPT);
        }
        // Many whole lines may be in the buffer: reading them must not block the thread for other tasks.
        tokio::task::coop::consume_budget().await;
        // A cancelled call may have left the first part of the line in the buffer.
        let left = self.limit.saturating_sub(self.line.len() as u64);
        (&mut self.input)
            .take(left)
            .read_until(b'\n', &mut self.line)
            .await?;
        self.given = true;
        match self.line.strip_suffix(b"\n") {
            Some(line) => Ok(Some(line)),
            None if self.line.len() as u64 >= self.limit => Err(ReadError::TooLong),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(input: &[u8], limit: u64) -> (Vec<String>, Result<(), ReadError>) {
        let mut lines = Lines {
            limit,
            ..Lines::new(input)
        };
        let mut seen = Vec::new();
        loop {
            match lines.next().await {
                Ok(Some(line)) => seen.push(String::from_utf8_lossy(line).into_owned()),
                Ok(None) => return (seen, Ok(())),
                Err(error) => return (seen, Err(error)),
            }
        }
    }

    #[tokio::test]
    async fn lines_come_whole_and_an_unfinished_one_does_not_come() {
        let (lines, end) = read(b"one\n\ntwo\nthr", 100).await;
        assert_eq!(lines, ["one", "", "two"]);
        assert!(end.is_ok());
    }

    #[tokio::test]
    async fn a_cancelled_call_loses_nothing() {
        let (mut writer, reader) = tokio::io::duplex(64);
        let mut lines = Lines::new(reader);
        tokio::io::AsyncWriteExt::write_all(&mut writer, b"one, ")
            .await
            .unwrap();
        tokio::select! {
            biased;
            _ = lines.next() => panic!("the line is not complete"),
            () = tokio::task::yield_now() => {}
        }
        tokio::io::AsyncWriteExt::write_all(&mut writer, b"whole\ntwo\n")
            .await
            .unwrap();
        assert_eq!(lines.next().await.unwrap(), Some(&b"one, whole"[..]));
        assert_eq!(lines.next().await.unwrap(), Some(&b"two"[..]));
    }

    #[tokio::test]
    async fn a_line_beyond_the_limit_ends_the_reading() {
        let (lines, end) = read(b"short\nmuch too long\nnever", 8).await;
        assert_eq!(lines, ["short"]);
        assert!(matches!(end, Err(ReadError::TooLong)));
    }
}
