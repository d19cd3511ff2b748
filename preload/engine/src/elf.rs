//! Owns the view of ELF objects as the dynamic loader mapped them: segments, notes and dynamic
//! symbols, read in place.
//!
//! Never opens a file, never allocates, never takes a lock of ours; every read is checked against
//! the object's own mapped segments first.

use core::mem::size_of;

/// `Elf64_Phdr`.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(missing_docs)]
pub struct Phdr {
    pub kind: u32,
    pub flags: u32,
    pub offset: u64,
    pub vaddr: u64,
    pub paddr: u64,
    pub file_bytes: u64,
    pub memory_bytes: u64,
    pub align: u64,
}

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_NOTE: u32 = 4;
const PT_GNU_EH_FRAME: u32 = 0x6474_e550;
const PF_X: u32 = 1;
const PF_R: u32 = 4;

/// Most loadable segments kept of one object; further ones are treated as not mapped.
const MAX_SEGMENTS: usize = 12;

/// Most note segments looked into.
const MAX_NOTES: usize = 4;

/// A range of an object, counted from its first mapped byte; objects are smaller than 4 GiB.
#[derive(Clone, Copy, Default)]
struct Extent {
    offset: u32,
    bytes: u32,
    flags: u8,
}

/// A mapped object: where it lies and where its tables are. Plain data; valid while it is loaded.
#[derive(Clone, Copy, Default)]
pub struct Image {
    /// Address in the process minus address in the file's program headers.
    pub bias: usize,
    /// First mapped address.
    pub start: usize,
    /// One past the last mapped address.
    pub end: usize,
    /// Address of `.eh_frame_hdr`; 0 if there is none.
    pub eh_frame_hdr: usize,
    eh_frame_hdr_bytes: usize,
    /// Address of the dynamic section; 0 if there is none.
    dynamic: usize,
    segments: [Extent; MAX_SEGMENTS],
    notes: [Extent; MAX_NOTES],
}

impl Image {
    /// Reads program headers; `None` for an object without a loadable segment.
    pub fn new(bias: usize, phdrs: &[Phdr]) -> Option<Image> {
        let range = |ph: &Phdr| {
            let start = bias.wrapping_add(ph.vaddr as usize);
            start
                .checked_add(ph.memory_bytes as usize)
                .filter(|end| *end > start)
                .map(|end| (start, end))
        };
        let loads = || {
            phdrs
                .iter()
                .filter(|ph| ph.kind == PT_LOAD)
                .filter_map(range)
        };
        let start = loads().map(|l| l.0).min()?;
        let end = loads().map(|l| l.1).max()?;
        let mut image = Image {
            bias,
            start,
            end,
            ..Image::default()
        };
        let (mut segments, mut notes) = (image.segments.iter_mut(), image.notes.iter_mut());
        for ph in phdrs {
            let Some((from, to)) = range(ph) else {
                continue;
            };
            let slot = match ph.kind {
                PT_LOAD => segments.next(),
                PT_NOTE => notes.next(),
                PT_DYNAMIC => {
                    image.dynamic = from;
                    None
                }
                PT_GNU_EH_FRAME => {
                    image.eh_frame_hdr = from;
                    image.eh_frame_hdr_bytes = to - from;
                    None
                }
                _ => None,
            };
            let offset = from
                .checked_sub(start)
                .and_then(|offset| u32::try_from(offset).ok());
            if let (Some(slot), Some(offset), Ok(bytes)) = (slot, offset, u32::try_from(to - from))
            {
                *slot = Extent {
                    offset,
                    bytes,
                    flags: ph.flags as u8,
                };
            }
        }
        Some(image)
    }

    /// Reads the program headers of an object through its first page.
    ///
    /// # Safety
    /// A shared object is loaded at `base`, its headers in its first segment, as linkers put them.
    pub unsafe fn at(base: usize) -> Option<Image> {
        const HEADER_BYTES: usize = 64;
        // SAFETY: the caller's promise.
        let header = unsafe { core::slice::from_raw_parts(base as *const u8, HEADER_BYTES) };
        let half = |at| {
            Some(usize::from(u16::from_le_bytes(
                header.get(at..at + 2)?.try_into().ok()?,
            )))
        };
        let offset = u64::from_le_bytes(header.get(32..40)?.try_into().ok()?);
        if header.get(..4)? != b"\x7fELF" || half(54)? != size_of::<Phdr>() {
            return None;
        }
        let phdrs = base.checked_add(usize::try_from(offset).ok()?)? as *const Phdr;
        // SAFETY: the caller's promise; any pattern is a header.
        let phdrs =
            unsafe { core::slice::from_raw_parts(phdrs.is_aligned().then_some(phdrs)?, half(56)?) };
        Image::new(base, phdrs)
    }

