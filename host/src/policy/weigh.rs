//! Limits the size of a component's parts before it is compiled or frozen.

use wasmparser::{Parser, Payload};

use super::fault::Problem;

/// The limits of a component. Of components built with common tools, those in JavaScript have the most data segments (10,000) and
/// code (9 MB), those in Python the most modules (38), other items (10,800), and the largest function by size (427 kB) and locals
/// (271).
const MOST: Weight = Weight {
    modules: 64,
    memories: 4,
    functions: 100_000,
    segments: 20_000,
    items: 50_000,
    types: 4 << 20,
    code: 24 << 20,
    function: 1 << 20,
    locals: 5_000,
};

/// Up to these limits a component is compiled in this process, which takes seconds at most and less than 100 MiB, whatever the
/// code is. Components in Rust are lighter.
const LIGHT: Weight = Weight {
    modules: 64,
    memories: 4,
    functions: 5_000,
    segments: 1_000,
    items: 1_000,
    types: 64 << 10,
    code: 512 << 10,
    function: 32 << 10,
    locals: 150,
};

/// The counts on which the cost of compiling depends. All but the last two are totals of all modules.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Weight {
    modules: u64,
    memories: u64,
    functions: u64,
    /// Data segments and element segments.
    segments: u64,
    /// Other items that sections list: the compiler generates code for each imported function, and for each function that is
    /// lifted or lowered between components.
    items: u64,
    /// Bytes of all component types: passing a value needs code for each of its parts.
    types: u64,
    /// Bytes of all function bodies.
    code: u64,
    /// Bytes of the largest function body.
    function: u64,
    /// Locals of the function with the most locals.
    locals: u64,
}

impl Weight {
    /// Counts a component's parts.
    ///
    /// # Errors
    /// If it exceeds a limit, or cannot be read.
    pub(super) fn of(wasm: &[u8]) -> Result<Self, Problem> {
        let mut weight = Self::default();
        for payload in Parser::new(0).parse_all(wasm) {
            payload
                .and_then(|payload| weight.add(&payload))
                .map_err(|error| Problem::Invalid(error.to_string()))?;
            weight.check()?;
        }
        Ok(weight)
    }

    /// Whether it can be compiled in this process, without limits on compiling.
    pub(super) fn is_light(&self) -> bool {
        self.pairs(&LIGHT)
            .iter()
            .all(|(_, found, most)| found <= most)
    }

