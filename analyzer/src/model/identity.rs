//! The two names of a site: `id` (same build, any run) and `key` (survives a rebuild).
//!
//! Both are part of the report's contract: change what goes in and every baseline breaks.

use std::collections::HashMap;
use std::io::Read;
use std::sync::Arc;

use leaktrack_recording::{ContentHash, SiteKind};

use super::frame::Frame;
use super::process::Module;
use crate::symbolize::CodeName;

/// 128-bit FNV-1a, shown folded to 64 bits: 16 hex digits.
#[derive(Clone, Copy, Debug)]
pub struct Hasher(u128);

impl Default for Hasher {
    fn default() -> Self {
        Self(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }
}

impl Hasher {
    /// Takes in a field, with its length so that fields cannot run together.
    pub fn field(&mut self, bytes: &[u8]) {
        self.bytes(&(bytes.len() as u64).to_le_bytes());
        self.bytes(bytes);
    }

    /// Takes in raw bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u128::from(*byte))
                .wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
    }

    /// 16 hex digits.
    pub fn finish(self) -> String {
        format!("{:016x}", (self.0 >> 64) as u64 ^ self.0 as u64)
    }
}

/// What a machine frame contributes to the `id`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// In a module: its identity (build-id, else content hash, else path) and the address in it.
    Module(Arc<[u8]>, u64),
    /// In anonymous executable memory.
    Jit,
    /// In generated code that its runtime has a name for: that name.
    Code(CodeName),
}

/// Identities of modules without build-id, by path, so that each file is read once.
#[derive(Debug, Default)]
pub struct ContentHashes(HashMap<Vec<u8>, Arc<[u8]>>);

impl ContentHashes {
    /// The build-id if there is one, else the hash of the file's content (as recorded, else of the
    /// file that is there now), else the path itself.
    pub fn identity(&mut self, module: &Module) -> Arc<[u8]> {
        if !module.build_id.is_empty() {
            return module.build_id.as_slice().into();
        }
        if let Some(hash) = module.content {
            return format!("{hash:016x}").into_bytes().into();
        }
        let path = &module.path;
        let read = || content_hash(path).unwrap_or_else(|| path.clone()).into();
        self.0.entry(path.clone()).or_insert_with(read).clone()
    }
}

fn content_hash(path: &[u8]) -> Option<Vec<u8>> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::path::Path::new(std::ffi::OsStr::from_bytes(path));
    if !path.is_absolute() || !path.is_file() {
        return None;
    }
    let mut file = std::fs::File::open(path).ok()?;
    let mut hasher = ContentHash::default();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Some(format!("{:016x}", hasher.finish()).into_bytes()),
            Ok(read) => hasher.add(buffer.get(..read)?),
            Err(_) => return None,
        }
    }
}

fn kind_name(kind: SiteKind) -> &'static [u8] {
    match kind {
        SiteKind::Heap => b"heap",
        SiteKind::Mmap => b"mmap",
    }
}

/// The `id` of a site. Consecutive frames in anonymous memory count as one.
pub fn site_id<'a>(kind: SiteKind, places: impl IntoIterator<Item = &'a Place>) -> String {
    let mut hasher = Hasher::default();
    hasher.field(kind_name(kind));
    let mut in_jit = false;
    for place in places {
        match place {
            Place::Module(identity, offset) => {
                hasher.field(identity);
                hasher.bytes(&offset.to_le_bytes());
                in_jit = false;
            }
            Place::Jit => {
                if !in_jit {
                    hasher.field(b"[jit]");
                }
                in_jit = true;
            }
            Place::Code(code) => {
                hasher.field(b"[jit]");
                hasher.field(code.function.as_bytes());
                hasher.field(file_name(code.file.as_deref().unwrap_or_default()).as_bytes());
                hasher.bytes(&code.line.unwrap_or(0).to_le_bytes());
                in_jit = false;
            }
        }
    }
    hasher.finish()
}

/// What a frame contributes to the `key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPart {
    /// Anonymous memory; one after the other they count as one.
    Jit,
    /// Function and file, or module and offset.
    Bytes(Box<[u8]>),
}

impl KeyPart {
    /// Functions (without hashes and clone suffixes) and file names. A frame without symbols counts by
    /// module name and offset.
    pub fn of(frame: &Frame) -> Self {
        let mut bytes = Vec::new();
        let mut field = |text: &str| {
            bytes.extend((text.len() as u64).to_le_bytes());
            bytes.extend(text.as_bytes());
        };
        match &frame.function {
            Some(function) => {
                field(stable_name(function));
                field(file_name(frame.file.as_deref().unwrap_or_default()));
            }
            None if frame.module.is_empty() => return Self::Jit,
            None => {
                field(file_name(&frame.module));
                bytes.extend(frame.offset.to_le_bytes());
            }
        }
        Self::Bytes(bytes.into())
    }
}

