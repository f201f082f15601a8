//! A transcript of a guest that is tried for its author: what it printed, and where it failed.

use parking_lot::Mutex;
use wasmtime::WasmBacktrace;

use super::words::text;

/// The most bytes that are kept of several calls.
const MOST: usize = 64 << 10;
/// The most frames of a failure.
const FRAMES: usize = 32;

/// The words of a guest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// Its stdout and stderr, cut, without control characters but line breaks.
    pub(super) printed: String,
    /// The functions that it was in when it failed, innermost first.
    pub(super) frames: Vec<String>,
    /// The runtime's reason of the failure.
    pub(super) trap: Option<String>,
}

/// Collects the words of a guest until they are taken.
#[derive(Default)]
pub(super) struct Transcript(Mutex<Heard>);

impl Transcript {
    pub(super) fn hear(&self, printed: Option<String>) {
        let mut heard = self.0.lock();
        if let Some(printed) = printed.filter(|_| heard.printed.len() < MOST) {
            if !heard.printed.is_empty() {
                heard.printed.push('\n');
            }
            heard.printed.push_str(&printed);
        }
    }

    pub(super) fn fail(&self, error: &wasmtime::Error) {
        let mut heard = self.0.lock();
        let frames = error.downcast_ref::<WasmBacktrace>();
        let frames = frames.map_or(&[][..], WasmBacktrace::frames);
        let names = frames.iter().take(FRAMES).map(|frame| {
            let name = frame.func_name().map(demangled);
            name.unwrap_or_else(|| format!("function {}", frame.func_index()))
        });
        heard.frames = names.map(text).collect();
        heard.trap = Some(text(error.root_cause().to_string()));
    }

    pub(super) fn take(&self) -> Heard {
        std::mem::take(&mut *self.0.lock())
    }
}

/// The name as its author wrote it, if it is a mangled one of Rust.
fn demangled(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_the_names_that_authors_wrote() {
        let mangled = "_ZN4core9panicking9panic_fmt17h0123456789abcdefE";
        assert_eq!(demangled(mangled), "core::panicking::panic_fmt");
        assert_eq!(demangled("my_module.js_function"), "my_module.js_function");
    }

    #[test]
    fn the_words_of_several_calls_are_bounded() {
        let transcript = Transcript::default();
        for _ in 0..100 {
            transcript.hear(Some("x".repeat(4096)));
        }
        let heard = transcript.take();
        assert!(heard.printed.len() <= MOST + 4096 + 1);
        assert_eq!(transcript.take(), Heard::default());
    }
}
