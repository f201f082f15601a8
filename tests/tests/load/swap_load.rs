//! Two hundred swaps under continuous load: no request fails, no request meets two generations, memory stays flat.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use codex_gateway::policy::{Defaults, Facts, Source};
use codex_gateway_tests::gateway::{Gateway, QUICK, Setup, say, stream};
use codex_gateway_tests::guests::EVERY;
use codex_gateway_tests::sse::{Event, Events};
use serde_json::Value;
use tokio::task::JoinHandle;

const SWAPS: u64 = 200;
/// The number of swaps after which everything that is allocated once has been allocated.
const WARM: u64 = 40;
/// The KiB that one hundred and sixty more swaps may add: far less than one leaked generation each would.
const MAY_GROW_KIB: u64 = 48 << 10;

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_swaps_under_load_lose_and_mix_nothing_and_keep_nothing() {
    let _turn = crate::alone().await;
    let gateway = Arc::new(Setup::demo().start().await);
    let folder = tempfile::tempdir().unwrap();
    let source = Source::new(Some(folder.path().to_owned()), Defaults::default());
    for slot in ["auth", "model"] {
        std::fs::write(folder.path().join(format!("{slot}.wasm")), EVERY).unwrap();
    }
    let load = Load::start(&gateway);

    let mut warm = 0;
    for stamp in 1..=SWAPS {
        for slot in ["auth", "model"] {
            let settings = format!(r#"{{"stamp": {stamp}}}"#);
            std::fs::write(folder.path().join(format!("{slot}.json")), settings).unwrap();
        }
        let candidates = source.read(&Facts::default()).unwrap();
        gateway.live.replace(&candidates).await.unwrap();
        if stamp == WARM {
            warm = anonymous_kib();
        }
    }
    let grown = anonymous_kib().saturating_sub(warm);
    let answered = load.end().await;
    assert!(gateway.live.current().number() > SWAPS);
    assert!(answered > SWAPS, "the load was real");
    assert!(
        grown < MAY_GROW_KIB,
        "{grown} KiB more after {} more swaps",
        SWAPS - WARM
    );
    Arc::into_inner(gateway).unwrap().stop().await;
}

/// Four callers that send requests without pause.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    callers: Vec<JoinHandle<()>>,
}

impl Load {
    pub(crate) fn start(gateway: &Arc<Gateway>) -> Self {
        let (stop, answered) = (Arc::default(), Arc::default());
        let call = || {
            call_until(
                Arc::clone(gateway),
                Arc::clone(&stop),
                Arc::clone(&answered),
            )
        };
        let callers = (0..4).map(|_| tokio::spawn(call())).collect();
        Self {
            stop,
            answered,
            callers,
        }
    }

    /// Ends it; how many requests there were. Fails if one of them did.
    pub(crate) async fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for caller in self.callers {
            caller.await.unwrap();
        }
        self.answered.load(Ordering::Relaxed)
    }
}

/// Memory of this process that no file backs.
pub(crate) fn anonymous_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Sends requests until `stop`. The policies refuse a caller of another generation, and return their stamp as the model.
async fn call_until(gateway: Arc<Gateway>, stop: Arc<AtomicBool>, answered: Arc<AtomicU64>) {
    while !stop.load(Ordering::Relaxed) {
        let streaming = answered.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
        let body = if streaming { stream(QUICK) } else { say(QUICK) };
        let response = gateway.chat(&body).send().await.unwrap();
        let generation = response.headers()["x-codex-generation"]
            .to_str()
            .unwrap()
            .to_owned();
        assert_eq!(
            response.status(),
            200,
            "{}",
            response.text().await.unwrap_or_default()
        );
        if streaming {
            assert_one_generation(&Events::of(response).rest().await, &generation);
        }
    }
}

fn assert_one_generation(events: &[Event], generation: &str) {
    assert_eq!(events.last(), Some(&Event::Done), "generation {generation}");
    let models: Vec<&Value> = events
        .iter()
        .filter_map(|event| match event {
            Event::Data(data) => Some(&data["model"]),
            _ => None,
        })
        .collect();
    assert!(
        models.windows(2).all(|pair| pair[0] == pair[1]),
        "one answer, two generations: {models:?}"
    );
}
