//! Owns [`HugeSizes`]: the exact sizes that are too large for an entry of the live table.
//! It must never allocate: what finds no slot is refused and counted as dropped.

use crate::atomic::Ordering;
use crate::atomic::guarded::AtomicU64;

use crate::lock::WordLock;

/// Sizes from here on, about 16 GiB, are kept aside. Of such blocks 512 are 8 TiB.
pub(super) const HUGE_BYTES: u64 = (1 << 34) - 1;
const SLOTS: usize = 512;

/// Address and size; address 0 is a free slot. Relaxed throughout: the lock orders.
#[derive(Debug)]
struct Slot(AtomicU64, AtomicU64);

/// Sizes of huge blocks by address.
#[derive(Debug)]
pub(super) struct HugeSizes {
    lock: WordLock,
    slots: [Slot; SLOTS],
}

impl HugeSizes {
    pub(super) const fn new() -> Self {
        HugeSizes {
            lock: WordLock::new(),
            slots: [const { Slot(AtomicU64::new(0), AtomicU64::new(0)) }; SLOTS],
        }
    }

    pub(super) fn lock(&self) -> &WordLock {
        &self.lock
    }

    /// Keeps a size; false if there are too many.
    pub(super) fn put(&self, addr: usize, size: u64) -> bool {
        let _guard = self.lock.lock();
        let Some(slot) = self.find(addr as u64).or_else(|| self.find(0)) else {
            return false;
        };
        slot.1.store(size, Ordering::Relaxed);
        slot.0.store(addr as u64, Ordering::Relaxed);
        true
    }

    pub(super) fn get(&self, addr: usize) -> u64 {
        let _guard = self.lock.lock();
        self.find(addr as u64)
            .map_or(HUGE_BYTES, |slot| slot.1.load(Ordering::Relaxed))
    }

    /// Forgets a size and returns it.
    pub(super) fn take(&self, addr: usize) -> u64 {
        let _guard = self.lock.lock();
        self.find(addr as u64).map_or(HUGE_BYTES, |slot| {
            slot.0.store(0, Ordering::Relaxed);
            slot.1.load(Ordering::Relaxed)
        })
    }

    fn find(&self, addr: u64) -> Option<&Slot> {
        self.slots
            .iter()
            .find(|slot| slot.0.load(Ordering::Relaxed) == addr)
    }
}
