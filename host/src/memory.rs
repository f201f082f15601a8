//! Returns freed memory, which the allocator keeps, to the system, outside of the threads that serve.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;

/// The delay: one large release of memory is often followed by others.
const DELAY: Duration = Duration::from_secs(2);

static DUE: AtomicBool = AtomicBool::new(false);

/// A pending return of memory; it is no longer pending when this is dropped.
struct Due;

impl Drop for Due {
    fn drop(&mut self) {
        DUE.store(false, Ordering::Relaxed);
    }
}

/// Returns free memory after a short delay: glibc keeps free memory that lies between used pieces, for good.
///
/// Other allocators are no better: after twenty large requests mimalloc 3 returned to its earlier size, but when idle it had 110
/// MiB for glibc's 33 (`benches/bodies.rs`), and jemalloc needs make to be built.
pub fn give_back_soon() {
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    if DUE.swap(true, Ordering::Relaxed) {
        return;
    }
    let due = Due;
    runtime.spawn(async move {
        tokio::time::sleep(DELAY).await;
        drop(due);
        tokio::task::spawn_blocking(give_back);
    });
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn give_back() {
    #[expect(unsafe_code, reason = "a function of C without a safe wrapper")]
    // SAFETY: it takes no pointer, and may be called at any time by any thread (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other allocators return memory by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn give_back() {}