    /// An object of which only the extent is known: one segment that holds everything.
    pub fn opaque(bias: usize, start: usize, end: usize, eh_frame_hdr: usize) -> Image {
        let mut image = Image {
            bias,
            start,
            end,
            eh_frame_hdr,
            ..Image::default()
        };
        let bytes = u32::try_from(end.saturating_sub(start)).unwrap_or(u32::MAX);
        if let Some(segment) = image.segments.first_mut() {
            *segment = Extent {
                offset: 0,
                bytes,
                flags: (PF_R | PF_X) as u8,
            };
        }
        image
    }

    /// First address and one past the last of an extent.
    fn range(&self, extent: &Extent) -> (usize, usize) {
        let start = self.start + extent.offset as usize;
        (start, start + extent.bytes as usize)
    }

    /// The range of the segment with this flag that an address lies in.
    fn segment(&self, addr: usize, flag: u32) -> Option<(usize, usize)> {
        let with_flag = self.segments.iter().filter(|s| s.flags & flag as u8 != 0);
        with_flag
            .map(|s| self.range(s))
            .find(|&(start, end)| start <= addr && addr < end)
    }

    /// True if the address lies between the object's first and last mapped byte.
    pub fn contains(&self, addr: usize) -> bool {
        self.start <= addr && addr < self.end
    }

    /// True if the address lies in an executable segment.
    pub fn is_text(&self, addr: usize) -> bool {
        self.segment(addr, PF_X).is_some()
    }

    /// All mapped readable bytes from `addr` to the end of its segment.
    ///
    /// # Safety
    /// The object must be loaded, and stay so while the slice is used.
    pub unsafe fn bytes_from<'a>(&self, addr: usize) -> Option<&'a [u8]> {
        let (_, end) = self.segment(addr, PF_R)?;
        // SAFETY: the loader mapped the whole segment readable and the caller keeps it loaded.
        // What is read through such slices (hash and symbol tables, notes, unwind tables) does not
        // change once the loader is done with it.
        Some(unsafe { core::slice::from_raw_parts(addr as *const u8, end - addr) })
    }

    /// Copies a value out.
    ///
    /// # Safety
    /// The object must be loaded, and any bit pattern must be a `T`.
    unsafe fn read<T: Copy>(&self, addr: usize) -> Option<T> {
        // SAFETY: passed on to the caller.
        let bytes = unsafe { self.bytes_from(addr) }?;
        if bytes.len() < size_of::<T>() {
            return None;
        }
        // SAFETY: the bytes are there, alignment is not assumed, any pattern is a `T`.
        Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
    }

    /// The GNU build-id from the mapped notes; empty if there is none.
    ///
    /// # Safety
    /// The object must be loaded, and stay so while the slice is used.
    pub unsafe fn build_id<'a>(&self) -> &'a [u8] {
        for note in self.notes.iter().filter(|n| n.bytes != 0) {
            let (start, end) = self.range(note);
            // SAFETY: passed on to the caller.
            let Some(bytes) = (unsafe { self.bytes_from(start) }) else {
                continue;
            };
            let notes = bytes.get(..end - start).unwrap_or(bytes);
            if let Some(id) = build_id_in(notes) {
                return id;
            }
        }
        &[]
    }

    /// A number that tells apart objects without a build-id: where their functions lie.
    ///
    /// # Safety
    /// The object must be loaded.
    pub unsafe fn fingerprint(&self) -> u64 {
        let len = self.eh_frame_hdr_bytes;
        // SAFETY: passed on to the caller.
        let bytes = unsafe { self.bytes_from(self.eh_frame_hdr) };
        let bytes = bytes.and_then(|b| b.get(..len)).unwrap_or(&[]);
        bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, &b| {
            (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3)
        })
    }

    /// Looks a symbol up by name in the dynamic symbol table: the definition that `dlsym` without
    /// a version would take. An indirect function is not called yet.
    ///
    /// # Safety
    /// The object must be loaded and relocated.
    pub unsafe fn symbol(&self, name: &[u8]) -> Option<Symbol> {
        // SAFETY: passed on to the caller.
        unsafe { Tables::new(self)?.find(name) }
    }
}

