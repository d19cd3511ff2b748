//! Owns opened ELF files: executables, libraries and their separate debug files.
//!
//! A file stays mapped until leaktrack ends: its symbols are borrowed from it everywhere, and each
//! is opened once.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use lzma_rust2::XzReader;
use object::read::elf::{ElfFile64, ProgramHeader};
use object::{Endianness, Object, ObjectSection};

/// An ELF file, parsed as far as its headers.
#[derive(Debug)]
pub struct Image {
    /// Where it was found.
    pub path: PathBuf,
    /// Its content.
    pub data: &'static [u8],
    /// Its sections and symbols.
    pub elf: ElfFile64<'static, Endianness>,
}

impl Image {
    /// Opens a file. `InvalidData` if it is no 64-bit ELF file.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a regular file",
            ));
        }
        // SAFETY: the mapping is private and only read. Should someone truncate the file
        // meanwhile, this process gets SIGBUS, as any reader of a mapped executable does.
        let map = unsafe { memmap2::Mmap::map(&file)? };
        let map: &'static memmap2::Mmap = Box::leak(Box::new(map));
        Self::parse(path.to_owned(), map)
    }

    /// An image from bytes that came from elsewhere.
    pub fn parse(path: PathBuf, data: &'static [u8]) -> io::Result<Self> {
        let elf = ElfFile64::parse(data)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
        Ok(Self { path, data, elf })
    }

    /// GNU build-id, empty when it has none.
    pub fn build_id(&self) -> &'static [u8] {
        self.elf.build_id().ok().flatten().unwrap_or_default()
    }

    /// Content of a section, decompressed.
    pub fn section(&self, name: &str) -> Option<&'static [u8]> {
        match self.elf.section_by_name(name)?.uncompressed_data().ok()? {
            Cow::Borrowed(data) => Some(data),
            Cow::Owned(data) => Some(data.leak()),
        }
    }

    /// True if it has DWARF of its own, and not only sections that a debug file has taken over.
    pub fn has_dwarf(&self) -> bool {
        self.section(".debug_info")
            .is_some_and(|data| !data.is_empty())
    }

    /// The symbol table that Fedora's and RHEL's packages keep in the stripped file, compressed:
    /// `.gnu_debugdata`, an ELF file of its own with the names of local functions.
    pub fn mini_debug(&self) -> Option<Image> {
        const MOST_BYTES: u64 = 1 << 30;
        const MOST_MEMORY_KIB: u32 = 256 << 10;
        let packed = self.section(".gnu_debugdata")?;
        let reader = XzReader::new_mem_limit(packed, true, MOST_MEMORY_KIB);
        let mut data = Vec::new();
        // What is damaged is left out: names, not figures, come from it.
        reader.take(MOST_BYTES).read_to_end(&mut data).ok()?;
        Self::parse(self.path.clone(), data.leak()).ok()
    }

    /// Name and CRC of the debug file, from `.gnu_debuglink`.
    pub fn debug_link(&self) -> Option<(&'static [u8], u32)> {
        self.elf.gnu_debuglink().ok().flatten()
    }

    /// Path and build-id of the file that dwz(1) moved common parts to.
    pub fn alternate_link(&self) -> Option<(&'static [u8], &'static [u8])> {
        self.elf.gnu_debugaltlink().ok().flatten()
    }

    /// Bytes from the first to the last page that the loader maps.
    pub fn mapped_bytes(&self, page_bytes: u64) -> u64 {
        let endian = self.elf.endian();
        let loads = || {
            let headers = self.elf.elf_program_headers().iter();
            headers.filter(|header| header.p_type(endian) == object::elf::PT_LOAD)
        };
        let start = loads().map(|load| load.p_vaddr(endian)).min().unwrap_or(0);
        let end = loads()
            .map(|load| load.p_vaddr(endian).saturating_add(load.p_memsz(endian)))
            .max();
        end.unwrap_or(0).saturating_add(page_bytes - 1) / page_bytes * page_bytes
            - start / page_bytes * page_bytes
    }
}

/// The checksum in `.gnu_debuglink`: CRC-32 (IEEE) over the whole file.
pub fn crc32(data: &[u8]) -> u32 {
    const TABLES: [[u32; 256]; 8] = tables();
    let mut crc = !0u32;
    let (chunks, rest) = data.as_chunks::<8>();
    for chunk in chunks {
        let word = u64::from_le_bytes(*chunk) ^ u64::from(crc);
        crc = (0..8).fold(0, |sum, byte| {
            sum ^ TABLES[7 - byte][usize::from((word >> (8 * byte)) as u8)]
        });
    }
    for &byte in rest {
        crc = TABLES[0][usize::from(crc as u8 ^ byte)] ^ (crc >> 8);
    }
    !crc
}

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0u32; 256]; 8];
    let mut at = 0;
    while at < 256 {
        let mut value = at as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 {
                (value >> 1) ^ 0xedb8_8320
            } else {
                value >> 1
            };
            bit += 1;
        }
        tables[0][at] = value;
        at += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut at = 0;
        while at < 256 {
            let before = tables[table - 1][at];
            tables[table][at] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
            at += 1;
        }
        table += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_of_the_check_string() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }

    #[test]
    fn this_executable_is_an_image() {
        let image = Image::open(&std::env::current_exe().unwrap()).unwrap();
        assert!(image.mapped_bytes(4096) > 0);
        assert_eq!(
            Image::open(Path::new("/etc/passwd")).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
    }
}
