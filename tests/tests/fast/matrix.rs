//! Errors, limits, tool-stop, images, usage, timeouts and disconnects: a row a behaviour, a column a dialect.

mod answer;
mod dialect;
mod rows;

use std::fmt::Write;

use codex_gateway_tests::gateway::{Gateway, Setup, say};
use codex_gateway_tests::sse::Events;
use futures_util::{StreamExt, stream};

use crate::{endless, fake, journal};
use answer::Answer;
use dialect::{Ask, COLUMNS, Dialect};

/// The cell of a dialect that has no such request.
const NONE: &str = "–";

/// The number of rows that are asked at once: most of the time they wait.
const AT_ONCE: usize = 8;

/// The load of the gateway while the cells of a row are asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meanwhile {
    Nothing,
    /// One chat has been answered.
    Asked,
    /// A streamed chat is under way.
    Busy,
}

/// The client's part.
enum Act {
    /// It reads the answer, of which this is told.
    Read(fn(&Answer) -> String),
    /// It disconnects during the turn.
    Leave,
}

/// A behaviour, and how each dialect says it: whole; then streamed after a semicolon, where that is different.
struct Row {
    behaviour: &'static str,
    setup: fn(Setup) -> Setup,
    meanwhile: Meanwhile,
    ask: fn() -> Ask,
    act: Act,
    /// Headers of every answer in the row.
    headers: &'static [(&'static str, &'static str)],
    /// A text that Codex gets with every request in the row.
    arrives: &'static str,
    cells: [String; 5],
}

impl Row {
    /// The words for a whole and a streamed answer.
    fn expected(&self, column: usize, stream: bool) -> &str {
        let cell = &self.cells[column];
        match cell.split_once("; ") {
            Some((whole, streamed)) => [whole, streamed][usize::from(stream)],
            None => cell,
        }
    }

    async fn start(&self) -> (Gateway, Option<Events>) {
        let setup = fake().var("WORKER_BACKOFF_INITIAL_MS", "20");
        let gateway = (self.setup)(setup).start().await;
        let running = match self.meanwhile {
            Meanwhile::Nothing => None,
            Meanwhile::Asked => {
                gateway.answer(&say("hi")).await;
                None
            }
            Meanwhile::Busy => Some(endless(&gateway).await),
        };
        (gateway, running)
    }

    /// The words of one dialect.
    async fn told(&self, gateway: &Gateway, dialect: Dialect, stream: bool) -> String {
        let ask = (self.ask)();
        match self.act {
            Act::Leave => {
                let interrupts = journal::count(gateway, "turn/interrupt");
                dialect.leave(gateway, &ask, stream).await;
                gateway.idle().await;
                let interrupts = journal::count(gateway, "turn/interrupt") - interrupts;
                let next = dialect.ask(gateway, &Ask::new("hi"), stream).await;
                format!("{interrupts} interrupted, next {}", next.ending)
            }
            Act::Read(tell) => {
                let answer = dialect.ask(gateway, &ask, stream).await;
                // An answer over a WebSocket has headers only if it is an error.
                let has_headers = dialect != Dialect::Socket || answer.ending.starts_with("error");
                let headers = self.headers.iter().filter(|_| has_headers);
                for (name, value) in headers {
                    let found = answer.headers.get(*name).map(String::as_str);
                    let is_there = match *value {
                        "" => found.is_some(),
                        value => found == Some(value),
                    };
                    assert!(is_there, "{dialect:?}: {name} is {found:?}: {answer:?}");
                }
                tell(&answer)
            }
        }
    }

    /// The cells that are not as expected.
    async fn differences(&self) -> String {
        let (gateway, running) = self.start().await;
        let mut differences = String::new();
        for (column, dialect) in COLUMNS.into_iter().enumerate() {
            for &stream in dialect.forms() {
                let expected = self.expected(column, stream);
                if expected == NONE {
                    continue;
                }
                gateway.backend.ready().await;
                let arrived = journal::text(&gateway).matches(self.arrives).count();
                let told = self.told(&gateway, dialect, stream).await;
                let form = if stream { "streamed" } else { "whole" };
                if told != expected {
                    let name = self.behaviour;
                    writeln!(
                        differences,
                        "{name}, {dialect:?} {form}: {told:?}, not {expected:?}"
                    )
                    .unwrap();
                }
                let now = journal::text(&gateway).matches(self.arrives).count();
                assert!(
                    self.arrives.is_empty() || now > arrived,
                    "{dialect:?} {form}"
                );
            }
        }
        drop(running);
        gateway.idle().await;
        gateway.stop().await;
        differences
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_dialect_behaves_alike_in_its_own_words() {
    let rows = stream::iter(rows::rows());
    let differences = rows.map(async |row| row.differences().await);
    let differences: String = differences.buffer_unordered(AT_ONCE).collect().await;
    assert!(differences.is_empty(), "\n{differences}");
}
