//! Owns the knowledge of where allocators keep their memory: what is free or account there must
//! not count as a root, and what is live is reached block by block.
//!
//! glibc's layout is read exactly: the break, the heaps of further arenas at multiples of 64 MiB,
//! and chunks that are mappings of their own. Of any other allocator, what it was seen to map is its
//! own; where nothing was seen, a mapping that the program did not make itself and that holds a recorded
//! block is taken for the allocator's.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use super::index::BlockIndex;
use super::memory::Memory;
use super::ranges::Ranges;
use super::regions;
use crate::arena::PAGE_BYTES;
use crate::state::{self, LIVE};
use crate::{hooks, loader, modules, sys};

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
    let (start, end) = hooks::allocator();
    let module = modules::find(start).and_then(|placement| modules::by_id(placement.module));
    let allocates = module.is_some_and(|module| does_nothing_but_allocate(module.path()));
    !allocates || out.add(start, end)
}

/// True for a library with an allocator's name. An executable, or a library that allocates among other
/// things, has data of the program beside its account.
fn does_nothing_but_allocate(path: &[u8]) -> bool {
    const NAMES: [&[u8]; 3] = [b"malloc", b"hoard", b"scudo"];
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let has = |part: &[u8]| {
        name.windows(part.len())
            .any(|window| window.eq_ignore_ascii_case(part))
    };
    has(b".so") && NAMES.into_iter().any(has)
}

/// glibc gives blocks from this size on mappings of their own, unless it is told otherwise.
const MAPPED_BYTES: u64 = 128 << 10;

/// Larger blocks of other allocators may be of no kind, but whole units of the allocator's memory.
const MOST_KIND_BYTES: u64 = 2 << 20;

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
        // Of a kind of blocks for each quarter of a power of two, or pages. Powers of two are a kind of their
        // own in all of them; what lies behind one may be another's that was freed.
        let quarter = size.saturating_add(size / 4 + 16);
        if size < page {
            quarter
        } else if size.is_power_of_two() && size <= MOST_KIND_BYTES {
            size
        } else {
            pages(quarter)
        }
    }
}

/// True if the real `malloc` is glibc's.
pub fn is_glibc() -> bool {
    GLIBC.load(Relaxed)
}

/// Adds to `heap` what an allocator owns of one piece of anonymous memory; `held` is what another one than
/// glibc's was seen to map. False: no memory.
pub fn find(
    start: usize,
    end: usize,
    index: &BlockIndex,
    memory: &Memory,
    held: &Ranges,
    heap: &mut Ranges,
) -> bool {
    if !is_glibc() {
        if index.first_from(start) == index.first_from(end) {
            return true;
        }
        // The kernel joins mappings: others may lie in one piece with the allocator's.
        let mut any = false;
        let whole = held.within(start, end, |start, end| {
            any = true;
            heap.add(start, end)
        });
        return if any { whole } else { heap.add(start, end) };
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
///
/// Only a block that is live tells: others may have mapped memory where one was freed since the index was
/// made. It is looked up after what stands before it was read: then that was its own.
fn chunks(
    start: usize,
    end: usize,
    index: &BlockIndex,
    memory: &Memory,
    heap: &mut Ranges,
) -> bool {
    for at in index.first_from(start)..index.first_from(end) {
        let Some((addr, block)) = index.block(at) else {
            break;
        };
        let Some([padding, size]) = memory.words_at::<2>(addr.wrapping_sub(HEADER_BYTES)) else {
            continue; // it was freed meanwhile, and its mapping with it
        };
        // Of one that `realloc` is at nothing is known; it counts as a root for once.
        if LIVE.get(addr) != Some(block) {
            continue;
        }
        if size & MAPPED == 0 {
            return heap.add(start, end);
        }
        if let Some((from, to)) = mapped_chunk(addr, block.size, padding, size)
            && !heap.add(from.max(start), to.min(end))
        {
            return false;
        }
    }
    true
}

/// Where a chunk of its own lies, of a block of so many bytes with these two words in front of it; `None` if they
/// are none of such a chunk's: it is whole pages.
fn mapped_chunk(addr: usize, bytes: u64, padding: u64, size: u64) -> Option<(usize, usize)> {
    let chunk = addr.checked_sub(HEADER_BYTES)?;
    let from = chunk.checked_sub(usize::try_from(padding).ok()?)?;
    let to = chunk.checked_add(usize::try_from(size & !FLAGS).ok()?)?;
    let holds = to >= addr.checked_add(usize::try_from(bytes).ok()?)?;
    let pages = from.is_multiple_of(PAGE_BYTES) && to.is_multiple_of(PAGE_BYTES);
    (pages && holds).then_some((from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_that_do_nothing_but_allocate() {
        for path in [
            &b"/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"[..],
            b"/usr/lib/libtcmalloc_minimal.so.4.5.10",
            b"libmimalloc.so",
            b"/opt/libHoard.so",
        ] {
            assert!(does_nothing_but_allocate(path));
        }
        for path in [
            &b"/opt/malloc/libengine.so"[..],
            b"/opt/jemalloc-test",
            b"/usr/bin/program",
            b"",
        ] {
            assert!(!does_nothing_but_allocate(path));
        }
    }

    #[test]
    fn others_give_a_power_of_two_as_it_is_and_up_to_a_quarter_more_of_the_rest() {
        assert!(!is_glibc(), "nobody has learnt whose allocator it is");
        for bytes in [4096, 128 << 10, 1 << 20] {
            assert_eq!(usable_bytes(bytes), bytes);
            let more = usable_bytes(bytes + 1);
            assert!(more >= bytes + bytes / 4 && more.is_multiple_of(PAGE_BYTES as u64));
        }
        assert_eq!(usable_bytes(64), 96);
        assert!(usable_bytes(64 << 20) >= 80 << 20);
    }

    #[test]
    fn a_chunk_of_its_own_is_whole_pages_around_its_block() {
        let (at, page) = (0x7f00_0000_0000, PAGE_BYTES as u64);
        let of = |addr, bytes, padding, size| mapped_chunk(addr, bytes, padding, size);
        let plain = of(at + 16, 300_000, 0, 74 * page + MAPPED);
        assert_eq!(plain, Some((at, at + 74 * PAGE_BYTES)));
        // Aligned to more than a page: what lies before it belongs to the chunk.
        let odd = of(at + 0x10_0000, 4000, 0x10_0000 - 16, 2 * page + MAPPED);
        assert_eq!(odd, None, "no whole pages");
        let aligned = of(at + 0x10_0000, 4000, 0x10_0000 - 16, page + 16 + MAPPED);
        assert_eq!(aligned, Some((at, at + 0x10_1000)));
        assert_eq!(
            of(at + 16, 300_000, 0, 2 * page + MAPPED),
            None,
            "too short"
        );
        assert_eq!(of(at + 16, 100, 8, page + MAPPED), None);
        assert_eq!(of(8, 100, 0, page), None);
        assert_eq!(of(at + 16, u64::MAX, u64::MAX, u64::MAX), None);
    }
}
