//! Owns the finding of glibc's arenas: the heaps of 64 MiB that threads other than the first
//! allocate from, known by the header at their start.
//! It must never take a header for granted: the memory may be anyone's, and may change meanwhile.

use leaktrack_recording::Arena;

use crate::arena::AVec;
use crate::{permit, sys};

/// Heaps are aligned to this and at most as long.
pub const HEAP_BYTES: usize = 64 << 20;

/// One heap of an arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heap {
    /// Its start, a multiple of [`HEAP_BYTES`].
    pub start: usize,
    /// Address of its arena.
    arena: usize,
    /// The heap that this one continues; 0: none.
    before: usize,
    /// Bytes in use by the arena.
    pub bytes: usize,
    /// Where the free memory at its end begins, if the arena says so: only a later `free` gives that back.
    pub top: Option<usize>,
}

impl Heap {
    /// The arena's address, if its state lies in this heap.
    pub fn arena_inside(&self) -> Option<usize> {
        (self.before == 0).then_some(self.arena)
    }
}

/// Reads the header of a heap (`struct heap_info`); `None` if there is none.
pub fn heap_at(start: usize) -> Option<Heap> {
    if !start.is_multiple_of(HEAP_BYTES) || start == 0 || !permit::copy_memory() {
        return None;
    }
    let mut header = [0u8; 32];
    if sys::read_own_memory(start, &mut header) != Ok(32) {
        return None;
    }
    let (words, _) = header.as_chunks::<8>();
    let &[arena, before, bytes, committed] = words.first_chunk::<4>()?;
    let [arena, before, bytes, committed] =
        [arena, before, bytes, committed].map(|word| u64::from_le_bytes(word) as usize);
    let whole = |bytes: usize| bytes.is_multiple_of(4096) && bytes <= HEAP_BYTES;
    let first = before == 0 && arena > start && arena <= start + 256;
    let later =
        before != 0 && before.is_multiple_of(HEAP_BYTES) && arena % HEAP_BYTES <= 256 && arena != 0;
    let valid = bytes > 0 && bytes <= committed && whole(bytes) && whole(committed);
    (valid && (first || later)).then(|| Heap {
        start,
        arena,
        before,
        bytes,
        top: top_in(arena, start, start + bytes),
    })
}

/// The chunk at the end of a heap, of which the arena's state holds the address: no other ends with the heap. `None` where the
/// arena ends in another heap.
fn top_in(arena: usize, start: usize, end: usize) -> Option<usize> {
    /// Every version so far has it among the first words: after the lock, flags and fast bins.
    const WORDS: usize = 16;
    const FLAGS: usize = 7;
    let mut state = [0u8; 8 * WORDS];
    if sys::read_own_memory(arena, &mut state) != Ok(state.len()) {
        return None;
    }
    let (words, _) = state.as_chunks::<8>();
    let mut words = words.iter().map(|word| u64::from_le_bytes(*word) as usize);
    words.find(|&at| {
        let mut size = [0u8; 8];
        let inside = at.is_multiple_of(16) && at > start && at < end;
        inside
            && sys::read_own_memory(at + 8, &mut size) == Ok(size.len())
            && at.checked_add(u64::from_le_bytes(size) as usize & !FLAGS) == Some(end)
    })
}

/// Bytes of a heap's header, and in the first heap of its arena's state: no blocks lie there.
pub fn header_bytes(heap: &Heap) -> usize {
    const HEADER: usize = 48;
    /// `struct malloc_state` of every version so far, within a few words.
    const STATE: usize = 2200;
    match heap.before {
        0 => HEADER + STATE,
        _ => HEADER,
    }
}

/// All arenas found.
pub struct ArenaList {
    heaps: AVec<Heap>,
    /// Addresses of the arenas, from number 2 on.
    arenas: AVec<usize>,
    sums: AVec<Arena>,
}

impl ArenaList {
    /// The main arena alone.
    pub fn new() -> ArenaList {
        let mut list = ArenaList {
            heaps: AVec::new(),
            arenas: AVec::new(),
            sums: AVec::new(),
        };
        list.sums.try_push(Arena {
            number: 1,
            ..Arena::default()
        });
        list
    }

    /// Adds a heap; its place, to look it up by.
    pub fn add(&mut self, heap: Heap) -> Option<u32> {
        let known = self.arenas.as_slice().contains(&heap.arena);
        if !known && self.arenas.try_push(heap.arena) {
            self.sums.try_push(Arena {
                number: self.arenas.len() as u32 + 1,
                ..Arena::default()
            });
        }
        let place = self.heaps.len() as u32;
        self.heaps.try_push(heap).then_some(place)
    }

    /// A heap.
    pub fn heap(&self, place: u32) -> Option<&Heap> {
        self.heaps.get(place as usize)
    }

    /// The number of the arena in whose heap a range lies.
    pub fn number_at(&self, start: usize, end: usize) -> Option<u32> {
        let base = start & !(HEAP_BYTES - 1);
        let heap = self
            .heaps
            .as_slice()
            .iter()
            .find(|heap| heap.start == base)?;
        let place = self
            .arenas
            .as_slice()
            .iter()
            .position(|arena| *arena == heap.arena)?;
        (end <= base + HEAP_BYTES).then_some(place as u32 + 2)
    }

    /// The number of the arena of a heap.
    pub fn number_of(&self, heap: &Heap) -> u32 {
        self.number_at(heap.start, heap.start).unwrap_or(0)
    }

    /// The arena still grows in this heap: what is free at its end only a later `free` gives back.
    pub fn is_last(&self, heap: &Heap) -> bool {
        !self
            .heaps
            .as_slice()
            .iter()
            .any(|other| other.before == heap.start)
    }

    /// The sums of the main arena, or of the one of a heap.
    pub fn sums_mut(&mut self, heap: Option<&Heap>) -> Option<&mut Arena> {
        let at = match heap {
            None => 0,
            Some(heap) => {
                let list = self.arenas.as_slice();
                list.iter().position(|arena| *arena == heap.arena)? + 1
            }
        };
        self.sums.get_mut(at)
    }

    /// Arenas that hold anything.
    pub fn sums(&self) -> impl Iterator<Item = &Arena> {
        let sums = self.sums.as_slice().iter();
        sums.filter(|arena| arena.held_bytes > 0)
    }
}

impl Default for ArenaList {
    fn default() -> ArenaList {
        ArenaList::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_threads_arena_is_found() {
        // A second thread of a glibc process allocates from an arena of its own.
        let block = std::thread::spawn(|| std::vec![1u8; 1000]).join().unwrap();
        let heap = heap_at(block.as_ptr().addr() & !(HEAP_BYTES - 1));
        if let Some(heap) = heap {
            let end = heap.start + heap.bytes;
            assert!(heap.bytes >= 4096 && end > block.as_ptr().addr());
            let top = heap.top.expect("a new arena ends in its first heap");
            assert!(top > block.as_ptr().addr() && top < end);
            let mut list = ArenaList::new();
            assert_eq!(list.add(heap), Some(0));
            assert!(list.is_last(&heap));
            list.sums_mut(Some(&heap)).unwrap().held_bytes = 1;
            assert_eq!(list.sums().map(|arena| arena.number).next(), Some(2));
        }
        let page = sys::map_anonymous(2 * HEAP_BYTES).unwrap();
        let aligned = page.addr().next_multiple_of(HEAP_BYTES);
        assert_eq!(heap_at(aligned), None, "zeros are no header");
        assert_eq!(heap_at(0x1000), None);
        // SAFETY: the test's own mapping.
        unsafe { sys::munmap(page, 2 * HEAP_BYTES).unwrap() };
    }
}