    fn add(&mut self, payload: &Payload<'_>) -> wasmparser::Result<()> {
        match payload {
            Payload::ModuleSection { .. } => self.modules += 1,
            Payload::MemorySection(memories) => self.memories += u64::from(memories.count()),
            Payload::DataSection(segments) => self.segments += u64::from(segments.count()),
            Payload::ElementSection(segments) => self.segments += u64::from(segments.count()),
            Payload::CodeSectionEntry(body) => {
                let bytes = body.range().len() as u64;
                self.functions += 1;
                self.code += bytes;
                self.function = self.function.max(bytes);
                let mut locals = 0;
                for group in body.get_locals_reader()? {
                    locals += u64::from(group?.0);
                }
                self.locals = self.locals.max(locals);
            }
            Payload::ComponentTypeSection(types) => {
                self.types += types.range().len() as u64;
                self.items += u64::from(types.count());
            }
            Payload::TypeSection(found) => self.items += u64::from(found.count()),
            Payload::CoreTypeSection(found) => self.items += u64::from(found.count()),
            Payload::ImportSection(found) => self.items += u64::from(found.count()),
            Payload::ExportSection(found) => self.items += u64::from(found.count()),
            Payload::TableSection(found) => self.items += u64::from(found.count()),
            Payload::GlobalSection(found) => self.items += u64::from(found.count()),
            Payload::TagSection(found) => self.items += u64::from(found.count()),
            Payload::InstanceSection(found) => self.items += u64::from(found.count()),
            Payload::ComponentInstanceSection(found) => self.items += u64::from(found.count()),
            Payload::ComponentAliasSection(found) => self.items += u64::from(found.count()),
            Payload::ComponentCanonicalSection(found) => self.items += u64::from(found.count()),
            Payload::ComponentImportSection(found) => self.items += u64::from(found.count()),
            Payload::ComponentExportSection(found) => self.items += u64::from(found.count()),
            _ => {}
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Problem> {
        match self
            .pairs(&MOST)
            .into_iter()
            .find(|(_, found, most)| found > most)
        {
            Some((what, _, most)) => Err(Problem::TooHeavy(format!("{most} {what}"))),
            None => Ok(()),
        }
    }

    fn pairs(&self, most: &Self) -> [(&'static str, u64, u64); 9] {
        [
            ("core modules", self.modules, most.modules),
            ("memories", self.memories, most.memories),
            ("functions", self.functions, most.functions),
            ("data and element segments", self.segments, most.segments),
            (
                "imports, exports, types and the like",
                self.items,
                most.items,
            ),
            ("bytes of component types", self.types, most.types),
            ("bytes of code", self.code, most.code),
            (
                "bytes of code in one function",
                self.function,
                most.function,
            ),
            ("locals in one function", self.locals, most.locals),
        ]
    }
}

#[cfg(test)]
#[path = "../../tests/common/wasm.rs"]
mod wasm;

#[cfg(test)]
mod tests {
    use super::wasm::{leb, section};
    use super::*;

    /// A component with one module that has these sections.
    fn component(sections: &[Vec<u8>]) -> Vec<u8> {
        let module = [b"\0asm\x01\0\0\0".to_vec(), sections.concat()].concat();
        [b"\0asm\x0d\0\x01\0".to_vec(), section(1, &module)].concat()
    }

    fn many(id: u8, count: usize, one: &[u8]) -> Vec<u8> {
        section(id, &[leb(count), one.repeat(count)].concat())
    }

    fn function(size: usize, locals: usize) -> Vec<Vec<u8>> {
        let code = [vec![1], leb(locals), vec![0x7f], vec![1; size], vec![0x0b]].concat();
        vec![
            section(1, b"\x01\x60\0\0"),
            section(3, b"\x01\0"),
            section(10, &[vec![1], leb(code.len()), code].concat()),
        ]
    }

    /// A component whose module imports `count` functions, each of which the component lowers: a piece of code for each.
    fn lowered(count: usize) -> Vec<u8> {
        let import = b"\0\0\0\0";
        let module = [
            b"\0asm\x01\0\0\0".to_vec(),
            section(1, b"\x01\x60\0\0"),
            many(2, count, import),
        ];
        let canonical = section(8, &[leb(count), b"\x01\0\0\0".repeat(count)].concat());
        let module = section(1, &module.concat());
        [b"\0asm\x0d\0\x01\0".to_vec(), module, canonical].concat()
    }

    #[test]
    fn imports_and_what_is_lowered_for_them_weigh_something() {
        assert!(Weight::of(&lowered(200)).unwrap().is_light());
        assert!(!Weight::of(&lowered(1_000)).unwrap().is_light());
        let refused = Weight::of(&lowered(30_000)).unwrap_err();
        let expected = "50000 imports, exports, types and the like";
        assert_eq!(refused, Problem::TooHeavy(expected.to_owned()));
    }

    #[test]
    fn each_limit_is_a_refusal_that_names_it() {
        for (sections, expected) in [
            (vec![many(5, 100, b"\0\x01")], "4 memories"),
            (
                vec![many(11, 90_000, b"\x01\0")],
                "20000 data and element segments",
            ),
            (
                function(2 << 20, 1),
                "1048576 bytes of code in one function",
            ),
            (function(1, 6_000), "5000 locals in one function"),
        ] {
            let refused = Weight::of(&component(&sections)).unwrap_err();
            assert_eq!(refused, Problem::TooHeavy(expected.to_owned()));
            assert!(refused.to_string().contains("at most"), "{refused}");
        }
    }

    #[test]
    fn ordinary_components_are_light_and_larger_ones_are_not() {
        assert!(
            Weight::of(&component(&function(10_000, 100)))
                .unwrap()
                .is_light()
        );
        assert!(
            !Weight::of(&component(&function(100_000, 1)))
                .unwrap()
                .is_light()
        );
        assert!(
            !Weight::of(&component(&function(100, 2_000)))
                .unwrap()
                .is_light()
        );
    }
}
