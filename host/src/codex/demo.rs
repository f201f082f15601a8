//! The backend for a machine without Codex: it answers from a script, and says so.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{Event, Item, Model, Models, Part, Plan, Role, TurnOutcome, Usage};

/// The only model of the demo.
pub(super) const MODEL: &str = "demo";

/// The first words of every answer.
const NOTICE: &str = "This is the built-in demo backend of codex-gateway: it answers because no `codex` was found \
    on this machine. To talk to a real model, install Codex with `npm install -g @openai/codex`, sign in with \
    `codex login`, and start the gateway again.";

/// The pause between two words of the answer, so that the client sees a stream.
const PAUSE: Duration = Duration::from_millis(10);

/// The length of the question repeated in the answer, in characters.
const ECHO: usize = 200;

/// The most deltas a request may ask for.
const MAX_DELTAS: u64 = 1_000_000;

/// The longest pause a request may ask for; a benchmark needs none longer.
const MAX_PAUSE_MS: u64 = 60_000;

/// The request of a benchmark: the last message is `{"demo": {…}}`.
#[derive(Debug, Deserialize)]
struct Request {
    demo: Wish,
}

#[derive(Debug, Deserialize)]
struct Wish {
    #[serde(default = "one")]
    deltas: u64,
    #[serde(default = "word")]
    text: String,
    #[serde(default)]
    delay_ms: u64,
}

fn one() -> u64 {
    1
}

fn word() -> String {
    "demo ".to_owned()
}

/// One scripted turn. It has no task of its own: it advances only while `next` is awaited.
#[derive(Debug)]
pub(super) struct Demo {
    script: Script,
    pause: Duration,
    usage: Usage,
    interrupted: CancellationToken,
    stage: Stage,
}

#[derive(Debug)]
enum Script {
    Words(VecDeque<String>),
    Repeat { text: String, left: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Speaking,
    Sampled,
    Over,
}

/// The models of the demo backend.
pub(super) fn models() -> Models {
    let model = Model {
        id: MODEL.to_owned(),
        efforts: Vec::new(),
    };
    Models {
        listed: vec![model],
        default: MODEL.to_owned(),
    }
}

impl Demo {
    /// Answers `plan`. Tools are ignored.
    pub(super) fn new(plan: &Plan) -> Self {
        let question = last_words_of_user(plan);
        let prompt: usize = plan.history.iter().map(length).sum();
        let (script, pause) = Script::answering(&question, plan.json);
        // About four characters a token, the usual estimate; each delta counts as one token.
        let usage = Usage {
            input: (prompt as u64).div_ceil(4),
            output: script.deltas(),
            ..Usage::default()
        };
        Self {
            script,
            pause,
            usage,
            interrupted: CancellationToken::new(),
            stage: Stage::Speaking,
        }
    }

    /// The next event, or `None` after the end. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Event> {
        if self.stage == Stage::Over {
            return None;
        }
        if self.pause.is_zero() {
            tokio::task::yield_now().await;
        } else {
            let _ = self
                .interrupted
                .run_until_cancelled(tokio::time::sleep(self.pause))
                .await;
        }
        if self.interrupted.is_cancelled() {
            self.stage = Stage::Over;
            return Some(Event::Ended(TurnOutcome::Interrupted));
        }
        if self.stage == Stage::Speaking
            && let Some(text) = self.script.next()
        {
            return Some(Event::Text(text));
        }
        if self.stage == Stage::Speaking {
            self.stage = Stage::Sampled;
            return Some(Event::Sampled(self.usage));
        }
        self.stage = Stage::Over;
        Some(Event::Ended(TurnOutcome::Completed))
    }

    /// Makes the next event the last.
    pub(super) fn interrupt(&self) {
        self.interrupted.cancel();
    }
}

impl Script {
    /// The script of the answer, as a JSON object if `json`, and the pause between its deltas.
    fn answering(question: &str, json: bool) -> (Self, Duration) {
        let Ok(Request { demo }) = serde_json::from_str(question) else {
            let mut words = answer(question);
            if json {
                words = json!({"answer": words}).to_string();
            }
            let words = words.split_inclusive(' ').map(str::to_owned).collect();
            return (Self::Words(words), PAUSE);
        };
        let left = demo.deltas.min(MAX_DELTAS);
        let pause = Duration::from_millis(demo.delay_ms.min(MAX_PAUSE_MS));
        (
            Self::Repeat {
                text: demo.text,
                left,
            },
            pause,
        )
    }

    /// The number of deltas left.
    fn deltas(&self) -> u64 {
        match self {
            Self::Words(words) => words.len() as u64,
            Self::Repeat { left, .. } => *left,
        }
    }

