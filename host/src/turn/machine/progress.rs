//! Notes what has happened in a turn so far.

/// The progress of the turn.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Calls that are part of the answer, textual ones included.
    pub(super) calls: u32,
    /// Bytes already read of the text at the front of the queue.
    pub(super) read: usize,
    /// The next text is the first after a call.
    pub(super) after_call: bool,
    /// The present upstream response made a call. No output for the call comes within this turn.
    pub(super) called: bool,
    /// Codex dropped the last upstream response.
    pub(super) withheld: bool,
    pub(super) text_break: bool,
    pub(super) reasoning_break: bool,
    /// Codex has ended the turn, so it is not interrupted.
    pub(super) ended: bool,
    /// The turn is over.
    pub(super) done: bool,
}
