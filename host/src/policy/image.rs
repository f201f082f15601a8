//! Puts a snapshot into compiled code as its initial memory, so that new settings of a component compile nothing.

use std::mem::offset_of;
use std::ops::Range;

use wasmparser::{Data, DataKind, Operator, Parser, Payload};
use wasmtime::component::Component;
use wasmtime::{Result, bail, ensure};
use wasmtime_environ::component::ComponentArtifacts;
use wasmtime_environ::object::elf::{FileHeader64, SectionHeader64};
use wasmtime_environ::object::read::elf::FileHeader;
use wasmtime_environ::object::{Endianness, U64};
use wasmtime_environ::{
    EntityRef, GlobalConstValue, MemoryIndex, MemoryInitialization, Module, obj,
};

/// The size of a page of wasm memory. Images begin and end at multiples of it, which suits the pages of every system.
const PAGE: usize = 64 << 10;

/// The state of a core module in a snapshot.
#[derive(Default)]
struct State<'a> {
    /// The size of each memory that it defines, in pages.
    pages: Vec<u64>,
    /// The values of the globals that it defines; `None` for those that are no plain numbers.
    globals: Vec<Option<GlobalConstValue>>,
    /// Contents of memories: the memory's index, the address, the bytes.
    segments: Vec<(u32, u64, &'a [u8])>,
}

/// Makes the compiled code of a snapshot of that of its component's template, which differs from it in the contents of memories and
/// globals only (see [`super::freeze`]).
///
/// # Errors
/// If the snapshot has something for which the template has no place. Compiling the snapshot is then the way.
pub(super) fn code(template: &Component, snapshot: &[u8]) -> Result<Vec<u8>> {
    with_state(template.serialize()?, &states(snapshot)?)
}

/// The states of a snapshot's core modules, in their order.
fn states(snapshot: &[u8]) -> Result<Vec<State<'_>>> {
    let mut states = Vec::new();
    for payload in Parser::new(0).parse_all(snapshot) {
        match payload? {
            Payload::ModuleSection { .. } => states.push(State::default()),
            payload => {
                if let Some(state) = states.last_mut() {
                    state.read(payload)?;
                }
            }
        }
    }
    Ok(states)
}

