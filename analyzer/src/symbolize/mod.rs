//! Turns an address in a module into functions, files and lines.
//!
//! Never guesses: a file whose build-id differs from the recorded one is refused with one line
//! that says so, and the frame keeps module and offset.

mod bundled;
mod candidates;
mod code;
pub mod debuginfod;
mod demangle;
mod dwarf;
mod find;
mod image;
mod paths;
mod table;
mod vdso;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::model::Frame;
pub use bundled::Symbols;
pub use code::CodeName;
pub use demangle::demangle;
use dwarf::{DebugInfo, Named};
use find::Finder;
use image::Image;
use table::SymbolTable;

/// Where symbols may come from and how source paths are shown.
#[derive(Clone, Debug, Default)]
pub struct SymbolOptions {
    /// A folder that stands for `/` of the recorded host.
    pub sysroot: Option<PathBuf>,
    /// Further files or folders with executables, libraries or debug files.
    pub symbols: Vec<PathBuf>,
    /// Prefixes of source paths to replace: (from, to); the last that fits wins.
    pub path_map: Vec<(String, String)>,
    /// Servers to ask for what is not here.
    pub debuginfod: Option<debuginfod::Config>,
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
    /// Hash of the content of its file, where it has no build-id.
    pub content: Option<u64>,
    /// Bytes of address space it occupied (0: unknown). Tells a changed file without build-id.
    pub mapped_bytes: u64,
    /// When it was first seen mapped, Unix nanoseconds (0: unknown). Same use.
    pub loaded_unix_ns: u64,
}

/// How much can be said about the code of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Quality {
    /// Functions, inlined functions, files and lines; from this file.
    Lines(PathBuf),
    /// Functions.
    Functions,
    /// Exported functions.
    Exported,
    /// Nothing but module and offset.
    Nothing,
}

/// Path, build-id, and the hash of the content where there is no build-id.
type ModuleKey = (Vec<u8>, Vec<u8>, Option<u64>);

/// Names frames; opens each module's files once, when its first address is asked for.
#[derive(Debug, Default)]
pub struct Symbolizer {
    finder: Finder,
    /// Names that came with recordings; they are the ones that belong to them.
    bundled: Vec<Arc<Symbols>>,
    /// Index into `modules` by path and build-id, or the hash of the content where there is none.
    known: HashMap<ModuleKey, usize>,
    modules: Vec<Module>,
    notes: Vec<String>,
}

/// What is known of a module's code.
#[derive(Debug, Default)]
struct Module {
    path: String,
    build_id: String,
    debug_info: Option<DebugInfo>,
    table: SymbolTable,
}

impl Module {
    /// The name of the function whose code an address is in, given what DWARF calls it. The symbol
    /// table knows functions without DWARF, and the scope of lambdas and other local functions.
    fn outermost(&self, in_dwarf: Option<String>, svma: u64) -> Option<String> {
        let is_mangled = |name: &str| name.starts_with("_Z") || name.starts_with("_R");
        match in_dwarf {
            Some(name) if is_mangled(&name) => Some(name),
            Some(name) => {
                let in_table = self.table.name(svma).filter(|linked| is_mangled(linked));
                Some(in_table.map_or(name, str::to_owned))
            }
            None => self.table.name(svma).map(str::to_owned),
        }
    }
}

impl Symbolizer {
    /// A symbolizer that has opened nothing yet.
    pub fn new(options: SymbolOptions) -> Self {
        Self {
            finder: Finder::new(options),
            ..Self::default()
        }
    }

    /// Appends the frames at `svma` (an address in the module's file, inside the instruction that
    /// was executing: return addresses are given minus 1), innermost inlined function first.
    /// Always appends at least one frame.
    pub fn frames(&mut self, module: &ModuleRef<'_>, svma: u64, out: &mut Vec<Frame>) {
        let mut bundled = self
            .bundled
            .iter()
            .filter_map(|symbols| symbols.frames(module, svma));
        let is_named = |frames: &&[Frame]| frames.iter().any(|frame| frame.function.is_some());
        let found = match bundled.find(is_named) {
            Some(frames) => frames.to_vec(),
            None => self.look_up(module, svma),
        };
        out.extend(found.into_iter().map(|frame| self.shown(frame)));
    }

