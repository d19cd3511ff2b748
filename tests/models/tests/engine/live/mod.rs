//! The surroundings of a shard of the live table; see the engine's `live.rs`.

mod cells;
mod group;
pub mod holder;
mod huge;
mod shard;
mod table;

use group::Group;
use holder::Holder;
use huge::HugeSizes;
use shard::Shard;

const SITE_END: u32 = 1 << 24;
const EPOCH_MAX: u32 = (1 << 20) - 1;
const CLASS_END: u8 = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    pub size: u64,
    pub site: u32,
    pub epoch: u32,
    pub class: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Insert {
    New,
    Replaced(Block),
    Refused,
}

/// One shard with what all of them share.
pub struct OneShard(Shard, HugeSizes);

impl OneShard {
    pub const fn new() -> OneShard {
        OneShard(Shard::new(), HugeSizes::new())
    }
    pub fn insert(&self, addr: usize, block: Block) -> Insert {
        self.0.insert(addr, block, &self.1)
    }
    pub fn remove(&self, addr: usize) -> Option<Block> {
        self.0.remove(addr, &self.1)
    }
    pub fn get(&self, addr: usize) -> Option<Block> {
        self.0.get(addr, &self.1)
    }
    pub fn lock(&self) -> &crate::lock::WordLock {
        self.0.lock()
    }
    pub fn len(&self) -> u32 {
        self.0.len()
    }
}

fn addr_of(key: u16) -> usize {
    usize::from(key) << 4
}

/// A group with what its users need; its blocks are known by their keys.
pub struct OneGroup(Group);

impl OneGroup {
    /// One without blocks, in zeroed memory.
    pub fn new() -> &'static OneGroup {
        let group = crate::arena::alloc_table(size_of::<OneGroup>(), 64).cast::<OneGroup>();
        // SAFETY: zeroed memory is one; it is there until the execution ends.
        unsafe { &*group }
    }

    pub fn lock(&self) -> &crate::lock::WordLock {
        self.0.lock()
    }

    /// As [`LiveTable::insert_by`] of the engine.
    pub fn insert(&self, me: Option<&Holder>, key: u16, block: &Block) -> bool {
        let word = cells::pack(block);
        if self.0.put_as_owner(me, key, word) {
            return true;
        }
        let _inside = self.0.enter(me);
        matches!(self.0.put(key, word, group::Grow::Yes), cells::Put::New)
    }

    /// As [`LiveTable::remove_by`] of the engine.
    pub fn remove(&self, me: Option<&Holder>, key: u16) -> Option<Block> {
        if let Some(word) = self.0.take_as_owner(me, key) {
            return Some(cells::unpack(word));
        }
        let _inside = self.0.enter(me);
        self.0.take(key).map(cells::unpack)
    }

    pub fn belongs_to(&self, me: &Holder) -> bool {
        self.0.enter_as_owner(Some(me)).is_some()
    }

    /// Number of blocks, by looking at them.
    pub fn count(&self) -> usize {
        let mut count = 0;
        self.0.show(0, &mut |_, _| count += 1);
        count
    }

    /// As [`LiveTable::calm`] of the engine, for as long as `then` takes.
    pub fn calm(&self, then: impl FnOnce()) {
        holder::pause();
        if self.0.begin_taking() {
            holder::fence_others();
            holder::wait_for_all();
            self.0.end_taking();
        }
        then();
        holder::resume();
    }
}
