//! Many turns on the real Codex, and the memory and disk they use and leave.

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::real::script;
use crate::remains::processes;
use crate::sse::{self, Event, Events};

/// The turns that run at a time, if only their total number matters.
const SIDE_BY_SIDE: usize = 8;

/// One second of streaming: the number of pieces, and the pause before each.
const PIECES: usize = 20;
const PAUSE_MS: u64 = 50;

/// Runs this many one-second streams at once. Returns the time of each one's first piece.
///
/// # Panics
/// If a stream gets another stream's answer.
pub async fn at_once(gateway: &Gateway, crowd: usize) -> Vec<Duration> {
    let streams = (0..crowd).map(|number| async move {
        let text = [format!("{number} ")];
        let answer = json!({"text": text, "repeat": PIECES, "delay_ms": PAUSE_MS});
        let started = Instant::now();
        let response = gateway.chat(&script(answer, true)).send().await;
        let mut events = Events::of(response.expect("an answer"));
        let mut first = None;
        let mut all = Vec::new();
        while let Some(event) = events.next().await {
            all.push(event);
            if first.is_none() && !sse::text(&all).is_empty() {
                first = Some(started.elapsed());
            }
        }
        assert_eq!(sse::text(&all), text.concat().repeat(PIECES));
        assert_eq!(all.last(), Some(&Event::Done));
        first.expect("an answer has a first piece")
    });
    futures_util::future::join_all(streams).await
}

/// Runs this many short turns, a few at a time, every second one streamed.
///
/// # Panics
/// If a turn gets another turn's answer.
pub async fn in_turn(gateway: &Gateway, turns: usize) {
    let answers = stream::iter(0..turns).map(|number| async move {
        let text = format!("turn {number}");
        let streamed = number % 2 == 0;
        let body = script(json!({"text": [text]}), streamed);
        let response = gateway.chat(&body).send().await.expect("an answer");
        let told = if streamed {
            sse::text(&Events::of(response).rest().await)
        } else {
            let answer: Value = response.json().await.expect("JSON");
            let content = &answer["choices"][0]["message"]["content"];
            content.as_str().unwrap_or_default().to_owned()
        };
        assert_eq!(told, text);
    });
    answers.buffer_unordered(SIDE_BY_SIDE).collect::<()>().await;
}

/// The memory and disk a gateway uses at the moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Footprint {
    /// Memory of this process that no file backs, in KiB: the gateway's, the provider's and the test's.
    pub own_kib: u64,
    /// The same for the gateway's Codex processes.
    pub codex_kib: u64,
    /// The size of the files in its temporary folders and in Codex's home, in KiB.
    pub disk_kib: u64,
    /// The number of those files.
    pub files: usize,
}

impl Footprint {
    /// The footprint of a gateway in this process.
    #[must_use]
    pub fn of(gateway: &Gateway) -> Self {
        let processes = processes(&gateway.home());
        let mut footprint = Self {
            own_kib: anonymous_kib("self"),
            codex_kib: processes
                .iter()
                .map(|process| anonymous_kib(&process.pid.to_string()))
                .sum(),
            ..Self::default()
        };
        footprint.add(&gateway.home());
        let mut folders: Vec<_> = processes
            .into_iter()
            .flat_map(|process| process.folders)
            .collect();
        folders.sort();
        folders.dedup();
        for folder in folders {
            footprint.add(&folder);
        }
        footprint
    }

    fn add(&mut self, folder: &Path) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => self.add(&entry.path()),
                Ok(metadata) => {
                    self.disk_kib += metadata.len() / 1024;
                    self.files += 1;
                }
                // The file was removed meanwhile.
                Err(_) => {}
            }
        }
    }
}

/// Memory of a process that no file backs, swapped out or not; 0 if the process has ended.
#[must_use]
pub fn anonymous_kib(process: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let numbers = status.lines().filter_map(|line| {
        let number = ["RssAnon:", "VmSwap:"]
            .iter()
            .find_map(|name| line.strip_prefix(name))?;
        number.trim().trim_end_matches(" kB").parse::<u64>().ok()
    });
    numbers.sum()
}
