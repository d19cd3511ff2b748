//! Owns one shard of the live table: a lock, a table, and the decision when to change tables.
//! It must never be left in a state that [`Shard::repair`] cannot complete, at any instruction.

use crate::atomic::{AtomicPtr, AtomicU32, Ordering, compiler_fence};
use core::ptr;

use super::huge::{HUGE_BYTES, HugeSizes};
use super::table::{BUCKET_BYTES, BUCKETS_PER_PAGE, Bucket, ENTRIES, Key, Put, Table, Words};
use super::{Block, Insert};
use crate::lock::{Guard, WordLock};
use crate::{arena, sampler};

const SMALLEST_BUCKETS: u32 = 2;
const LARGEST_BUCKETS: u32 = 1 << 28;
/// Sizes tried when a table cannot take its blocks.
const GROWTH_TRIES: u32 = 4;

/// One shard, alone on its cache line. All but the lock is changed only under the lock; relaxed
/// throughout, as the lock orders between threads and compiler fences order against a signal
/// handler that does not return.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Shard {
    lock: WordLock,
    table: AtomicPtr<Bucket>,
    buckets: AtomicU32,
    len: AtomicU32,
    /// A new block at this length grows the table first.
    grow_at: AtomicU32,
    /// A removal at this length shrinks the table after.
    shrink_at: AtomicU32,
    /// Journal of a change of tables: the new one, 0 buckets when there is none.
    next_buckets: AtomicU32,
    next_table: AtomicPtr<Bucket>,
}

/// Buckets for the next larger table: eight times as many within a page, since the arena keeps what it cut
/// into pieces of a size; an eighth more in whole pages beyond, so that a large table stays between 0.72 and
/// 0.81 full while it grows.
const fn larger(buckets: u32) -> u32 {
    if buckets < SMALLEST_BUCKETS {
        SMALLEST_BUCKETS
    } else if buckets < BUCKETS_PER_PAGE / 8 {
        buckets * 8
    } else if buckets < BUCKETS_PER_PAGE {
        BUCKETS_PER_PAGE
    } else {
        (buckets + buckets / 8).next_multiple_of(BUCKETS_PER_PAGE)
    }
}

