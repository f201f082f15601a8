//! The questions to the tool-stop policy, and its reactions.

/// What the tool-stop policy is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// The model made a call.
    Called {
        /// The client's name of the function.
        name: String,
        /// Exactly as the model wrote them.
        arguments: String,
        /// A `<use_tool>` block of the text, not a structured call.
        textual: bool,
        /// Position among the calls of the turn, from 0, dropped ones not counted.
        index: u32,
    },
    /// Text followed the last call; its first piece has this many bytes.
    TextAfterCalls(u32),
    /// The time of the last [`Reaction::Wait`] ran out: this many milliseconds.
    Quiet(u32),
}

/// What the tool-stop policy answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// Go on.
    GoOn,
    /// Go on, and ask again when this many milliseconds have passed. Stands until then, or until another wait.
    Wait(u32),
    /// Leave the call, or the text until the next call, out of the answer.
    Drop,
    /// Withhold text until there is another call.
    HideTail,
    /// End the turn. The call that was asked about is part of the answer, the text is not.
    Stop,
}
