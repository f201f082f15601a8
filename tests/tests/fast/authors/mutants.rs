//! A search finds mutants of the built-in policies, and no difference between policies that decide alike; `just mutants` tries many more.

use std::time::Duration;

use codex_gateway::policy::{Engine, Search, Slot};
use codex_gateway_tests::mutants::{self, Pair, code, settings};

use super::cache;

fn search(inputs: u64) -> Search {
    Search {
        seed: 1,
        time: Duration::MAX,
        inputs,
    }
}

/// Whether a difference is found; `None` if a gateway refuses the mutant.
async fn differs(engine: &Engine, pair: &Pair, inputs: u64) -> Option<bool> {
    let searched = mutants::search(engine, pair, search(inputs)).await?;
    Some(searched.found.is_some())
}

#[tokio::test(flavor = "multi_thread")]
async fn mutants_of_the_code_are_found() {
    let engine = Engine::new(Some(&cache())).unwrap();
    for slot in Slot::ALL {
        let mut is_found = false;
        // Not each mutant decides otherwise, or can serve.
        for pair in code::mutants(slot, 8) {
            is_found = differs(&engine, &pair, 1_000).await == Some(true);
            if is_found {
                break;
            }
        }
        assert!(is_found, "{slot}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_that_mean_the_same_do_not_differ() {
    let engine = Engine::new(Some(&cache())).unwrap();
    for slot in Slot::ALL {
        let pair = settings::equal(slot).pop().unwrap();
        assert_eq!(
            differs(&engine, &pair, 500).await,
            Some(false),
            "{}",
            pair.name
        );
    }
}
