//! Owns the finding of glibc's large blocks that nobody wrote down: each is a mapping of its own,
//! known by the header before it.
//! It must never read a page that is not in memory, nor take a header for granted: the memory may
//! be anyone's, and may change meanwhile.

use super::regions::Shown;
use crate::{permit, sys};

const PAGE: usize = 4096;
/// Bytes of a header: how much of the mapping lies before it, and the size from it on with flags.
const HEADER_BYTES: usize = 16;
/// Flags of the size, and those of a mapping of its own.
const FLAGS: usize = 7;
const MAPPED: usize = 2;
/// Pages without a header that are read at most in one account: 512 MiB, and a tenth of a second.
const MOST_READ: u32 = 1 << 17;

/// Follows one mapped block after the other, as pages are shown in order.
pub struct Chunks {
    /// One past the last byte of the block found last.
    end: usize,
    left: u32,
}

impl Chunks {
    /// None found yet.
    pub fn new() -> Chunks {
        let left = if permit::copy_memory() { MOST_READ } else { 0 };
        Chunks { end: 0, left }
    }

    /// Whether a page of the range lies in such a block; a page under a known block is not asked.
    pub fn hold(&mut self, page: &Shown, start: usize, end: usize) -> bool {
        if page.addr < self.end {
            return true;
        }
        if page.occupied || !page.resident || self.left == 0 {
            return false;
        }
        // At the page's start; at its end, where a block begins with a page.
        for at in [page.addr, page.addr + PAGE - HEADER_BYTES] {
            if let Some((from, to)) = chunk_at(at)
                && (start..=page.addr).contains(&from)
                && to <= end
            {
                self.end = to;
                return true;
            }
        }
        self.left -= 1;
        false
    }
}

/// The mapping whose header may be at an address: first address and one past the last.
fn chunk_at(at: usize) -> Option<(usize, usize)> {
    let mut header = [0u8; HEADER_BYTES];
    if sys::read_own_memory(at, &mut header) != Ok(HEADER_BYTES) {
        return None;
    }
    let (words, _) = header.as_chunks::<8>();
    let &[before, size] = words.first_chunk::<2>()?;
    let [before, size] = [before, size].map(|word| u64::from_le_bytes(word) as usize);
    let start = at.checked_sub(before)?;
    let end = at.checked_add(size & !FLAGS)?;
    let whole = start.is_multiple_of(PAGE) && end.is_multiple_of(PAGE);
    let valid = size & FLAGS == MAPPED && whole && end > at + HEADER_BYTES;
    valid.then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGES: usize = 16;

    /// Pages whose words may be set.
    struct Memory(*mut u8);

    impl Memory {
        fn new() -> Memory {
            Memory(sys::map_anonymous(PAGES * PAGE).unwrap())
        }

        fn at(&self, page: usize) -> usize {
            self.0.expose_provenance() + page * PAGE
        }

        fn set(&self, offset: usize, words: [usize; 2]) {
            // SAFETY: inside of the mapping, and aligned.
            unsafe { self.0.add(offset).cast::<[usize; 2]>().write(words) };
        }

        /// The pages that lie in blocks, all of them resident.
        fn held(&self, chunks: &mut Chunks, known: Option<usize>) -> std::vec::Vec<usize> {
            let held = |page: &usize| {
                let shown = Shown {
                    addr: self.at(*page),
                    resident: true,
                    exclusive: true,
                    occupied: known == Some(*page),
                    on_it: None,
                };
                chunks.hold(&shown, self.at(0), self.at(PAGES))
            };
            (0..PAGES).filter(held).collect()
        }
    }

    impl Drop for Memory {
        fn drop(&mut self) {
            // SAFETY: the test's own mapping.
            unsafe { sys::munmap(self.0, PAGES * PAGE).unwrap() };
        }
    }

    #[test]
    fn blocks_behind_each_other_and_behind_other_memory() {
        let memory = Memory::new();
        memory.set(2 * PAGE, [0, (3 * PAGE) | 2]);
        memory.set(5 * PAGE, [0, PAGE | 2]);
        // Aligned to four pages: the header is the last word pair before.
        memory.set(12 * PAGE - 16, [2 * PAGE - 16, (2 * PAGE + 16) | 2]);
        assert_eq!(
            memory.held(&mut Chunks::new(), None),
            [2, 3, 4, 5, 11, 12, 13]
        );
    }

    #[test]
    fn what_is_no_header() {
        let memory = Memory::new();
        for (page, words) in [
            (0, [0, PAGE]),                     // not mapped
            (1, [0, PAGE | 3]),                 // flags that a mapped block never has
            (2, [0, (PAGE + 8) | 2]),           // no whole page
            (3, [16, (2 * PAGE) | 2]),          // begins in the middle of a page
            (4, [0, (PAGES * PAGE) | 2]),       // longer than the memory
            (5, [6 * PAGE, PAGE | 2]),          // begins before it
            (6, [0, 2]),                        // empty
            (7, [0, (usize::MAX & !4095) | 2]), // no end
            (9, [0, PAGE | 2]),                 // known already
        ] {
            memory.set(page * PAGE, words);
        }
        assert_eq!(memory.held(&mut Chunks::new(), Some(9)), [0usize; 0]);
        let mut none = Chunks { end: 0, left: 0 };
        memory.set(0, [0, PAGE | 2]);
        assert_eq!(memory.held(&mut none, None), [0usize; 0]);
    }

    /// glibc's own headers are what is expected.
    #[test]
    fn glibcs_blocks_have_such_headers() {
        // Of smaller sizes glibc maps none of their own any more once a block as large has been freed.
        const LARGE: usize = 40 << 20;
        for (size, align) in [
            (LARGE, 16),
            (LARGE + 300_000, 16),
            (LARGE, 4096),
            (2 * LARGE, 1 << 16),
        ] {
            let layout = std::alloc::Layout::from_size_align(size, align).unwrap();
            // SAFETY: the layout is not empty.
            let block = unsafe { std::alloc::alloc(layout) };
            let addr = block.addr();
            let (from, to) = chunk_at(addr - 16).expect("a header before the block");
            assert!(from < addr && to >= addr + size, "{size} {align}");
            assert!(to - from <= size + align + 2 * PAGE, "{size} {align}");
            // SAFETY: allocated above with this layout.
            unsafe { std::alloc::dealloc(block, layout) };
        }
    }
}
