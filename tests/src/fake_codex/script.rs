//! The fake's scripts, and where they are read from.

use serde::Deserialize;
use serde_json::Value;

use crate::journal;
use crate::tokens::Tokens;

/// The script of one turn. Every member has a default: an empty script streams a short greeting.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Script {
    /// The deltas of the message.
    pub(crate) text: Vec<String>,
    /// The number of times the deltas are sent.
    pub(crate) repeat: usize,
    /// Send this many one-letter deltas instead of `text`, as fast as possible.
    pub(crate) flood: usize,
    /// More messages, after the first.
    pub(crate) messages: Vec<Vec<String>>,
    /// Send each message whole, without deltas.
    pub(crate) whole: bool,
    /// Parts of the reasoning summary, one delta each.
    pub(crate) reasoning: Vec<String>,
    /// The pause before each delta.
    pub(crate) delay_ms: u64,
    /// Wait after the first delta until this file exists.
    pub(crate) gate: Option<String>,
    /// Functions the model calls; the turn then waits until it is interrupted or the client's results arrive.
    pub(crate) call: Vec<Call>,
    /// The usage the turn reports.
    pub(crate) usage: Tokens,
    /// Sample again once, as after a cut stream: an `error` with `willRetry`, then everything once more.
    pub(crate) retry: Option<String>,
    /// Fail with this error, after the text.
    pub(crate) error: Option<Value>,
    /// End as an answer that the provider cut, for this reason.
    pub(crate) incomplete: Option<String>,
    /// The process exits after this many deltas.
    pub(crate) exit_after: Option<usize>,
    /// Send nothing until interrupted.
    pub(crate) hang: bool,
    /// Send lines that are not JSON-RPC, and notifications of unknown kinds, too.
    pub(crate) garbage: bool,
    /// Send this many lines that are not JSON-RPC first, as fast as possible.
    pub(crate) garbage_lines: usize,
    /// The process exits in the middle of a line.
    pub(crate) half_line: bool,
    /// Send one line of this many bytes.
    pub(crate) long_line: usize,
    /// Send this request to the client, and wait for the answer.
    pub(crate) ask: Option<String>,
    /// The number of interrupts to refuse at first.
    pub(crate) refuse_interrupts: usize,
    /// Never answer this request.
    pub(crate) no_reply: Option<String>,
}

/// A function call by the model.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Call {
    /// The function's name.
    pub(crate) name: String,
    /// The arguments as the model writes them.
    pub(crate) arguments: String,
    /// The call's id; generated if absent.
    pub(crate) id: Option<String>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            text: ["Hello ", "from ", "fake ", "Codex."]
                .map(str::to_owned)
                .to_vec(),
            repeat: 1,
            flood: 0,
            messages: Vec::new(),
            whole: false,
            reasoning: Vec::new(),
            delay_ms: 0,
            gate: None,
            call: Vec::new(),
            usage: Tokens::default(),
            retry: None,
            error: None,
            incomplete: None,
            exit_after: None,
            hang: false,
            garbage: false,
            garbage_lines: 0,
            half_line: false,
            long_line: 0,
            ask: None,
            refuse_interrupts: 0,
            no_reply: None,
        }
    }
}

impl Script {
    /// The script in the last user message of the injected items, or in `fake-turn.json`, or the default.
    ///
    /// A script with a mistake ends the process, so that a test with a misspelled member fails.
    pub(crate) fn asked_for(items: &[Value]) -> Self {
        let last = items.iter().rev().find(|item| item["role"] == "user");
        let parts = last
            .and_then(|item| item["content"].as_array())
            .map(Vec::as_slice)
            .unwrap_or_default();
        let text: String = parts
            .iter()
            .filter_map(|part| part["text"].as_str())
            .collect();
        match serde_json::from_str::<Value>(&text) {
            Ok(Value::Object(mut members)) if members.contains_key("fake") => {
                serde_json::from_value(members["fake"].take()).expect("a script for fake-codex")
            }
            _ => read("fake-turn.json"),
        }
    }

    /// The messages: the deltas of each, and the number of times they are sent.
    pub(crate) fn all_messages(&self) -> Vec<(Vec<String>, usize)> {
        // A model that calls functions sends no text, unless the script has one.
        let silent = !self.call.is_empty() && self.text == Self::default().text;
        let first = if self.flood > 0 {
            (vec!["x".to_owned()], self.flood)
        } else if silent {
            (Vec::new(), 0)
        } else {
            (self.text.clone(), self.repeat)
        };
        let others = self.messages.iter().map(|deltas| (deltas.clone(), 1));
        std::iter::once(first)
            .chain(others)
            .filter(|(deltas, times)| !deltas.is_empty() && *times > 0)
            .collect()
    }
}

/// Faults at the start, from `fake-start.json`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct StartFault {
    /// Exit with this code at once.
    pub(crate) exit: Option<u8>,
    /// Write this to stderr first.
    pub(crate) stderr: String,
    /// Send no answers.
    pub(crate) silent: bool,
    /// Delay every answer by this time.
    pub(crate) delay_ms: u64,
    /// Never answer this request.
    pub(crate) no_reply: Option<String>,
    /// Answer this request with an error.
    pub(crate) refuse: Option<String>,
    /// Whether there is a login; if absent, the request for it is unknown. Read again for each request.
    pub(crate) signed_in: Option<bool>,
    /// The sandbox prints this and fails. Read again for each command.
    pub(crate) sandbox: Option<String>,
}

impl StartFault {
    /// The faults configured for this process.
    pub(crate) fn read() -> Self {
        read("fake-start.json")
    }
}

fn read<T: Default + serde::de::DeserializeOwned>(name: &str) -> T {
    let text = journal::home().and_then(|home| std::fs::read_to_string(home.join(name)).ok());
    text.map_or_else(T::default, |text| serde_json::from_str(&text).expect(name))
}
