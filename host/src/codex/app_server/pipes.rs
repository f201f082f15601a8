//! Serves the pipes of a worker: reads its lines for a connection, and writes those of the connection to it.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::rpc::Connection;
use crate::codex::lines::{Lines, ReadError};
use crate::codex::protocol_log::Tap;

/// Reads the worker's lines until its output ends or cannot be read.
pub(super) async fn read<R: AsyncRead + Unpin>(
    connection: Arc<Connection>,
    stdout: R,
) -> Result<(), ReadError> {
    let mut lines = Lines::new(stdout);
    while let Some(line) = lines.next().await? {
        connection.tap.received(line);
        connection.take(line);
    }
    Ok(())
}

/// Writes lines to the worker until `hang_up` is cancelled, then closes its stdin.
pub(super) async fn write<W>(
    mut lines: mpsc::Receiver<Vec<u8>>,
    mut stdin: W,
    hang_up: CancellationToken,
    tap: Tap,
) where
    W: AsyncWrite + Unpin,
{
    let writing = async {
        while let Some(line) = lines.recv().await {
            // Before the write: the answer must not be recorded first.
            tap.sent(&line);
            if stdin.write_all(&line).await.is_err() {
                // The worker is gone or about to exit, which is noticed elsewhere.
                break;
            }
        }
    };
    hang_up.run_until_cancelled(writing).await;
}
