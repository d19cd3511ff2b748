//! Owns the layout of a group's table: where the blocks of one MiB of addresses lie.
//! It must never lock, allocate, or do what [`Cells::repair`] cannot complete, at any instruction.
//!
//! ```text
//! bucket, one cache line:
//!   6 keys of 16 bits: the block's place in its MiB, in steps of 16 bytes   0: empty
//!   16 bits: blocks that belong here and lie in their other bucket; 16 bits unused
//!   6 words: site (24 bits) | class (6) | epoch (20) | size (14)
//! ```
//!
//! A block belongs in the bucket that its place chooses: places next to each other choose the same
//! one, so that neighbours in the heap are neighbours here, and what the program works on and what
//! is known of it are in the cache together. When that bucket is full the block lies in its other
//! one, which is anywhere in the table; a bucket counts its blocks that lie elsewhere, so most often
//! one line tells all. When both are full, a block of theirs moves to the other bucket of its own.
//!
//! The keys of a bucket change with one store, which is what makes a block be there or not.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, Ordering, compiler_fence};

use super::arch::{Lanes, line};
use super::{Block, CLASS_END, EPOCH_MAX, SITE_END};

/// Blocks in a bucket.
pub(super) const ENTRIES: usize = 6;
/// Size of a bucket.
pub(super) const BUCKET_BYTES: usize = size_of::<Bucket>();
/// A size that does not fit a word.
pub(super) const SIZE_END: u64 = 1 << SIZE_BITS;

const SIZE_BITS: u32 = 14;
const EPOCH_BITS: u32 = 20;
const CLASS_BITS: u32 = 6;
const EPOCH_SHIFT: u32 = SIZE_BITS;
const CLASS_SHIFT: u32 = EPOCH_SHIFT + EPOCH_BITS;
const SITE_SHIFT: u32 = CLASS_SHIFT + CLASS_BITS;
/// How many blocks may move in a row to make room for one.
const MOVES: u32 = 2;

const _: () = assert!(EPOCH_MAX == (1 << EPOCH_BITS) - 1);
const _: () = assert!(CLASS_END as u32 == 1 << CLASS_BITS);
const _: () = assert!(SITE_END == 1 << (u64::BITS - SITE_SHIFT));
const _: () = assert!(BUCKET_BYTES == 64);

/// A block as a word; its size is below [`SIZE_END`], its epoch not above [`EPOCH_MAX`].
#[inline(always)]
pub(super) fn pack(block: &Block) -> u64 {
    debug_assert!(block.size < SIZE_END && block.epoch <= EPOCH_MAX);
    u64::from(block.site) << SITE_SHIFT
        | u64::from(block.class) << CLASS_SHIFT
        | u64::from(block.epoch) << EPOCH_SHIFT
        | block.size
}

/// True for the word of a block of this epoch, not above [`EPOCH_MAX`], and of class 0.
#[inline(always)]
pub(super) fn is_exact_of(word: u64, epoch: u32) -> bool {
    const BOTH: u64 = (1 << (EPOCH_BITS + CLASS_BITS)) - 1;
    word >> EPOCH_SHIFT & BOTH == u64::from(epoch)
}

/// The block of a word.
#[inline(always)]
pub(super) fn unpack(word: u64) -> Block {
    Block {
        size: word & (SIZE_END - 1),
        site: (word >> SITE_SHIFT) as u32,
        epoch: (word >> EPOCH_SHIFT) as u32 & EPOCH_MAX,
        class: (word >> CLASS_SHIFT) as u8 & (CLASS_END - 1),
    }
}

/// Six blocks. Whoever reads or writes one is inside its group, alone.
#[repr(C, align(64))]
pub(super) struct Bucket {
    keys: UnsafeCell<Lanes>,
    words: [AtomicU64; ENTRIES],
}

impl Bucket {
    #[inline(always)]
    fn keys(&self) -> Lanes {
        // SAFETY: only who is inside the group comes here. Volatile, so that it is one instruction.
        unsafe { self.keys.get().read_volatile() }
    }

    #[inline(always)]
    fn set_keys(&self, keys: Lanes) {
        compiler_fence(Ordering::SeqCst);
        // SAFETY: as above.
        unsafe { self.keys.get().write_volatile(keys) };
        compiler_fence(Ordering::SeqCst);
    }

    /// The word of a lane, which is one that was found and so below six.
    #[inline(always)]
    fn word(&self, lane: usize) -> &AtomicU64 {
        debug_assert!(lane < ENTRIES);
        // SAFETY: `Found::lane` and `entries` say no others.
        unsafe { self.words.get_unchecked(lane) }
    }

    /// The keys make the block be there, so they come last.
    #[inline(always)]
    fn put(&self, keys: Lanes, lane: usize, key: u16, word: u64) {
        self.word(lane).store(word, Ordering::Relaxed);
        // SAFETY: as for `word`.
        self.set_keys(unsafe { keys.with(lane, key) });
    }

    /// Empties a lane.
    #[inline(always)]
    fn clear(&self, keys: Lanes, lane: usize) {
        // SAFETY: as for `word`.
        self.set_keys(unsafe { keys.without(lane) });
    }