/// Finds `NT_GNU_BUILD_ID` in a note segment.
fn build_id_in(mut notes: &[u8]) -> Option<&[u8]> {
    const NT_GNU_BUILD_ID: u32 = 3;
    loop {
        let name_bytes = u32_at(notes, 0)? as usize;
        let id_bytes = u32_at(notes, 4)? as usize;
        let kind = u32_at(notes, 8)?;
        let rest = notes.get(12..)?;
        let name = rest.get(..name_bytes)?;
        let rest = rest.get(name_bytes.checked_next_multiple_of(4)?..)?;
        let id = rest.get(..id_bytes)?;
        if kind == NT_GNU_BUILD_ID && name == b"GNU\0" && !id.is_empty() {
            return Some(id);
        }
        notes = rest.get(id_bytes.checked_next_multiple_of(4)?..)?;
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(word.try_into().ok()?))
}

/// A dynamic symbol's definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Its address; for an indirect function, the resolver's.
    pub addr: usize,
    /// True if `addr` is a resolver to be called (`STT_GNU_IFUNC`).
    pub indirect: bool,
}

impl Symbol {
    /// The address a call would reach: runs the resolver of an indirect function.
    ///
    /// # Safety
    /// The defining object must be loaded and relocated.
    pub unsafe fn resolve(self) -> usize {
        if !self.indirect {
            return self.addr;
        }
        // SAFETY: the ABI of an x86-64 resolver: no arguments, returns the address.
        let resolver: extern "C" fn() -> usize = unsafe { core::mem::transmute(self.addr) };
        resolver()
    }
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Sym {
    name: u32,
    info: u8,
    other: u8,
    section: u16,
    value: u64,
    bytes: u64,
}

/// The tables that symbol lookup needs, as addresses.
struct Tables<'a> {
    image: &'a Image,
    symbols: usize,
    strings: usize,
    gnu_hash: usize,
    sysv_hash: usize,
    versions: usize,
}

