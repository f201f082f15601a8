//! The share of mutants of the built-in policies that `policy diff --search` finds within ten seconds: `just mutants`.

use std::time::Duration;

use codex_gateway::policy::{Engine, Search, Slot};
use codex_gateway_tests::inputs::count;
use codex_gateway_tests::mutants::{self, Pair, code, settings};

/// The mutants of a slot's code, by default.
const CODE: u32 = 20;
/// The time in which a difference is to be found.
const TIME: Duration = Duration::from_secs(10);
/// A search that took longer is shown, in milliseconds.
const SLOW: u64 = 2_000;
/// Another search by which a mutant that was not found may be known to differ.
const LONG: Duration = Duration::from_secs(10);
const OTHER_SEED: u64 = 99;

#[derive(Default)]
struct Figures {
    refused: usize,
    found: Vec<u64>,
    /// Those that only the longer search found.
    late: Vec<String>,
    /// Those of which no difference is known.
    alike: Vec<String>,
    inputs: u64,
}

fn search(seed: u64, time: Duration) -> Search {
    Search {
        seed,
        time,
        inputs: u64::MAX,
    }
}

impl Figures {
    async fn of(engine: &Engine, pairs: Vec<Pair>) -> Self {
        let mut figures = Self::default();
        for pair in pairs {
            let Some(searched) = mutants::search(engine, &pair, search(1, TIME)).await else {
                figures.refused += 1;
                continue;
            };
            figures.inputs += searched.inputs;
            if searched.found.is_some() {
                figures.found.push(searched.took_ms);
                if searched.took_ms > SLOW {
                    println!(
                        "  {} ms, {} inputs: {}",
                        searched.took_ms, searched.inputs, pair.name
                    );
                }
                continue;
            }
            let longer = mutants::search(engine, &pair, search(OTHER_SEED, LONG)).await;
            match longer.and_then(|longer| longer.found) {
                Some(found) => figures
                    .late
                    .push(format!("{}: {}", pair.name, found.case["calls"])),
                None => figures.alike.push(pair.name),
            }
        }
        figures
    }

    fn print(&mut self, what: &str) {
        self.found.sort_unstable();
        let at = |share: usize| {
            let place = (self.found.len() * share).div_ceil(100).saturating_sub(1);
            self.found.get(place).copied().unwrap_or_default()
        };
        println!(
            "{what}: {} found (p50 {} ms, p90 {} ms, p99 {} ms), {} only later, {} without a known difference, {} refused, {} inputs",
            self.found.len(),
            at(50),
            at(90),
            at(99),
            self.late.len(),
            self.alike.len(),
            self.refused,
            self.inputs,
        );
        for name in &self.late {
            println!("  later: {name}");
        }
        for name in &self.alike {
            println!("  alike: {name}");
        }
    }
}

/// Prints the figures of a slot. None of the pairs that mean the same may differ.
async fn measure(slot: Slot) {
    let cache = tempfile::tempdir().unwrap();
    let engine = Engine::new(Some(cache.path())).unwrap();
    let (mut found, mut late) = (0, 0);
    for (what, pairs) in [
        ("settings", settings::mutants(slot)),
        ("code", code::mutants(slot, count(CODE) as usize)),
    ] {
        let mut figures = Figures::of(&engine, pairs).await;
        figures.print(&format!("{slot} {what}"));
        found += figures.found.len();
        late += figures.late.len();
    }
    println!("{slot}: {found} of {} that differ", found + late);
    for pair in settings::equal(slot) {
        let searched = mutants::search(&engine, &pair, search(1, TIME)).await;
        let searched = searched.unwrap();
        assert!(
            searched.found.is_none(),
            "{}: {:#?}",
            pair.name,
            searched.found
        );
        println!("{}: none of {} inputs", pair.name, searched.inputs);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mutants_of_auth_are_found_in_ten_seconds() {
    measure(Slot::Auth).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutants_of_model_are_found_in_ten_seconds() {
    measure(Slot::Model).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutants_of_rate_limit_are_found_in_ten_seconds() {
    measure(Slot::RateLimit).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutants_of_tool_stop_are_found_in_ten_seconds() {
    measure(Slot::ToolStop).await;
}
