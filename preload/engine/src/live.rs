//! Owns [`LiveTable`], the exact set of live blocks: address to size, site and epoch.
//! It must never read the host's memory, and nothing under a shard's lock calls out.
//!
//! A shard is chosen by the block's page, so that a thread that works on its own pages works on
//! its own shards; the place in a shard is chosen by the whole address.
//!
//! Lock order: shard (several only in index order), then the side list of huge sizes, then the
//! arena. See [`crate::lock`].
//!
//! A signal handler may leave `insert` or `remove` by `siglongjmp`. Whoever notices calls
//! [`LiveTable::abandon`]; the next caller repairs the shard.

mod huge;
mod prefetch;
mod shard;
mod table;

use crate::faults::large;
use crate::lock::WordLock;
use huge::HugeSizes;
use shard::Shard;

/// Number of shards. Ten million blocks are about ten thousand a shard, so that growing one moves
/// some 200 KiB.
const SHARDS: usize = 1024;

/// Addresses above the lower half of a 48-bit space do not fit an entry.
const ADDRESS_BITS: u32 = 47;
/// A site that does not fit an entry.
const SITE_END: u32 = 1 << 24;
/// Epochs from here on are stored as this one.
pub const EPOCH_MAX: u32 = (1 << 20) - 1;
/// A class that does not fit an entry.
const CLASS_END: u8 = 64;

/// What is known of a live block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Bytes asked for.
    pub size: u64,
    /// Site id, below 2^24.
    pub site: u32,
    /// Snapshot counter at birth; saturates at 2^20 - 1.
    pub epoch: u32,
    /// Class of the sampling mean, below 64 (`sampler::weight`); 0: it was recorded as it
    /// came and stands for itself alone.
    pub class: u8,
}

/// What became of an insert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Insert {
    /// The address was not live.
    New,
    /// The address was live: its free was missed. The old block is forgotten.
    Replaced(Block),
    /// Not recorded: no memory, or the address, the site or the number of huge sizes does not fit.
    Refused,
}

/// All live blocks. Made to be a static; takes no memory before its first block.
#[derive(Debug)]
pub struct LiveTable {
    shards: [Shard; SHARDS],
    huge: HugeSizes,
}

impl LiveTable {
    /// An empty table.
    pub const fn new() -> Self {
        LiveTable {
            shards: [const { Shard::new() }; SHARDS],
            huge: HugeSizes::new(),
        }
    }

    /// Records a block.
    #[inline]
    pub fn insert(&self, addr: usize, block: Block) -> Insert {
        if !storable(addr) || block.site >= SITE_END || block.class >= CLASS_END {
            return Insert::Refused;
        }
        let insert = self.shard(addr).insert(addr, block, &self.huge);
        if block.size >= large::LARGE_BYTES {
            large::born(addr, &block);
        }
        insert
    }

    /// Forgets a block and returns what was known of it.
    #[inline]
    pub fn remove(&self, addr: usize) -> Option<Block> {
        if !storable(addr) {
            None
        } else {
            let block = self.shard(addr).remove(addr, &self.huge)?;
            if block.size >= large::LARGE_BYTES {
                large::died(addr, &block);
            }
            Some(block)
        }
    }

    /// Looks a block up.
    pub fn get(&self, addr: usize) -> Option<Block> {
        if !storable(addr) {
            None
        } else {
            self.shard(addr).get(addr, &self.huge)
        }
    }

    /// Starts fetching what [`LiveTable::insert`] or [`LiveTable::remove`] will touch, for a caller
    /// that has something else to do first. Takes no lock.
    #[inline]
    pub fn prefetch(&self, addr: usize) {
        self.shard(addr).prefetch(addr);
    }

    /// Number of live blocks; while others insert and remove, a number that was right for each
    /// shard at some moment.
    pub fn len(&self) -> u64 {
        self.shards.iter().map(|s| u64::from(s.len())).sum()
    }

    /// True without live blocks.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Visits every block, shard by shard, each under its lock: `f` must not allocate, lock or
    /// touch this table.
    pub fn for_each(&self, mut f: impl FnMut(usize, Block)) {
        for shard in &self.shards {
            shard.for_each(&self.huge, &mut f);
        }
    }

    /// Makes every block one of epoch 0.
    pub fn forget_births(&self) {
        self.shards.iter().for_each(Shard::forget_births);
    }

    /// Parts that [`LiveTable::for_each_in`] visits; blocks of the same page are in the same part.
    pub const PARTS: usize = SHARDS;

    /// As [`LiveTable::for_each`], for one part.
    pub fn for_each_in(&self, part: usize, mut f: impl FnMut(usize, Block)) {
        if let Some(shard) = self.shards.get(part) {
            shard.for_each(&self.huge, &mut f);
        }
    }

    /// Gives up the locks that this thread holds because it was torn out of the table.
    ///
    /// # Safety
    /// The calling thread is not inside the table except in calls that never return.
    pub unsafe fn abandon(&self) {
        // SAFETY: the caller's promise.
        self.locks().for_each(|lock| unsafe { lock.abandon() });
    }

    /// Frees every lock in a forked child: shards that some thread was changing at that moment are
    /// repaired when they are next used.
    ///
    /// # Safety
    /// No other thread exists yet in this process.
    pub unsafe fn abandon_locks_in_child(&self) {
        // SAFETY: the holders, if any, do not exist here.
        self.locks()
            .for_each(|lock| unsafe { lock.abandon_for_holder() });
    }

    fn locks(&self) -> impl Iterator<Item = &WordLock> {
        self.shards
            .iter()
            .map(Shard::lock)
            .chain([self.huge.lock()])
    }

    #[inline(always)]
    fn shard(&self, addr: usize) -> &Shard {
        // The golden ratio spreads consecutive pages evenly over the top bits.
        let hash = (addr as u64 >> 12).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let index = (hash >> (64 - SHARDS.ilog2())) as usize;
        // SAFETY: the top ilog2(SHARDS) bits are below SHARDS, a power of two.
        unsafe { self.shards.get_unchecked(index) }
    }
}

impl Default for LiveTable {
    fn default() -> Self {
        Self::new()
    }
}

/// True if an address fits an entry: not null, aligned to 8, in the lower half.
#[inline(always)]
const fn storable(addr: usize) -> bool {
    // Rotating the three low bits to the top makes one comparison of it.
    let rotated = (addr as u64).rotate_right(3);
    rotated.wrapping_sub(1) < (1 << (ADDRESS_BITS - 3)) - 1
}
