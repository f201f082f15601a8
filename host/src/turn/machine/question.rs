//! The questions to the tool-stop policy, and its reactions.

/// A question to the tool-stop policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// The model made a call.
    Called {
        /// The client's name of the function.
        name: String,
        /// Exactly as the model wrote them.
        arguments: String,
        /// Whether it is a `<use_tool>` block of the text instead of a structured call.
        textual: bool,
        /// Position among the calls of the turn, from 0, dropped ones not counted.
        index: u32,
    },
    /// Text followed the last call; its first piece has this many bytes.
    TextAfterCalls(u32),
    /// The time of the last [`Reaction::Wait`] ran out: this many milliseconds.
    Quiet(u32),
}

/// An answer of the tool-stop policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// Go on.
    GoOn,
    /// Go on, and ask again after this many milliseconds. Applies until then, or until another `Wait`.
    Wait(u32),
    /// Leave the call, or the text until the next call, out of the answer.
    Drop,
    /// Withhold text until there is another call.
    HideTail,
    /// End the turn. A call that was asked about is part of the answer; text that was asked about is not.
    Stop,
}