    fn entries(&self) -> impl Iterator<Item = (usize, u16)> {
        let keys = self.keys().words();
        keys.into_iter()
            .take(ENTRIES)
            .enumerate()
            .filter(|(_, key)| *key != 0)
    }

    fn change_count(&self, by: i16) {
        let keys = self.keys();
        self.set_keys(keys.with_count(keys.count().wrapping_add_signed(by)));
    }
}

/// What became of a block that was put.
pub(super) enum Put {
    /// It is there now.
    New,
    /// It took the place of another with its key.
    Replaced(u64),
    /// There was no room.
    Full,
}

/// A table. A copy of it is good for as long as one is inside the group.
#[derive(Clone, Copy)]
pub(super) struct Cells {
    pub(super) first: *mut Bucket,
    /// Buckets less one.
    pub(super) mask: u32,
    /// So many low bits of a key do not choose its bucket.
    pub(super) shift: u32,
}

impl Cells {
    #[inline(always)]
    fn bucket(&self, at: u32) -> &Bucket {
        // SAFETY: masked; the buckets are there as long as this is used.
        unsafe { &*self.first.add((at & self.mask) as usize) }
    }

    #[inline(always)]
    fn home(&self, key: u16) -> u32 {
        u32::from(key).wrapping_shr(self.shift) & self.mask
    }

    /// The other bucket of a key in this one; there are at least two.
    #[inline(always)]
    fn other(&self, at: u32, key: u16) -> u32 {
        (at ^ (u32::from(key).wrapping_mul(0x9E37_79B1) >> 15 | 1)) & self.mask
    }

    fn buckets(&self) -> impl Iterator<Item = u32> {
        0..=self.mask
    }

    /// Starts fetching the bucket of a key.
    #[inline(always)]
    pub(super) fn prefetch(&self, key: u16) {
        line(self.first.wrapping_add(self.home(key) as usize).cast());
    }

    /// Puts a new block in the usual case; false where there is more to do: nothing was done.
    #[inline(always)]
    pub(super) fn put_quickly(&self, key: u16, word: u64) -> bool {
        let bucket = self.bucket(self.home(key));
        let keys = bucket.keys();
        let zeroes = keys.find(0);
        if keys.find(key).any_key() || !zeroes.count_and_any_key() {
            return false;
        }
        bucket.put(keys, zeroes.lane(), key, word);
        true
    }

    /// Puts a new block where its bucket is full, or has blocks that lie elsewhere; false where others
    /// had to move, or the block is there: nothing was done.
    #[inline(always)]
    pub(super) fn put_crowded(&self, key: u16, word: u64) -> bool {
        let home = self.home(key);
        let other = self.other(home, key);
        let (first, second) = (self.bucket(home), self.bucket(other));
        let (keys, other_keys) = (first.keys(), second.keys());
        if keys.find(key).any_key() || keys.count() != 0 && other_keys.find(key).any_key() {
            return false;
        }
        let room = keys.find(0);
        if room.any_key() {
            first.put(keys, room.lane(), key, word);
            return true;
        }
        let room = other_keys.find(0);
        if room.any_key() {
            first.change_count(1);
            second.put(other_keys, room.lane(), key, word);
        }
        room.any_key()
    }

    /// Takes a block out of where it belongs; `None`: it is elsewhere, or not at all.
    #[inline(always)]
    pub(super) fn take_quickly(&self, key: u16) -> Option<u64> {
        let bucket = self.bucket(self.home(key));
        let keys = bucket.keys();
        let hit = keys.find(key);
        if !hit.any_key() {
            return None;
        }
        let word = bucket.word(hit.lane()).load(Ordering::Relaxed);
        bucket.clear(keys, hit.lane());
        Some(word)
    }

    /// Where the block of a key is: number of the bucket and lane.
    fn find(&self, key: u16) -> Option<(u32, usize)> {
        let home = self.home(key);
        let keys = self.bucket(home).keys();
        let hit = keys.find(key);
        if hit.any_key() {
            return Some((home, hit.lane()));
        }
        if keys.count() == 0 {
            return None;
        }
        let other = self.other(home, key);
        let hit = self.bucket(other).keys().find(key);
        hit.any_key().then(|| (other, hit.lane()))
    }

    /// The block of a key.
    pub(super) fn get(&self, key: u16) -> Option<u64> {
        let (at, lane) = self.find(key)?;
        Some(self.bucket(at).word(lane).load(Ordering::Relaxed))
    }

    /// The block with the highest key of these.
    pub(super) fn last_in(&self, least: u16, most: u16) -> Option<(u16, u64)> {
        let alike = (1u32 << (self.shift & 15)) - 1;
        let mut top = most;
        loop {
            // These belong in one bucket.
            let bottom = top & !(alike as u16);
            let low = bottom.max(least);
            let home = self.bucket(self.home(top));
            let of_these = |&(_, key): &(usize, u16)| (low..=top).contains(&key);
            let here = home.entries().filter(of_these).max_by_key(|(_, key)| *key);
            let best = here.map(|(lane, key)| (key, home.word(lane).load(Ordering::Relaxed)));
            let above = best.map_or(low, |(key, _)| key.saturating_add(1));
            if home.keys().count() != 0 {
                let elsewhere = (above..=top).rev();
                let found = elsewhere.filter_map(|key| Some((key, self.get(key)?)));
                if let Some(found) = { found }.next() {
                    return Some(found);
                }
            }
            if best.is_some() || bottom <= least {
                return best;
            }
            top = bottom - 1;
        }
    }

