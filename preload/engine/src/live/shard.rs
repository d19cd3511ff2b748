//! Owns one shard of the live table: a lock and an open-addressed table of 16-byte entries.
//! It must never be left in a state that [`Shard::repair`] cannot read, at any instruction.
//!
//! ```text
//! word 0:  address >> 3 (44 bits) | epoch (20 bits)      0: empty
//! word 1:  site (24 bits)         | size (40 bits)       all ones in size: see HugeSizes
//! ```
//!
//! Four entries make a bucket, one cache line. A search starts at the first entry of the bucket
//! that the address hashes to and runs on to the first empty entry. Removing closes the gap
//! (backward shift), so there are no tombstones. Because `bucket = hash * buckets >> 32` rises
//! with the hash, a table of any number of buckets works, and growing copies from front to back.

use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, compiler_fence};

use super::huge::{HUGE_BYTES, HugeSizes};
use super::{Block, EPOCH_MAX, Insert};
use crate::arena;
use crate::lock::{Guard, WordLock};

const EPOCH_BITS: u32 = 20;
const SIZE_BITS: u32 = 40;
const SLOTS_PER_BUCKET: u32 = 4;
const BUCKET_BYTES: usize = 64;
const BUCKETS_PER_PAGE: u32 = 64;
const SMALLEST_BUCKETS: u32 = 2;
const LARGEST_BUCKETS: u32 = 1 << 28;

/// One entry. Relaxed throughout: the shard's lock orders between threads, and compiler fences
/// order against a signal handler that does not return.
#[derive(Debug)]
#[repr(C, align(16))]
struct Slot {
    word0: AtomicU64,
    word1: AtomicU64,
}

/// One shard, alone on its cache line. Everything but the lock is read and written under the lock.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Shard {
    lock: WordLock,
    table: AtomicPtr<Slot>,
    buckets: AtomicU32,
    len: AtomicU32,
    /// A new block at this length grows the table first.
    grow_at: AtomicU32,
    /// Below this length the table shrinks.
    shrink_at: AtomicU32,
    /// Journal of a removal: 1 + the slot whose content is void, 0 when there is none.
    void: AtomicU32,
    /// Journal of a change of tables: the new one, 0 buckets when there is none.
    next_buckets: AtomicU32,
    next_table: AtomicPtr<Slot>,
}

/// A consistent view of the table, held under the lock.
#[derive(Clone, Copy)]
struct View {
    table: *mut Slot,
    buckets: u32,
}

#[inline(always)]
const fn key_of(addr: usize) -> u64 {
    addr as u64 >> 3
}

/// 32 well-mixed bits: the two halves of a wide product folded together.
#[inline(always)]
const fn hash_of(key: u64) -> u32 {
    let product = key as u128 * 0xD6E8_FEB8_6659_FD93;
    ((product >> 64) as u64 ^ product as u64) as u32
}

const fn slots_in(buckets: u32) -> u32 {
    buckets * SLOTS_PER_BUCKET
}

/// Buckets for the next larger table: twice as many within a page, a quarter more in whole pages
/// beyond, so that a large table is never less than two thirds full after growing.
const fn larger(buckets: u32) -> u32 {
    if buckets < SMALLEST_BUCKETS {
        SMALLEST_BUCKETS
    } else if buckets < BUCKETS_PER_PAGE {
        buckets * 2
    } else {
        (buckets + buckets / 4).next_multiple_of(BUCKETS_PER_PAGE)
    }
}

/// Buckets for `len` blocks to fill about 5/8 of the table.
const fn fitting(len: u32) -> u32 {
    let buckets = (len as u64 * 2 / 5) as u32 + 1;
    if buckets <= SMALLEST_BUCKETS {
        SMALLEST_BUCKETS
    } else if buckets <= BUCKETS_PER_PAGE {
        buckets.next_power_of_two()
    } else {
        buckets.next_multiple_of(BUCKETS_PER_PAGE)
    }
}

impl View {
    /// # Safety
    /// `at` is below the number of slots, and the shard's lock is held.
    #[inline(always)]
    unsafe fn slot<'a>(self, at: u32) -> &'a Slot {
        // SAFETY: the caller's promise.
        unsafe { &*self.table.add(at as usize) }
    }

