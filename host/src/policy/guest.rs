//! One running guest on the host's side: its limits, its deterministic WASI, its captured output.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use rand::SeedableRng;
use wasmtime::component::ResourceTable;
use wasmtime::{Store, UpdateDeadline};
use wasmtime_wasi::cli::{IsTerminal, StdinStream, StdoutStream};
use wasmtime_wasi::clocks::{HostMonotonicClock, HostWallClock};
use wasmtime_wasi::p2::pipe::ClosedInputStream;
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, InputStream, OutputStream, Pollable, StreamResult,
};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use super::imports::Import;
use super::slices::{Slices, TICK};
use super::streams::Stream;
use super::words::{CUT, lines, text};

/// The bytes of stdout and stderr that are kept of one call; the rest is dropped.
const LOG_BYTES: usize = 4096;

/// The most calls of refused imports that are counted of one call of the guest.
const DENIED: usize = 1_000;

/// The most host resources of an instance, streams for example: their memory is not the guest's.
const RESOURCES: usize = 1_000;

/// Computing time of `configure`: some hundred times as much as 10,000 keys take in Python.
const CONFIGURING: Duration = Duration::from_secs(2);
/// Wall-clock time of `configure`, sleeping included.
const CONFIGURING_WALL: Duration = Duration::from_secs(5);

/// The limits of one call of a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Linear memory, in bytes, over all memories of the component.
    pub memory: usize,
    /// Computing time of one call. Counted in expired clock ticks, so that a guest that was not running
    /// (a busy machine) is not blamed for the time that passed.
    pub deadline: Duration,
    /// Wall-clock time of one call, waiting included.
    pub wall: Duration,
    /// The most bytes that the host copies out of the guest in one call.
    pub answer: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 32 << 20,
            deadline: Duration::from_millis(50),
            wall: Duration::from_millis(500),
            answer: 1 << 20,
        }
    }
}

impl Limits {
    /// The limits of `configure`: it may take longer than a decision, and copies more. Its times are constants: a policy whose
    /// decisions may take seconds gets no more time to configure.
    pub(super) fn to_configure(self) -> Self {
        Self {
            deadline: CONFIGURING,
            wall: CONFIGURING_WALL,
            answer: self.answer.max(16 << 20),
            ..self
        }
    }
}

/// The store's data.
pub(super) struct Guest {
    memory_limit: usize,
    /// Ticks that this call may still use.
    ticks_left: u32,
    /// Whether a tick of this call has passed.
    is_long: bool,
    slices: Slices,
    memory_used: usize,
    /// Set when a growth of memory was refused: the trap that follows is then reported as a memory fault.
    pub(super) memory_refused: bool,
    /// The time that WASI clocks show; it does not advance during a call, so that decisions are deterministic.
    now_ms: Arc<AtomicU64>,
    /// The seed of WASI's random numbers.
    seed: [u8; 32],
    /// Built when the guest first uses WASI: most decisions never do.
    wasi: Option<WasiCtx>,
    table: ResourceTable,
    log: Log,
    /// Calls of imports that policies may not use.
    denied: Vec<Import>,
}

impl Guest {
    /// Makes a store; [`Guest::rearm`] prepares it for each call.
    pub(super) fn store(
        engine: &wasmtime::Engine,
        slices: &Slices,
        limits: Limits,
        seed: [u8; 32],
    ) -> Store<Self> {
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES);
        let guest = Self {
            memory_limit: limits.memory,
            ticks_left: 0,
            is_long: false,
            slices: slices.for_a_guest(),
            memory_used: 0,
            memory_refused: false,
            now_ms: Arc::default(),
            seed,
            wasi: None,
            table,
            log: Log::new(),
            denied: Vec::new(),
        };
        let mut store = Store::new(engine, guest);
        store.limiter(|guest| guest);
        store.epoch_deadline_callback(|mut cx| {
            let guest = cx.data_mut();
            if guest.ticks_left == 0 {
                return Ok(UpdateDeadline::Interrupt);
            }
            guest.ticks_left -= 1;
            // A short call meets a tick by chance, so its first tick does not make it wait behind long calls.
            if !std::mem::replace(&mut guest.is_long, true) {
                return Ok(UpdateDeadline::Continue(1));
            }
            Ok(UpdateDeadline::YieldCustom(1, guest.slices.next()))
        });
        store
    }

    /// Gives a store its budget for one call, and the time its clocks show (milliseconds since 1970).
    pub(super) fn rearm(store: &mut Store<Self>, limits: Limits, now_ms: u64) {
        let guest = store.data_mut();
        let ticks = limits.deadline.as_millis() / TICK.as_millis();
        guest.ticks_left = u32::try_from(ticks).unwrap_or(u32::MAX);
        guest.is_long = false;
        guest.slices.release();
        guest.memory_refused = false;
        guest.now_ms.store(now_ms, Ordering::Relaxed);
        store.set_hostcall_fuel(limits.answer);
        store.set_epoch_deadline(1);
    }

    /// Ends the call: its turn to run is free for other guests.
    pub(super) fn rest(&mut self) {
        self.slices.release();
    }

    /// The standard streams that the guest has opened, if it holds no other host resources: others cannot be frozen.
    pub(super) fn streams(&mut self) -> Option<Vec<Stream>> {
        let opened = self.log.printed.lock().opened.clone();
        let is_stream = |entry: &mut (dyn Any + Send)| {
            entry.is::<DynInputStream>() || entry.is::<DynOutputStream>()
        };
        let mut held = 0;
        for entry in self.table.iter_mut() {
            if !is_stream(entry) {
                return None;
            }
            held += 1;
        }
        if held == opened.len() {
            return Some(opened);
        }
        // Some were closed again: of each stream only the first one can be held for long.
        let mut first = Vec::new();
        for stream in opened {
            if !first.contains(&stream) {
                first.push(stream);
            }
        }
        match held {
            0 => Some(Vec::new()),
            _ => (held == first.len()).then_some(first),
        }
    }

    /// Notes the call of an import that policies may not use.
    pub(super) fn denied(&mut self, import: Import) {
        if self.denied.len() < DENIED {
            self.denied.push(import);
        }
    }

    /// The calls noted since they were last taken.
    pub(super) fn take_denied(&mut self) -> Vec<Import> {
        std::mem::take(&mut self.denied)
    }

    /// The output that the guest printed since it was last taken, if any, as one line.
    pub(super) fn take_log(&mut self) -> Option<String> {
        self.log.take().map(text)
    }

    /// As [`Guest::take_log`], with its line breaks.
    pub(super) fn take_lines(&mut self) -> Option<String> {
        self.log.take().map(|printed| lines(&printed))
    }
}

