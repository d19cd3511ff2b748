//! Owns the rules learnt so far: one table for all threads, read without locks.
//!
//! A key is (pc, is it exact). The low bits of the pc, mixed with higher ones, choose the place;
//! the entry holds the other bits, and how far it is from that place, so a hit is always exact.
//! Entries are single words: a reader sees a whole one or none. Losing an entry costs a look at
//! the call frame information, never a wrong step.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::rule::{KEY_SHIFT, Rule};
use crate::arena;
use crate::modules;
use crate::owned::Owned;

/// Entries in a cache line: what is not in its place may be elsewhere in the same line.
const LINE: usize = 8;
/// Bits of a pc that are not in an entry.
const LOW_BITS: u32 = 13;
/// Entries at first: the place and the tag make up the whole pc, so never fewer.
const FIRST_BITS: u32 = LOW_BITS;
/// Entries at most: one MiB.
const LAST_BITS: u32 = 17;
/// Sizes that a table goes through, each four times the one before.
const SIZES: usize = (LAST_BITS - FIRST_BITS) as usize / 2 + 1;

#[repr(align(64))]
struct Line([AtomicU64; LINE]);

struct State {
    /// Entries written to the table since it was new.
    used: usize,
    /// Tables that were outgrown: readers may still be in them, so they stay (all of them
    /// together are no larger than the newest).
    former: [usize; SIZES],
}

struct Rules {
    /// Address of the entries, with the logarithm of their number in the low six bits; 0: none yet.
    table: AtomicUsize,
    lock: Owned,
    state: UnsafeCell<State>,
}

// SAFETY: `state` is reached only under the lock.
unsafe impl Sync for Rules {}

static RULES: Rules = Rules {
    table: AtomicUsize::new(0),
    lock: Owned::new(),
    state: UnsafeCell::new(State {
        used: 0,
        former: [0; SIZES],
    }),
};

/// The table as one walk sees it.
#[derive(Clone, Copy)]
pub struct View {
    entries: *const AtomicU64,
    /// Number of entries minus one.
    mask: usize,
}

impl View {
    /// The table as it is now.
    #[inline(always)]
    pub fn now() -> View {
        // Acquire pairs with the release in `grow`.
        View::of(RULES.table.load(Ordering::Acquire))
    }

    /// Before the first rule, a single line that stays empty.
    #[inline(always)]
    fn of(table: usize) -> View {
        static EMPTY: Line = Line([const { AtomicU64::new(0) }; LINE]);
        if table == 0 {
            return View {
                entries: EMPTY.0.as_ptr(),
                mask: LINE - 1,
            };
        }
        View {
            entries: (table & !63) as *const AtomicU64,
            mask: (1 << (table & 63)) - 1,
        }
    }

    fn is_empty(&self) -> bool {
        self.mask < LINE
    }

    #[inline(always)]
    fn place(&self, pc: usize) -> usize {
        (pc ^ pc >> LAST_BITS) & self.mask
    }

    #[inline(always)]
    fn entry(&self, place: usize) -> &AtomicU64 {
        // SAFETY: places are masked; tables are never freed.
        unsafe { &*self.entries.add(place & self.mask) }
    }

    /// The entries that may be a pc's, all in one line, and their keys if they are: its own place
    /// comes first.
    fn candidates(&self, pc: usize, exact: bool) -> impl Iterator<Item = (&AtomicU64, u64)> {
        let home = self.place(pc);
        (0..LINE).map(move |away| (self.entry(home ^ away), key(pc, exact, away)))
    }

    /// The packed rule of a return address, if it is in its place; whatever the pc.
    #[inline(always)]
    pub fn get(&self, pc: usize) -> Option<u64> {
        let word = self.entry(self.place(pc)).load(Ordering::Relaxed);
        (word >> KEY_SHIFT == key(pc, false, 0)).then_some(word)
    }

    /// The packed rule of a plausible pc, wherever it is.
    pub fn search(&self, pc: usize, exact: bool) -> Option<u64> {
        self.candidates(pc, exact).find_map(|(entry, key)| {
            let word = entry.load(Ordering::Relaxed);
            (word >> KEY_SHIFT == key && word != 0).then_some(word)
        })
    }
}

/// What an entry holds of its key; `away` is the difference between where it is and the pc's own
/// place. No entry has that of a pc of 2^47 and more.
#[inline(always)]
fn key(pc: usize, exact: bool, away: usize) -> u64 {
    (pc as u64 >> LOW_BITS) << 4 | u64::from(exact) << 3 | away as u64
}