impl<'a> Tables<'a> {
    /// # Safety
    /// The object must be loaded.
    unsafe fn new(image: &'a Image) -> Option<Tables<'a>> {
        const DT_NULL: u64 = 0;
        const DT_HASH: u64 = 4;
        const DT_STRTAB: u64 = 5;
        const DT_SYMTAB: u64 = 6;
        const DT_GNU_HASH: u64 = 0x6fff_fef5;
        const DT_VERSYM: u64 = 0x6fff_fff0;
        let mut t = Tables {
            image,
            symbols: 0,
            strings: 0,
            gnu_hash: 0,
            sysv_hash: 0,
            versions: 0,
        };
        let mut at = image.dynamic;
        if at == 0 {
            return None;
        }
        loop {
            // SAFETY: the caller keeps the object loaded; two words are any bits.
            let [tag, value] = unsafe { image.read::<[u64; 2]>(at) }?;
            // glibc relocates these pointers in memory, except where the section is read-only.
            let addr = if image.contains(value as usize) {
                value as usize
            } else {
                image.bias.wrapping_add(value as usize)
            };
            match tag {
                DT_NULL => break,
                DT_HASH => t.sysv_hash = addr,
                DT_STRTAB => t.strings = addr,
                DT_SYMTAB => t.symbols = addr,
                DT_GNU_HASH => t.gnu_hash = addr,
                DT_VERSYM => t.versions = addr,
                _ => {}
            }
            at += 16;
        }
        (t.symbols != 0 && t.strings != 0).then_some(t)
    }

    /// # Safety
    /// The object must be loaded.
    unsafe fn find(&self, name: &[u8]) -> Option<Symbol> {
        if self.gnu_hash != 0 {
            // SAFETY: passed on to the caller.
            return unsafe { self.find_gnu(name) };
        }
        // SAFETY: passed on to the caller.
        unsafe { self.find_sysv(name) }
    }

    /// # Safety
    /// The object must be loaded.
    unsafe fn find_gnu(&self, name: &[u8]) -> Option<Symbol> {
        let hash = name.iter().fold(5381u32, |h, &b| {
            h.wrapping_mul(33).wrapping_add(u32::from(b))
        });
        // SAFETY: the caller keeps the object loaded; integers are any bits.
        let word = |addr| unsafe { self.image.read::<u32>(addr) };
        // SAFETY: as above.
        let [buckets, first, bloom_words, shift] =
            unsafe { self.image.read::<[u32; 4]>(self.gnu_hash) }?;
        let bloom = self.gnu_hash + 16;
        let bloom_at = bloom + 8 * (hash as usize / 64).checked_rem(bloom_words as usize)?;
        // SAFETY: as above.
        let bits = unsafe { self.image.read::<u64>(bloom_at) }?;
        if bits >> (hash % 64) & bits >> (hash.checked_shr(shift)? % 64) & 1 == 0 {
            return None;
        }
        let bucket = bloom + 8 * bloom_words as usize;
        let chain = bucket + 4 * buckets as usize;
        let mut index = word(bucket + 4 * hash.checked_rem(buckets)? as usize)?;
        if index < first {
            return None;
        }
        loop {
            let entry = word(chain + 4 * (index - first) as usize)?;
            if entry | 1 == hash | 1 {
                // SAFETY: passed on to the caller.
                if let Some(symbol) = unsafe { self.accept(index, name) } {
                    return Some(symbol);
                }
            }
            if entry & 1 != 0 {
                return None;
            }
            index = index.checked_add(1)?;
        }
    }

    /// # Safety
    /// The object must be loaded.
    unsafe fn find_sysv(&self, name: &[u8]) -> Option<Symbol> {
        if self.sysv_hash == 0 {
            return None;
        }
        let hash = name.iter().fold(0u32, |h, &b| {
            let h = (h << 4).wrapping_add(u32::from(b));
            (h ^ (h >> 24 & 0xf0)) & 0x0fff_ffff
        });
        // SAFETY: the caller keeps the object loaded; integers are any bits.
        let word = |addr| unsafe { self.image.read::<u32>(addr) };
        let buckets = word(self.sysv_hash)?;
        let chains = word(self.sysv_hash + 4)?;
        let chain = self.sysv_hash + 8 + 4 * buckets as usize;
        let mut index = word(self.sysv_hash + 8 + 4 * hash.checked_rem(buckets)? as usize)?;
        for _ in 0..chains {
            if index == 0 || index >= chains {
                return None;
            }
            // SAFETY: passed on to the caller.
            if let Some(symbol) = unsafe { self.accept(index, name) } {
                return Some(symbol);
            }
            index = word(chain + 4 * index as usize)?;
        }
        None
    }

    /// The symbol at an index if it is an exported definition of that name in its default version.
    ///
    /// # Safety
    /// The object must be loaded.
    unsafe fn accept(&self, index: u32, name: &[u8]) -> Option<Symbol> {
        const STT_GNU_IFUNC: u8 = 10;
        const HIDDEN_VERSION: u16 = 0x8000;
        // SAFETY: the caller keeps the object loaded; a symbol is any bits.
        let sym = unsafe {
            self.image
                .read::<Sym>(self.symbols + size_of::<Sym>() * index as usize)
        }?;
        let (bind, kind, visibility) = (sym.info >> 4, sym.info & 15, sym.other & 3);
        let exported = matches!(bind, 1 | 2 | 10) && matches!(visibility, 0 | 3);
        let usable = matches!(kind, 0..=2 | 5 | STT_GNU_IFUNC);
        if sym.section == 0 || sym.value == 0 || !exported || !usable {
            return None;
        }
        if self.versions != 0 {
            // SAFETY: as above.
            let version = unsafe { self.image.read::<u16>(self.versions + 2 * index as usize) }?;
            if version & HIDDEN_VERSION != 0 && version & !HIDDEN_VERSION >= 2 {
                return None;
            }
        }
        // SAFETY: as above.
        let text = unsafe { self.image.bytes_from(self.strings + sym.name as usize) }?;
        if text.get(..name.len()) != Some(name) || text.get(name.len()) != Some(&0) {
            return None;
        }
        const SHN_ABS: u16 = 0xfff1;
        let base = if sym.section == SHN_ABS {
            0
        } else {
            self.image.bias
        };
        Some(Symbol {
            addr: base.wrapping_add(sym.value as usize),
            indirect: kind == STT_GNU_IFUNC,
        })
    }
}
