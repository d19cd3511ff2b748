//! Owns the knowledge of where allocators keep their memory: what is free or account there must
//! not count as a root, and what is live is reached block by block.
//!
//! glibc's layout is read exactly: the break, the heaps of further arenas at multiples of 64 MiB,
//! and chunks that are mappings of their own. Of any other allocator, a mapping that the program
//! did not make itself and that holds a recorded block is taken for the allocator's.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use super::index::BlockIndex;
use super::memory::Memory;
use super::ranges::Ranges;
use super::regions;
use crate::arena::PAGE_BYTES;
use crate::{hooks, loader, modules, state, sys};

/// glibc begins the heaps of further arenas at multiples of this.
const ARENA_HEAP_BYTES: usize = 64 << 20;
/// Flags in the size of a chunk.
const MAPPED: u64 = 2;
const FLAGS: u64 = 7;
/// Words in front of a block: size of the chunk before (for a mapped chunk: padding), own size.
const HEADER_BYTES: usize = 16;

static GLIBC: AtomicBool = AtomicBool::new(false);
/// glibc's account of the first arena, in its own data; 0: not found.
static MAIN_ARENA: AtomicUsize = AtomicUsize::new(0);

/// `struct malloc_state` since glibc 2.26: its link to the next arena, to the next free one, the
/// number of threads that use it, and its length.
const NEXT_AT: usize = 0x870;
const ARENA_BYTES: usize = 0x898;

/// Learns whose allocator it is. On a thread of the program, in the constructor.
pub fn init() {
    let malloc = loader::resolve_libc(b"malloc").unwrap_or(0);
    let is_glibc = malloc != 0 && hooks::in_allocator(malloc);
    GLIBC.store(is_glibc, Relaxed);
    if is_glibc {
        MAIN_ARENA.store(main_arena().unwrap_or(0), Relaxed);
    }
}

/// The first arena, as long as it is the only one: it is its own successor, none is free, and one
/// thread uses it.
fn main_arena() -> Option<usize> {
    let (start, end) = hooks::allocator();
    let regions = regions::read()?;
    let data = regions
        .as_slice()
        .iter()
        .filter(|region| region.writable && region.start >= start && region.end <= end);
    let mut words = [0u64; 512];
    for region in data {
        let mut from = region.start;
        while from < region.end {
            // SAFETY: the words as bytes.
            let bytes = unsafe {
                core::slice::from_raw_parts_mut(
                    words.as_mut_ptr().cast::<u8>(),
                    size_of_val(&words),
                )
            };
            let got = sys::read_own_memory(from, bytes).ok()? / 8;
            let read = words.get(..got).unwrap_or_default();
            for (at, three) in read.windows(3).enumerate() {
                let arena = (from + at * 8).wrapping_sub(NEXT_AT);
                if three == [arena as u64, 0, 1] && arena >= start {
                    return Some(arena);
                }
            }
            // The three may lie across the end of what was read.
            from += (got * 8).checked_sub(16).filter(|step| *step > 0)?;
            if region.end - from <= 16 {
                break;
            }
        }
    }
    None
}

/// Adds the allocator's account of itself that lies in its own data. False: no memory.
pub fn account(out: &mut Ranges) -> bool {
    let arena = MAIN_ARENA.load(Relaxed);
    if is_glibc() {
        return arena == 0 || out.add(arena, arena + ARENA_BYTES);
    }
    // A library that does nothing but allocate; in an executable other data lie beside.
    let (start, end) = hooks::allocator();
    let exe = modules::find(start).is_none_or(|placement| placement.module == 1);
    exe || out.add(start, end)
}

/// glibc gives blocks from this size on mappings of their own, unless it is told otherwise.
const MAPPED_BYTES: u64 = 128 << 10;

/// True if the program may use more of its blocks than it asked for: it has asked how much that is, or
/// uses an allocator that may have told it by a function of its own.
pub fn may_use_all() -> bool {
    !is_glibc() || state::was_usable_size_asked()
}

/// Bytes that a program may use at most of a block of which it asked for so many.
pub fn usable_bytes(size: u64) -> u64 {
    let page = PAGE_BYTES as u64;
    let pages = |bytes: u64| bytes.checked_next_multiple_of(page).unwrap_or(bytes);
    if is_glibc() {
        // A multiple of 16 with the header, 32 at least, and 16 more where a rest would be too small.
        let chunk = (size.saturating_add(23) & !15).max(32) + 16;
        if size < MAPPED_BYTES {
            chunk - 8
        } else {
            pages(chunk)
        }
    } else {
        // Of a kind of blocks for each quarter of a power of two, or pages.
        let quarter = size.saturating_add(size / 4 + 16);
        if size < page { quarter } else { pages(quarter) }
    }
}

/// True if the real `malloc` is glibc's.
pub fn is_glibc() -> bool {
    GLIBC.load(Relaxed)
}

/// Adds to `heap` what an allocator owns of one piece of anonymous memory. False: no memory.
pub fn find(
    start: usize,
    end: usize,
    index: &BlockIndex,
    memory: &Memory,
    heap: &mut Ranges,
) -> bool {
    if !is_glibc() {
        let any = index.first_from(start) < index.first_from(end);
        return !any || heap.add(start, end);
    }
    let mut arena = start.next_multiple_of(ARENA_HEAP_BYTES);
    let mut from = start;
    while arena < end {
        if let Some(bytes) = arena_heap(arena, end, memory) {
            if !chunks(from, arena, index, memory, heap) || !heap.add(arena, arena + bytes) {
                return false;
            }
            from = arena + bytes;
        }
        arena += ARENA_HEAP_BYTES;
    }
    chunks(from, end, index, memory, heap)
}

/// Length of the arena's heap that begins here, if one does: `ar_ptr`, `prev`, `size`,
/// `mprotect_size`. The first heap of an arena holds the arena itself behind these words.
fn arena_heap(at: usize, end: usize, memory: &Memory) -> Option<usize> {
    if !memory.was_touched(at) {
        return None;
    }
    let [arena, previous, size, writable] = memory.words_at::<4>(at)?.map(|word| word as usize);
    let first = arena > at && arena <= at + 256 && previous == 0;
    let further = previous != 0 && previous.is_multiple_of(ARENA_HEAP_BYTES) && arena != 0;
    let sane = size > 0 && size <= writable && writable <= ARENA_HEAP_BYTES;
    ((first || further) && sane).then_some(size.min(end - at))
}

/// The chunks of their own in a piece without an arena's heap. A block that is no such chunk makes
/// all of the piece a heap: the break was in use, and the first arena went on elsewhere.
fn chunks(
    start: usize,
    end: usize,
    index: &BlockIndex,
    memory: &Memory,
    heap: &mut Ranges,
) -> bool {
    for at in index.first_from(start)..index.first_from(end) {
        let Some((addr, _)) = index.block(at) else {
            break;
        };
        let Some([padding, size]) = memory.words_at::<2>(addr.wrapping_sub(HEADER_BYTES)) else {
            continue; // it was freed meanwhile, and its mapping with it
        };
        if size & MAPPED == 0 {
            return heap.add(start, end);
        }
        let from = (addr - HEADER_BYTES).saturating_sub(padding as usize);
        let to = (addr - HEADER_BYTES).saturating_add((size & !FLAGS) as usize);
        if !heap.add(from.max(start), to.min(end)) {
            return false;
        }
    }
    true
}