/// Keeps a rule that was learnt in this generation of modules, for a pc below 2^47.
pub fn put(pc: usize, exact: bool, rule: Rule, generation: u32) {
    RULES.lock.with(|| {
        // Under the lock no flush can come between this test and the store.
        if modules::generation() != generation {
            return;
        }
        // SAFETY: under the lock.
        let state = unsafe { &mut *RULES.state.get() };
        let view = View::now();
        if view.is_empty() || state.used > view.mask / 2 {
            grow(state);
        }
        let view = View::now();
        if !view.is_empty() {
            store(&view, pc, exact, rule.pack(), state);
        }
    });
}

/// A full line loses the entry in the pc's own place.
fn store(view: &View, pc: usize, exact: bool, packed: u64, state: &mut State) {
    let empty = |e: &AtomicU64| e.load(Ordering::Relaxed) == 0;
    let slot = view
        .candidates(pc, exact)
        .find(|(e, key)| e.load(Ordering::Relaxed) >> KEY_SHIFT == *key && !empty(e))
        .or_else(|| view.candidates(pc, exact).find(|(e, _)| empty(e)))
        .or_else(|| view.candidates(pc, exact).next());
    if let Some((entry, key)) = slot {
        state.used += usize::from(empty(entry));
        entry.store(packed | key << KEY_SHIFT, Ordering::Relaxed);
    }
}

/// Four times the entries, up to the last size; without memory the old table goes on. Rules are
/// learnt anew: an entry does not hold enough of its key to be moved.
fn grow(state: &mut State) {
    let table = RULES.table.load(Ordering::Relaxed);
    let bits = if table == 0 {
        FIRST_BITS
    } else {
        (table & 63) as u32 + 2
    };
    if bits > LAST_BITS {
        return;
    }
    let bytes = size_of::<AtomicU64>() << bits;
    let entries = arena::alloc(bytes, align_of::<Line>()) as usize;
    if entries == 0 {
        return;
    }
    if let Some(slot) = state.former.iter_mut().find(|t| **t == 0) {
        *slot = table;
    }
    state.used = 0;
    // Release pairs with the acquire in `View::now`.
    RULES
        .table
        .store(entries | bits as usize, Ordering::Release);
}

/// Forgets all rules: an object was unloaded, and something else may come to its addresses. `raise`
/// begins the next generation, once nothing of this one is left and before anything of it is put.
pub fn flush(raise: impl FnOnce()) {
    RULES.lock.with(|| {
        // SAFETY: under the lock.
        let state = unsafe { &mut *RULES.state.get() };
        state.used = 0;
        let table = RULES.table.load(Ordering::Relaxed);
        for table in state.former.iter().copied().chain([table]) {
            let view = View::of(table);
            if !view.is_empty() {
                (0..=view.mask).for_each(|place| view.entry(place).store(0, Ordering::Relaxed));
            }
        }
        raise();
    });
}

/// The lock, for `fork` and for threads torn out of it.
pub(crate) fn lock() -> &'static Owned {
    &RULES.lock
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_is_what_was_put() {
        let rule = |pc: usize| Rule::Sp {
            cfa: (pc % 16_000) as u32 + 1,
            bp: (pc % 1000) as u32,
        };
        // Neighbours, and far apart.
        let pcs =
            || (0..200_000).map(|i| 0x7f00_0000_0000 + i / 9 * 2654435761 % (1 << 38) + i % 9);
        for pc in pcs() {
            for (exact, rule) in [(false, rule(pc)), (true, rule(pc + 1))] {
                put(pc, exact, rule, modules::generation());
                assert_eq!(View::now().search(pc, exact).map(Rule::unpack), Some(rule));
            }
        }
        let view = View::now();
        let mut kept = 0;
        for pc in pcs() {
            for found in [view.get(pc), view.search(pc, false)].into_iter().flatten() {
                assert_eq!(Rule::unpack(found), rule(pc));
                kept += 1;
            }
            assert!(
                view.search(pc, true)
                    .is_none_or(|word| Rule::unpack(word) == rule(pc + 1))
            );
            assert_eq!(view.get(pc | 1 << 47), None);
        }
        assert!(kept > 20_000, "{kept}");
        flush(|| {});
        assert!(pcs().all(|pc| view.search(pc, false).is_none() && view.get(pc).is_none()));
    }
}
