//! Freezing: the memory of a configured instance becomes the component's initial state.

use std::collections::{HashMap, VecDeque};
use std::pin::pin;

use wasmparser::{Parser, Payload};
use wasmtime::component::{ComponentNamedList, Instance, Lift, WasmList};
use wasmtime::{Store, ensure};
use wasmtime_wizer::{ComponentContext, ComponentInstanceState, Wizer};

use super::engine::MAX_MEMORY;
use super::guest::Guest;

/// A component instrumented for freezing. It exports all its memory, so it must never serve.
pub(super) struct Instrumented<'a> {
    wizer: Wizer,
    context: ComponentContext<'a>,
    pub(super) wasm: Vec<u8>,
    /// The sizes, in bytes, with which the memories of its modules begin, in their order.
    memories: Vec<usize>,
}

/// # Errors
/// If the component is not valid, or uses something that cannot be frozen (see wasmtime-wizer).
pub(super) fn instrument(wasm: &[u8]) -> wasmtime::Result<Instrumented<'_>> {
    let mut wizer = Wizer::new();
    // Without this, a component that exports something called `wizer-initialize` would come out broken.
    wizer.keep_init_func(true);
    let memories = memories(wasm)?;
    let (context, wasm) = wizer.instrument_component(wasm)?;
    Ok(Instrumented {
        wizer,
        context,
        wasm,
        memories,
    })
}

fn memories(wasm: &[u8]) -> wasmtime::Result<Vec<usize>> {
    let mut sizes = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::MemorySection(memories) = payload? {
            for memory in memories {
                sizes.push(usize::try_from(memory?.initial)?.saturating_mul(PAGE));
            }
        }
    }
    Ok(sizes)
}

impl Instrumented<'_> {
    /// A component that differs from every snapshot of this one in the contents of memories and globals only: code compiled for it
    /// serves those whose memories are not smaller (see [`super::image`]).
    ///
    /// # Errors
    /// If it is not sure which size each memory begins with, or one is larger than a policy's may be.
    pub(super) async fn template(&self) -> wasmtime::Result<Vec<u8>> {
        ensure!(
            self.memories.iter().all(|size| *size <= MAX_MEMORY),
            "a memory that is too large"
        );
        let mut blank = Blank {
            memories: self.memories.iter().copied().collect(),
            seen: HashMap::new(),
        };
        let template = self.wizer.snapshot_component(&self.context, &mut blank);
        let template = template.await?;
        // Only modules that have an instance are asked for theirs.
        ensure!(
            blank.memories.is_empty() && blank.seen.len() == self.memories.len(),
            "a module without an instance"
        );
        Ok(template)
    }

    /// Takes the snapshot of a configured instance of [`Instrumented::wasm`]; the snapshot is again a component.
    pub(super) async fn snapshot(
        &self,
        store: &mut Store<Guest>,
        instance: Instance,
    ) -> wasmtime::Result<Vec<u8>> {
        // The snapshot reads whole memories through host calls, more than the guest's own limit of answer bytes allows.
        store.set_hostcall_fuel(usize::MAX);
        let mut access = Access {
            store,
            instance,
            failure: None,
        };
        let frozen = pin!(self.wizer.snapshot_component(&self.context, &mut access)).await?;
        match access.failure {
            Some(error) => Err(error),
            None => Ok(frozen),
        }
    }
}

/// The bytes of a page of memory.
const PAGE: usize = 64 << 10;

/// Stands for an instance whose memories have the size that they begin with, which is that by which modules import them, and are not
/// empty: compiled code has a place only for contents of memories that have some.
struct Blank {
    /// The sizes of memories that were not asked for yet: they are asked for in their order.
    memories: VecDeque<usize>,
    /// Those of the others, by the names of their accessors.
    seen: HashMap<String, usize>,
}

impl ComponentInstanceState for Blank {
    async fn call_func_ret_list_u8(
        &mut self,
        _: &str,
        accessor: &str,
        contents: impl FnOnce(&[u8]) + Send,
    ) {
        let (seen, memories) = (&mut self.seen, &mut self.memories);
        let size = *seen
            .entry(accessor.to_owned())
            .or_insert_with(|| memories.pop_front().unwrap_or_default());
        let mut memory = vec![0; size.max(PAGE)];
        memory[0] = 1;
        contents(&memory);
    }

    async fn call_func_ret_s32(&mut self, _: &str, _: &str) -> i32 {
        0
    }

    async fn call_func_ret_s64(&mut self, _: &str, _: &str) -> i64 {
        0
    }

    async fn call_func_ret_f32(&mut self, _: &str, _: &str) -> u32 {
        0
    }

    async fn call_func_ret_f64(&mut self, _: &str, _: &str) -> u64 {
        0
    }
}

/// Reads an instance's memories and globals through the exports that instrumentation added.
struct Access<'a> {
    store: &'a mut Store<Guest>,
    instance: Instance,
    /// The trait cannot return an error: the first one is kept here, and the snapshot is discarded.
    failure: Option<wasmtime::Error>,
}

impl Access<'_> {
    async fn call<R>(&mut self, interface: &str, function: &str) -> Option<R>
    where
        R: Lift + Send + Sync + 'static,
        (R,): ComponentNamedList + Lift,
    {
        match self.try_call(interface, function).await {
            Ok(value) => Some(value),
            Err(error) => {
                self.failure.get_or_insert(error);
                None
            }
        }
    }

    async fn try_call<R>(&mut self, interface: &str, function: &str) -> wasmtime::Result<R>
    where
        R: Lift + Send + Sync + 'static,
        (R,): ComponentNamedList + Lift,
    {
        let missing =
            || wasmtime::format_err!("the instrumented component lacks {interface}#{function}");
        let interface = self
            .instance
            .get_export_index(&mut *self.store, None, interface)
            .ok_or_else(missing)?;
        let index = self
            .instance
            .get_export_index(&mut *self.store, Some(&interface), function)
            .ok_or_else(missing)?;
        let function = self
            .instance
            .get_typed_func::<(), (R,)>(&mut *self.store, index)?;
        Ok(function.call_async(&mut *self.store, ()).await?.0)
    }
}

impl ComponentInstanceState for Access<'_> {
    async fn call_func_ret_list_u8(
        &mut self,
        interface: &str,
        function: &str,
        contents: impl FnOnce(&[u8]) + Send,
    ) {
        match self.call::<WasmList<u8>>(interface, function).await {
            Some(list) => contents(list.as_le_slice(&*self.store)),
            None => contents(&[]),
        }
    }

    async fn call_func_ret_s32(&mut self, interface: &str, function: &str) -> i32 {
        self.call(interface, function).await.unwrap_or_default()
    }

    async fn call_func_ret_s64(&mut self, interface: &str, function: &str) -> i64 {
        self.call(interface, function).await.unwrap_or_default()
    }

    async fn call_func_ret_f32(&mut self, interface: &str, function: &str) -> u32 {
        self.call::<f32>(interface, function)
            .await
            .unwrap_or_default()
            .to_bits()
    }

    async fn call_func_ret_f64(&mut self, interface: &str, function: &str) -> u64 {
        self.call::<f64>(interface, function)
            .await
            .unwrap_or_default()
            .to_bits()
    }
}
