//! Owns [`Aside`]: a guess at which addresses may be among the blocks that no group holds, so that
//! hardly anybody looks for them in vain. It may say yes for nothing, never no for one that is there.

use core::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};

const SLOTS_BITS: u32 = 12;

/// Counts by a hash of the address. Relaxed: an address is put and taken by one thread after the
/// other, which the host orders.
pub(super) struct Aside {
    slots: [AtomicU8; 1 << SLOTS_BITS],
    /// By page.
    pages: [AtomicU8; 1 << SLOTS_BITS],
    strays: AtomicBool,
}

/// Below the number of slots.
#[inline(always)]
fn hash(number: u64) -> usize {
    (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - SLOTS_BITS)) as usize
}

impl Aside {
    pub(super) const fn new() -> Aside {
        Aside {
            slots: [const { AtomicU8::new(0) }; 1 << SLOTS_BITS],
            pages: [const { AtomicU8::new(0) }; 1 << SLOTS_BITS],
            strays: AtomicBool::new(false),
        }
    }

    #[inline(always)]
    fn slot(&self, addr: usize) -> &AtomicU8 {
        // SAFETY: below the number of slots.
        unsafe { self.slots.get_unchecked(hash(addr as u64 >> 3)) }
    }

    fn page(&self, addr: usize) -> &AtomicU8 {
        // SAFETY: below the number of slots.
        unsafe { self.pages.get_unchecked(hash(addr as u64 >> 12)) }
    }

    /// May there be a block that begins in the page of this address?
    pub(super) fn may_hold_in_page(&self, addr: usize) -> bool {
        self.page(addr).load(Relaxed) != 0
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
        let _ = self.page(addr).fetch_update(Relaxed, Relaxed, more);
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