    fn next(&mut self) -> Option<String> {
        match self {
            Self::Words(words) => words.pop_front(),
            Self::Repeat { text, left } => {
                *left = left.checked_sub(1)?;
                Some(text.clone())
            }
        }
    }
}

fn answer(question: &str) -> String {
    let echo: String = question.chars().take(ECHO).collect();
    let more = if question.chars().nth(ECHO).is_some() {
        "…"
    } else {
        ""
    };
    match echo.trim() {
        "" => NOTICE.to_owned(),
        echo => format!("{NOTICE}\n\nYou said: {echo}{more}"),
    }
}

fn last_words_of_user(plan: &Plan) -> String {
    let said = plan.history.iter().rev().find_map(|item| match item {
        Item::Message {
            role: Role::User,
            parts,
        } => Some(parts),
        _ => None,
    });
    said.into_iter()
        .flatten()
        .map(text)
        .collect::<Vec<_>>()
        .join("\n")
}

fn text(part: &Part) -> &str {
    match part {
        Part::Text(text) => text,
        Part::Image { .. } => "",
    }
}

fn length(item: &Item) -> usize {
    match item {
        Item::Message { parts, .. } | Item::CallOutput { parts, .. } => {
            parts.iter().map(|part| text(part).len()).sum()
        }
        Item::Call {
            name, arguments, ..
        } => name.len() + arguments.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(question: &str) -> Plan {
        let said = |role, text: &str| Item::Message {
            role,
            parts: vec![Part::Text(text.to_owned())],
        };
        let history = vec![
            said(Role::User, "before"),
            said(Role::Assistant, "yes?"),
            said(Role::User, question),
        ];
        Plan {
            history,
            ..Plan::default()
        }
    }

    async fn play(mut demo: Demo) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = demo.next().await {
            events.push(event);
        }
        events
    }

    #[tokio::test(start_paused = true)]
    async fn it_says_what_it_is_and_repeats_the_question() {
        let events = play(Demo::new(&plan("Why is the sky blue?"))).await;
        let said: String = events
            .iter()
            .filter_map(|event| match event {
                Event::Text(text) => Some(text.as_str()),
                _ => None,
            })
            .collect();
        for expected in [
            "demo backend",
            "npm install -g @openai/codex",
            "codex login",
            "You said: Why is the sky blue?",
        ] {
            assert!(said.contains(expected), "{expected:?} in {said:?}");
        }
        let texts = events
            .iter()
            .filter(|event| matches!(event, Event::Text(_)))
            .count();
        assert!(texts > 30, "word by word");
        let [
            ..,
            Event::Sampled(usage),
            Event::Ended(TurnOutcome::Completed),
        ] = events.as_slice()
        else {
            panic!("{events:?}");
        };
        assert_eq!((usage.input, usage.output), (8, texts as u64));
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_for_json_gets_json() {
        let plan = Plan {
            json: true,
            ..plan("Say \"hi\".")
        };
        let mut said = String::new();
        for event in play(Demo::new(&plan)).await {
            if let Event::Text(text) = event {
                said.push_str(&text);
            }
        }
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert!(said["answer"].as_str().unwrap().ends_with("Say \"hi\"."));
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_question_is_not_repeated_in_full() {
        let events = play(Demo::new(&plan(&"é".repeat(10_000)))).await;
        let length: usize = events
            .iter()
            .map(|event| {
                if let Event::Text(text) = event {
                    text.len()
                } else {
                    0
                }
            })
            .sum();
        assert!(length < 1_000, "{length} bytes");
    }

    #[tokio::test]
    async fn a_benchmark_gets_exactly_its_deltas() {
        let events = play(Demo::new(&plan(r#"{"demo":{"deltas":5000,"text":"ab"}}"#))).await;
        assert_eq!(events.len(), 5002);
        assert!(
            events
                .iter()
                .take(5000)
                .all(|event| *event == Event::Text("ab".to_owned()))
        );
        let Script::Repeat { left, .. } =
            Demo::new(&plan(r#"{"demo":{"deltas":99999999999}}"#)).script
        else {
            panic!("a wish");
        };
        assert_eq!(left, MAX_DELTAS);
    }

    #[tokio::test(start_paused = true)]
    async fn an_interrupt_is_the_end() {
        let mut demo = Demo::new(&plan("hello"));
        demo.next().await;
        demo.interrupt();
        assert_eq!(
            demo.next().await,
            Some(Event::Ended(TurnOutcome::Interrupted))
        );
        assert_eq!(demo.next().await, None);
    }
}
