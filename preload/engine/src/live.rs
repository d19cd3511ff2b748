//! Owns [`LiveTable`], the exact set of live blocks: address to size, site and epoch.
//! It must never read the host's memory, and nothing under a lock of its own calls out.
//!
//! Most blocks lie in the group of their MiB of addresses (`group`), which a thread that works there
//! alone enters without a locked instruction (`holder`). What a group does not take (large blocks
//! where there are few small ones, odd addresses) lies in one of some shards, chosen by its page.
//!
//! Lock order: the turn to calm all groups, then group, then shard (several of either only in order), then the side list of huge
//! sizes, then the arena. See [`crate::lock`].
//!
//! A signal handler may leave `insert` or `remove` by `siglongjmp`. Whoever notices calls
//! [`LiveTable::abandon`]; the next caller repairs what was torn.

mod arch;
mod aside;
mod cells;
mod directory;
mod group;
#[cfg(test)]
mod group_tests;
pub mod holder;
mod huge;
mod shard;
mod table;

use crate::faults::{large, recent};
use crate::lock::WordLock;
pub(crate) use arch::line;
use aside::Aside;
use cells::Put;
use directory::Directory;
use group::{Group, Grow};
use holder::Holder;
use huge::HugeSizes;
use shard::Shard;

/// Number of shards. Who is there has a large block; ten million of them are twenty thousand a shard, which
/// are moved in half a millisecond when its table grows.
const SHARDS: usize = 512;

/// Parts that all groups are visited in.
const GROUP_PARTS: usize = 512;

/// Addresses above the lower half of a 48-bit space do not fit an entry.
const ADDRESS_BITS: u32 = 47;
/// A site that does not fit an entry.
const SITE_END: u32 = 1 << 24;
/// Epochs from here on are stored as this one.
pub const EPOCH_MAX: u32 = (1 << 20) - 1;
/// A class that does not fit an entry.
const CLASS_END: u8 = 64;
/// A group makes room for blocks up to here; larger ones it takes only where there is room, so that
/// few large blocks cost no table of their own.
const DENSE_END: u64 = 6 << 10;

/// Blocks from this size on are neither inserted nor removed quickly.
pub const QUICK_END: u64 = cells::SIZE_END;

const _: () = assert!(large::LARGE_BYTES >= cells::SIZE_END);

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
pub struct LiveTable {
    directory: Directory,
    aside: Aside,
    shards: [Shard; SHARDS],
    huge: HugeSizes,
    /// Held while groups are taken away from all.
    calming: WordLock,
}

/// Where a block belongs; good for ever.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    group: &'a Group,
    /// One that has a key.
    addr: usize,
}

impl Place<'_> {
    /// Starts fetching what an insert there will touch, for a caller that has something else to do
    /// first. Takes no lock.
    #[inline(always)]
    pub fn prefetch(&self) {
        self.group.prefetch(key_of(self.addr));
    }
}

/// A small block that was taken out.
#[derive(Clone, Copy)]
pub struct Taken(u64);

impl Taken {
    /// What was known of it.
    #[inline(always)]
    pub fn block(self) -> Block {
        cells::unpack(self.0)
    }

    /// It was born in this epoch and stands for itself alone.
    #[inline(always)]
    pub fn is_exact_of(self, epoch: u32) -> bool {
        cells::is_exact_of(self.0, epoch)
    }
}

/// While there is one, no group is given to a thread anew, so that looking blocks up of other
/// threads is cheap.
pub struct Calm<'a>(#[allow(dead_code)] &'a LiveTable);

impl Drop for Calm<'_> {
    fn drop(&mut self) {
        holder::resume();
    }
}

impl LiveTable {
    /// An empty table.
    pub const fn new() -> Self {
        LiveTable {
            directory: Directory::new(),
            aside: Aside::new(),
            shards: [const { Shard::new() }; SHARDS],
            huge: HugeSizes::new(),
            calming: WordLock::new(),
        }
    }

    /// Records a block.
    pub fn insert(&self, addr: usize, block: Block) -> Insert {
        self.insert_by(None, addr, block)
    }

    /// Records a block for a thread, which may hold parts of the table.
    pub fn insert_by(&self, me: Option<&Holder>, addr: usize, block: Block) -> Insert {
        let block = Block {
            epoch: block.epoch.min(EPOCH_MAX),
            ..block
        };
        if self.insert_quickly(me, addr, &block) {
            return Insert::New;
        }
        self.insert_slowly(me, addr, block)
    }

    /// Records a small block in a group that the thread holds; false where it does not, or where there
    /// is more to do: nothing was done.
    #[inline(always)]
    pub fn insert_quickly(&self, me: Option<&Holder>, addr: usize, block: &Block) -> bool {
        match (self.place(addr), me) {
            (Some(place), Some(me)) if is_small(block) => self.insert_at(place, me, block),
            _ => false,
        }
    }

