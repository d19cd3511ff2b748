//! Owns the layout of a hash table of live blocks: entries, buckets, and where a block lies.
//! It must never lock, allocate, or do what [`Table::repair`] cannot complete, at any instruction.
//!
//! ```text
//! word 0:  address >> 3 (44 bits) | epoch (20 bits)      0: empty
//! word 1:  site (24 bits) | class (6 bits) | size (34 bits)   all ones in size: see HugeSizes
//! ```
//!
//! Four entries make a bucket, one cache line. A block has two buckets, in the same page of the
//! table, and lies anywhere in either: in the first if there was room, else in the second. When
//! both are full, one of the eight moves to the other bucket of its own, which works until the
//! table is about nine tenths full. So looking up touches two lines at once, and never more; there
//! are no chains to follow or to mend, and removing clears one word. The eight entries are
//! compared without branching, since where among them a block lies cannot be predicted.
//!
//! Because `first bucket = hash * buckets >> 32` rises with the hash, a table of any number of
//! buckets works, and growing copies from front to back.

use crate::atomic::guarded::AtomicU64;
use crate::atomic::{Ordering, compiler_fence};

use super::huge::HUGE_BYTES;
use super::{Block, CLASS_END, EPOCH_MAX, SITE_END};

const EPOCH_BITS: u32 = 20;
const SIZE_BITS: u32 = 34;
const CLASS_BITS: u32 = 6;
const SITE_SHIFT: u32 = SIZE_BITS + CLASS_BITS;
/// Entries in a bucket.
pub(super) const ENTRIES: u32 = 4;
/// Size of a bucket.
pub(super) const BUCKET_BYTES: usize = size_of::<Bucket>();
/// Buckets in a page.
pub(super) const BUCKETS_PER_PAGE: u32 = (crate::arena::PAGE_BYTES / BUCKET_BYTES) as u32;
/// How many blocks may move in a row to make room for one.
const MOVES: u32 = 3;

const _: () = assert!(HUGE_BYTES == (1 << SIZE_BITS) - 1);
const _: () = assert!(SITE_END == 1 << (u64::BITS - SITE_SHIFT));
const _: () = assert!(CLASS_END == 1 << CLASS_BITS);

/// The part of an address that an entry keeps; never 0.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Key(u64);

impl Key {
    #[inline(always)]
    pub(super) const fn of(addr: usize) -> Key {
        Key(addr as u64 >> 3)
    }

    #[inline(always)]
    pub(super) const fn addr(self) -> usize {
        (self.0 << 3) as usize
    }

    /// 32 well-mixed bits. One multiplication is not enough: blocks lie at equal distances, and
    /// whatever the factor, for some distance its products hardly move.
    #[inline(always)]
    const fn hash(self) -> u32 {
        let once = self.0.wrapping_mul(0xD6E8_FEB8_6659_FD93);
        let twice = (once ^ once >> 32).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (twice >> 32) as u32
    }
}

/// The words of an entry that holds a block.
#[derive(Clone, Copy)]
pub(super) struct Words(u64, u64);

impl Words {
    /// A size from [`HUGE_BYTES`] on is stored as that; the caller keeps it aside.
    #[inline(always)]
    pub(super) fn pack(key: Key, block: Block) -> Words {
        Words(
            key.0 << EPOCH_BITS | u64::from(block.epoch.min(EPOCH_MAX)),
            u64::from(block.site) << SITE_SHIFT
                | u64::from(block.class) << SIZE_BITS
                | block.size.min(HUGE_BYTES),
        )
    }

    #[inline(always)]
    pub(super) const fn key(self) -> Key {
        Key(self.0 >> EPOCH_BITS)
    }

    #[inline(always)]
    pub(super) const fn block(self) -> Block {
        Block {
            size: self.1 & HUGE_BYTES,
            site: (self.1 >> SITE_SHIFT) as u32,
            epoch: self.0 as u32 & EPOCH_MAX,
            class: (self.1 >> SIZE_BITS) as u8 & (CLASS_END - 1),
        }
    }
}

/// One entry. Relaxed throughout: the shard's lock orders between threads, and compiler fences
/// order against a signal handler that does not return.
#[derive(Debug)]
struct Entry {
    word0: AtomicU64,
    word1: AtomicU64,
}

impl Entry {
    #[inline(always)]
    fn is_empty(&self) -> bool {
        self.word0.load(Ordering::Relaxed) == 0
    }

    #[inline(always)]
    fn load(&self) -> Words {
        Words(
            self.word0.load(Ordering::Relaxed),
            self.word1.load(Ordering::Relaxed),
        )
    }

