//! Writes any answer in every dialect: each event is one line of JSON, and the events say the same as the answer in one
//! piece.

#![no_main]

use arbitrary::Arbitrary;
use codex_gateway::codex::{Activity, Action, Progress, Usage};
use codex_gateway::openai::responses::{Events, Memory, ResponseObject, ResponsesRequest};
use codex_gateway::openai::{Head, Reading, Target, chat, completions};
use codex_gateway::turn::{Delta, Error, Finish};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

#[derive(Debug, Arbitrary)]
struct Answer {
    model: String,
    pieces: Vec<Piece>,
    end: End,
    tokens: u32,
    functions: bool,
    include_usage: bool,
}

#[derive(Debug, Arbitrary)]
enum Piece {
    Text(String),
    Reasoning(String),
    Call {
        id: String,
        name: String,
        arguments: String,
    },
    Activity {
        id: String,
        query: String,
    },
}

#[derive(Debug, Arbitrary)]
enum End {
    Stop,
    Length,
    ToolCalls,
    ContentFilter,
    Failed(String),
    /// The answer never ends.
    Missing,
}

fuzz_target!(|answer: Answer| {
    let deltas = answer.deltas();
    chat(&answer, &deltas);
    completions(&answer, &deltas);
    responses(&answer, &deltas);
});

impl Answer {
    fn deltas(&self) -> Vec<Delta> {
        let mut index = 0..;
        let pieces = self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => Delta::Text(text.clone()),
            Piece::Reasoning(text) => Delta::Reasoning(text.clone()),
            Piece::Call {
                id,
                name,
                arguments,
            } => Delta::Call {
                index: index.next().unwrap_or_default(),
                id: id.clone(),
                name: name.clone(),
                arguments: arguments.clone(),
            },
            Piece::Activity { id, query } => Delta::Activity(Activity {
                id: id.clone(),
                status: Progress::Completed,
                action: Action::WebSearch {
                    query: query.clone(),
                },
            }),
        });
        let end = match &self.end {
            End::Stop => Ok(Finish::Stop),
            End::Length => Ok(Finish::Length),
            End::ToolCalls => Ok(Finish::ToolCalls),
            End::ContentFilter => Ok(Finish::ContentFilter),
            End::Failed(why) => Err(Error::Restarted(why.clone())),
            End::Missing => return pieces.collect(),
        };
        let usage = Usage {
            input: u64::from(self.tokens),
            ..Usage::default()
        };
        let end = match end {
            Ok(finish) => Delta::End {
                finish,
                stop: None,
                usage,
                estimated: false,
            },
            Err(error) => Delta::Failed(error),
        };
        pieces.chain([end]).collect()
    }

    fn head(&self) -> Head {
        Head {
            id: "id-1".to_owned(),
            created: 1,
            model: self.model.clone(),
            clock: || 1,
        }
    }

    fn is_complete(&self) -> bool {
        !matches!(self.end, End::Failed(_) | End::Missing)
    }
}

/// Reads an event's data as a client does: it must be one line of JSON.
fn read(data: &str) -> Value {
    assert!(!data.contains(['\n', '\r', '\0']), "{data:?}");
    serde_json::from_str(data).unwrap_or_else(|error| panic!("{data:?}: {error}"))
}

/// The data of the chunks. `[DONE]` must be last, and only after a good end.
fn chunks(answer: &Answer, written: &[String]) -> Vec<Value> {
    let is_done = written.last().is_some_and(|last| last == "[DONE]");
    assert_eq!(is_done, answer.is_complete());
    let data = &written[..written.len() - usize::from(is_done)];
    data.iter().map(|data| read(data)).collect()
}

