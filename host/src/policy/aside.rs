//! Runs work beside the serving threads: on a thread of its own, whose log is silent.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use rustix::process::setpriority_process;
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tracing::subscriber::{NoSubscriber, with_default};

thread_local! {
    static IS_HERE: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread runs work beside the serving ones: a fault of a policy here is none of its service.
pub(super) fn is_here() -> bool {
    IS_HERE.get()
}

/// The nice value of work that gives way: beside serving threads that use all cores it gets about a tenth of one.
const NICE: i32 = 10;

/// Lets the requests go first, from now on: on a busy machine this thread gets little of it.
pub(super) fn give_way() {
    // In Linux the priority is that of the thread. It may always be lowered.
    let _ = setpriority_process(None, NICE);
}

/// The processor time of this thread, also that in the kernel.
pub(super) fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Starts the work. Its faults and what its policies print are none of the serving policies', and are not logged. The receiver
/// fails if the thread cannot have a runtime.
///
/// # Errors
/// If there can be no further thread.
pub(super) fn start<T, F>(
    name: &str,
    work: impl FnOnce() -> F + Send + 'static,
) -> io::Result<oneshot::Receiver<T>>
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    let (done, result) = oneshot::channel();
    let run = move || {
        IS_HERE.set(true);
        with_default(NoSubscriber::new(), || {
            if let Ok(runtime) = Builder::new_current_thread().enable_time().build() {
                // Nothing may wait for it any longer.
                let _ = done.send(runtime.block_on(work()));
            }
        });
    };
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)?;
    Ok(result)
}