impl wasmtime::ResourceLimiter for Guest {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self
            .memory_used
            .saturating_sub(current)
            .saturating_add(desired);
        if total > self.memory_limit {
            self.memory_refused = true;
            wasmtime::bail!("more than {} MiB of memory", self.memory_limit >> 20);
        }
        self.memory_used = total;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= 100_000)
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let Self {
            wasi,
            table,
            now_ms,
            seed,
            log,
            ..
        } = self;
        let ctx = wasi.get_or_insert_with(|| {
            let clock = Clock(Arc::clone(now_ms));
            let mut insecure_seed = [0; 16];
            insecure_seed.copy_from_slice(&seed[..16]);
            WasiCtxBuilder::new()
                .stdin(log.of(Stream::Stdin))
                .stdout(log.of(Stream::Stdout))
                .stderr(log.of(Stream::Stderr))
                .wall_clock(clock.clone())
                .monotonic_clock(clock)
                .secure_random(rand::rngs::StdRng::from_seed(*seed))
                .insecure_random(rand::rngs::StdRng::from_seed(*seed))
                .insecure_random_seed(u128::from_le_bytes(insecure_seed))
                .max_random_size(4096)
                .allow_tcp(false)
                .allow_udp(false)
                .allow_ip_name_lookup(false)
                .build()
        });
        WasiCtxView { ctx, table }
    }
}

/// A clock that shows the decision's own time, so that the same input gives the same decision.
#[derive(Clone)]
struct Clock(Arc<AtomicU64>);

impl HostWallClock for Clock {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

impl HostMonotonicClock for Clock {
    fn resolution(&self) -> u64 {
        1_000_000
    }

    fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed).saturating_mul(1_000_000)
    }
}

/// The guest's stdout and stderr: a small buffer that drops the bytes that do not fit.
#[derive(Clone)]
struct Log {
    stream: Stream,
    printed: Arc<Mutex<Printed>>,
}

#[derive(Default)]
struct Printed {
    /// The streams that the guest opened, in this order.
    opened: Vec<Stream>,
    bytes: BytesMut,
    /// Whether bytes were dropped.
    is_cut: bool,
}

impl Log {
    fn new() -> Self {
        Self {
            stream: Stream::Stdout,
            printed: Arc::default(),
        }
    }

    /// The same buffer, as another stream.
    fn of(&self, stream: Stream) -> Self {
        Self {
            stream,
            printed: Arc::clone(&self.printed),
        }
    }

    fn open(&self) {
        let mut printed = self.printed.lock();
        // More cannot be open.
        if printed.opened.len() < RESOURCES {
            printed.opened.push(self.stream);
        }
    }

    fn append(&self, bytes: &[u8]) {
        let mut printed = self.printed.lock();
        let room = LOG_BYTES.saturating_sub(printed.bytes.len());
        printed.is_cut |= bytes.len() > room;
        printed
            .bytes
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn take(&self) -> Option<String> {
        let mut printed = self.printed.lock();
        let (bytes, is_cut) = (std::mem::take(&mut printed.bytes), printed.is_cut);
        printed.is_cut = false;
        if bytes.is_empty() {
            return None;
        }
        let mut text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
        if is_cut {
            text.push_str(CUT);
        }
        Some(text)
    }
}

impl IsTerminal for Log {
    fn is_terminal(&self) -> bool {
        false
    }
}

/// There is nothing to read.
impl StdinStream for Log {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncRead + Send + Sync> {
        Box::new(tokio::io::empty())
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        self.open();
        Box::new(ClosedInputStream)
    }
}

impl StdoutStream for Log {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        // Only WASI 0.3 uses this form, and its imports are refused at load.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        self.open();
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Log {
    async fn ready(&mut self) {}
}

impl OutputStream for Log {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.append(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(LOG_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_resources_of_a_guest_are_bounded() {
        let engine = wasmtime::Engine::default();
        let slices = Slices::new();
        let mut store = Guest::store(&engine, &slices, Limits::default(), [0; 32]);
        let table = store.data_mut().ctx().table;
        let held = (0..10 * RESOURCES).filter(|_| table.push(()).is_ok());
        assert_eq!(held.count(), RESOURCES);
    }
}
