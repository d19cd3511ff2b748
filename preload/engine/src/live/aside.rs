//! Owns [`Aside`]: a guess at which addresses may be among the blocks that no group holds, so that
//! hardly anybody looks for them in vain. It may say yes for nothing, never no for one that is there.

use core::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};

const SLOTS_BITS: u32 = 12;

/// Counts by a hash of the address. Relaxed: an address is put and taken by one thread after the
/// other, which the host orders.
pub(super) struct Aside {
    slots: [AtomicU8; 1 << SLOTS_BITS],
    strays: AtomicBool,
}

impl Aside {
    pub(super) const fn new() -> Aside {
        Aside {
            slots: [const { AtomicU8::new(0) }; 1 << SLOTS_BITS],
            strays: AtomicBool::new(false),
        }
    }

    #[inline(always)]
    fn slot(&self, addr: usize) -> &AtomicU8 {
        let hash = (addr as u64 >> 3).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        // SAFETY: the upper bits of a word are below the number of slots.
        unsafe {
            self.slots
                .get_unchecked((hash >> (u64::BITS - SLOTS_BITS)) as usize)
        }
    }

    /// May there be a block at this address?
    #[inline(always)]
    pub(super) fn may_hold(&self, addr: usize) -> bool {
        self.slot(addr).load(Relaxed) != 0
    }

    /// One more or one less at this address.
    pub(super) fn note(&self, addr: usize, by: i8) {
        // It stays at the most that it can count.
        let more = |n: u8| (n != u8::MAX).then(|| n.saturating_add_signed(by));
        let _ = self.slot(addr).fetch_update(Relaxed, Relaxed, more);
    }

    /// A block is kept whose group could not be made.
    pub(super) fn note_stray(&self) {
        self.strays.store(true, Relaxed);
    }

    /// True if some group may not know how many blocks are kept for it.
    pub(super) fn has_strays(&self) -> bool {
        self.strays.load(Relaxed)
    }
}