    /// Word 0 makes the entry live, so it comes last.
    #[inline(always)]
    fn store(&self, words: Words) {
        self.word1.store(words.1, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        self.word0.store(words.0, Ordering::Relaxed);
    }

    #[inline(always)]
    fn clear(&self) {
        self.word0.store(0, Ordering::Relaxed);
    }
}

/// Four entries.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Bucket([Entry; ENTRIES as usize]);

impl Bucket {
    /// Compares all entries, one after the other without a branch.
    #[inline(always)]
    fn probe(&self, key: Key) -> Probe {
        let [a, b, c, d] = self
            .0
            .each_ref()
            .map(|entry| entry.word0.load(Ordering::Relaxed));
        let hit = |word0: u64| u32::from(word0 >> EPOCH_BITS == key.0);
        let empty = |word0: u64| u32::from(word0 == 0);
        Probe {
            hits: hit(a) | hit(b) << 1 | hit(c) << 2 | hit(d) << 3,
            empty: empty(a) | empty(b) << 1 | empty(c) << 2 | empty(d) << 3,
        }
    }

    fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// Bit `i`: entry `i` is empty.
    #[inline(always)]
    fn empty(&self) -> u32 {
        let [a, b, c, d] = self.0.each_ref().map(|entry| u32::from(entry.is_empty()));
        a | b << 1 | c << 2 | d << 3
    }

    fn empty_entry(&self) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.is_empty())
    }

    /// Makes every block as old as can be.
    pub(super) fn forget_births(&self) {
        for entry in self.0.iter().filter(|entry| !entry.is_empty()) {
            let word0 = entry.word0.load(Ordering::Relaxed);
            entry
                .word0
                .store(word0 & !u64::from(EPOCH_MAX), Ordering::Relaxed);
        }
    }

    /// The blocks in it.
    pub(super) fn live(&self) -> impl Iterator<Item = Words> {
        self.0
            .iter()
            .filter(|entry| !entry.is_empty())
            .map(Entry::load)
    }
}

/// The two buckets of a key.
#[derive(Clone, Copy)]
struct Pair<'a>(&'a Bucket, &'a Bucket);

/// What buckets know of a key: bit `i` stands for entry `i`, in a pair 0 to 3 in the first bucket
/// and 4 to 7 in the second.
struct Probe {
    hits: u32,
    empty: u32,
}

impl<'a> Pair<'a> {
    #[inline(always)]
    fn probe(self, key: Key) -> Probe {
        let (one, two) = (self.0.probe(key), self.1.probe(key));
        Probe {
            hits: one.hits | two.hits << ENTRIES,
            empty: one.empty | two.empty << ENTRIES,
        }
    }

    /// The empty entries; those of the second bucket only if there is none in the first.
    #[inline(always)]
    fn empty(self) -> u32 {
        let one = self.0.empty();
        if one != 0 {
            one
        } else {
            self.1.empty() << ENTRIES
        }
    }

    /// The entry of the lowest bit of a set.
    ///
    /// # Safety
    /// The set is not empty.
    #[inline(always)]
    unsafe fn lowest(self, set: u32) -> &'a Entry {
        let at = set.trailing_zeros();
        let bucket = if at < ENTRIES { self.0 } else { self.1 };
        // SAFETY: a remainder by the number of entries.
        unsafe { bucket.0.get_unchecked((at % ENTRIES) as usize) }
    }
}

/// What became of a block that was put.
pub(super) enum Put {
    /// It is there now.
    New,
    /// It took the place of another with its key.
    Replaced(Words),
    /// There was no room.
    Full,
}

/// A table of `buckets` buckets. A copy of it is good for as long as the shard's lock is held.
#[derive(Clone, Copy)]
pub(super) struct Table {
    first: *mut Bucket,
    buckets: u32,
}

impl Table {
    /// # Safety
    /// `buckets` initialised buckets start at `first`, which nobody else changes while this is
    /// used. Their number is a power of two up to a page, and whole pages beyond.
    #[inline(always)]
    pub(super) const unsafe fn new(first: *mut Bucket, buckets: u32) -> Table {
        Table { first, buckets }
    }

    pub(super) fn buckets(&self) -> &[Bucket] {
        if self.buckets == 0 {
            return &[];
        }
        // SAFETY: promised to `new`.
        unsafe { core::slice::from_raw_parts(self.first, self.buckets as usize) }
    }