    #[inline(always)]
    fn home(self, key: u64) -> u32 {
        ((u64::from(hash_of(key)) * u64::from(self.buckets)) >> 32) as u32 * SLOTS_PER_BUCKET
    }

    #[inline(always)]
    fn after(self, at: u32) -> u32 {
        let next = at + 1;
        if next == slots_in(self.buckets) {
            0
        } else {
            next
        }
    }

    /// Slots from `from` forward to `to`, around the end.
    #[inline(always)]
    fn distance(self, from: u32, to: u32) -> u32 {
        if to >= from {
            to - from
        } else {
            to + slots_in(self.buckets) - from
        }
    }

    /// The slot of `key`, or the empty one where it belongs.
    ///
    /// # Safety
    /// The shard's lock is held, and the table exists and has an empty slot.
    #[inline(always)]
    unsafe fn search(self, key: u64) -> Result<u32, u32> {
        let mut at = self.home(key);
        loop {
            // SAFETY: homes and their successors are below the number of slots.
            let word0 = unsafe { self.slot(at) }.word0.load(Ordering::Relaxed);
            if word0 >> EPOCH_BITS == key {
                return Ok(at);
            }
            if word0 == 0 {
                return Err(at);
            }
            at = self.after(at);
        }
    }
}

#[inline(always)]
fn pack(addr: usize, block: Block) -> (u64, u64) {
    (
        key_of(addr) << EPOCH_BITS | u64::from(block.epoch.min(EPOCH_MAX)),
        u64::from(block.site) << SIZE_BITS | block.size.min(HUGE_BYTES),
    )
}

#[inline(always)]
const fn unpack(word0: u64, word1: u64) -> Block {
    Block {
        size: word1 & HUGE_BYTES,
        site: (word1 >> SIZE_BITS) as u32,
        epoch: word0 as u32 & EPOCH_MAX,
    }
}

const fn addr_of(word0: u64) -> usize {
    (word0 >> EPOCH_BITS << 3) as usize
}

impl Shard {
    pub(super) const fn new() -> Self {
        Shard {
            lock: WordLock::new(),
            table: AtomicPtr::new(ptr::null_mut()),
            buckets: AtomicU32::new(0),
            len: AtomicU32::new(0),
            grow_at: AtomicU32::new(0),
            shrink_at: AtomicU32::new(0),
            void: AtomicU32::new(0),
            next_buckets: AtomicU32::new(0),
            next_table: AtomicPtr::new(ptr::null_mut()),
        }
    }

    pub(super) fn lock(&self) -> &WordLock {
        &self.lock
    }

    pub(super) fn len(&self) -> u32 {
        self.len.load(Ordering::Relaxed)
    }

    #[inline(always)]
    fn view(&self) -> View {
        View {
            table: self.table.load(Ordering::Relaxed),
            buckets: self.buckets.load(Ordering::Relaxed),
        }
    }

