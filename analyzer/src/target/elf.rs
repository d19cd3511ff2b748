//! Reads from an executable what decides whether and how well it can be tracked.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use object::elf::{EM_AARCH64, EM_X86_64, FileHeader64, PT_DYNAMIC, PT_INTERP};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, Object, ObjectSection, ObjectSymbol};

/// How an executable finds its libraries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Linkage {
    /// Through the loader of glibc, at this path; or it is that loader.
    Dynamic(String),
    /// Not at all.
    Static,
    /// Through the loader of musl.
    Musl(String),
    /// Through a loader that is not there.
    Missing(String),
    /// For another architecture; in words.
    Foreign(String),
}

/// What an executable says of itself.
#[derive(Clone, Debug)]
pub struct ElfFacts {
    /// How it finds its libraries.
    pub linkage: Linkage,
    /// It defines a `malloc` of its own.
    pub defines_malloc: bool,
    /// An allocator inside that does not use the name `malloc`.
    pub own_allocator: Option<&'static str>,
    /// A sanitizer that the program is built with and that takes over `malloc`.
    pub sanitizer: Option<Sanitizer>,
    /// Built by the Go compiler.
    pub is_go: bool,
    /// GNU build-id, empty when there is none.
    pub build_id: Vec<u8>,
    /// It has DWARF line tables inside.
    pub has_debug_info: bool,
    /// It has a full symbol table.
    pub has_symbols: bool,
}

/// A sanitizer's runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sanitizer {
    /// What it is called.
    pub name: &'static str,
    /// It is in the executable itself, not in a library.
    pub is_static: bool,
}

/// Functions of sanitizers' runtimes, which each program built with them calls at its start.
const SANITIZERS: &[(&str, &str)] = &[
    ("__asan_init", ADDRESS_SANITIZER),
    ("__hwasan_init", "HWAddressSanitizer"),
    ("__lsan_init", "LeakSanitizer"),
    ("__msan_init", "MemorySanitizer"),
    ("__tsan_init", "ThreadSanitizer"),
];

/// The one that wants to be loaded before everything else.
pub const ADDRESS_SANITIZER: &str = "AddressSanitizer";

/// Symbols that give an allocator away, and its name.
const ALLOCATORS: &[(&str, &str)] = &[
    ("_rjem_malloc", "jemalloc"),
    ("je_malloc", "jemalloc"),
    ("_rjem_mallocx", "jemalloc"),
    ("mi_malloc", "mimalloc"),
    ("_mi_malloc_generic", "mimalloc"),
    ("tc_malloc", "tcmalloc"),
    ("TCMallocInternalMalloc", "tcmalloc"),
    ("sn_malloc", "snmalloc"),
    ("sn_rust_alloc", "snmalloc"),
];

impl ElfFacts {
    /// Reads the file at `path`.
    pub fn read(path: &Path) -> Result<Self> {
        let file = File::open(path).context("cannot read it")?;
        // SAFETY: the mapping is only read; should someone truncate the executable meanwhile,
        // this process gets SIGBUS, as every program that maps an executable does.
        let data = unsafe { memmap2::Mmap::map(&file) }.context("cannot map it")?;
        Self::parse(&data)
    }

    /// Reads the ELF file `data`.
    pub fn parse(data: &[u8]) -> Result<Self> {
        let mut facts = Self {
            linkage: Linkage::Static,
            defines_malloc: false,
            own_allocator: None,
            sanitizer: None,
            is_go: false,
            build_id: Vec::new(),
            has_debug_info: false,
            has_symbols: false,
        };
        if let Some(what) = foreign(data) {
            facts.linkage = Linkage::Foreign(what);
            return Ok(facts);
        }
        facts.linkage = linkage(data)?;
        let file = object::File::parse(data).context("not a valid ELF file")?;
        facts.build_id = file.build_id().ok().flatten().unwrap_or_default().to_vec();
        facts.has_debug_info = file.has_debug_symbols();
        facts.has_symbols = file.symbol_table().is_some();
        facts.is_go = file
            .sections()
            .any(|section| matches!(section.name(), Ok(".go.buildinfo" | ".note.go.buildid")));
        for symbol in file.dynamic_symbols().chain(file.symbols()) {
            let Ok(name) = symbol.name() else { continue };
            let is_static = symbol.is_definition();
            if let Some((_, name)) = SANITIZERS.iter().find(|(known, _)| *known == name) {
                facts.sanitizer.get_or_insert(Sanitizer { name, is_static });
            }
            if !is_static {
                continue;
            }
            facts.defines_malloc |= name == "malloc";
            if let Some((_, allocator)) = ALLOCATORS.iter().find(|(known, _)| *known == name) {
                facts.own_allocator = Some(allocator);
            }
        }
        Ok(facts)
    }
}

/// Names the architecture if it is not this one.
fn foreign(data: &[u8]) -> Option<String> {
    let class = *data.get(4)?;
    let order = *data.get(5)?;
    let machine = u16::from_le_bytes([*data.get(18)?, *data.get(19)?]);
    let own = if cfg!(target_arch = "aarch64") {
        EM_AARCH64
    } else {
        EM_X86_64
    };
    if class == 1 {
        return Some("a 32-bit program".to_owned());
    }
    if order != 1 {
        return Some("a big-endian program".to_owned());
    }
    match object::elf::Machine(machine) {
        machine if machine == own => None,
        EM_X86_64 => Some("a program for x86_64".to_owned()),
        EM_AARCH64 => Some("a program for aarch64".to_owned()),
        machine => Some(format!("a program for ELF machine {}", machine.0)),
    }
}

fn linkage(data: &[u8]) -> Result<Linkage> {
    let header = FileHeader64::<Endianness>::parse(data).context("not a valid ELF file")?;
    let endian = header.endian()?;
    let segments = header
        .program_headers(endian, data)
        .context("damaged program headers")?;
    let mut is_dynamic = false;
    for segment in segments {
        is_dynamic |= segment.p_type(endian) == PT_DYNAMIC;
        if segment.p_type(endian) == PT_INTERP {
            let bytes = segment.data(endian, data).unwrap_or_default();
            let loader = String::from_utf8_lossy(bytes)
                .trim_end_matches('\0')
                .to_owned();
            let name = loader.rsplit('/').next().unwrap_or(&loader);
            return Ok(if name.starts_with("ld-musl") {
                Linkage::Musl(loader)
            } else if !Path::new(&loader).exists() {
                Linkage::Missing(loader)
            } else {
                Linkage::Dynamic(loader)
            });
        }
    }
    // The loader itself can be started as a program: `ld-linux-x86-64.so.2 ./server`.
    let file = object::File::parse(data).context("not a valid ELF file")?;
    let is_loader = file
        .dynamic_symbols()
        .any(|symbol| symbol.name() == Ok("_dl_mcount"))
        || file
            .dynamic_symbols()
            .any(|symbol| symbol.name() == Ok("__tls_get_addr") && symbol.is_definition());
    Ok(if is_dynamic && is_loader {
        Linkage::Dynamic("itself".to_owned())
    } else {
        Linkage::Static
    })
}
