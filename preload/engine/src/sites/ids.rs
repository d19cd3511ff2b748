//! Owns [`Ids`], a hash table of ids whose keys live elsewhere.

use crate::arena;

/// Ids by the hash of what they stand for; the caller compares.
pub struct Ids {
    slots: *mut u32,
    bits: u32,
    len: usize,
}

// SAFETY: it owns its slots.
unsafe impl Send for Ids {}

impl Ids {
    const FIRST_BITS: u32 = 8;

    /// Empty, without memory.
    pub const fn new() -> Ids {
        Ids {
            slots: core::ptr::null_mut(),
            bits: 0,
            len: 0,
        }
    }

    fn slots(&self) -> &[u32] {
        if self.slots.is_null() {
            return &[];
        }
        // SAFETY: `rehash` allocated this many zeroed words.
        unsafe { core::slice::from_raw_parts(self.slots, 1 << self.bits) }
    }

    fn slots_mut(&mut self) -> &mut [u32] {
        if self.slots.is_null() {
            return &mut [];
        }
        // SAFETY: as in `slots`, borrowed exclusively with `self`.
        unsafe { core::slice::from_raw_parts_mut(self.slots, 1 << self.bits) }
    }

    /// The id under this hash that `is_it` accepts.
    pub fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let slots = self.slots();
        let mask = slots.len().checked_sub(1)?;
        let mut at = (hash >> (64 - self.bits)) as usize;
        loop {
            match slots.get(at & mask).copied()? {
                0 => return None,
                id if is_it(id) => return Some(id),
                _ => at += 1,
            }
        }
    }

    /// Makes room for one more; `hash_of` gives the hash of an id that is in. False without
    /// memory.
    pub fn reserve(&mut self, hash_of: impl Fn(u32) -> u64) -> bool {
        (self.len + 1) * 4 <= self.slots().len() * 3 || self.rehash(hash_of)
    }

    /// Puts an id that is not in; room was reserved.
    pub fn put(&mut self, hash: u64, id: u32) {
        let bits = self.bits;
        let slots = self.slots_mut();
        let Some(mask) = slots.len().checked_sub(1) else {
            return;
        };
        let mut at = (hash >> (64 - bits)) as usize;
        while let Some(slot) = slots.get_mut(at & mask) {
            if *slot == 0 {
                *slot = id;
                break;
            }
            at += 1;
        }
        self.len += 1;
    }

    fn rehash(&mut self, hash_of: impl Fn(u32) -> u64) -> bool {
        let bits = if self.slots.is_null() {
            Self::FIRST_BITS
        } else {
            self.bits + 1
        };
        let slots = arena::alloc(4 << bits, 4).cast::<u32>();
        if slots.is_null() {
            return false;
        }
        let mut new = Ids {
            slots,
            bits,
            len: 0,
        };
        self.slots()
            .iter()
            .filter(|&&id| id != 0)
            .for_each(|&id| new.put(hash_of(id), id));
        let old = core::mem::replace(self, new);
        // SAFETY: the old slots have this size and are used no more.
        unsafe { arena::dealloc(old.slots.cast(), old.slots().len() * 4, 4) };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_put() {
        let hash = |id: u32| u64::from(id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut ids = Ids::new();
        assert_eq!(ids.find(hash(1), |_| true), None);
        for id in 1..10_000 {
            assert!(ids.reserve(hash));
            ids.put(hash(id), id);
        }
        for id in 1..10_000 {
            assert_eq!(ids.find(hash(id), |other| other == id), Some(id));
        }
        assert_eq!(ids.find(hash(10_000), |other| other == 10_000), None);
    }
}