    #[inline(always)]
    fn enter(&self) -> Guard<'_> {
        let (guard, abandoned) = self.lock.lock_checked();
        if abandoned {
            self.repair();
        }
        guard
    }

    #[inline(always)]
    pub(super) fn insert(&self, addr: usize, block: Block, huge: &HugeSizes) -> Insert {
        if block.size >= HUGE_BYTES {
            return self.insert_huge(addr, block, huge);
        }
        self.insert_entry(addr, block, huge)
    }

    /// The size goes to the side list first, so that an entry never lacks it.
    #[cold]
    #[inline(never)]
    fn insert_huge(&self, addr: usize, block: Block, huge: &HugeSizes) -> Insert {
        let old = self.remove(addr, huge);
        if !huge.put(addr, block.size) {
            return Insert::Refused;
        }
        match (self.insert_entry(addr, block, huge), old) {
            (Insert::New, Some(old)) => Insert::Replaced(old),
            (Insert::Refused, _) => {
                huge.take(addr);
                Insert::Refused
            }
            (other, _) => other,
        }
    }

    #[inline(always)]
    fn insert_entry(&self, addr: usize, block: Block, huge: &HugeSizes) -> Insert {
        let (word0, word1) = pack(addr, block);
        let _guard = self.enter();
        let len = self.len();
        if len >= self.grow_at.load(Ordering::Relaxed) && !self.make_room() {
            return Insert::Refused;
        }
        let view = self.view();
        // SAFETY: the lock is held; `make_room` made a table with an empty slot.
        match unsafe { view.search(key_of(addr)) } {
            Err(at) => {
                // SAFETY: `search` returns slots of the table.
                let slot = unsafe { view.slot(at) };
                slot.word1.store(word1, Ordering::Relaxed);
                // Word 0 makes the entry live, so it comes last.
                compiler_fence(Ordering::SeqCst);
                slot.word0.store(word0, Ordering::Relaxed);
                self.len.store(len + 1, Ordering::Relaxed);
                Insert::New
            }
            Ok(at) => {
                // SAFETY: as above.
                let slot = unsafe { view.slot(at) };
                let mut old = unpack(
                    slot.word0.load(Ordering::Relaxed),
                    slot.word1.load(Ordering::Relaxed),
                );
                slot.word1.store(word1, Ordering::Relaxed);
                slot.word0.store(word0, Ordering::Relaxed);
                if old.size == HUGE_BYTES {
                    old.size = huge.take(addr);
                }
                Insert::Replaced(old)
            }
        }
    }

    #[inline(always)]
    pub(super) fn remove(&self, addr: usize, huge: &HugeSizes) -> Option<Block> {
        let _guard = self.enter();
        let len = self.len();
        if len == 0 {
            return None;
        }
        let view = self.view();
        // SAFETY: the lock is held; with blocks there is a table, and it has an empty slot.
        let at = unsafe { view.search(key_of(addr)) }.ok()?;
        // SAFETY: `search` returns slots of the table.
        let slot = unsafe { view.slot(at) };
        let mut block = unpack(
            slot.word0.load(Ordering::Relaxed),
            slot.word1.load(Ordering::Relaxed),
        );
        // SAFETY: the lock is held and `at` is a slot of the table.
        unsafe { self.close_gap(view, at) };
        self.len.store(len - 1, Ordering::Relaxed);
        if block.size == HUGE_BYTES {
            block.size = huge.take(addr);
        }
        if len <= self.shrink_at.load(Ordering::Relaxed) {
            self.shrink();
        }
        Some(block)
    }

    pub(super) fn get(&self, addr: usize, huge: &HugeSizes) -> Option<Block> {
        let _guard = self.enter();
        if self.len() == 0 {
            return None;
        }
        let view = self.view();
        // SAFETY: the lock is held; with blocks there is a table, and it has an empty slot.
        let at = unsafe { view.search(key_of(addr)) }.ok()?;
        // SAFETY: `search` returns slots of the table.
        let slot = unsafe { view.slot(at) };
        Some(exact(
            addr,
            unpack(
                slot.word0.load(Ordering::Relaxed),
                slot.word1.load(Ordering::Relaxed),
            ),
            huge,
        ))
    }

    pub(super) fn for_each(&self, huge: &HugeSizes, f: &mut impl FnMut(usize, Block)) {
        let _guard = self.enter();
        let view = self.view();
        for at in 0..slots_in(view.buckets) {
            // SAFETY: the lock is held and `at` is below the number of slots.
            let slot = unsafe { view.slot(at) };
            let word0 = slot.word0.load(Ordering::Relaxed);
            if word0 != 0 {
                let addr = addr_of(word0);
                f(
                    addr,
                    exact(
                        addr,
                        unpack(word0, slot.word1.load(Ordering::Relaxed)),
                        huge,
                    ),
                );
            }
        }
    }

    /// Empties the slot `hole` and moves entries that would become unreachable.
    ///
    /// # Safety
    /// The lock is held and `hole` is a slot of the table.
    #[inline(always)]
    unsafe fn close_gap(&self, view: View, mut hole: u32) {
        let mut at = hole;
        loop {
            at = view.after(at);
            // SAFETY: successors of slots are slots; so are holes, which were slots once.
            let (from, to) = unsafe { (view.slot(at), view.slot(hole)) };
            let word0 = from.word0.load(Ordering::Relaxed);
            if word0 == 0 {
                to.word0.store(0, Ordering::Relaxed);
                compiler_fence(Ordering::SeqCst);
                self.void.store(0, Ordering::Relaxed);
                return;
            }
            let home = view.home(word0 >> EPOCH_BITS);
            if view.distance(home, at) >= view.distance(hole, at) {
                self.void.store(hole + 1, Ordering::Relaxed);
                compiler_fence(Ordering::SeqCst);
                to.word0.store(word0, Ordering::Relaxed);
                to.word1
                    .store(from.word1.load(Ordering::Relaxed), Ordering::Relaxed);
                compiler_fence(Ordering::SeqCst);
                hole = at;
            }
        }
    }

    /// Makes sure that one more block fits; false if it does not.
    #[cold]
    #[inline(never)]
    fn make_room(&self) -> bool {
        let view = self.view();
        if view.buckets < LARGEST_BUCKETS && self.rebuild(larger(view.buckets)) {
            return true;
        }
        // Without memory the table fills up further, at the price of longer searches.
        let slots = slots_in(view.buckets);
        self.len() + slots / 16 + 1 < slots
    }

    #[cold]
    #[inline(never)]
    fn shrink(&self) {
        let buckets = fitting(self.len());
        if buckets < self.view().buckets {
            self.rebuild(buckets);
        }
    }

    /// Moves everything to a table of `buckets`; false if there is no memory.
    fn rebuild(&self, buckets: u32) -> bool {
        let table = arena::alloc(buckets as usize * BUCKET_BYTES, BUCKET_BYTES) as *mut Slot;
        if table.is_null() {
            return false;
        }
        let (old, new) = (self.view(), View { table, buckets });
        for at in 0..slots_in(old.buckets) {
            // SAFETY: the lock is held and `at` is a slot of the old table.
            let from = unsafe { old.slot(at) };
            let word0 = from.word0.load(Ordering::Relaxed);
            if word0 == 0 {
                continue;
            }
            // SAFETY: the new table has more slots than there are blocks.
            if let Err(at) = unsafe { new.search(word0 >> EPOCH_BITS) } {
                // SAFETY: `search` returns slots of the table.
                let to = unsafe { new.slot(at) };
                to.word1
                    .store(from.word1.load(Ordering::Relaxed), Ordering::Relaxed);
                to.word0.store(word0, Ordering::Relaxed);
            }
        }
        self.next_table.store(table, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        self.next_buckets.store(buckets, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        self.adopt_next();
        // SAFETY: allocated with this size, and no longer the shard's table. Torn out just before,
        // it is lost to the arena, which costs memory only.
        unsafe {
            arena::dealloc(
                old.table as *mut u8,
                old.buckets as usize * BUCKET_BYTES,
                BUCKET_BYTES,
            )
        };
        true
    }

    /// Makes the table in the journal the current one. Can be repeated.
    fn adopt_next(&self) {
        let buckets = self.next_buckets.load(Ordering::Relaxed);
        let slots = u64::from(slots_in(buckets));
        let small = buckets <= SMALLEST_BUCKETS;
        self.table
            .store(self.next_table.load(Ordering::Relaxed), Ordering::Relaxed);
        self.buckets.store(buckets, Ordering::Relaxed);
        self.grow_at
            .store((slots * 13 / 16) as u32, Ordering::Relaxed);
        self.shrink_at.store(
            if small { 0 } else { (slots / 4) as u32 },
            Ordering::Relaxed,
        );
        compiler_fence(Ordering::SeqCst);
        self.next_buckets.store(0, Ordering::Relaxed);
    }

    /// Completes what an abandoned holder began.
    #[cold]
    #[inline(never)]
    fn repair(&self) {
        if self.next_buckets.load(Ordering::Relaxed) != 0 {
            self.adopt_next();
        }
        let view = self.view();
        let void = self.void.load(Ordering::Relaxed);
        if void != 0 && void <= slots_in(view.buckets) {
            // SAFETY: the lock is held and the slot is one of the table.
            unsafe { self.close_gap(view, void - 1) };
        }
        let live = (0..slots_in(view.buckets))
            // SAFETY: the lock is held and `at` is a slot of the table.
            .filter(|&at| unsafe { view.slot(at) }.word0.load(Ordering::Relaxed) != 0)
            .count();
        self.len.store(live as u32, Ordering::Relaxed);
    }
}

fn exact(addr: usize, mut block: Block, huge: &HugeSizes) -> Block {
    if block.size == HUGE_BYTES {
        block.size = huge.get(addr);
    }
    block
}
