//! Turns an address in a module into functions, files and lines.
//!
//! Never guesses: a file whose build-id differs from the recorded one is refused with one line
//! that says so, and the frame keeps module and offset.

use std::path::PathBuf;

use crate::model::Frame;

/// Where symbols may come from and how source paths are shown.
#[derive(Clone, Debug, Default)]
pub struct SymbolOptions {
    /// A folder that stands for `/` of the recorded host.
    pub sysroot: Option<PathBuf>,
    /// Further files or folders with executables, libraries or debug files.
    pub symbols: Vec<PathBuf>,
    /// Prefixes of source paths to replace: (from, to).
    pub path_map: Vec<(String, String)>,
    /// Functions only, no files and lines.
    pub no_source: bool,
}

/// A module as recorded.
#[derive(Clone, Copy, Debug, Default)]
pub struct ModuleRef<'a> {
    /// Path on the recorded host; `[vdso]` or `linux-vdso.so.1` for the vDSO; empty for code in
    /// no module.
    pub path: &'a [u8],
    /// GNU build-id, empty when it has none.
    pub build_id: &'a [u8],
    /// Bytes of address space it occupied (0: unknown). Tells a changed file without build-id.
    pub mapped_bytes: u64,
    /// When it was first seen mapped, Unix nanoseconds (0: unknown). Same use.
    pub loaded_unix_ns: u64,
}

/// Names frames; opens each module's files once, when its first address is asked for.
#[derive(Debug, Default)]
pub struct Symbolizer {
    options: SymbolOptions,
    notes: Vec<String>,
}

impl Symbolizer {
    /// A symbolizer that has opened nothing yet.
    pub fn new(options: SymbolOptions) -> Self {
        Self {
            options,
            notes: Vec::new(),
        }
    }

    /// Appends the frames at `svma` (an address in the module's file, inside the instruction that
    /// was executing: return addresses are given minus 1), innermost inlined function first.
    /// Always appends at least one frame.
    pub fn frames(&mut self, module: &ModuleRef<'_>, svma: u64, out: &mut Vec<Frame>) {
        out.push(Frame {
            module: String::from_utf8_lossy(module.path).into_owned(),
            build_id: hex(module.build_id),
            offset: svma,
            ..Frame::default()
        });
    }

    /// What the reader should know about missing or refused symbols: one line per module.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The options it was made with.
    pub fn options(&self) -> &SymbolOptions {
        &self.options
    }
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