/// The `key` of a site.
pub fn site_key<'a>(kind: SiteKind, parts: impl IntoIterator<Item = &'a KeyPart>) -> String {
    let mut hasher = Hasher::default();
    hasher.field(kind_name(kind));
    let mut in_jit = false;
    for part in parts {
        match part {
            KeyPart::Jit if in_jit => {}
            KeyPart::Jit => hasher.field(b"[jit]"),
            KeyPart::Bytes(bytes) => hasher.bytes(bytes),
        }
        in_jit = *part == KeyPart::Jit;
    }
    hasher.finish()
}

/// What follows the last slash.
pub fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// A function's name without what changes from build to build: Rust's `::h0123456789abcdef`,
/// GCC's and LLVM's clone suffixes.
pub fn stable_name(function: &str) -> &str {
    let mut name = function;
    for suffix in [
        ".constprop.",
        ".isra.",
        ".part.",
        ".cold",
        ".llvm.",
        ".lto_priv.",
    ] {
        name = name.split_once(suffix).map_or(name, |(head, _)| head);
    }
    if let Some((head, hash)) = name.rsplit_once("::h")
        && hash.len() == 16
        && hash.bytes().all(|b| b.is_ascii_hexdigit())
    {
        name = head;
    }
    // Demangled clones: `f() [clone .isra.0]`.
    name.split_once(" [clone ").map_or(name, |(head, _)| head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64) -> Place {
        Place::Module(b"id".as_slice().into(), offset)
    }

    #[test]
    fn id_depends_on_kind_module_and_offset_and_folds_jit_frames() {
        let id = |places: &[Place]| site_id(SiteKind::Heap, places);
        assert_eq!(
            id(&[at(1), Place::Jit, Place::Jit, at(2)]),
            id(&[at(1), Place::Jit, at(2)])
        );
        assert_ne!(
            id(&[at(1), Place::Jit, at(2), Place::Jit]),
            id(&[at(1), Place::Jit, at(2)])
        );
        assert_ne!(id(&[at(1)]), id(&[at(2)]));
        let code = |name: &str| Place::Code(CodeName::parse(name));
        let optimised = [at(1), code("JS:*f /a.js:1:2"), at(2)];
        assert_eq!(id(&optimised), id(&[at(1), code("JS:~f /a.js:1:2"), at(2)]));
        assert_ne!(id(&optimised), id(&[at(1), code("JS:*g /a.js:1:2"), at(2)]));
        assert_ne!(id(&optimised), id(&[at(1), Place::Jit, at(2)]));
        assert_ne!(id(&[at(1)]), site_id(SiteKind::Mmap, &[at(1)]));
        assert_eq!(id(&[at(1)]).len(), 16);
    }

    #[test]
    fn id_is_pinned() {
        assert_eq!(site_id(SiteKind::Heap, &[at(0x1234)]), "f3dc702a50bb4415");
    }

    #[test]
    fn key_survives_a_rebuild() {
        let frame = |function: &str, file: &str, line, offset| Frame {
            function: Some(function.to_owned()),
            file: Some(file.to_owned()),
            line: Some(line),
            module: "/opt/app".to_owned(),
            offset,
            ..Frame::default()
        };
        let old = frame(
            "app::load::h0123456789abcdef",
            "/build/1/src/load.rs",
            10,
            0x100,
        );
        let new = frame(
            "app::load::hfedcba9876543210",
            "/build/2/src/load.rs",
            14,
            0x180,
        );
        let key = |frame: &Frame| site_key(SiteKind::Heap, [&KeyPart::of(frame)]);
        assert_eq!(key(&old), key(&new));
        let other = frame("app::store", "/build/2/src/load.rs", 14, 0x180);
        assert_ne!(key(&old), key(&other));
    }

    #[test]
    fn stable_names() {
        assert_eq!(stable_name("parse.constprop.0.isra.1"), "parse");
        assert_eq!(stable_name("a::b::h0123456789abcdef"), "a::b");
        assert_eq!(stable_name("a::hash"), "a::hash");
        assert_eq!(stable_name("f(int) [clone .isra.0]"), "f(int)");
    }

    #[test]
    fn module_without_build_id_is_known_by_content_then_path() {
        let mut hashes = ContentHashes::default();
        let module = |path: &[u8], build_id: &[u8], content| Module {
            path: path.to_vec(),
            build_id: build_id.to_vec(),
            content,
            ..Module::default()
        };
        assert_eq!(hashes.identity(&module(b"/x", b"ID", None))[..], *b"ID");
        let gone = module(b"/no/such/file", b"", None);
        assert_eq!(hashes.identity(&gone)[..], *b"/no/such/file");
        let own = std::env::current_exe().expect("own path");
        let own = own.as_os_str().as_encoded_bytes();
        let identity = hashes.identity(&module(own, b"", None));
        assert_eq!(identity.len(), 16);
        // What was recorded counts, whatever is there now.
        let recorded = u64::from_str_radix(str::from_utf8(&identity).unwrap(), 16).unwrap();
        assert_eq!(
            hashes.identity(&module(b"/gone", b"", Some(recorded))),
            identity
        );
    }
}
