//! The table of a group, as small as can be: a few entries, which fail the model when two threads are
//! inside at once. That buckets are found and filled rightly is shown by the engine's own tests.

use super::{Block, EPOCH_MAX};
use crate::atomic::Ordering::Relaxed;
use crate::atomic::guarded::AtomicU64;

pub const ENTRIES: usize = 6;
pub const BUCKET_BYTES: usize = size_of::<Bucket>();
pub const SIZE_END: u64 = 1 << 14;
const KEY_SHIFT: u32 = 48;

pub struct Bucket([AtomicU64; 8]);

pub enum Put {
    New,
    Replaced(u64),
    Full,
}

/// Key and word share one of the model's words; sizes and sites are small here.
pub fn pack(block: &Block) -> u64 {
    u64::from(block.site) << 16 | block.size
}

pub fn unpack(word: u64) -> Block {
    Block {
        size: word & 0xffff,
        site: (word >> 16) as u32,
        epoch: EPOCH_MAX,
        class: 0,
    }
}

#[derive(Clone, Copy)]
pub struct Cells {
    pub first: *mut Bucket,
    pub mask: u32,
    pub shift: u32,
}

impl Cells {
    fn entries(&self) -> &[AtomicU64] {
        // SAFETY: the first bucket is there as long as the table.
        unsafe { &(&(*self.first).0)[..ENTRIES] }
    }

    fn find(&self, key: u16) -> Option<&AtomicU64> {
        self.entries()
            .iter()
            .find(|entry| (entry.load(Relaxed) >> KEY_SHIFT) as u16 == key)
    }

    fn word(entry: &AtomicU64) -> u64 {
        entry.load(Relaxed) & ((1 << KEY_SHIFT) - 1)
    }

    pub fn prefetch(&self, _: u16) {}

    pub fn put_quickly(&self, key: u16, word: u64) -> bool {
        let free = self.find(key).is_none().then(|| self.find(0)).flatten();
        if let Some(entry) = free {
            entry.store(u64::from(key) << KEY_SHIFT | word, Relaxed);
        }
        free.is_some()
    }

    pub fn put_crowded(&self, key: u16, word: u64) -> bool {
        self.put_quickly(key, word)
    }

    pub fn put(&self, key: u16, word: u64) -> Put {
        match self.take(key) {
            Some(old) => {
                assert!(self.put_quickly(key, word));
                Put::Replaced(old)
            }
            None if self.put_quickly(key, word) => Put::New,
            None => Put::Full,
        }
    }

    pub fn take(&self, key: u16) -> Option<u64> {
        let entry = self.find(key)?;
        let word = Self::word(entry);
        entry.store(0, Relaxed);
        Some(word)
    }

    pub fn take_quickly(&self, key: u16) -> Option<u64> {
        self.take(key)
    }

    pub fn get(&self, key: u16) -> Option<u64> {
        self.find(key).map(Self::word)
    }

    pub fn last_in(&self, least: u16, most: u16) -> Option<(u16, u64)> {
        let mut last = None;
        self.for_each(|key, word| {
            if (least..=most).contains(&key) && last.is_none_or(|(known, _)| key > known) {
                last = Some((key, word));
            }
        });
        last
    }

    pub fn for_each(&self, mut show: impl FnMut(u16, u64)) {
        for entry in self.entries() {
            let key = (entry.load(Relaxed) >> KEY_SHIFT) as u16;
            if key != 0 {
                show(key, Self::word(entry));
            }
        }
    }

    pub fn forget_births(&self) {}

    pub fn copy_to(&self, target: Cells) -> bool {
        let mut all = true;
        self.for_each(|key, word| all &= target.put_quickly(key, word));
        all
    }

    pub fn repair(&self) -> u32 {
        let mut blocks = 0;
        self.for_each(|_, _| blocks += 1);
        blocks
    }
}