impl<'a> State<'a> {
    fn read(&mut self, payload: Payload<'a>) -> Result<()> {
        match payload {
            Payload::MemorySection(memories) => {
                for memory in memories {
                    self.pages.push(memory?.initial);
                }
            }
            Payload::GlobalSection(globals) => {
                for global in globals {
                    self.globals.push(constant(&global?.init_expr)?);
                }
            }
            Payload::DataSection(segments) => {
                for segment in segments {
                    self.add(&segment?)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn add(&mut self, segment: &Data<'a>) -> Result<()> {
        let DataKind::Active {
            memory_index,
            offset_expr,
        } = &segment.kind
        else {
            return Ok(());
        };
        let address = match constant(offset_expr)? {
            Some(GlobalConstValue::I32(address)) => u64::from(address.cast_unsigned()),
            Some(GlobalConstValue::I64(address)) => address.cast_unsigned(),
            _ => bail!("a segment without a constant address"),
        };
        self.segments.push((*memory_index, address, segment.data));
        Ok(())
    }

    /// The contents of a memory from its beginning, in whole pages.
    fn image(&self, memory: MemoryIndex, pages: u64) -> Result<Vec<u8>> {
        let mut image = Vec::new();
        for (index, address, bytes) in &self.segments {
            if *index != memory.as_u32() {
                continue;
            }
            let start = usize::try_from(*address)?;
            let end = start.saturating_add(bytes.len());
            let full = end.next_multiple_of(PAGE);
            ensure!((full / PAGE) as u64 <= pages, "a segment beyond its memory");
            image.resize(full.max(image.len()), 0);
            image[start..end].copy_from_slice(bytes);
        }
        Ok(image)
    }
}

/// The value of an expression that is one number.
fn constant(expression: &wasmparser::ConstExpr<'_>) -> Result<Option<GlobalConstValue>> {
    let mut operators = expression.get_operators_reader();
    let value = match operators.read()? {
        Operator::I32Const { value } => GlobalConstValue::I32(value),
        Operator::I64Const { value } => GlobalConstValue::I64(value),
        Operator::F32Const { value } => GlobalConstValue::F32(value.bits()),
        Operator::F64Const { value } => GlobalConstValue::F64(value.bits()),
        _ => return Ok(None),
    };
    Ok(matches!(operators.read()?, Operator::End).then_some(value))
}

/// The compiled code of a template with these states.
fn with_state(mut code: Vec<u8>, states: &[State<'_>]) -> Result<Vec<u8>> {
    let (info, data) = (
        section(&code, obj::ELF_WASMTIME_INFO)?,
        section(&code, obj::ELF_WASM_DATA)?,
    );
    let mut artifacts: ComponentArtifacts = postcard::from_bytes(&code[info.contents.clone()])?;
    let mut contents = code[data.contents.clone()].to_vec();
    let modules = &mut artifacts.static_modules;
    ensure!(modules.len() >= states.len(), "more modules than compiled");
    for ((_, module), state) in modules.iter_mut().zip(states) {
        put(&mut module.module, state, &mut contents)?;
    }
    for (section, contents) in [(data, contents), (info, postcard::to_allocvec(&artifacts)?)] {
        code.resize(code.len().next_multiple_of(PAGE), 0);
        let place = code.len();
        code.extend_from_slice(&contents);
        section.moved(&mut code, place, contents.len());
    }
    Ok(code)
}

/// Gives a compiled module another initial state, whose images are appended to `contents`.
fn put(module: &mut Module, state: &State<'_>, contents: &mut Vec<u8>) -> Result<()> {
    let imported = module.num_imported_memories;
    let defined = module.memories.len().checked_sub(imported);
    ensure!(
        defined == Some(state.pages.len()),
        "other memories than compiled"
    );
    for (place, pages) in state.pages.iter().enumerate() {
        let index = MemoryIndex::new(imported + place);
        let memory = &mut module.memories[index];
        // The code relies on the least size that it was compiled with.
        ensure!(
            *pages >= memory.limits.min && memory.page_size_log2 == 16,
            "a smaller memory than compiled"
        );
        memory.limits.min = *pages;
        let MemoryInitialization::Static { map } = &mut module.memory_initialization else {
            bail!("no place for a memory's image");
        };
        // Without copying on write, the code copies the image to the address that it was compiled with.
        let Some((0, data)) = map[index] else {
            bail!("no place for a memory's image");
        };
        let image = state.image(index, *pages)?;
        if image.is_empty() {
            map[index] = None;
        }
        contents.resize(contents.len().next_multiple_of(PAGE), 0);
        let start = u32::try_from(contents.len())?;
        contents.extend_from_slice(&image);
        module.runtime_data[data] = start..u32::try_from(contents.len())?;
    }
    for place in 0..module.global_initializers.len() {
        let (global, value) = module.global_initializers[place];
        if module.globals[module.global_index(global)].mutability {
            let found = state.globals.get(global.index()).copied().flatten();
            let is_alike = found.is_some_and(|found| {
                std::mem::discriminant(&found) == std::mem::discriminant(&value)
            });
            ensure!(is_alike, "other globals than compiled");
            module.global_initializers[place].1 = found.unwrap_or(value);
        }
    }
    Ok(())
}

/// A section of compiled code, which is an ELF file.
struct Section {
    /// The place of its header.
    header: usize,
    contents: Range<usize>,
}

fn section(code: &[u8], name: &str) -> Result<Section> {
    let header = FileHeader64::<Endianness>::parse(code)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, code)?;
    let Some((index, found)) = sections.section_by_name(endian, name.as_bytes()) else {
        bail!("compiled code without {name}");
    };
    let number = |number: U64<Endianness>| usize::try_from(number.get(endian));
    let start = number(found.sh_offset)?;
    let end = start.saturating_add(number(found.sh_size)?);
    ensure!(end <= code.len(), "compiled code that is cut");
    Ok(Section {
        header: number(header.e_shoff)? + index.0 * size_of::<SectionHeader64<Endianness>>(),
        contents: start..end,
    })
}

impl Section {
    /// Tells the header that the contents are elsewhere.
    fn moved(&self, code: &mut [u8], place: usize, length: usize) {
        let mut write = |field, value: usize| {
            let at = self.header + field;
            code[at..at + size_of::<u64>()].copy_from_slice(&(value as u64).to_ne_bytes());
        };
        write(offset_of!(SectionHeader64<Endianness>, sh_offset), place);
        write(offset_of!(SectionHeader64<Endianness>, sh_size), length);
    }
}
