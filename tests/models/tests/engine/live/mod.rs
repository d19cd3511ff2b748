//! The surroundings of a shard of the live table; see the engine's `live.rs`.

mod huge;
mod shard;
mod table;

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