fn chat(answer: &Answer, deltas: &[Delta]) {
    let form = chat::Form {
        stream: true,
        include_usage: answer.include_usage,
        functions: answer.functions,
        one_call: false,
        choices: 1,
    };
    let (mut writer, mut written) = (chat::Chunks::new(answer.head(), form), Vec::new());
    let mut whole = chat::Completion::new(answer.head(), form);
    for delta in deltas.iter().chain(&deltas.last().cloned()) {
        // Deltas after an end are not written.
        writer.push(0, delta.clone(), &mut written);
    }
    for delta in deltas {
        whole.push(0, delta.clone());
    }
    let chunks = chunks_unless_endless(answer, &written);
    let Ok(whole) = whole.into_json() else {
        assert!(!answer.is_complete());
        return;
    };
    let message = &read(&whole)["choices"][0]["message"];
    let streamed = |name: &str| -> String {
        let deltas = chunks.iter().map(|chunk| &chunk["choices"][0]["delta"]);
        deltas.filter_map(|delta| delta[name].as_str()).collect()
    };
    for name in ["content", "reasoning_content"] {
        assert_eq!(streamed(name), message[name].as_str().unwrap_or_default());
    }
    let calls = message["tool_calls"].as_array().map_or(0, Vec::len);
    let fragments = chunks.iter().filter(|chunk| {
        let call = &chunk["choices"][0]["delta"]["tool_calls"][0];
        call["id"].is_string()
    });
    assert_eq!(fragments.count(), calls);
}

fn chunks_unless_endless(answer: &Answer, written: &[String]) -> Vec<Value> {
    match answer.end {
        End::Missing => written.iter().map(|data| read(data)).collect(),
        _ => chunks(answer, written),
    }
}

fn completions(answer: &Answer, deltas: &[Delta]) {
    let form = completions::Form {
        stream: true,
        include_usage: answer.include_usage,
        ..completions::Form::default()
    };
    let mut written = Vec::new();
    let mut writer = completions::Chunks::new(answer.head(), form);
    for delta in deltas {
        writer.push(0, delta.clone(), &mut written);
    }
    let chunks = chunks_unless_endless(answer, &written);
    let streamed: String = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["text"].as_str())
        .collect();
    assert_eq!(streamed, text(deltas));
}

fn text(deltas: &[Delta]) -> String {
    let texts = deltas.iter().filter_map(|delta| match delta {
        Delta::Text(text) => Some(text.as_str()),
        // Each kind is listed, so that a new one does not compile before `Piece` has it.
        Delta::Reasoning(_)
        | Delta::Call { .. }
        | Delta::Activity(_)
        | Delta::End { .. }
        | Delta::Failed(_) => None,
    });
    texts.collect()
}

fn responses(answer: &Answer, deltas: &[Delta]) {
    let context = || {
        let request = ResponsesRequest::parse(br#"{"input": "hi"}"#, &Reading::default()).expect("a request");
        let planned = request.into_plan(Target::default(), Memory::default());
        planned.expect("a plan").2
    };
    let mut writer = Events::new(answer.head(), context());
    let mut written = Vec::new();
    for delta in deltas {
        writer.push(delta.clone(), &mut written);
    }
    for (number, event) in written.iter().enumerate() {
        let data = read(&event.data);
        assert_eq!(
            (&data["sequence_number"], &data["type"]),
            (&number.into(), &event.name.into())
        );
    }
    if matches!(answer.end, End::Missing) {
        return;
    }
    let last = read(&written.last().expect("it has begun").data);
    let streamed: String = written
        .iter()
        .filter(|event| event.name == "response.output_text.delta")
        .filter_map(|event| Some(read(&event.data)["delta"].as_str()?.to_owned()))
        .collect();
    assert_eq!(streamed, text(deltas));
    let mut whole = ResponseObject::new(answer.head(), context());
    for delta in deltas {
        whole.push(delta.clone());
    }
    match whole.into_json() {
        Ok((whole, _)) => {
            let (mut whole, mut last) = (read(&whole), last["response"].clone());
            forget_ids(&mut whole);
            forget_ids(&mut last);
            assert_eq!(whole, last);
        }
        Err(_) => assert_eq!(last["response"]["status"], "failed"),
    }
}

/// Removes the items' ids, which are random.
fn forget_ids(response: &mut Value) {
    for item in response["output"].as_array_mut().into_iter().flatten() {
        item["id"] = Value::Null;
    }
}
