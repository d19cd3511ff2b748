//! Owns the finding of pages that `malloc_trim` does not return though no live block lies there: glibc keeps some chunks of
//! each thread for its next calls (tcache), and to it they are in use.
//!
//! Between two live blocks it goes from one chunk's header to the next. It must never read a page that is not in memory, nor
//! take a header for granted: the program allocates meanwhile. Where a walk fails, all free pages count as releasable.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::arenas::Heap;
use super::regions::{Regions, Shown};
use crate::recorder::Buffer;
use crate::state::LIVE;
use crate::{permit, sys};

const PAGE: usize = 4096;
/// Pages read and looked up at most in one account: two tenths of a second.
const MOST_READ: u32 = 1 << 17;
/// Of these, at most so many for the key.
const MOST_READ_FOR_KEY: u32 = MOST_READ / 8;
/// Flags of a chunk's size, and that the chunk before it is in use.
const FLAGS: usize = 7;
const BEFORE_IN_USE: usize = 1;
const LEAST_CHUNK: usize = 32;
/// `malloc_trim` leaves what a free chunk needs for its lists.
const LINKS_BYTES: usize = 48;
/// Larger chunks are never in fast bins, which `malloc_trim` empties.
const MOST_FAST: usize = 128;
/// A block's beginning is looked for so many pages back.
const MOST_BACK: usize = 256;
/// `struct malloc_state` of the versions that have a tcache.
const STATES: [usize; 2] = [0x898, 0x890];
/// `struct heap_info`.
const HEAP_INFOS: [usize; 2] = [0x30, 0x20];

/// The random word in each chunk of a tcache (glibc 2.34), once it was found. It never changes, nor does it in a child.
static KEY: AtomicU64 = AtomicU64::new(0);
/// Chunks one after the other that must have the same word for it to be the key.
const ALIKE: u32 = 3;

/// The key is random: it is no address, no small negative number, and no pattern that fills memory.
fn may_be_key(word: u64) -> bool {
    const LEAST: u64 = 1 << 47;
    const NEGATIVE: u64 = u64::MAX << 32;
    (LEAST..NEGATIVE).contains(&word) && word != word.rotate_left(8)
}

/// Pages copied one after the other, up to a bound.
pub struct Reader {
    left: u32,
    /// The page at hand; 0: none.
    page: usize,
    bytes: Buffer,
}

impl Reader {
    /// Of a whole account. It reads nothing where memory may not be copied, or there is no room.
    pub fn new() -> Reader {
        Reader::with(MOST_READ)
    }

    /// Of a look for the key.
    pub fn for_key() -> Reader {
        Reader::with(MOST_READ_FOR_KEY)
    }

    fn with(most: u32) -> Reader {
        let bytes = match permit::copy_memory() {
            true => Buffer::of(PAGE),
            false => None,
        };
        Reader {
            left: if bytes.is_some() { most } else { 0 },
            page: 0,
            bytes: bytes.unwrap_or_default(),
        }
    }

    /// Nothing more is read.
    pub fn is_spent(&self) -> bool {
        self.left == 0
    }

    fn take(&mut self) -> Option<()> {
        self.left = self.left.checked_sub(1)?;
        Some(())
    }

    /// A word of a page that is in memory.
    fn word(&mut self, regions: &Regions, at: usize) -> Option<usize> {
        let page = at & !(PAGE - 1);
        if page != self.page {
            self.take()?;
            self.page = 0;
            let there = regions.count(page, page + PAGE).resident() == 1;
            let bytes = self.bytes.as_mut_slice().get_mut(..PAGE)?;
            if !there || sys::read_own_memory(page, bytes) != Ok(PAGE) {
                return None;
            }
            self.page = page;
        }
        let bytes = self.bytes.as_slice().get(at - page..)?;
        Some(usize::from_le_bytes(*bytes.first_chunk()?))
    }
}

/// Whether the key is known.
pub fn has_key() -> bool {
    KEY.load(Relaxed) != 0
}

/// Pages of one heap, as they are shown in order.
pub struct Gaps<'a> {
    regions: &'a Regions,
    /// Where the heap's first chunk may be.
    first: [usize; 2],
    /// One past its last byte.
    end: usize,
    /// What lies from here on is told by itself.
    top: usize,
    /// The last page with a block.
    used: Option<usize>,
    /// Free pages since.
    gap: Option<(usize, usize)>,
    /// Bytes of free pages that stay.
    pub kept_bytes: u64,
    /// A word that may be the key.
    candidate: u64,
    /// Chunks that have it.
    alike: u32,
}

