//! Owns the way from a stack's hash to its site, read without locks.
//!
//! An entry is one word: the site in the upper 24 bits, the low 40 bits of the hash below. The
//! upper bits of the hash choose the place, so about 55 bits decide. Entries may be lost: the
//! stack tree then finds the site again.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::arena;

const TAG_BITS: u32 = 40;
const TAG_MASK: u64 = (1 << TAG_BITS) - 1;
const FIRST_BITS: u32 = 10;
const LAST_BITS: u32 = 20;
/// Alignment of a table: it leaves room for the logarithm, and tables begin with a cache line.
const LINE_BYTES: usize = 64;
/// Places looked at from the first one on.
const PROBES: usize = 16;

/// The table.
pub struct ByHash {
    /// Address of the entries, with the logarithm of their number in the low six bits; 0: none.
    /// Tables that were outgrown are never freed: readers may be in them.
    table: AtomicUsize,
    used: AtomicUsize,
}

impl ByHash {
    /// Empty.
    pub const fn new() -> ByHash {
        ByHash {
            table: AtomicUsize::new(0),
            used: AtomicUsize::new(0),
        }
    }

    fn entries(&self) -> Option<(&[AtomicU64], u32)> {
        // Acquire pairs with the release in `grow`.
        let table = self.table.load(Ordering::Acquire);
        let bits = (table & 63) as u32;
        // SAFETY: `grow` stored the address of this many zeroed entries, which are never freed.
        let entries =
            || unsafe { core::slice::from_raw_parts((table & !63) as *const AtomicU64, 1 << bits) };
        (table != 0).then(|| (entries(), bits))
    }

    /// The site of a hash; 0 if it is not known.
    #[inline]
    pub fn get(&self, hash: u64) -> u32 {
        let Some((entries, bits)) = self.entries() else {
            return 0;
        };
        let first = (hash >> (64 - bits)) as usize;
        for probe in 0..PROBES {
            let Some(entry) = entries.get((first + probe) & (entries.len() - 1)) else {
                return 0;
            };
            let word = entry.load(Ordering::Relaxed);
            if word == 0 {
                return 0;
            }
            if (word ^ hash) & TAG_MASK == 0 {
                return (word >> TAG_BITS) as u32;
            }
        }
        0
    }

    /// Keeps the site of a hash. Calls must not overlap.
    pub fn put(&self, hash: u64, site: u32) {
        let used = || self.used.load(Ordering::Relaxed);
        if self
            .entries()
            .is_none_or(|(entries, _)| used() == entries.len() / 2)
        {
            self.grow();
        }
        let Some((entries, bits)) = self.entries() else {
            return;
        };
        let first = (hash >> (64 - bits)) as usize;
        let place = |probe: usize| entries.get((first + probe) & (entries.len() - 1));
        let empty = (0..PROBES)
            .filter_map(place)
            .find(|e| e.load(Ordering::Relaxed) == 0);
        self.used
            .store(used() + usize::from(empty.is_some()), Ordering::Relaxed);
        if let Some(entry) = empty.or(place(0)) {
            entry.store(
                u64::from(site) << TAG_BITS | hash & TAG_MASK,
                Ordering::Relaxed,
            );
        }
    }

    /// Four times the entries. They are learnt anew, since they hold too little of the hash to be
    /// moved; at the last size, or at a sixteenth of leaktrack's memory, newer entries take
    /// the place of older ones.
    fn grow(&self) {
        let table = self.table.load(Ordering::Relaxed);
        let bits = if table == 0 {
            FIRST_BITS
        } else {
            (table & 63) as u32 + 2
        };
        let share = arena::cap_bytes() / 16;
        let fresh = match bits {
            ..=LAST_BITS if 8 << bits <= share => arena::alloc(8 << bits, LINE_BYTES) as usize,
            _ => 0,
        };
        if fresh == 0 {
            return;
        }
        // Release pairs with the acquire in `entries`.
        self.table.store(fresh | bits as usize, Ordering::Release);
        self.used.store(0, Ordering::Relaxed);
    }

    /// Forgets all. Calls must not overlap with each other or with `put`.
    pub fn clear(&self) {
        if let Some((entries, _)) = self.entries() {
            entries.iter().for_each(|e| e.store(0, Ordering::Relaxed));
        }
        self.used.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_and_finds() {
        let table = ByHash::new();
        assert_eq!(table.get(77), 0);
        let hash = |i: u64| i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for i in 1..5000u64 {
            table.put(hash(i), i as u32);
            assert_eq!(table.get(hash(i)), i as u32);
        }
        let found = (1..5000)
            .filter(|&i| table.get(hash(i)) == i as u32)
            .count();
        let wrong = (1..5000)
            .filter(|&i| ![0, i as u32].contains(&table.get(hash(i))))
            .count();
        assert!(found > 900, "{found}");
        assert_eq!(wrong, 0);
        table.clear();
        assert_eq!(table.get(hash(4999)), 0);
    }
}