    /// As [`LiveTable::insert_quickly`], with what [`LiveTable::place`] said of the address, for a block
    /// whose site, epoch and class keep to their bounds.
    #[inline(always)]
    pub fn insert_at(&self, place: Place<'_>, me: &Holder, block: &Block) -> bool {
        let Place { group, addr } = place;
        debug_assert!(block.site < SITE_END && block.class < CLASS_END);
        block.size < cells::SIZE_END
            && !(group.aside() != 0 && self.aside.may_hold(addr))
            && group.put_as_owner(Some(me), key_of(addr), cells::pack(block))
    }

    /// Where a small block at this address belongs; `None` where nothing was known of its group yet, or
    /// for an address that no group takes.
    #[inline(always)]
    pub fn place(&self, addr: usize) -> Option<Place<'_>> {
        key(addr)?;
        let group = self.directory.find(addr)?;
        Some(Place { group, addr })
    }

    #[cold]
    #[inline(never)]
    fn insert_slowly(&self, me: Option<&Holder>, addr: usize, block: Block) -> Insert {
        if !storable(addr) || block.site >= SITE_END || block.class >= CLASS_END {
            return Insert::Refused;
        }
        let group = self.directory.find_or_make(addr);
        let insert = match (group, key(addr)) {
            (Some(group), Some(key)) => self.insert_in(group, me, key, addr, block),
            (group, _) => self.insert_aside(group, addr, block),
        };
        if block.size >= large::LARGE_BYTES {
            large::born(addr, &block);
        }
        insert
    }

    fn insert_in(
        &self,
        group: &Group,
        me: Option<&Holder>,
        key: u16,
        addr: usize,
        block: Block,
    ) -> Insert {
        let _inside = group.enter(me);
        let mut old = None;
        if is_small(&block) {
            if group.aside() != 0 && self.aside.may_hold(addr) {
                old = self.take_aside(Some(group), addr);
            }
            let grow = if block.size < DENSE_END {
                Grow::Yes
            } else {
                Grow::No
            };
            match group.put(key, cells::pack(&block), grow) {
                Put::New => return old.map_or(Insert::New, Insert::Replaced),
                Put::Replaced(old) => return Insert::Replaced(cells::unpack(old)),
                Put::Full => {}
            }
        } else {
            old = group.take(key).map(cells::unpack);
        }
        match (self.insert_aside(Some(group), addr, block), old) {
            (Insert::New, Some(old)) => Insert::Replaced(old),
            (insert, _) => insert,
        }
    }

    /// Puts a block into its shard; inside the group, if there is one.
    fn insert_aside(&self, group: Option<&Group>, addr: usize, block: Block) -> Insert {
        // Torn out between these, there seems to be one more than there is.
        self.aside.note(addr, 1);
        match group {
            Some(group) => group.change_aside(1),
            None => self.aside.note_stray(),
        }
        let insert = self.shard(addr).insert(addr, block, &self.huge);
        if insert != Insert::New {
            self.leave_aside(group, addr);
        }
        insert
    }

    fn take_aside(&self, group: Option<&Group>, addr: usize) -> Option<Block> {
        let block = self.shard(addr).remove(addr, &self.huge)?;
        self.leave_aside(group, addr);
        Some(block)
    }

    fn leave_aside(&self, group: Option<&Group>, addr: usize) {
        if let Some(group) = group {
            group.change_aside(-1);
        }
        self.aside.note(addr, -1);
    }

    /// Forgets a block and returns what was known of it.
    pub fn remove(&self, addr: usize) -> Option<Block> {
        self.remove_by(None, addr)
    }

    /// Forgets a block for a thread, which may hold parts of the table.
    pub fn remove_by(&self, me: Option<&Holder>, addr: usize) -> Option<Block> {
        if let Some(taken) = self.remove_quickly(me, addr) {
            return Some(taken.block());
        }
        self.remove_slowly(me, addr)
    }

    /// Forgets a block of a group that the thread holds; `None` where it does not, or where there is
    /// more to do, or no such block: nothing was done.
    #[inline(always)]
    pub fn remove_quickly(&self, me: Option<&Holder>, addr: usize) -> Option<Taken> {
        let key = key(addr)?;
        let group = self.directory.find(addr)?;
        group.take_as_owner(me, key).map(Taken)
    }

    #[cold]
    #[inline(never)]
    fn remove_slowly(&self, me: Option<&Holder>, addr: usize) -> Option<Block> {
        if !storable(addr) {
            return None;
        }
        let group = self.find_used(addr);
        let inside = group.map(|group| group.enter(me));
        if let (Some(group), Some(key)) = (group, key(addr))
            && let Some(word) = group.take(key)
        {
            return Some(cells::unpack(word));
        }
        if !self.may_be_aside(group, addr) {
            return None;
        }
        let block = self.take_aside(group, addr)?;
        drop(inside); // they take locks of their own, one of them before ours
        match block.size {
            large::LARGE_BYTES.. => large::died(addr, &block),
            cells::SIZE_END.. => recent::died(addr, &block),
            _ => {}
        }
        Some(block)
    }

    /// The group of an address, if it knows any block. Nobody goes into others but to put one there:
    /// what goes through all groups, after a fork or to calm them, does not look at those that were
    /// never used. Whoever asks for a block that is live sees that there is one, as the program
    /// handed it over.
    fn find_used(&self, addr: usize) -> Option<&Group> {
        self.directory.find(addr).filter(|group| group.knows_any())
    }

    fn may_be_aside(&self, group: Option<&Group>, addr: usize) -> bool {
        (group.is_none_or(|group| group.aside() != 0) || self.aside.has_strays())
            && self.aside.may_hold(addr)
    }

    /// Looks a block up. For many of them, see [`LiveTable::calm`].
    pub fn get(&self, addr: usize) -> Option<Block> {
        if !storable(addr) {
            return None;
        }
        let group = self.find_used(addr);
        if let (Some(group), Some(key)) = (group, key(addr)) {
            let _inside = group.enter(None);
            if let Some(word) = group.get(key) {
                return Some(cells::unpack(word));
            }
        }
        if self.may_be_aside(group, addr) {
            return self.shard(addr).get(addr, &self.huge);
        }
        None
    }

    /// The last block that begins in the page of an address, there or before it, at a multiple of 16.
    /// For many of them, see [`LiveTable::calm`].
    pub fn last_in_page(&self, addr: usize) -> Option<(usize, Block)> {
        let page = addr & !(PAGE_BYTES - 1);
        let most = addr & !((1 << KEY_SHIFT) - 1);
        if !storable(most) {
            return None;
        }
        let group = self.find_used(addr);
        let mut last = None;
        if let (Some(group), Some(most)) = (group, key(most)) {
            let least = key(page).unwrap_or(1);
            let _inside = group.enter(None);
            let found = group.last_in(least, most);
            last =
                found.map(|(key, word)| (page & !GROUP_MASK | addr_of(key), cells::unpack(word)));
        }
        let is_any_aside = group.is_none_or(|group| group.aside() != 0) || self.aside.has_strays();
        if is_any_aside && self.aside.may_hold_in_page(addr) {
            let after = last.map_or(page, |(start, _)| start + (1 << KEY_SHIFT));
            for at in (after..most + 1).step_by(1 << KEY_SHIFT).rev() {
                if self.aside.may_hold(at)
                    && let Some(block) = self.shard(at).get(at, &self.huge)
                {
                    return Some((at, block));
                }
            }
        }
        last
    }

    /// Takes all groups away from the threads that hold them, once and for as long as what is
    /// returned lives.
    pub fn calm(&self) -> Calm<'_> {
        holder::give_credit();
        self.calm_in(0, 1)
    }

    /// As [`LiveTable::calm`], for who comes so often that groups which went to and fro are not to begin
    /// anew with it.
    pub fn hush(&self) -> Calm<'_> {
        self.calm_in(0, 1)
    }

    /// As [`LiveTable::calm`], for the groups of one of some parts; none is given to a thread anew.
    fn calm_in(&self, part: usize, parts: usize) -> Calm<'_> {
        holder::pause();
        let _turn = self.calming.lock();
        let mut any = false;
        self.directory
            .for_each_in(part, parts, |_, group| any |= group.begin_taking());
        if any {
            holder::fence_others();
            holder::wait_for_all();
            self.directory
                .for_each_in(part, parts, |_, group| group.end_taking());
        }
        Calm(self)
    }

    /// Number of live blocks; while others insert and remove, a number that was right for each
    /// shard at some moment.
    pub fn len(&self) -> u64 {
        let mut len = self.shards.iter().map(|s| u64::from(s.len())).sum();
        self.directory
            .for_each(|_, group| len += u64::from(group.len()));
        len
    }

    /// True without live blocks.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Visits every block, part by part, each under its lock: `f` must not allocate, lock or
    /// touch this table.
    pub fn for_each(&self, mut f: impl FnMut(usize, Block)) {
        let _calm = self.calm();
        self.directory
            .for_each(|start, group| group.show(start, &mut f));
        for shard in &self.shards {
            shard.for_each(&self.huge, &mut f);
        }
    }

    /// Makes every block one of epoch 0.
    pub fn forget_births(&self) {
        self.directory.for_each(|_, group| {
            if group.len() != 0 {
                let _inside = group.enter(None);
                group.forget_births();
            }
        });
        self.shards.iter().for_each(Shard::forget_births);
    }

    /// Parts that [`LiveTable::for_each_in`] visits; large blocks apart from
    /// others, and blocks of the same page in two parts at most.
    pub const PARTS: usize = SHARDS + GROUP_PARTS;

    /// As [`LiveTable::for_each`], for one part.
    pub fn for_each_in(&self, part: usize, mut f: impl FnMut(usize, Block)) {
        if let Some(shard) = self.shards.get(part) {
            return shard.for_each(&self.huge, &mut f);
        }
        let part = part - SHARDS;
        // Not one by one under their locks, for which their owners would wait all the longer.
        let _calm = self.calm_in(part, GROUP_PARTS);
        self.directory
            .for_each_in(part, GROUP_PARTS, |start, group| group.show(start, &mut f));
    }

    /// Gives back the memory of parts that have no blocks any more.
    pub fn trim(&self) {
        let is_spare = |group: &Group| group.len() == 0 && group.has_table();
        let mut any = false;
        self.directory.for_each(|_, group| any |= is_spare(group));
        if !any {
            return;
        }
        let _calm = self.calm();
        self.directory.for_each(|_, group| {
            if is_spare(group) {
                let _inside = group.enter(None);
                group.trim();
            }
        });
    }

    /// Gives up what this thread holds because it was torn out of the table.
    ///
    /// # Safety
    /// The calling thread, which is `me`, is not inside the table except in calls that never return.
    pub unsafe fn abandon(&self, me: Option<&Holder>) {
        // SAFETY: the caller's promise.
        self.directory
            .for_each(|_, group| unsafe { group.abandon(me) });
        // SAFETY: the caller's promise.
        self.locks().for_each(|lock| unsafe { lock.abandon() });
    }

    /// Frees every lock in a forked child: what some thread was changing at that moment is repaired
    /// when it is next used. Writes only where someone was.
    ///
    /// # Safety
    /// No other thread exists yet in this process, and the calling one is not inside the table.
    pub unsafe fn abandon_in_child(&self) {
        holder::reset_in_child();
        holder::for_each_torn(|holder, group| {
            // SAFETY: groups live for ever.
            if let Some(group) = unsafe { group.as_ref() } {
                group.note_torn();
            }
            holder.go_out();
        });
        // SAFETY: the holders, if any, do not exist here.
        self.directory
            .for_each(|_, group| unsafe { group.abandon_in_child() });
        // SAFETY: as above.
        self.locks()
            .for_each(|lock| unsafe { lock.abandon_for_holder() });
    }

    fn locks(&self) -> impl Iterator<Item = &WordLock> {
        self.shards
            .iter()
            .map(Shard::lock)
            .chain([self.huge.lock(), &self.calming])
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

const PAGE_BYTES: usize = 4096;
const GROUP_MASK: usize = (1 << directory::GROUP_BITS) - 1;
/// Blocks of a group lie at multiples of this.
const KEY_SHIFT: u32 = directory::GROUP_BITS - u16::BITS;

/// The key of an address that has one.
#[inline(always)]
const fn key_of(addr: usize) -> u16 {
    (addr >> KEY_SHIFT) as u16
}

/// The key of an address in its group; `None` for odd addresses, and for the first of the group, as
/// no key is 0.
#[inline(always)]
const fn key(addr: usize) -> Option<u16> {
    let key = key_of(addr);
    if addr & ((1 << KEY_SHIFT) - 1) != 0 || addr >> ADDRESS_BITS != 0 {
        return None;
    }
    if key == 0 {
        rare();
        return None;
    }
    Some(key)
}

/// Keeps the compiler from making one condition of two, which takes more instructions than both.
#[cold]
#[inline(never)]
const fn rare() {}

/// Where an address with this key lies in its group.
const fn addr_of(key: u16) -> usize {
    (key as usize) << KEY_SHIFT
}

/// True for a block that a group can take.
#[inline(always)]
fn is_small(block: &Block) -> bool {
    block.size < cells::SIZE_END && block.site < SITE_END && block.class < CLASS_END
}

/// True if an address can be kept at all: not null, aligned to 8, in the lower half.
#[inline(always)]
const fn storable(addr: usize) -> bool {
    // Rotating the three low bits to the top makes one comparison of it.
    let rotated = (addr as u64).rotate_right(3);
    rotated.wrapping_sub(1) < (1 << (ADDRESS_BITS - 3)) - 1
}
