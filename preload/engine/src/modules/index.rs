//! Owns the published index from address to placement, read without locks.
//!
//! Two sorted arrays take turns: readers use the one that the sequence number names while the
//! writer fills the other. A reader never waits; if the writer came round to its array, it repeats.

use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering, fence};

use crate::arena;

/// One range of addresses and the number of what lies there.
#[derive(Clone, Copy, Default)]
pub struct Range {
    /// First address.
    pub start: usize,
    /// One past the last address.
    pub end: usize,
    /// Number of the placement.
    pub placement: u32,
}

struct Slot {
    start: AtomicUsize,
    end: AtomicUsize,
    placement: AtomicU32,
}

struct Buffer {
    slots: AtomicPtr<Slot>,
    len: AtomicUsize,
    capacity: AtomicUsize,
}

impl Buffer {
    const fn new() -> Buffer {
        Buffer {
            slots: AtomicPtr::new(core::ptr::null_mut()),
            len: AtomicUsize::new(0),
            capacity: AtomicUsize::new(0),
        }
    }

    /// A torn view is possible while the writer is at work; the caller checks afterwards.
    fn slots(&self) -> &[Slot] {
        // Acquire pairs with the release in `reserve`: the array that has this capacity, or a
        // larger one, is what the pointer says next.
        let capacity = self.capacity.load(Ordering::Acquire);
        // Acquire pairs with the release in `reserve`: the memory behind the pointer is there.
        let slots = self.slots.load(Ordering::Acquire);
        if slots.is_null() {
            return &[];
        }
        let len = self.len.load(Ordering::Relaxed).min(capacity);
        // SAFETY: the array holds at least `capacity` slots: a larger array is stored before its
        // capacity. Arrays are zeroed, never freed, and all their fields are atomic.
        unsafe { core::slice::from_raw_parts(slots, len) }
    }

    /// Makes room; old arrays stay, since someone may be reading them (sizes double, so all of
    /// them together are no larger than the newest).
    fn reserve(&self, len: usize) -> bool {
        if len <= self.capacity.load(Ordering::Relaxed) {
            return true;
        }
        let Some(capacity) = len.max(64).checked_next_power_of_two() else {
            return false;
        };
        let slots = arena::alloc(capacity * size_of::<Slot>(), align_of::<Slot>()).cast::<Slot>();
        if slots.is_null() {
            return false;
        }
        self.len.store(0, Ordering::Relaxed);
        // Release pairs with the acquire in `slots`.
        self.slots.store(slots, Ordering::Release);
        // Release pairs with the acquire in `slots`: never the capacity before its array.
        self.capacity.store(capacity, Ordering::Release);
        true
    }
}

/// The index.
pub struct Index {
    sequence: AtomicUsize,
    buffers: [Buffer; 2],
}

impl Index {
    /// Empty.
    pub const fn new() -> Index {
        Index {
            sequence: AtomicUsize::new(0),
            buffers: [Buffer::new(), Buffer::new()],
        }
    }

    /// The placement at an address.
    pub fn find(&self, addr: usize) -> Option<u32> {
        self.find_range(addr).map(|range| range.placement)
    }

    /// The range that an address lies in.
    pub fn find_range(&self, addr: usize) -> Option<Range> {
        loop {
            // Acquire pairs with the release in `publish`: the array it names is complete.
            let sequence = self.sequence.load(Ordering::Acquire);
            let slots = self.buffers.get(sequence & 1)?.slots();
            let below = slots.partition_point(|s| s.start.load(Ordering::Relaxed) <= addr);
            let found = below
                .checked_sub(1)
                .and_then(|i| slots.get(i))
                .map(|s| Range {
                    start: s.start.load(Ordering::Relaxed),
                    end: s.end.load(Ordering::Relaxed),
                    placement: s.placement.load(Ordering::Relaxed),
                })
                .filter(|range| addr < range.end);
            // Pairs with the fence in `publish`: if a slot came from the next round, the sequence
            // has moved.
            fence(Ordering::Acquire);
            if self.sequence.load(Ordering::Relaxed) == sequence {
                return found;
            }
        }
    }

    /// Replaces the content by ranges sorted by start; false without memory, and then nothing has
    /// changed. Calls must not overlap.
    pub fn publish(&self, ranges: &[Range]) -> bool {
        let sequence = self.sequence.load(Ordering::Relaxed).wrapping_add(1);
        // Pairs with the fence in `find`: the previous store of the sequence comes before what is
        // written to the array now.
        fence(Ordering::Release);
        let Some(buffer) = self.buffers.get(sequence & 1) else {
            return false;
        };
        if !buffer.reserve(ranges.len()) {
            return false;
        }
        buffer.len.store(ranges.len(), Ordering::Relaxed);
        for (slot, range) in buffer.slots().iter().zip(ranges) {
            slot.start.store(range.start, Ordering::Relaxed);
            slot.end.store(range.end, Ordering::Relaxed);
            slot.placement.store(range.placement, Ordering::Relaxed);
        }
        // Release pairs with the acquire in `find`.
        self.sequence.store(sequence, Ordering::Release);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn finds_the_range_that_covers_an_address() {
        let index = Index::new();
        assert_eq!(index.find(5), None);
        let ranges: Vec<Range> = (0..100)
            .map(|i| Range {
                start: i * 100 + 50,
                end: i * 100 + 130,
                placement: i as u32,
            })
            .collect();
        assert!(index.publish(&ranges[..10]));
        assert!(index.publish(&ranges));
        assert_eq!(index.find(49), None);
        assert_eq!(index.find(50), Some(0));
        assert_eq!(index.find(129), Some(0));
        assert_eq!(index.find(130), None);
        assert_eq!(index.find(9950), Some(99));
        assert!(index.publish(&[]));
        assert_eq!(index.find(50), None);
    }

    #[test]
    fn readers_see_whole_states_only() {
        static INDEX: Index = Index::new();
        // In state n every range carries the number n in its upper half.
        let state = |n: u32| -> Vec<Range> {
            let len = 1 + (n as usize * 7) % 300;
            (0..len)
                .map(|i| Range {
                    start: i * 16,
                    end: i * 16 + 16,
                    placement: n << 16 | i as u32,
                })
                .collect()
        };
        INDEX.publish(&state(0));
        std::thread::scope(|scope| {
            let writer = scope
                .spawn(move || (1..20_000).for_each(|n| assert!(INDEX.publish(&state(n % 9000)))));
            scope.spawn(move || {
                while !writer.is_finished() {
                    for i in 0..300u32 {
                        if let Some(found) = INDEX.find(i as usize * 16 + 3) {
                            assert_eq!(found & 0xffff, i);
                            assert!(i < 1 + ((found >> 16) * 7) % 300);
                        }
                    }
                }
            });
        });
    }
}