impl<'a> Gaps<'a> {
    /// Of the heap that grows by `brk`, or another arena's.
    pub fn of(regions: &'a Regions, start: usize, end: usize, heap: Option<&Heap>) -> Gaps<'a> {
        // Chunks are so placed that blocks are at multiples of 16.
        let aligned = |at: usize| at.next_multiple_of(16);
        let first = match heap {
            None => [start, 0],
            Some(heap) => match heap.arena_inside() {
                Some(arena) => STATES.map(|bytes| aligned(arena + bytes)),
                None => HEAP_INFOS.map(|bytes| aligned(start + bytes)),
            },
        };
        Gaps {
            regions,
            first,
            end: heap.map_or(end, |heap| heap.start + heap.bytes),
            top: heap.and_then(|heap| heap.top).unwrap_or(usize::MAX),
            used: None,
            gap: None,
            kept_bytes: 0,
            candidate: 0,
            alike: 0,
        }
    }

    /// The next page; `is_free`: no block lies there.
    pub fn page(&mut self, page: &Shown, is_free: bool, reader: &mut Reader) {
        if is_free {
            let from = self.gap.map_or(page.addr, |(from, _)| from);
            self.gap = Some((from, page.addr + PAGE));
            return;
        }
        self.close(reader);
        self.used = Some(page.addr);
    }

    /// The pages since the last one with a block are all there are.
    pub fn close(&mut self, reader: &mut Reader) {
        let Some((start, end)) = self.gap.take() else {
            return;
        };
        let end = end.min(self.top);
        if start < end && !reader.is_spent() {
            let returned = self.returned(start, end, reader);
            let resident = self.regions.count(start, end).resident() << 12;
            self.kept_bytes += returned.map_or(0, |bytes| resident.saturating_sub(bytes));
        }
    }

    /// Bytes of `[start, end)` that would be returned.
    fn returned(&mut self, start: usize, end: usize, reader: &mut Reader) -> Option<u64> {
        let mut at = match self.used {
            Some(page) => {
                let last = last_block(page, reader)?;
                last + self.size_at(last, reader)?
            }
            None => {
                let mut firsts = self.first.into_iter().filter(|at| *at != 0 && *at < end);
                firsts.find(|at| {
                    self.size_at(*at, reader)
                        .is_some_and(|size| at + size < self.end)
                })?
            }
        };
        if at >= end {
            return None; // the program allocates here
        }
        let mut bytes = 0;
        // Where free memory begins, as it will be once fast bins are emptied.
        let mut free = at;
        while at < end {
            let size = self.size_at(at, reader)?;
            let next = at + size;
            if next >= self.end {
                at = next;
                break; // the heap's end
            }
            let in_use = reader.word(self.regions, next + 8)? & BEFORE_IN_USE != 0;
            if in_use && self.stays(at, size, reader) {
                bytes += self.inner_pages(free, at, start, end);
                free = next;
            }
            at = next;
        }
        Some(bytes + self.inner_pages(free, at, start, end))
    }

    /// Resident bytes of the pages that `malloc_trim` returns of a free chunk.
    fn inner_pages(&self, free: usize, until: usize, start: usize, end: usize) -> u64 {
        let from = (free + LINKS_BYTES).next_multiple_of(PAGE).max(start);
        let to = (until & !(PAGE - 1)).min(end);
        match from < to {
            true => self.regions.count(from, to).resident() << 12,
            false => 0,
        }
    }

    /// Whether a chunk that is in use and holds no known block stays so: those in fast bins do not.
    fn stays(&mut self, at: usize, size: usize, reader: &mut Reader) -> bool {
        if size > MOST_FAST {
            if !has_key() {
                self.learn(at, reader);
            }
            return true;
        }
        let key = KEY.load(Relaxed);
        key != 0 && reader.word(self.regions, at + 24) == Some(key as usize)
    }

    /// Large chunks in a tcache have the same word.
    #[cold]
    fn learn(&mut self, at: usize, reader: &mut Reader) {
        let word = reader.word(self.regions, at + 24).unwrap_or(0) as u64;
        self.alike = match word == self.candidate {
            true => self.alike.saturating_add(1),
            false => 1,
        };
        self.candidate = word;
        if self.alike >= ALIKE && may_be_key(word) {
            KEY.store(word, Relaxed);
        }
    }

    /// The size of the chunk at an address, if there may be one.
    fn size_at(&self, at: usize, reader: &mut Reader) -> Option<usize> {
        let size = reader.word(self.regions, at.checked_add(8)?)? & !FLAGS;
        let valid =
            size >= LEAST_CHUNK && size.is_multiple_of(16) && size <= self.end - at.min(self.end);
        valid.then_some(size)
    }
}

/// The chunk of the last block that begins on a page or, if none does, before it.
fn last_block(page: usize, reader: &mut Reader) -> Option<usize> {
    for back in 0..MOST_BACK {
        reader.take()?;
        let last = page.checked_sub(back * PAGE)? + PAGE - 1;
        if let Some((start, _)) = LIVE.last_in_page(last) {
            return start.checked_sub(16);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGES: usize = 16;
    const A_KEY: usize = 0xfeed_face_cafe_f00d;

    /// A heap of pages that are all free and in memory, and what `Gaps` says of it.
    struct Heap {
        memory: *mut u8,
        at: usize,
        /// The last chunk was in use.
        in_use: bool,
    }

    impl Heap {
        fn new() -> Heap {
            let memory = sys::map_anonymous(PAGES * PAGE).unwrap();
            Heap {
                memory,
                at: 0,
                in_use: true,
            }
        }

        fn start(&self) -> usize {
            self.memory.expose_provenance()
        }

        /// Adds a chunk with a word where a tcache has its key.
        fn chunk(&mut self, bytes: usize, in_use: bool, key: usize) {
            let size = bytes | usize::from(self.in_use);
            // SAFETY: inside of the mapping, and aligned.
            unsafe {
                let words = self.memory.add(self.at).cast::<usize>();
                words.add(1).write(size);
                words.add(3).write(key);
            }
            self.at += bytes;
            self.in_use = in_use;
        }

        /// The rest is the end of the heap.
        fn kept_pages(mut self) -> usize {
            self.chunk(PAGES * PAGE - self.at, true, 0);
            let (start, end) = (self.start(), self.start() + PAGES * PAGE);
            let mut regions = Regions::new(0);
            (start..end)
                .step_by(PAGE)
                .for_each(|page| regions.note(page, true, true));
            regions.index();
            let mut reader = Reader::new();
            let mut gaps = Gaps::of(&regions, start, end, None);
            regions.for_each_page(start, end, &mut |page| {
                gaps.page(&page, true, &mut reader);
            });
            gaps.close(&mut reader);
            assert!(reader.left < MOST_READ && !reader.is_spent());
            gaps.kept_bytes as usize / PAGE
        }
    }

    impl Drop for Heap {
        fn drop(&mut self) {
            // SAFETY: the test's own mapping.
            unsafe { sys::munmap(self.memory, PAGES * PAGE).unwrap() };
        }
    }

    /// One test, since the key is one of the process.
    #[test]
    fn pages_under_chunks_that_threads_keep() {
        // A free chunk's own first page stays.
        let mut heap = Heap::new();
        heap.chunk(4 * PAGE, false, 0);
        assert_eq!(heap.kept_pages(), 1);

        // Words that are alike, but not as random as the key, or that only two have.
        KEY.store(0, Relaxed);
        for (word, times) in [
            (usize::MAX, 4),
            (usize::MAX - 1, 4),
            (0xa5a5_a5a5_a5a5_a5a5, 4),
            (A_KEY, 2),
        ] {
            let mut heap = Heap::new();
            heap.chunk(4 * PAGE, false, 0);
            (0..times).for_each(|_| heap.chunk(512, true, word));
            heap.kept_pages();
            assert_eq!(KEY.load(Relaxed), 0, "{word:x}");
        }

        // Large ones in use on pages 4 and 9 have the key; a fast one does not count.
        let mut heap = Heap::new();
        heap.chunk(4 * PAGE, false, 0);
        heap.chunk(256, true, A_KEY);
        heap.chunk(256, true, A_KEY);
        heap.chunk(5 * PAGE - 512, false, 0);
        heap.chunk(512, true, A_KEY);
        heap.chunk(2 * PAGE, false, 0);
        heap.chunk(64, true, 7);
        assert_eq!(heap.kept_pages(), 3);
        assert_eq!(KEY.load(Relaxed), A_KEY as u64);

        // Small ones with it stay.
        let mut heap = Heap::new();
        heap.chunk(2 * PAGE, false, 0);
        heap.chunk(64, true, A_KEY);
        heap.chunk(64, true, 7);
        assert_eq!(heap.kept_pages(), 2);

        // What is no chunk is not gone through.
        let mut heap = Heap::new();
        heap.chunk(4 * PAGE, true, 0);
        heap.chunk(24, true, 0);
        assert_eq!(heap.kept_pages(), 0);
        KEY.store(0, Relaxed);
    }
}
