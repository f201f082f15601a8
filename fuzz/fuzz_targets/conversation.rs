//! Continues any conversation as a client does: it is recognised from its answer, however the client writes the answer anew, and
//! no other conversation is taken for it.

#![no_main]

use arbitrary::Arbitrary;
use codex_gateway::codex::plan::{Item, Part, Plan, Role, Tool};
use codex_gateway::codex::replay::{ends_at, goes_on_from};
use codex_gateway::codex::{Event, TurnOutcome, Usage};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

#[derive(Debug, Arbitrary)]
struct Talk {
    before: Vec<Said>,
    question: String,
    pieces: Vec<Piece>,
    calls: Vec<(bool, Argument)>,
    next: String,
    /// The client cuts the blanks at the ends of the answer, and writes the arguments in another form.
    tidy: bool,
}

#[derive(Debug, Arbitrary)]
enum Said {
    Developer(String),
    User(Vec<String>),
    Model(String),
    Call {
        id: u8,
        name: String,
        arguments: String,
    },
    Output {
        id: u8,
        text: String,
    },
}

#[derive(Debug, Arbitrary)]
enum Piece {
    Text(String),
    Break,
    Reasoning(String),
}

#[derive(Debug, Arbitrary)]
enum Argument {
    Number(i32),
    Text(String),
    List(Vec<u8>),
}

fuzz_target!(|talk: Talk| {
    let plan = plan(talk.history());
    let from = goes_on_from(&plan);
    assert!(from.len() <= 8, "{} answers", from.len());
    let Some(end) = ends_at(&plan, &talk.events()) else {
        return;
    };
    let next = next(&talk, talk.history());
    assert!(goes_on_from(&next).contains(&end), "it is not recognised");

    let others = [
        Plan {
            caller: "bob".to_owned(),
            ..next.clone()
        },
        Plan {
            model: "n".to_owned(),
            ..next.clone()
        },
        Plan {
            tools: Vec::new(),
            ..next.clone()
        },
        Plan {
            provider: Some("p".to_owned()),
            ..next.clone()
        },
        self::next(&talk, changed(talk.history())),
    ];
    for other in others {
        assert!(
            !goes_on_from(&other).contains(&end),
            "it is another: {other:?}"
        );
    }
});

impl Talk {
    fn history(&self) -> Vec<Item> {
        let before = self.before.iter().map(|said| match said {
            Said::Developer(text) => message(Role::Developer, [text]),
            Said::User(texts) => message(Role::User, texts),
            Said::Model(text) => message(Role::Assistant, [text]),
            Said::Call {
                id,
                name,
                arguments,
            } => Item::Call {
                id: id.to_string(),
                name: name.clone(),
                arguments: arguments.clone(),
            },
            Said::Output { id, text } => Item::CallOutput {
                id: id.to_string(),
                parts: vec![Part::Text(text.clone())],
            },
        });
        let question = message(Role::User, [&self.question]);
        before.chain([question]).collect()
    }

    /// The calls of the answer: name and arguments.
    fn calls(&self) -> impl Iterator<Item = (&'static str, Value)> {
        self.calls.iter().map(|(is_first, argument)| {
            let argument = match argument {
                Argument::Number(number) => json!(number),
                Argument::Text(text) => json!(text),
                Argument::List(list) => json!(list),
            };
            let name = if *is_first { "f" } else { "g" };
            (name, json!({"a": argument, "b": [null, true]}))
        })
    }

    fn events(&self) -> Vec<Event> {
        let pieces = self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => Event::Text(text.clone()),
            Piece::Break => Event::TextBreak,
            Piece::Reasoning(text) => Event::Reasoning(text.clone()),
        });
        let calls = self
            .calls()
            .enumerate()
            .map(|(at, (name, arguments))| Event::Call {
                id: format!("call-{at}"),
                name: name.to_owned(),
                arguments: arguments.to_string(),
            });
        let end = [
            Event::Sampled(Usage::default()),
            Event::Ended(TurnOutcome::Completed),
        ];
        pieces.chain(calls).chain(end).collect()
    }

    /// The text of the answer, as the client gets it.
    fn answer(&self) -> String {
        let mut answer = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => answer.push_str(text),
                Piece::Break if !answer.trim().is_empty() => answer.push_str("\n\n"),
                Piece::Break | Piece::Reasoning(_) => {}
            }
        }
        answer
    }
}

fn message<'a>(role: Role, texts: impl IntoIterator<Item = &'a String>) -> Item {
    let parts = texts.into_iter().map(|text| Part::Text(text.clone()));
    let parts = parts.collect();
    Item::Message { role, parts }
}

fn plan(history: Vec<Item>) -> Plan {
    let tool = |name: &str| Tool {
        name: name.to_owned(),
        description: None,
        parameters: json!({"type": "object"}),
    };
    Plan {
        caller: "ann".to_owned(),
        model: "m".to_owned(),
        tools: vec![tool("f"), tool("g")],
        history,
        ..Plan::default()
    }
}

/// The client's next request: the history, the answer as it writes it, and what comes after.
fn next(talk: &Talk, mut history: Vec<Item>) -> Plan {
    let answer = talk.answer();
    let answer = if talk.tidy {
        answer.trim().to_owned()
    } else {
        answer
    };
    if !answer.trim().is_empty() {
        history.push(message(Role::Assistant, [&answer]));
    }
    let mut outputs = Vec::new();
    for (at, (name, arguments)) in talk.calls().enumerate() {
        // Ids may be mapped anew for each request.
        let id = format!("other-{at}");
        let pretty = serde_json::to_string_pretty(&arguments).expect("JSON");
        history.push(Item::Call {
            id: id.clone(),
            name: name.to_owned(),
            arguments: if talk.tidy {
                pretty
            } else {
                arguments.to_string()
            },
        });
        let parts = vec![Part::Text(talk.next.clone())];
        outputs.push(Item::CallOutput { id, parts });
    }
    match outputs.is_empty() {
        true => history.push(message(Role::User, [&talk.next])),
        false => history.extend(outputs),
    }
    plan(history)
}

/// Another history: its last message is not the same.
fn changed(mut history: Vec<Item>) -> Vec<Item> {
    if let Some(Item::Message { parts, .. }) = history.last_mut() {
        parts.push(Part::Text("and more".to_owned()));
    }
    history
}