    /// Puts a block.
    pub(super) fn put(&self, key: u16, word: u64) -> Put {
        if let Some((at, lane)) = self.find(key) {
            let old = self.bucket(at).word(lane).swap(word, Ordering::Relaxed);
            return Put::Replaced(old);
        }
        if self.put_new(key, word) {
            Put::New
        } else {
            Put::Full
        }
    }

    /// Takes a block out.
    pub(super) fn take(&self, key: u16) -> Option<u64> {
        let (at, lane) = self.find(key)?;
        let bucket = self.bucket(at);
        let word = bucket.word(lane).load(Ordering::Relaxed);
        bucket.clear(bucket.keys(), lane);
        let home = self.home(key);
        if at != home {
            // Torn out before this, a count is too high: a look too many.
            self.bucket(home).change_count(-1);
        }
        Some(word)
    }

    /// Puts a block whose key is not there; false if there is no room.
    fn put_new(&self, key: u16, word: u64) -> bool {
        let home = self.home(key);
        let other = self.other(home, key);
        if !self.has_room(home)
            && !self.has_room(other)
            && !(1..=MOVES).any(|moves| self.vacate(home, moves) || self.vacate(other, moves))
        {
            return false;
        }
        let at = if self.has_room(home) {
            home
        } else {
            self.bucket(home).change_count(1);
            other
        };
        let keys = self.bucket(at).keys();
        self.bucket(at).put(keys, keys.find(0).lane(), key, word);
        true
    }

    fn has_room(&self, at: u32) -> bool {
        self.bucket(at).keys().find(0).any_key()
    }

    /// Empties an entry of a full bucket by at most so many moves.
    fn vacate(&self, at: u32, moves: u32) -> bool {
        let bucket = self.bucket(at);
        bucket.entries().any(|(lane, key)| {
            let to = self.other(at, key);
            let room = self.has_room(to) || moves > 1 && self.vacate(to, moves - 1);
            if room {
                self.transfer(at, lane, key, to);
            }
            room
        })
    }

    /// Moves a block to its other bucket, which has room.
    fn transfer(&self, from: u32, lane: usize, key: u16, to: u32) {
        let (source, target) = (self.bucket(from), self.bucket(to));
        let leaves_home = self.home(key) == from;
        if leaves_home {
            source.change_count(1);
        }
        let keys = target.keys();
        let word = source.word(lane).load(Ordering::Relaxed);
        target.put(keys, keys.find(0).lane(), key, word);
        source.clear(source.keys(), lane);
        if !leaves_home {
            target.change_count(-1);
        }
    }

    /// Shows every block: key and word.
    pub(super) fn for_each(&self, mut show: impl FnMut(u16, u64)) {
        for at in self.buckets() {
            let bucket = self.bucket(at);
            for (lane, key) in bucket.entries() {
                show(key, bucket.word(lane).load(Ordering::Relaxed));
            }
        }
    }

    /// Makes every block as old as can be.
    pub(super) fn forget_births(&self) {
        for at in self.buckets() {
            let bucket = self.bucket(at);
            for (lane, _) in bucket.entries() {
                let word = bucket.word(lane);
                let kept = word.load(Ordering::Relaxed) & !(u64::from(EPOCH_MAX) << EPOCH_SHIFT);
                word.store(kept, Ordering::Relaxed);
            }
        }
    }

    /// Copies every block into an empty table; false if it cannot take them all.
    pub(super) fn copy_to(&self, target: Cells) -> bool {
        self.buckets().all(|at| {
            let bucket = self.bucket(at);
            bucket.entries().all(|(lane, key)| {
                let word = bucket.word(lane).load(Ordering::Relaxed);
                target.put_quickly(key, word) || target.put_new(key, word)
            })
        })
    }

    /// Completes what somebody began who was torn out of it, and returns the number of blocks. At
    /// worst a block had been copied to its other bucket and not yet cleared, and a count is high.
    pub(super) fn repair(&self) -> u32 {
        for at in self.buckets() {
            let bucket = self.bucket(at);
            for (lane, key) in bucket.entries() {
                let home = self.home(key);
                if at != home && self.bucket(home).keys().find(key).any_key() {
                    bucket.clear(bucket.keys(), lane);
                }
            }
        }
        for at in self.buckets() {
            let bucket = self.bucket(at);
            bucket.set_keys(bucket.keys().with_count(0));
        }
        let mut blocks = 0;
        for at in self.buckets() {
            for (_, key) in self.bucket(at).entries() {
                blocks += 1;
                if self.home(key) != at {
                    self.bucket(self.home(key)).change_count(1);
                }
            }
        }
        blocks
    }
}