    /// The frame in generated code that its runtime has a name for.
    pub fn generated(&self, code: &CodeName, address: u64) -> Frame {
        self.shown(Frame {
            function: Some(code.function.clone()),
            file: code.file.clone(),
            line: code.line,
            offset: address,
            ..Frame::default()
        })
    }

    /// The frame with its file as the options want it.
    fn shown(&self, frame: Frame) -> Frame {
        let options = self.finder.options();
        let file = frame.file.filter(|_| !options.no_source);
        Frame {
            line: frame.line.filter(|_| file.is_some()),
            file: file.map(|file| paths::shown(&file, &options.path_map)),
            ..frame
        }
    }

    /// Takes names from recordings that have them inside.
    pub fn add_bundled(&mut self, symbols: Arc<Symbols>) {
        if !symbols.is_empty() {
            self.bundled.push(symbols);
        }
    }

    /// The frames at an address, from the module's files.
    fn look_up(&mut self, module: &ModuleRef<'_>, svma: u64) -> Vec<Frame> {
        let index = self.module(module);
        let module = &self.modules[index];
        let mut named = module
            .debug_info
            .as_ref()
            .map(|info| info.at(svma))
            .unwrap_or_default();
        if named.is_empty() {
            named.push(Named {
                function: None,
                file: None,
                line: None,
            });
        }
        if let Some(outermost) = named.last_mut() {
            outermost.function = module.outermost(outermost.function.take(), svma);
        }
        let outermost = named.len() - 1;
        let frames = named.into_iter().enumerate().map(|(depth, named)| Frame {
            function: named.function.map(|name| demangle(&name)),
            file: named.file,
            line: named.line,
            module: module.path.clone(),
            build_id: module.build_id.clone(),
            offset: svma,
            inlined: depth < outermost,
        });
        frames.collect()
    }

    /// What there is for a module.
    pub fn quality(&mut self, module: &ModuleRef<'_>) -> Quality {
        let index = self.module(module);
        let module = &self.modules[index];
        match &module.debug_info {
            Some(info) => Quality::Lines(info.path().to_owned()),
            None if module.table.is_full() => Quality::Functions,
            None if !module.table.is_empty() => Quality::Exported,
            None => Quality::Nothing,
        }
    }

    /// What the reader should know about missing or refused symbols: one line per module.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The options it was made with.
    pub fn options(&self) -> &SymbolOptions {
        self.finder.options()
    }

    /// Index of a module, opened if it is asked for the first time.
    fn module(&mut self, module: &ModuleRef<'_>) -> usize {
        let key = (
            module.path.to_vec(),
            module.build_id.to_vec(),
            module.content,
        );
        if let Some(&index) = self.known.get(&key) {
            return index;
        }
        let index = self.modules.len();
        self.known.insert(key, index);
        let opened = self.open(module);
        self.modules.push(opened);
        index
    }

    fn open(&mut self, module: &ModuleRef<'_>) -> Module {
        let mut opened = Module {
            path: String::from_utf8_lossy(module.path).into_owned(),
            build_id: hex(module.build_id),
            ..Module::default()
        };
        if module.path.is_empty() {
            return opened; // code in no file
        }
        let found = self.finder.find(module);
        self.notes.extend(self.finder.remote_notes());
        self.notes.extend(found.note);
        let with_dwarf = found.debug.as_ref().or(found.binary.as_ref());
        opened.debug_info = with_dwarf.and_then(|image| {
            DebugInfo::load(image, found.alternate.as_ref(), self.finder.options())
        });
        // Only where there is nothing better: it takes time to unpack.
        let mini = found
            .binary
            .as_ref()
            .filter(|_| with_dwarf.is_none_or(|image| !image.has_dwarf()));
        let mini = mini.and_then(Image::mini_debug);
        let images: Vec<_> = found
            .debug
            .iter()
            .chain(&found.binary)
            .chain(&mini)
            .collect();
        opened.table = SymbolTable::of(&images);
        opened
    }
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