/// Buckets that `len` blocks fill to about 5/8.
const fn fitting(len: u32) -> u32 {
    let buckets = (len as u64 * 2 / 5) as u32 + 1;
    if buckets <= BUCKETS_PER_PAGE {
        let mut of_a_page = SMALLEST_BUCKETS;
        while of_a_page < buckets {
            of_a_page = larger(of_a_page);
        }
        of_a_page
    } else {
        buckets.next_multiple_of(BUCKETS_PER_PAGE)
    }
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
            next_buckets: AtomicU32::new(0),
            next_table: AtomicPtr::new(ptr::null_mut()),
        }
    }

    #[inline(always)]
    pub(super) fn lock(&self) -> &WordLock {
        &self.lock
    }

    #[inline(always)]
    pub(super) fn len(&self) -> u32 {
        self.len.load(Ordering::Relaxed)
    }

    #[inline(always)]
    fn enter(&self) -> Guard<'_> {
        let (guard, abandoned) = self.lock.lock_checked();
        if abandoned {
            self.repair();
        }
        guard
    }

    /// The current table; the lock must be held for as long as it is used.
    #[inline(always)]
    fn current(&self) -> Table {
        let first = self.table.load(Ordering::Relaxed);
        // SAFETY: the two change together under the lock, which every caller holds that reads the
        // table.
        unsafe { Table::new(first, self.buckets.load(Ordering::Relaxed)) }
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
        let words = Words::pack(Key::of(addr), block);
        let _guard = self.enter();
        if self.len() >= self.grow_at.load(Ordering::Relaxed) && !self.make_room() {
            return Insert::Refused;
        }
        loop {
            // SAFETY: `make_room` makes buckets, and nothing takes all of them away.
            match unsafe { self.current().put(words) } {
                Put::New => {
                    self.len.store(self.len() + 1, Ordering::Relaxed);
                    return Insert::New;
                }
                Put::Replaced(old) => return Insert::Replaced(taken(old, huge)),
                Put::Full if self.grow() => {}
                Put::Full => return Insert::Refused,
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
        // SAFETY: blocks lie in buckets.
        let words = unsafe { self.current().take(Key::of(addr)) }?;
        self.len.store(len - 1, Ordering::Relaxed);
        if len <= self.shrink_at.load(Ordering::Relaxed) {
            self.shrink();
        }
        Some(taken(words, huge))
    }

    pub(super) fn get(&self, addr: usize, huge: &HugeSizes) -> Option<Block> {
        let _guard = self.enter();
        Some(exact(self.current().get(Key::of(addr))?, huge))
    }

    pub(super) fn for_each(&self, huge: &HugeSizes, f: &mut impl FnMut(usize, Block)) {
        let _guard = self.enter();
        for words in self.current().buckets().iter().flat_map(Bucket::live) {
            f(words.key().addr(), exact(words, huge));
        }
    }

    pub(super) fn forget_births(&self) {
        let _guard = self.enter();
        self.current()
            .buckets()
            .iter()
            .for_each(Bucket::forget_births);
    }

    /// Grows a table that is full enough; false if there is none at all.
    #[cold]
    #[inline(never)]
    fn make_room(&self) -> bool {
        // Without memory it fills up further, at the price of moving blocks around.
        self.grow() || self.buckets.load(Ordering::Relaxed) != 0
    }

    #[cold]
    #[inline(never)]
    fn grow(&self) -> bool {
        let mut buckets = self.buckets.load(Ordering::Relaxed);
        // A table that is only a little larger may crowd in another place.
        for _ in 0..GROWTH_TRIES {
            if buckets >= LARGEST_BUCKETS {
                return false;
            }
            buckets = larger(buckets);
            if self.rebuild(buckets) {
                return true;
            }
        }
        false
    }

    #[cold]
    #[inline(never)]
    fn shrink(&self) {
        let buckets = fitting(self.len());
        if buckets < self.buckets.load(Ordering::Relaxed) {
            self.rebuild(buckets);
        }
    }

    /// Moves everything to a table of `buckets`; false if there is no memory.
    fn rebuild(&self, buckets: u32) -> bool {
        let bytes = buckets as usize * BUCKET_BYTES;
        let first = arena::alloc_table(bytes, BUCKET_BYTES) as *mut Bucket;
        if first.is_null() {
            sampler::table_changed(true);
            return false;
        }
        // SAFETY: zeroed memory is empty buckets, and their numbers are as a table wants them.
        let (old, new) = (self.current(), unsafe { Table::new(first, buckets) });
        if !old.copy_to(new) {
            // SAFETY: allocated with this size and not published.
            unsafe { arena::dealloc_table(first as *mut u8, bytes, BUCKET_BYTES) };
            return false;
        }
        let old = old.buckets();
        self.next_table.store(first, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        self.next_buckets.store(buckets, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        self.adopt_next();
        // SAFETY: allocated with this size, and no longer the shard's table. Torn out just before,
        // it is lost to the arena, which costs memory only.
        unsafe { arena::dealloc_table(old.as_ptr() as *mut u8, size_of_val(old), BUCKET_BYTES) };
        sampler::table_changed(false);
        true
    }

    /// Makes the table in the journal the current one. Can be repeated.
    fn adopt_next(&self) {
        let buckets = self.next_buckets.load(Ordering::Relaxed);
        let entries = u64::from(buckets) * u64::from(ENTRIES);
        let shrink_at = if buckets > SMALLEST_BUCKETS {
            entries / 4
        } else {
            0
        };
        self.table
            .store(self.next_table.load(Ordering::Relaxed), Ordering::Relaxed);
        self.buckets.store(buckets, Ordering::Relaxed);
        self.grow_at
            .store((entries * 13 / 16) as u32, Ordering::Relaxed);
        self.shrink_at.store(shrink_at as u32, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        self.next_buckets.store(0, Ordering::Relaxed);
    }

    /// Completes what a holder began who was torn out.
    #[cold]
    #[inline(never)]
    fn repair(&self) {
        if self.next_buckets.load(Ordering::Relaxed) != 0 {
            self.adopt_next();
        }
        self.len.store(self.current().repair(), Ordering::Relaxed);
    }
}

/// The block of an entry that was taken out.
#[inline(always)]
fn taken(words: Words, huge: &HugeSizes) -> Block {
    let block = words.block();
    if block.size == HUGE_BYTES {
        return Block {
            size: huge.take(words.key().addr()),
            ..block
        };
    }
    block
}

/// The block of an entry that stays.
fn exact(words: Words, huge: &HugeSizes) -> Block {
    let block = words.block();
    if block.size == HUGE_BYTES {
        return Block {
            size: huge.get(words.key().addr()),
            ..block
        };
    }
    block
}
