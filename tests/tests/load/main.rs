//! Many requests, swaps and attacks at once, one test after another: each needs the whole machine, or measures the memory
//! of this process.

use tokio::sync::{Mutex, MutexGuard};

mod alike;
mod attack;
mod codex_floods;
mod flood;
mod promotions;
mod swap_load;

static TURN: Mutex<()> = Mutex::const_new(());

/// Waits until no other test of this program runs.
async fn alone() -> MutexGuard<'static, ()> {
    TURN.lock().await
}