    /// Puts a block.
    ///
    /// # Safety
    /// The table has buckets.
    #[inline(always)]
    pub(super) unsafe fn put(&self, words: Words) -> Put {
        // SAFETY: the caller's promise.
        let pair = unsafe { self.pair(words.key()) };
        let Probe { hits, empty } = pair.probe(words.key());
        if hits == 0 {
            if empty == 0 && !self.make_room(pair) {
                return Put::Full;
            }
            let empty = if empty == 0 {
                pair.probe(words.key()).empty
            } else {
                empty
            };
            // SAFETY: `make_room` made an entry empty.
            unsafe { pair.lowest(empty) }.store(words);
            return Put::New;
        }
        // SAFETY: just compared.
        let entry = unsafe { pair.lowest(hits) };
        let old = entry.load();
        entry.store(words);
        Put::Replaced(old)
    }

    /// Takes a block out.
    ///
    /// # Safety
    /// The table has buckets.
    #[inline(always)]
    pub(super) unsafe fn take(&self, key: Key) -> Option<Words> {
        // SAFETY: the caller's promise.
        let pair = unsafe { self.pair(key) };
        let Probe { hits, .. } = pair.probe(key);
        if hits == 0 {
            return None;
        }
        // SAFETY: just compared.
        let entry = unsafe { pair.lowest(hits) };
        let words = entry.load();
        entry.clear();
        Some(words)
    }

    /// The block of a key.
    pub(super) fn get(&self, key: Key) -> Option<Words> {
        if self.buckets == 0 {
            return None;
        }
        // SAFETY: just compared.
        let pair = unsafe { self.pair(key) };
        let Probe { hits, .. } = pair.probe(key);
        // SAFETY: just compared.
        (hits != 0).then(|| unsafe { pair.lowest(hits) }.load())
    }

    /// Copies every block into an empty table with buckets; false if it cannot take them all.
    pub(super) fn copy_to(&self, target: Table) -> bool {
        self.buckets().iter().flat_map(Bucket::live).all(|words| {
            // SAFETY: the caller's promise.
            let pair = unsafe { target.pair(words.key()) };
            let mut empty = pair.empty();
            if empty == 0 {
                empty = if target.make_room(pair) {
                    pair.empty()
                } else {
                    0
                };
            }
            if empty != 0 {
                // SAFETY: just compared.
                unsafe { pair.lowest(empty) }.store(words);
            }
            empty != 0
        })
    }

    /// Completes what somebody began who was torn out of it, and returns the number of blocks. At
    /// worst a block had been copied to the other bucket of its own and not yet cleared here.
    pub(super) fn repair(&self) -> u32 {
        let mut blocks = 0;
        for entry in self.buckets().iter().flat_map(Bucket::entries) {
            if entry.is_empty() {
                continue;
            }
            let key = entry.load().key();
            // SAFETY: there is at least the bucket of this entry.
            let hits = unsafe { self.pair(key) }.probe(key).hits;
            if hits.count_ones() > 1 {
                entry.clear();
            } else {
                blocks += 1;
            }
        }
        blocks
    }

    /// Empties an entry of a full pair; false if that takes more than [`MOVES`] moves.
    #[cold]
    #[inline(never)]
    fn make_room(&self, pair: Pair<'_>) -> bool {
        (1..=MOVES).any(|moves| {
            self.empty_one(pair.0, moves).is_some() || self.empty_one(pair.1, moves).is_some()
        })
    }

    /// Moves a block of a full bucket to the other bucket of its own.
    fn empty_one<'a>(&'a self, bucket: &'a Bucket, moves: u32) -> Option<&'a Entry> {
        for entry in &bucket.0 {
            let words = entry.load();
            // SAFETY: there are the buckets of the pair.
            let Pair(one, two) = unsafe { self.pair(words.key()) };
            let other = if core::ptr::eq(one, bucket) { two } else { one };
            let room = match other.empty_entry() {
                None if moves > 1 => self.empty_one(other, moves - 1),
                room => room,
            };
            if let Some(room) = room {
                room.store(words);
                compiler_fence(Ordering::SeqCst);
                entry.clear();
                return Some(entry);
            }
        }
        None
    }

    /// # Safety
    /// The table has buckets.
    #[inline(always)]
    unsafe fn pair(&self, key: Key) -> Pair<'_> {
        let (one, two) = self.homes(key);
        // SAFETY: see `homes`.
        unsafe {
            Pair(
                &*self.first.add(one as usize),
                &*self.first.add(two as usize),
            )
        }
    }

    /// Numbers of the key's buckets, different and below the number of buckets if there are any:
    /// the second differs only within an aligned group of a page or the whole table.
    #[inline(always)]
    fn homes(&self, key: Key) -> (u32, u32) {
        let hash = key.hash();
        let one = ((u64::from(hash) * u64::from(self.buckets)) >> 32) as u32;
        let group = self.buckets.min(BUCKETS_PER_PAGE).wrapping_sub(1);
        (one, one ^ (hash & group | 1))
    }
}
